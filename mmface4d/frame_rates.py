"""Frames at one rate, seen from another."""

import numpy as np
from jaxtyping import Float

EXACT = 1e-6  # frames: nearer than this, two frames are at the same instant


def frames_at_rate(n_frames: int, fps: float, *, target_fps: float) -> Float[np.ndarray, "n_target"]:
    """Where the frames at another rate lie among the first ones; a whole number where both rates have a frame.

    Frame k is at k / target_fps; the last one is not after the last of the first ones.
    """
    count = int(np.floor((n_frames - 1) * target_fps / fps + EXACT)) + 1
    places = np.arange(count) * (fps / target_fps)
    whole = np.round(places)
    return np.minimum(np.where(np.abs(places - whole) < EXACT, whole, places), n_frames - 1)
