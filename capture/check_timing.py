"""Whether the cameras of a take exposed when they should have."""

import numpy as np
from jaxtyping import Float

from capture.clocks import ClockLine
from mmface4d.take import Take


def on_master_clock(take: Take, serial: str, device_usec: np.ndarray) -> Float[np.ndarray, "n_times"]:
    """Device times of a camera on the master's clock."""
    clock = take.info.clocks.get(serial)
    if clock is None:
        return device_usec.astype(np.float64)
    return ClockLine(clock.reference_usec, clock.offset_usec, clock.rate_ppm * 1e-6)(device_usec)


def laser_gaps_usec(take: Take) -> Float[np.ndarray, "n_compared"]:
    """The least time between two cameras' depth exposures, of every frame that two or more cameras have."""
    exposures = np.full((len(take.cameras), len(take)), np.nan)
    for row, serial in enumerate(take.cameras):
        column = take.info.frames.depth_usec[serial]
        there = np.array([usec is not None for usec in column], dtype=bool)
        device_usec = np.array([usec for usec in column if usec is not None], dtype=np.int64)
        exposures[row, there] = on_master_clock(take, serial, device_usec)
    gaps = np.diff(np.sort(exposures, axis=0), axis=0)  # NaN goes last
    compared = np.isfinite(gaps).any(axis=0)
    return np.nanmin(gaps[:, compared], axis=0) if compared.any() else np.empty(0)
