"""Offsets of a sequence, smoothed in time by how much each vertex moves and how noisy it is.

A vertex's offset is a random walk seen through noise. Both variances follow from how far offsets are apart after one
and after several frames (their differences grow with time by the walk alone), averaged over the vertex's surroundings.
A Kalman filter forward and Rauch-Tung-Striebel's recursion back then use every frame.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mmface4d.arrays import TimestampsUsec, Vertices
from reconstruct.topology import Topology

LAG = 4
SURVEYED = 400  # pairs of frames that the variances are taken from, at most
RINGS = 4  # of vertices that a vertex's variances are averaged over
FRAME_USEC = 1e6 / 30
LEAST_WALK, LEAST_NOISE = 1e-3, 0.02  # against the variance of one frame's difference

Read = Callable[[int], Vertices]


@dataclass(frozen=True)
class OffsetNoise:
    """Variances of each vertex, per axis, m^2."""

    walk: Float[np.ndarray, "n_verts"]  # of what an offset moves in 1/30 s
    seen: Float[np.ndarray, "n_verts"]  # of one frame's offset around the true one


def offset_noise(timestamps_usec: TimestampsUsec, read: Read, topology: Topology) -> OffsetNoise:
    """From pairs of frames one and LAG frames apart, spread over the sequence."""
    count = len(timestamps_usec)
    near, time_near = _apart(timestamps_usec, read, 1)
    far, time_far = _apart(timestamps_usec, read, min(LAG, count - 1))
    for _ in range(RINGS):
        near, far = near - topology.umbrella @ near, far - topology.umbrella @ far
    walk = (far - near) / (time_far - time_near) if time_far > time_near else LEAST_WALK * near
    walk = np.maximum(walk, LEAST_WALK * near) + 1e-16
    return OffsetNoise(walk, np.maximum((near - walk * time_near) / 2, LEAST_NOISE * near) + 1e-16)


def _apart(timestamps_usec: TimestampsUsec, read: Read, lag: int) -> tuple[Float[np.ndarray, "n_verts"], float]:
    """Mean squared difference per axis of offsets `lag` frames apart, and the mean time between them in 1/30 s."""
    first = np.unique(np.linspace(0, len(timestamps_usec) - 1 - lag, SURVEYED).astype(int))
    moved = np.mean([((read(i + lag) - read(i)) ** 2).mean(1) for i in first], 0)
    return moved, float((timestamps_usec[first + lag] - timestamps_usec[first]).mean() / FRAME_USEC)


class SmoothedOffsets:
    """The smoothed offsets of a sequence, kept in an unnamed file that vanishes with the process.

    `with SmoothedOffsets(...) as offsets: offsets[3]` gives those of a frame [N,3], head frame, before scale.
    """

    def __init__(self, timestamps_usec: TimestampsUsec, read: Read, *, noise: OffsetNoise, scratch: Path) -> None:
        self._steps, self._noise = np.diff(timestamps_usec) / FRAME_USEC, noise
        count, vertices = len(timestamps_usec), len(noise.walk)
        self._file = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115  (closed in __exit__)
        # x, y, z and the variance after the frame
        self._stored = np.memmap(self._file, np.float32, "w+", shape=(count, vertices, 4))
        self._filter(read)
        self._go_back()

    def __enter__(self) -> "SmoothedOffsets":
        return self

    def __exit__(self, *_: object) -> None:
        del self._stored
        self._file.close()

    def __getitem__(self, index: int) -> Vertices:
        return np.array(self._stored[index, :, :3], dtype=np.float64)

    def _filter(self, read: Read) -> None:
        mean, variance = read(0), self._noise.seen
        self._put(0, mean, variance)
        for index, step in enumerate(self._steps, start=1):
            predicted = variance + self._noise.walk * step
            gain = predicted / (predicted + self._noise.seen)
            mean = mean + gain[:, None] * (read(index) - mean)
            variance = (1 - gain) * predicted
            self._put(index, mean, variance)

    def _put(self, index: int, mean: Vertices, variance: np.ndarray) -> None:
        # square micrometres, so that single precision holds the smallest
        self._stored[index, :, :3], self._stored[index, :, 3] = mean, variance * 1e12

    def _go_back(self) -> None:
        after = self[len(self._steps)]
        for index in reversed(range(len(self._steps))):
            variance = self._stored[index, :, 3].astype(np.float64) * 1e-12
            gain = variance / (variance + self._noise.walk * self._steps[index])
            here = self[index]
            after = here + gain[:, None] * (after - here)
            self._stored[index, :, :3] = after
