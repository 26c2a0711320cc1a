"""Where a camera lost captures."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from mmface4d.take import Take

GAP_PERIODS = 1.5  # successive captures farther apart than this many frame periods have lost ones between them


@dataclass(frozen=True)
class Gap:
    """A stretch without captures between two that are there; `start_s` counts from the take's first frame."""

    start_s: float
    duration_ms: float
    lost: int


def present_frames(take: Take, serial: str) -> Bool[np.ndarray, "n_frames"]:
    """Which frames a camera has."""
    return np.array([usec is not None for usec in take.info.frames.color_usec[serial]], dtype=bool)


def camera_gaps(take: Take, serial: str) -> list[Gap]:
    """Gaps of a camera, in time; a late start and an early end are none."""
    times_usec = take.timestamps_usec[present_frames(take, serial)]
    steps_usec = np.diff(times_usec)
    period_usec = 1e6 / take.fps
    return [
        Gap(
            start_s=float(times_usec[index] - take.timestamps_usec[0]) / 1e6,
            duration_ms=float(steps_usec[index]) / 1e3,
            lost=round(float(steps_usec[index]) / period_usec) - 1,
        )
        for index in np.flatnonzero(steps_usec > GAP_PERIODS * period_usec)
    ]
