"""Mesh sequences whose motion is known by construction."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np

from corpus.dataset.motion import Yardstick, yardstick
from corpus.dataset.regions import face_regions
from mmface4d.model_topology import model_topology
from mmface4d.sequence import write_sequence
from mmface4d.transforms import rigid, rotation_from_rotvec, transform

Offsets = Mapping[str, Callable[[float], tuple[float, float, float]]]
HEAD_TO_WORLD = rigid(np.diag([1.0, -1.0, -1.0]), np.array([0.02, 0.05, 0.7]))


@cache
def canonical() -> Yardstick:
    """What sequences of the built-in model are measured with."""
    return yardstick(face_regions(model_topology("canonical")))


def wave(axis: int, *, amplitude_mm: float, hertz: float) -> Callable[[float], tuple[float, float, float]]:
    """A sine along one axis."""

    def at(seconds: float) -> tuple[float, float, float]:
        offset = np.zeros(3)
        offset[axis] = 1e-3 * amplitude_mm * np.sin(2 * np.pi * hertz * seconds)
        return tuple(offset)

    return at


def nodding(seconds: float) -> np.ndarray:
    """A head that turns by degrees and moves by centimetres."""
    turn = np.array([0.15 * np.sin(5 * seconds), 0.2 * np.sin(3 * seconds), 0.1 * np.sin(7 * seconds)])
    return rigid(rotation_from_rotvec(turn), 0.02 * np.array([np.sin(4 * seconds), np.cos(3 * seconds), seconds]))


def write_face(
    path: Path, moves: Offsets, *, fps: float = 30.0, frames: int = 60,
    head: Callable[[float], np.ndarray] | None = None, status: np.ndarray | None = None,
    times: np.ndarray | None = None, model: str = "canonical", noise_mm: float = 0.0,
) -> Path:  # fmt: skip
    """The mean face; each region in `moves` is displaced as a whole, in the head frame."""
    by = canonical()
    codes = np.zeros(frames, np.uint8) if status is None else status.astype(np.uint8)
    at = np.arange(frames) / fps if times is None else times
    rng = np.random.default_rng(1)

    def frame(number: int) -> dict[str, np.ndarray]:
        seconds = float(at[number])
        vertices = by.regions.template.astype(np.float64)
        for region, move in moves.items():
            vertices[by.regions.mask(region)] += move(seconds)
        if head is not None:
            vertices = transform(head(seconds), vertices)
        vertices = transform(HEAD_TO_WORLD, vertices) + 1e-3 * noise_mm * rng.standard_normal(vertices.shape)
        return {
            "vertices": vertices.astype(np.float32),
            "timestamps_usec": np.array(round(1e6 * seconds)),
            "status": np.array(codes[number]),
        }

    faces = by.regions.faces.astype(np.int32)
    write_sequence(path, of_sequence={"faces": faces, "fps": fps, "model": model}, frame_count=frames, read_frame=frame)
    return path
