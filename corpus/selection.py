"""Which sentences make a corpus: those that together say every sound, and every pair of sounds, as evenly as possible.

The evenness of a choice is the entropy of its phonemes plus that of its diphones, in bits, tones left out. It is
raised greedily, a sentence at a time; then every chosen sentence is exchanged for a better one where there is one.
Candidates are ranked by the slope of the entropies, which is one product with a sparse matrix; the best of them are
then weighed exactly.

Entropy does not ask how much is said, and a few words of rare sounds have more of it than any long sentence. So that
the choice is as long as what it is chosen from, candidates are sorted by length into strata, and each stratum gives
its share.
"""

from collections.abc import Collection, Sequence

import numpy as np

from corpus.coverage import coverage
from corpus.sound_counts import SoundCounts

WEIGHED = 32  # candidates that are weighed exactly in each step; twice as many gain nothing measurable
STRATA, SMALLEST_SHARE = 8, 4
SWEEPS = 1
SMALLEST_GAIN_BITS = 1e-9


def select(
    candidates: Sequence[tuple[str, ...]],
    size: int,
    *,
    seed: int,
    inventory: Collection[str] = (),
    strata: int = STRATA,
    sweeps: int = SWEEPS,
) -> list[int]:
    """The numbers of `size` candidates, ascending; all of them where there are not more.

    Candidates are phonemes in speaking order. Only units of the inventory count, where there is one, so that nothing
    is gained by sounds of other languages. `seed` decides among equals; `strata` is in how many classes of length
    the candidates are at most, `sweeps` how many times every chosen one is put to the test.
    """
    if size >= len(candidates):
        return list(range(len(candidates)))
    order = np.random.default_rng(seed).permutation(len(candidates))
    order = order[np.argsort([len(candidates[number]) for number in order], kind="stable")]
    strata = max(1, min(strata, size // SMALLEST_SHARE))
    bounds = [round(share * len(order) / strata) for share in range(strata + 1)]
    choice = SoundCounts([candidates[number] for number in order], inventory=inventory, bounds=bounds)
    chosen = _grow(choice, size)
    for _ in range(sweeps):
        if _exchange(choice, chosen) < SMALLEST_GAIN_BITS:
            break
    return sorted(int(order[row]) for row in np.flatnonzero(chosen))


def evenness_bits(candidates: Sequence[tuple[str, ...]], *, inventory: Collection[str] = ()) -> float:
    """What `select` maximises, of all candidates together: entropy of phonemes plus entropy of diphones."""
    found = coverage(candidates, inventory)
    return found.phoneme_entropy_bits + found.diphone_entropy_bits


def _grow(choice: SoundCounts, size: int) -> np.ndarray:
    """Takes `size` candidates in, from every stratum its share, all strata side by side."""
    chosen = np.zeros(choice.bounds[-1], bool)
    widths = np.diff(choice.bounds)
    taken = np.zeros(len(widths))
    for count in range(1, size + 1):
        behind = np.where(taken < widths, widths * count / widths.sum() - taken, -np.inf)
        stratum = int(np.argmax(behind))
        row = _best(choice, chosen, stratum)
        choice.move(row, 1)
        chosen[row] = True
        taken[stratum] += 1
    return chosen


def _exchange(choice: SoundCounts, chosen: np.ndarray) -> float:
    """Puts every chosen candidate to the test against the best of its stratum; returns the gain in bits."""
    start = choice.evenness_bits()
    for leaving in np.flatnonzero(chosen).tolist():
        stratum = int(np.searchsorted(choice.bounds, leaving, side="right")) - 1
        before = choice.evenness_bits()
        choice.move(leaving, -1)
        chosen[leaving] = False
        arriving = _best(choice, chosen, stratum)
        if choice.evenness_after(arriving) <= before + SMALLEST_GAIN_BITS:
            arriving = leaving
        choice.move(arriving, 1)
        chosen[arriving] = True
    return choice.evenness_bits() - start


def _best(choice: SoundCounts, chosen: np.ndarray, stratum: int) -> int:
    """The candidate of a stratum, not yet chosen, whose coming leaves the most evenness."""
    start, end = choice.bounds[stratum : stratum + 2]
    ranks = np.where(chosen[start:end], -np.inf, choice.ranks(stratum))
    number = min(WEIGHED, int((~chosen[start:end]).sum()))
    rows = (start + np.sort(np.argpartition(-ranks, number - 1)[:number])).tolist()
    return max(rows, key=choice.evenness_after)
