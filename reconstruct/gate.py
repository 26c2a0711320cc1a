"""Whether a frame's fit is of this face: figures against limits that follow what the sequence has shown so far.

A fit over a soft limit is doubted, and the frame is fitted anew; a fit over a hard limit is not used. Limits are
absolute until the first fits are accepted. Then they are multiples of the running median, so that a slipped track is
noticed at a residual that would be usual for a worse sensor, and an actor whom the model fits badly is not rejected as
a whole.
"""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from mmface4d.sequence import COVERAGE_FAILED, DEPTH_FAILED, LANDMARKS_FAILED
from reconstruct.quality import Quality

WINDOW = 90  # accepted frames that the medians are of: 3 s
LEAST_ACCEPTED = 3
CLEARLY_BETTER = 0.8


@dataclass(frozen=True)
class Limits:
    """What a fit must keep; of a figure that was not measured (NaN) only landmarks may be absent."""

    depth_residual_mm: float
    coverage: float
    landmark_residual_mm: float

    def failed(self, quality: Quality) -> int:
        """The criteria that are not met, as the bits of mmface4d.sequence.GATE."""
        depth_kept = quality.depth_residual_mm <= self.depth_residual_mm  # False for NaN
        return (
            (0 if depth_kept else DEPTH_FAILED)
            | (0 if quality.coverage >= self.coverage else COVERAGE_FAILED)
            | (LANDMARKS_FAILED if quality.landmark_residual_mm > self.landmark_residual_mm else 0)
        )

    def badness(self, quality: Quality) -> float:
        """The worst figure in units of its limit; infinite where nothing was measured."""
        if np.isnan(quality.depth_residual_mm):
            return float("inf")
        parts = [
            quality.depth_residual_mm / self.depth_residual_mm,
            (1 - quality.coverage) / (1 - self.coverage),
            quality.landmark_residual_mm / self.landmark_residual_mm,
        ]
        return float(np.nanmax(parts))


@dataclass(frozen=True)
class Rule:
    """Limits as factors of the medians, each held within absolute bounds."""

    depth_factor: float
    depth_mm: tuple[float, float]
    coverage_factor: float
    coverage: tuple[float, float]
    landmark_factor: float
    landmark_mm: tuple[float, float]

    def limits(self, usual: Quality | None) -> Limits:
        """Of the usual figures; the widest bounds where nothing is known yet."""
        if usual is None:
            return Limits(self.depth_mm[1], self.coverage[0], self.landmark_mm[1])
        landmark_mm = self.landmark_factor * usual.landmark_residual_mm
        return Limits(
            float(np.clip(self.depth_factor * usual.depth_residual_mm, *self.depth_mm)),
            float(np.clip(self.coverage_factor * usual.coverage, *self.coverage)),
            self.landmark_mm[1] if np.isnan(landmark_mm) else float(np.clip(landmark_mm, *self.landmark_mm)),
        )


# On ten recordings with known truth the largest figure of a sequence was 1.1 (depth) and 1.33 (landmarks) times its
# median, the least coverage 0.94 times; the lower bounds keep sequences of little noise from being doubted for nothing.
SOFT = Rule(1.5, (0.8, 4.0), 0.85, (0.25, 0.9), 2.0, (3.0, 15.0))
HARD = Rule(4.0, (2.0, 5.0), 0.35, (0.2, 0.3), 5.0, (8.0, 20.0))


@dataclass
class Gate:
    """Remembers the figures of accepted frames."""

    _accepted: deque[Quality] = field(default_factory=lambda: deque(maxlen=WINDOW))

    def accept(self, quality: Quality) -> None:
        """Takes a frame that was used into the medians."""
        self._accepted.append(quality)

    def usual(self) -> Quality | None:
        """Medians of the accepted frames; None where there are too few."""
        if len(self._accepted) < LEAST_ACCEPTED:
            return None
        columns = np.array([
            (q.depth_residual_mm, q.coverage, q.landmark_residual_px, q.landmark_residual_mm) for q in self._accepted
        ])  # fmt: skip
        known = np.isfinite(columns).any(0)
        medians = np.full(4, np.nan)
        medians[known] = np.nanmedian(columns[:, known], 0)
        return Quality(*medians.tolist())

    def doubts(self, quality: Quality) -> int:
        """Criteria beyond the soft limits."""
        return SOFT.limits(self.usual()).failed(quality)

    def rejects(self, quality: Quality) -> int:
        """Criteria beyond the hard limits."""
        return HARD.limits(self.usual()).failed(quality)

    def clearly_better(self, one: Quality, other: Quality) -> bool:
        """Whether `one` is nearer to the soft limits than `other` by a margin."""
        limits = SOFT.limits(self.usual())
        return limits.badness(one) < CLEARLY_BETTER * limits.badness(other)
