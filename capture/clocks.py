"""Device clocks against each other and against the host's.

Arrival times on the host are late by a varying delay, never early: what is near the lower envelope is the clock.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

LEAST_PAIRS_FOR_RATE = 20
LEAST_SPAN_USEC = 1_000_000
MOST_RATE_PPM = 1000.0


@dataclass(frozen=True)
class HostTimes:
    """Arrival of captures on the host: device time in microseconds, monotonic host time in nanoseconds."""

    device_usec: Int[np.ndarray, "n"]
    host_nsec: Int[np.ndarray, "n"]


@dataclass(frozen=True)
class ClockLine:
    """target_usec = source_usec + offset_usec + rate (source_usec - reference_usec)."""

    reference_usec: float
    offset_usec: float
    rate: float

    def __call__(self, source_usec: np.ndarray) -> Float[np.ndarray, "n"]:
        """Source times on the target's clock."""
        source = np.asarray(source_usec, dtype=np.float64)
        return source + self.offset_usec + self.rate * (source - self.reference_usec)


def lower_envelope(times: HostTimes) -> ClockLine:
    """Host time (microseconds) of device time, from the arrivals with the least delay."""
    device = times.device_usec.astype(np.float64)
    # differences first: nanoseconds since boot do not fit a double exactly, their differences to the first do
    first = int(times.host_nsec[0]) - int(times.device_usec[0]) * 1000
    delay_usec = (times.host_nsec - first) / 1000.0 - device
    reference = float(device[0])
    rate = _rate(device - reference, delay_usec)
    offset = float(np.min(delay_usec - rate * (device - reference)))
    return ClockLine(reference, offset + first / 1000.0, rate)


def _rate(since_usec: np.ndarray, delay_usec: np.ndarray) -> float:
    """Slope of the lower envelope: a line through the least delays of the first and the last part."""
    span = float(since_usec[-1] - since_usec[0]) if len(since_usec) else 0.0
    if len(since_usec) < LEAST_PAIRS_FOR_RATE or span < 10 * LEAST_SPAN_USEC:
        return 0.0
    third = max(len(since_usec) // 3, 1)
    early, late = int(delay_usec[:third].argmin()), len(since_usec) - third + int(delay_usec[-third:].argmin())
    rate = (delay_usec[late] - delay_usec[early]) / (since_usec[late] - since_usec[early])
    return float(np.clip(rate, -MOST_RATE_PPM * 1e-6, MOST_RATE_PPM * 1e-6))


def robust_line(source_usec: np.ndarray, target_usec: np.ndarray) -> ClockLine:
    """The line through pairs of times, by least squares with outliers weighed down (Cauchy); few pairs: offset only."""
    source = np.asarray(source_usec, dtype=np.float64)
    gap = np.asarray(target_usec, dtype=np.float64) - source
    reference = float(source.mean())
    offset, rate = float(np.median(gap)), 0.0
    if len(source) < LEAST_PAIRS_FOR_RATE or np.ptp(source) < LEAST_SPAN_USEC:
        return ClockLine(reference, offset, rate)
    since = source - reference
    for _ in range(20):
        residual = gap - offset - rate * since
        spread = max(1.4826 * float(np.median(np.abs(residual))), 1.0)
        weight = 1.0 / (1.0 + (residual / (2.5 * spread)) ** 2)
        mean_since, mean_gap = np.average(since, weights=weight), np.average(gap, weights=weight)
        rate = float(
            (weight * (since - mean_since) * (gap - mean_gap)).sum() / (weight * (since - mean_since) ** 2).sum()
        )
        offset = float(mean_gap - rate * mean_since)
    return ClockLine(reference, offset, rate)
