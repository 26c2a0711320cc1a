"""The vertices of a sequence at a constant rate, which every layout but our own one takes for granted."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from mmface4d.errors import InputError, UsageError
from mmface4d.frame_rates import frames_at_rate, on_beat
from mmface4d.sequence import MeshSequence
from mmface4d.transforms import rotation_from_quaternion

Pose = Literal["world", "head"]


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

    Raises InputError where its rate or times cannot be, UsageError where the head's pose is asked for and not there.
    """
    if pose == "head" and not {"rotation", "translation"} <= sequence.arrays.keys():
        raise UsageError(f"{sequence.path} does not hold the head's pose", hint="export it with --pose world")
    rows, fps = on_beat(sequence)
    return Motion(sequence, fps, rows, pose)
