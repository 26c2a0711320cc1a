"""Frames at a rate: what a sequence's is, where its frames lie on an even beat, and where another rate has frames."""

import numpy as np
from jaxtyping import Float, Int

from mmface4d.errors import InputError
from mmface4d.sequence import MeshSequence

LEAST_FPS, MOST_FPS = 1.0, 1000.0  # of any recording
MOST_FRAMES = 1_000_000  # of a sequence
EXACT = 1e-6  # frames: nearer than this, two frames are at the same instant
IN_TIME = 0.25  # frames: by how much an instant may miss the beat and still count as on it
_HINT = "reconstruct the take again"

Rows = Float[np.ndarray, "n_frames"]


def frame_rate(sequence: MeshSequence) -> float:
    """Frames a second, by the file or else by its timestamps; raises InputError where neither says."""
    if not len(sequence):
        raise InputError(f"{sequence.path} has no frame", hint=_HINT)
    fps = sequence["fps"].item() if "fps" in sequence and sequence["fps"].size == 1 else 0.0
    if not (np.isfinite(fps) and fps > 0) and len(sequence) > 1:
        fps = 1e6 / max(float(np.median(np.diff(sequence.timestamps_usec))), 1e-6)
    if not LEAST_FPS <= fps <= MOST_FPS:
        raise InputError(f"{sequence.path} has no sensible rate: {fps:g} frames a second", hint=_HINT)
    return float(fps)


def on_beat(sequence: MeshSequence) -> tuple[Rows, float]:
    """The row that belongs to each frame of an even beat, which begins with the first row, and how fast it is.

    Halves lie between rows, where some are missing. Raises InputError where the rate is unknown, times do not increase,
    or they span more than any recording.
    """
    fps = frame_rate(sequence)
    try:
        return _rows_on_beat(sequence.timestamps_usec, fps), fps
    except ValueError as error:
        raise InputError(f"{sequence.path}: {error}", hint=_HINT) from error


def _rows_on_beat(times_usec: Int[np.ndarray, "n_rows"], fps: float) -> Rows:
    beats = (times_usec - times_usec[0]) * fps / 1e6
    if (np.diff(beats) <= 0).any():
        raise ValueError("its times do not increase")
    if beats[-1] > MOST_FRAMES:
        raise ValueError(f"its times span {beats[-1]:.0f} frames")
    count = round(float(beats[-1])) + 1
    index = np.arange(len(times_usec))
    if count == len(times_usec) and (np.abs(beats - index) <= IN_TIME).all():
        return index.astype(np.float64)
    rows = np.interp(np.arange(count), beats, index)
    nearest = np.clip(np.round(rows).astype(int), 0, len(times_usec) - 1)
    on_time = np.abs(beats[nearest] - np.arange(count)) <= IN_TIME
    return np.where(on_time, nearest, rows).astype(np.float64)


def frames_at_rate(n_frames: int, fps: float, *, target_fps: float) -> Float[np.ndarray, "n_target"]:
    """Where the frames at another rate lie among the first ones; a whole number where both rates have a frame.

    Frame k is at k / target_fps; the last one is not after the last of the first ones.
    """
    count = int(np.floor((n_frames - 1) * target_fps / fps + EXACT)) + 1
    places = np.arange(count) * (fps / target_fps)
    whole = np.round(places)
    return np.minimum(np.where(np.abs(places - whole) < EXACT, whole, places), n_frames - 1)
