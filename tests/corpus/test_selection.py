"""The choice is better than chance, the same every time, and cannot be bettered by an exchange."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpus.coverage import coverage
from corpus.phonemes import inventory, phonemise
from corpus.selection import evenness_bits, select
from corpus.sound_counts import SoundCounts
from corpus.sources import read_sources
from corpus.starter import starter_files

Candidates = list[tuple[str, ...]]
SENTENCES = st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=12).map(tuple), min_size=1, max_size=24)


def zipf_candidates(seed: int, number: int = 240) -> Candidates:
    """Sentences of 5 to 60 sounds, some of which are a hundred times as frequent as others, as in a language."""
    random = np.random.default_rng(seed)
    units = np.array([f"u{unit}" for unit in range(40)])
    share = 1 / np.arange(1, 41)
    return [tuple(random.choice(units, random.integers(5, 60), p=share / share.sum())) for _ in range(number)]


@pytest.fixture(scope="module", params=["zh", "en"])
def starter(request: pytest.FixtureRequest) -> tuple[str, Candidates]:
    pytest.importorskip("pypinyin" if request.param == "zh" else "espeakng_loader")
    texts = [line.text for line in read_sources(starter_files()) if line.language == request.param]
    return request.param, phonemise(texts, request.param)


def best_of_chance(candidates: Candidates, size: int, *, units: tuple[str, ...] = (), seeds: int = 12) -> float:
    numbers = [np.random.default_rng(seed).choice(len(candidates), size, replace=False) for seed in range(seeds)]
    return max(evenness_bits([candidates[number] for number in choice], inventory=units) for choice in numbers)


@pytest.mark.parametrize("size", [5, 80])
def test_no_chance_does_better_on_real_sentences(starter: tuple[str, Candidates], size: int) -> None:
    language, candidates = starter
    units = inventory(language)
    chosen = [candidates[number] for number in select(candidates, size, seed=size, inventory=units)]
    assert evenness_bits(chosen, inventory=units) > best_of_chance(candidates, size, units=units)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [1, 7, 60])
def test_no_chance_does_better_on_made_up_ones(seed: int, size: int) -> None:
    candidates = zipf_candidates(seed)
    chosen = [candidates[number] for number in select(candidates, size, seed=seed)]
    assert evenness_bits(chosen) >= best_of_chance(candidates, size)


@pytest.mark.parametrize("size", [120])
def test_both_entropies_are_raised_and_lengths_are_kept(starter: tuple[str, Candidates], size: int) -> None:
    language, candidates = starter
    chosen = [candidates[number] for number in select(candidates, size, seed=0, inventory=inventory(language))]
    before, after = (coverage(each, inventory(language)) for each in (candidates, chosen))
    assert after.phoneme_entropy_bits > before.phoneme_entropy_bits + 0.05
    assert np.mean(list(map(len, chosen))) == pytest.approx(np.mean(list(map(len, candidates))), rel=0.05)


@given(SENTENCES, st.integers(0, 30), st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_a_choice_is_a_set_of_the_size_asked_for_and_repeatable(candidates: Candidates, size: int, seed: int) -> None:
    chosen = select(candidates, size, seed=seed)
    assert len(chosen) == min(size, len(candidates))
    assert chosen == sorted(set(chosen))
    assert all(0 <= number < len(candidates) for number in chosen)
    assert select(candidates, size, seed=seed) == chosen


@given(SENTENCES.filter(lambda candidates: len(candidates) > 1), st.integers(1, 20), st.integers(0, 5))
@settings(max_examples=25, deadline=None)
def test_no_exchange_betters_a_finished_choice(candidates: Candidates, size: int, seed: int) -> None:
    size = min(size, len(candidates) - 1)
    chosen = select(candidates, size, seed=seed, strata=1, sweeps=50)
    reached = evenness_bits([candidates[number] for number in chosen])
    for leaving in chosen:
        for arriving in set(range(len(candidates))) - set(chosen):
            exchanged = {*chosen, arriving} - {leaving}
            assert evenness_bits([candidates[number] for number in exchanged]) <= reached + 1e-6


@pytest.mark.parametrize("seed", range(2))
def test_exchanges_never_lower_the_evenness(seed: int) -> None:
    candidates = zipf_candidates(seed)
    reached = [
        evenness_bits([candidates[number] for number in select(candidates, 30, seed=seed, sweeps=sweeps)])
        for sweeps in range(3)
    ]
    assert reached == sorted(reached)


def test_sounds_of_other_languages_gain_nothing() -> None:
    candidates = [("a", "b"), ("b", "a"), ("x", "y"), ("z", "w")]
    assert select(candidates, 2, seed=0, inventory=("a", "b")) == [0, 1]


def test_counts_are_what_was_moved() -> None:
    """Adding candidates and taking them away leaves no trace."""
    candidates = zipf_candidates(0, 50)
    counts = SoundCounts(candidates, inventory=(), bounds=[0, 50])
    counts.move(7, 1)
    alone = counts.evenness_bits()
    for row in [*range(7), *range(8, 50)] * 5:
        counts.move(row, 1)
        counts.move(row, -1)
    assert counts.evenness_bits() == pytest.approx(alone, abs=1e-9)
    assert counts.evenness_after(3) == pytest.approx(evenness_bits([candidates[7], candidates[3]]))
    # one more sound of a kind is what the slope stands for, so short sentences are ranked exactly
    single = SoundCounts([("a",), ("b",), ("a", "b")], inventory=(), bounds=[0, 2, 3])
    single.move(0, 1)
    assert single.ranks(0) == pytest.approx([single.evenness_after(0), single.evenness_after(1)])
