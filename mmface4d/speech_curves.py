"""Curves of a speaking face: how neighbouring sounds share a mouth, how lips meet, pulses, blinks.

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


def pulses(times_s: Times, at_s: tuple[float, ...], *, width_s: float, heights: Float[np.ndarray, "n_pulses"]) -> Times:
    """The sum of smooth pulses (raised cosines) around some instants."""
    lag = (times_s[:, None] - np.array(at_s, dtype=float)) / width_s
    return np.where(np.abs(lag) < 0.5, 0.5 + 0.5 * np.cos(2 * np.pi * lag), 0.0) @ heights


def blinks(times_s: Times, at_s: tuple[float, ...]) -> Times:
    """How far the lids are closed, 0..1: quick down (90 ms), slower up (180 ms)."""
    lag = times_s[:, None] - np.array(at_s)
    phase = np.where(lag < 0, lag / 0.09, lag / 0.18)
    return np.where(np.abs(phase) < 1, 0.5 + 0.5 * np.cos(np.pi * phase), 0.0).max(1, initial=0.0)
