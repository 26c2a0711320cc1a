"""How often a growing choice of sentences says each phoneme and diphone, and what one more would do to the entropy."""

from collections.abc import Collection, Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from scipy.sparse import csr_array

from corpus.phonemes import toneless


class SoundCounts:
    """Counts of phonemes and of diphones; candidates are rows, and `bounds` are where strata of them begin and end."""

    def __init__(self, candidates: Sequence[Sequence[str]], *, inventory: Collection[str], bounds: list[int]) -> None:
        self.bounds = bounds
        self._channels = _channels(candidates, frozenset(inventory), bounds)

    def evenness_bits(self) -> float:
        """Entropy of phonemes plus entropy of diphones."""
        return sum(channel.entropy_bits for channel in self._channels)

    def evenness_after(self, row: int) -> float:
        """The evenness if a candidate came, exactly."""
        return sum(channel.entropy_after(row) for channel in self._channels)

    def ranks(self, stratum: int) -> Float[np.ndarray, "n_rows"]:
        """Nearly the evenness if each candidate of a stratum came, by the slope at the present counts."""
        return np.sum([channel.entropies_by_slope(stratum) for channel in self._channels], axis=0)

    def move(self, row: int, sign: int) -> None:
        """Adds a candidate to the counts (1), or takes it away (-1)."""
        for channel in self._channels:
            channel.move(row, sign)


class _Channel:
    """One kind of units: how often each candidate holds each, and how often the choice does."""

    def __init__(self, sequences: Sequence[Sequence[int]], n_units: int, bounds: list[int]) -> None:
        self.lengths = np.array([len(sequence) for sequence in sequences], float)
        ends = np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int64)
        units = np.fromiter((unit for sequence in sequences for unit in sequence), np.int32, int(ends[-1]))
        self.rows = csr_array((np.ones(len(units)), units, ends), shape=(len(sequences), n_units))
        self.rows.sum_duplicates()
        self.strata = [self.rows[start:end] for start, end in pairwise(bounds)]
        self.bounds = bounds
        self.counts = np.zeros(n_units)
        self.total = 0.0
        self.x_log_x = 0.0  # the sum over the counts

    @property
    def entropy_bits(self) -> float:
        return float(np.log2(self.total) - self.x_log_x / self.total) if self.total else 0.0

    def entropy_after(self, row: int) -> float:
        units, amounts = self._row(row)
        before = self.counts[units]
        total = max(self.total + self.lengths[row], 1.0)
        return float(np.log2(total) - (self.x_log_x + (_x_log_x(before + amounts) - _x_log_x(before)).sum()) / total)

    def entropies_by_slope(self, stratum: int) -> Float[np.ndarray, "n_rows"]:
        totals = np.maximum(self.total + self.lengths[self.bounds[stratum] : self.bounds[stratum + 1]], 1.0)
        slopes = _x_log_x(self.counts + 1) - _x_log_x(self.counts)
        return np.log2(totals) - (self.x_log_x + self.strata[stratum] @ slopes) / totals

    def move(self, row: int, sign: int) -> None:
        units, amounts = self._row(row)
        before = self.counts[units]
        self.counts[units] = before + sign * amounts
        self.total += sign * self.lengths[row]
        # counts are whole numbers, so this sum drifts by rounding only: 1e-9 bits after a million moves
        self.x_log_x += float((_x_log_x(self.counts[units]) - _x_log_x(before)).sum())

    def _row(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        span = slice(self.rows.indptr[row], self.rows.indptr[row + 1])
        return self.rows.indices[span], self.rows.data[span]


def _channels(candidates: Sequence[Sequence[str]], known: frozenset[str], bounds: list[int]) -> list[_Channel]:
    bare = [[toneless(unit) for unit in candidate] for candidate in candidates]
    units = sorted(known or {unit for candidate in bare for unit in candidate})
    numbers = {unit: number for number, unit in enumerate(units)}
    foreign = len(units)
    coded = [[numbers.get(unit, foreign) for unit in candidate] for candidate in bare]
    phonemes = [[unit for unit in candidate if unit < foreign] for candidate in coded]
    pairs = [
        [first * foreign + second for first, second in pairwise(candidate) if max(first, second) < foreign]
        for candidate in coded
    ]
    return [_Channel(phonemes, foreign, bounds), _Channel(pairs, foreign * foreign, bounds)]


def _x_log_x(counts: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    return counts * np.log2(np.maximum(counts, 1.0))
