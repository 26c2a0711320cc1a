"""The vertices of a sequence at a constant rate, which every layout but our own one takes for granted."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from mmface4d.errors import InputError, UsageError
from mmface4d.frame_rates import frames_at_rate
from mmface4d.sequence import MeshSequence
from mmface4d.transforms import rotation_from_quaternion

Pose = Literal["world", "head"]
IN_TIME = 0.25  # frames: by how much an instant may miss the beat and still count as on it
MOST_FRAMES = 1_000_000


@dataclass(frozen=True)
class Motion:
    """Frames of a sequence on an even beat; frame k is at the row `rows[k]` of the sequence, halves lie between rows.

    `pose` "head" takes the head's own movement out, by the rotation and translation that the sequence holds.
    """

    sequence: MeshSequence
    fps: float
    rows: Float[np.ndarray, "n_frames"]
    pose: Pose = "world"

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Float[np.ndarray, "n_verts 3"]]:
        return (self[frame] for frame in range(len(self)))

    def __getitem__(self, frame: int) -> Float[np.ndarray, "n_verts 3"]:
        """float32, metres; a frame that is a row is that row bit by bit, others are linear between two."""
        row = float(self.rows[frame])
        before, weight = int(row), row - int(row)
        first = self._row(before)
        if weight == 0.0:
            return first
        return ((1.0 - weight) * first.astype(np.float64) + weight * self._row(before + 1)).astype(np.float32)

    @property
    def exact(self) -> bool:
        """Whether every frame is a row of the sequence, and every row a frame."""
        return bool(np.array_equal(self.rows, np.arange(len(self.sequence))))

    @property
    def start_usec(self) -> int:
        """The first frame on the master's clock."""
        return int(self.sequence.timestamps_usec[0])

    @property
    def duration_s(self) -> float:
        """To the end of the last frame."""
        return len(self) / self.fps

    def times_usec(self) -> Int[np.ndarray, "n_frames"]:
        """The beat on the master's clock."""
        return self.start_usec + np.round(np.arange(len(self)) * 1e6 / self.fps).astype(np.int64)

    def at(self, fps: float) -> "Motion":
        """The same at another rate: frame k at the time k / fps, linear between the frames that are there."""
        if fps == self.fps:
            return self
        rows = np.interp(frames_at_rate(len(self), self.fps, target_fps=fps), np.arange(len(self)), self.rows)
        whole = np.round(rows)
        return Motion(self.sequence, fps, np.where(np.abs(rows - whole) < 1e-6, whole, rows), self.pose)

    def _row(self, row: int) -> Float[np.ndarray, "n_verts 3"]:
        vertices = np.asarray(self.sequence.vertices[row], dtype=np.float32)
        if self.pose == "head":
            turn = rotation_from_quaternion(self.sequence["rotation"][row].astype(np.float64))
            vertices = ((vertices - self.sequence["translation"][row].astype(np.float64)) @ turn).astype(np.float32)
        if not np.isfinite(vertices).all():
            raise InputError(
                f"{self.sequence.path}: frame {row} has vertices that are no numbers", hint="reconstruct the take again"
            )
        return vertices


def steady_motion(sequence: MeshSequence, *, pose: Pose = "world") -> Motion:
    """The sequence at its own rate; instants that are missing are filled in between their neighbours.

    Raises InputError where its times do not increase, UsageError where the head's pose is asked for and not there.
    """
    if pose == "head" and not {"rotation", "translation"} <= sequence.arrays.keys():
        raise UsageError(f"{sequence.path} does not hold the head's pose", hint="export it with --pose world")
    if not len(sequence):
        raise InputError(f"{sequence.path} has no frame", hint="reconstruct the take again")
    fps = _rate(sequence)
    try:
        rows = rows_on_beat(sequence.timestamps_usec, fps)
    except ValueError as error:
        raise InputError(f"{sequence.path}: {error}", hint="reconstruct the take again") from error
    return Motion(sequence, fps, rows, pose)


def rows_on_beat(times_usec: Int[np.ndarray, "n_rows"], fps: float) -> Float[np.ndarray, "n_frames"]:
    """The row that belongs to each beat from the first instant on; halves lie between rows, where some are missing.

    Raises ValueError where times do not increase or span more than any recording.
    """
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


def _rate(sequence: MeshSequence) -> float:
    fps = float(sequence["fps"]) if "fps" in sequence and sequence["fps"].ndim == 0 else 0.0
    if not 1.0 <= fps <= 1000.0:
        raise InputError(f"{sequence.path} has no sensible rate: {fps:g} fps", hint="reconstruct the take again")
    return fps
