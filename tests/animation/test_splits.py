"""Splits by subject: nobody is in two, and nobody moves when others come."""

from hypothesis import given
from hypothesis import strategies as st

from animation.data.corpus import SPLITS
from animation.data.splits import split_subjects

NAMES = st.lists(st.text(min_size=1, max_size=8), max_size=30, unique=True)


@given(NAMES, NAMES)
def test_nobody_moves_when_others_come(some: list[str], others: list[str]) -> None:
    before, after = split_subjects(some), split_subjects([*others, *some])
    assert all(after[name] == split for name, split in before.items())
    assert set(after) == {*some, *others}


def test_the_shares_are_about_those_that_were_asked_for() -> None:
    splits = split_subjects([f"P{number:04}" for number in range(4000)], shares={"train": 0.5, "test": 0.5})
    counts = {split: sum(each == split for each in splits.values()) for split in SPLITS}
    assert counts["validation"] == 0
    assert abs(counts["test"] - 2000) < 5 * 32  # five standard deviations


def test_seeds_are_other_splits_and_lists_come_first() -> None:
    names = [f"P{number:02}" for number in range(40)]
    assert split_subjects(names, seed=1) != split_subjects(names)
    given_splits = split_subjects(names, given={"P00": "test", "P01": "validation", "P99": "train"})
    assert (given_splits["P00"], given_splits["P01"]) == ("test", "validation")
    assert "P99" not in given_splits
