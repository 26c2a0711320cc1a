"""Entropy and coverage: the formulas' own bounds, and counts that add up."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.coverage import coverage, entropy_bits

SEQUENCES = st.lists(st.lists(st.sampled_from(["zh", "ang1", "ang4", "i3", "m", "x"]), max_size=8), max_size=8)


@given(st.lists(st.integers(0, 10**9), max_size=50))
def test_entropy_lies_between_nothing_and_the_logarithm(counts: list[int]) -> None:
    positive = sum(count > 0 for count in counts)
    assert 0 <= entropy_bits(counts) <= math.log2(max(positive, 1)) + 1e-9


@pytest.mark.parametrize("units", [1, 2, 57])
def test_entropy_of_equal_counts_is_the_logarithm(units: int) -> None:
    assert entropy_bits([7] * units) == pytest.approx(math.log2(units))
    assert entropy_bits([7, 0, 0] * units) == pytest.approx(math.log2(units))
    assert entropy_bits([]) == 0


@given(SEQUENCES)
def test_every_sound_is_counted_once(sequences: list[list[str]]) -> None:
    found = coverage(sequences, ("zh", "ang", "i"))
    assert found.phonemes.total() + found.foreign.total() == sum(map(len, sequences))
    assert found.tones.total() == sum(unit[-1].isdigit() for sequence in sequences for unit in sequence)
    assert found.diphones.total() <= sum(max(len(sequence) - 1, 0) for sequence in sequences)
    assert set(found.foreign) <= {"m", "x"}
    assert found.phoneme_entropy_bits <= found.max_phoneme_entropy_bits + 1e-9
    assert found.diphone_entropy_bits <= found.max_diphone_entropy_bits + 1e-9


def test_what_is_missing_and_rare_is_named() -> None:
    found = coverage([("zh", "ang1", "ang4"), ("i2", "k")], ("zh", "ang", "i", "m", "n"))
    assert found.missing == ("m", "n")
    assert found.least_covered(4) == [("m", 0), ("n", 0), ("zh", 1), ("i", 1)]
    assert found.diphones == Counter({("zh", "ang"): 1, ("ang", "ang"): 1})  # none across sentences, none with k
    assert found.tones == Counter({"1": 1, "4": 1, "2": 1})


def test_without_an_inventory_all_that_occurs_counts() -> None:
    found = coverage([("b", "a"), ("b",)])
    assert (found.missing, found.foreign, found.max_phoneme_entropy_bits) == ((), Counter(), 1.0)
    assert found.least_covered(1) == [("a", 1)]
    assert coverage([]).max_phoneme_entropy_bits == 0
