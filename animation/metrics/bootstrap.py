"""How sure a mean over a few sequences is: percentile bootstrap intervals."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from animation.metrics.errors import Share
from mmface4d.errors import InputError

LEVEL = 0.95
RESAMPLES = 2000
LEAST = 3  # sequences or people; fewer say nothing about others


def bootstrap(
    shares: Sequence[Share], *, groups: Sequence[str] | None = None, level: float = LEVEL, resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float] | None:  # fmt: skip
    """The interval in which the pooled mean of other sequences like these lies; None where there are fewer than 3.

    Sequences are drawn with replacement, or all sequences of a group together: one person's sequences resemble each
    other, so that the interval over people is the wider one.
    """
    if not 0 < level < 1 or resamples < 1:
        raise InputError(f"no interval of level {level} from {resamples} resamples", hint="0.95 and 2000 are usual")
    totals, weights = _grouped(shares, groups)
    if len(totals) < LEAST:
        return None
    return _quantiles(_resampled(totals, weights, resamples=resamples, seed=seed), level)


def bootstrap_change(
    ours: Sequence[Share], theirs: Sequence[Share], *, level: float = LEVEL, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float] | None:
    """The interval of ours / theirs - 1 where both measured the same sequences in the same order, drawn in pairs."""
    if len(ours) != len(theirs):
        raise InputError(f"{len(ours)} and {len(theirs)} sequences are no pairs", hint="measure both on the same ones")
    if len(ours) < LEAST:
        return None
    over = [
        _resampled(*_grouped(each, None), resamples=resamples, seed=seed)  # the same seed draws the same sequences
        for each in (ours, theirs)
    ]
    return _quantiles(_ratio(*over) - 1, level)


def _grouped(shares: Sequence[Share], groups: Sequence[str] | None) -> tuple[np.ndarray, np.ndarray]:
    totals, weights = (np.array([getattr(share, name) for share in shares]) for name in ("total", "weight"))
    if groups is None:
        return totals, weights
    member = np.unique(np.array(groups), return_inverse=True)[1]
    return np.bincount(member, totals), np.bincount(member, weights)


def _resampled(
    totals: np.ndarray, weights: np.ndarray, *, resamples: int, seed: int
) -> Float[np.ndarray, "n_resamples"]:
    """NaN for a resample of nothing that has weight."""
    drawn = _drawn(len(totals), resamples, seed)
    return _ratio(drawn @ totals, drawn @ weights)


def _ratio(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    return np.divide(over, under, out=np.full_like(under, np.nan), where=under != 0)


@lru_cache(maxsize=4)  # every metric of a report draws the same sequences
def _drawn(count: int, resamples: int, seed: int) -> Float[np.ndarray, "n_resamples n_drawn"]:
    """How often each of `count` is drawn, in each resample."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(count, np.full(count, 1 / count), size=resamples).astype(np.float64)


def _quantiles(values: np.ndarray, level: float) -> tuple[float, float]:
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
