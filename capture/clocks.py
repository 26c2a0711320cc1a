"""Device clocks against each other and against the host's.

Arrival times on the host are late by a varying delay, never early: what is near the lower envelope is the clock.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

LEAST_PAIRS_FOR_RATE = 20
LEAST_SPAN_USEC = 1_000_000
MOST_RATE_PPM = 1000.0
UNKNOWN_RATE_PPM = 150.0  # of clocks nobody has measured; a slope less sure than this is no better than none
GROUP_SIZE, MOST_GROUPS, LEAST_GROUPS = 8, 300, 12
LEAST_EARLY_USEC, EARLY_PART = 100.0, 0.03


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

    def at(self, source_usec: float) -> float:
        """One source time on the target's clock."""
        return source_usec + self.offset_usec + self.rate * (source_usec - self.reference_usec)

    def source_usec(self, target_usec: float) -> float:
        """The source's clock at an instant of the target's."""
        since = target_usec - self.offset_usec - self.reference_usec  # small numbers keep their digits
        return self.reference_usec + since / (1.0 + self.rate)


def lower_envelope(times: HostTimes) -> ClockLine:
    """Host time (microseconds) of device time, from the arrivals with the least delay."""
    # differences first: nanoseconds since boot do not fit a double exactly, their differences to the first do
    first = int(times.host_nsec[0]) - int(times.device_usec[0]) * 1000
    since_usec = (times.device_usec - times.device_usec[0]).astype(np.float64)
    delay_usec = (times.host_nsec - first) / 1000.0 - times.device_usec
    group = np.arange(len(since_usec)) * min(len(since_usec) // GROUP_SIZE, MOST_GROUPS) // max(len(since_usec), 1)
    kept = without_early(since_usec, delay_usec, group=group)
    offset, rate = envelope_line(since_usec[kept], delay_usec[kept], middle_usec=float(since_usec[kept].mean()))
    if not _rate_is_known(since_usec[kept], delay_usec[kept] - offset - rate * since_usec[kept]):
        offset, rate = float(delay_usec[kept].min()), 0.0
    return ClockLine(float(times.device_usec[0]), offset + first / 1000.0, rate)


def _rate_is_known(since_usec: np.ndarray, late_usec: np.ndarray) -> bool:
    """Whether a slope is worth more than none: the least of n exponential delays is about their mean / n off."""
    if len(since_usec) < LEAST_PAIRS_FOR_RATE or np.ptp(since_usec) < LEAST_SPAN_USEC:
        return False
    unsure_usec = 2 * float(late_usec.mean()) / (len(since_usec) / 3)  # at either third of the span
    return unsure_usec / (float(np.ptp(since_usec)) * 2 / 3) < UNKNOWN_RATE_PPM * 1e-6


def envelope_line(
    since_usec: Float[np.ndarray, "n"], delay_usec: Float[np.ndarray, "n"], *, middle_usec: float
) -> tuple[float, float]:
    """Offset at zero and slope of the highest line below all points: the hull's edge over the middle of all points.

    Points in the order of time. Moon, Skelly, Towsley, "Estimation and removal of clock skew from network delay
    measurements" (1999): the most likely line where delays are exponential.
    """
    hull = lower_hull(list(zip(since_usec.tolist(), delay_usec.tolist(), strict=True)))
    if len(hull) < 2:
        return hull[0][1], 0.0
    right = next((i for i, point in enumerate(hull) if i and point[0] >= middle_usec), len(hull) - 1)
    (x0, y0), (x1, y1) = hull[right - 1], hull[right]
    rate = float(np.clip((y1 - y0) / (x1 - x0), -MOST_RATE_PPM * 1e-6, MOST_RATE_PPM * 1e-6))
    return float(np.min(delay_usec - rate * since_usec)), rate


def lower_hull(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Corners of the lower convex hull, left to right, of points in the order of time (monotone chain)."""
    hull: list[tuple[float, float]] = []
    for point in points:
        add_to_hull(hull, point)
    return hull


def add_to_hull(hull: list[tuple[float, float]], point: tuple[float, float]) -> None:
    """Puts a point, not left of the others, into a lower hull."""
    x, y = point
    if hull and hull[-1][0] == x:
        if hull[-1][1] <= y:
            return
        hull.pop()
    while len(hull) >= 2:
        (x0, y0), (x1, y1) = hull[-2], hull[-1]
        if (x1 - x0) * (y - y0) > (y1 - y0) * (x - x0):
            break
        hull.pop()
    hull.append(point)


def without_early(
    since_usec: Float[np.ndarray, "n"], delay_usec: Float[np.ndarray, "n"], *, group: Int[np.ndarray, "n"]
) -> Bool[np.ndarray, "n"]:
    """Which points may shape the envelope: nothing arrives early, so a few that did are wrong readings.

    `group` numbers neighbours in time, rising; the least delays of the groups say what is usual. Low points that
    more than EARLY_PART of the groups have are no accident, and stay.
    """
    all_of_them = np.ones(len(since_usec), dtype=bool)
    starts = np.flatnonzero(np.diff(group, prepend=group[:1] - 1))
    if len(starts) < LEAST_GROUPS:
        return all_of_them
    sizes = np.diff([*starts, len(group)])
    least = np.repeat(np.minimum.reduceat(delay_usec, starts), sizes) == delay_usec
    line = robust_line(since_usec[least], (since_usec + delay_usec)[least])
    over_usec = since_usec + delay_usec - line(since_usec)
    lows = np.minimum.reduceat(over_usec, starts)
    usual = float(np.median(lows))
    bound = usual - max(8 * 1.4826 * float(np.median(np.abs(lows - usual))), LEAST_EARLY_USEC)
    if (lows < bound).sum() > max(EARLY_PART * len(lows), 1):
        return all_of_them
    return over_usec >= bound


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
