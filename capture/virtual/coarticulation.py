"""How neighbouring sounds share a mouth, and how lips meet.

After Cohen and Massaro, "Modeling coarticulation in synthetic visual speech" (1993): every sound has targets and a
dominance that falls off exponentially with time; a curve is the dominance-weighted mean of the targets.
"""

import numpy as np
from jaxtyping import Float

Times = Float[np.ndarray, "n_times"]
PerSound = Float[np.ndarray, "n_sounds"]


def outside_s(times_s: Times, begins_s: PerSound, ends_s: PerSound) -> Float[np.ndarray, "n_times n_sounds"]:
    """Seconds by which each instant lies outside of each interval; 0 within."""
    times_s = times_s[:, None]
    return np.maximum(np.maximum(begins_s - times_s, times_s - ends_s), 0.0)


def blend(
    times_s: Times, *, begins_s: PerSound, ends_s: PerSound, widths_s: PerSound,
    targets: Float[np.ndarray, "n_sounds n_parameters"], strengths: PerSound | None = None,
) -> Float[np.ndarray, "n_times n_parameters"]:  # fmt: skip
    """Curves through the targets; a sound dominates most between its begin and end, and e times less a width away."""
    weight = np.exp(-outside_s(times_s, begins_s, ends_s) / widths_s)
    weight = (weight if strengths is None else weight * strengths) + 1e-12
    return weight @ targets / weight.sum(1, keepdims=True)


def contact(times_s: Times, *, begins_s: PerSound, ends_s: PerSound, release_s: float = 0.032) -> Times:
    """How closed lips are, 0..1: exactly 1 within the intervals, nearly 1 about them, then quickly open."""
    if not len(begins_s):
        return np.zeros_like(times_s)
    nearest = outside_s(times_s, begins_s, ends_s).min(1)
    return np.exp(-((nearest / release_s) ** 4))
