"""The mesh file of an item: what of a sequence tells of the face's motion, and nothing of the place and day.

Cameras' serial numbers, the device's clock, calibration, the take's path, and the actor's colours stay in the lab.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Int16

from mmface4d.errors import InputError
from mmface4d.frame_rates import frame_rate
from mmface4d.npz import Streamed, in_blocks, write_npz
from mmface4d.sequence import MeshSequence

KEPT_PER_FRAME = (
    "expression", "rotation", "translation", "offset_rms", "depth_residual_mm", "coverage", "landmark_residual_px",
    "landmark_residual_mm", "status", "fit",
)  # fmt: skip
KEPT = ("identity", "scale", "smoothed", "depth_bias_mm")
LEVELS = 65_535
FITTED = (0, 1)  # of `mmface4d.sequence.STATUS`: all others were carried over from the frame before


@dataclass(frozen=True)
class Topology:
    """Which mesh a sequence has."""

    model: str
    model_hash: str
    faces_sha256: str
    vertex_count: int


@dataclass(frozen=True)
class MeshFacts:
    """What the index says of a mesh."""

    frames: int
    fps: float
    duration_s: float
    quality: float
    depth_residual_mm: float | None
    max_error_mm: float
    frame_gap_ms: float


def topology_of(sequence: MeshSequence) -> Topology:
    """The mesh that a sequence has; a model's name that is none is left out."""
    faces = hash_of_faces(sequence.faces)
    name, digest = (str(sequence[key]) if key in sequence else "" for key in ("model", "model_hash"))
    model = name if re.fullmatch(r"[A-Za-z0-9][\w.-]{0,63}", name) else "unknown"
    return Topology(model, digest, faces, sequence.vertices.shape[1])


def hash_of_faces(faces: np.ndarray) -> str:
    """Tells triangles apart, whatever integers they are stored in."""
    return hashlib.sha256(np.ascontiguousarray(faces, dtype="<i4").tobytes()).hexdigest()


def write_mesh(path: Path, sequence: MeshSequence, *, encoding: str) -> MeshFacts:
    """Writes the mesh file and returns what to say of it; raises InputError where the vertices are not finite."""
    fps = frame_rate(sequence)
    time_usec = sequence.timestamps_usec - sequence.timestamps_usec[0]
    vertices, max_error_mm = _quantised(sequence) if encoding == "int16" else _as_they_are(sequence)
    kept = {name: sequence[name] for name in (*KEPT_PER_FRAME, *KEPT) if name in sequence}
    write_npz(path, {**vertices, "time_usec": time_usec.astype("<i8"), "fps": np.float64(fps), **kept})
    return _facts(sequence, time_usec, fps=fps, max_error_mm=max_error_mm)


def _facts(sequence: MeshSequence, time_usec: np.ndarray, *, fps: float, max_error_mm: float) -> MeshFacts:
    frames = len(sequence)
    status = sequence["status"] if "status" in sequence else np.zeros(frames)
    residual = sequence["depth_residual_mm"] if "depth_residual_mm" in sequence else np.full(frames, np.nan)
    gap = np.abs(time_usec / 1e3 - np.arange(frames) * 1e3 / fps).max()
    return MeshFacts(
        frames=frames,
        fps=fps,
        duration_s=round(float(time_usec[-1]) / 1e6 + 1 / fps, 6),
        quality=round(float(np.isin(status, FITTED).mean()), 6),
        depth_residual_mm=round(float(np.nanmedian(residual)), 4) if np.isfinite(residual).any() else None,
        max_error_mm=max_error_mm,
        frame_gap_ms=round(float(gap), 3),
    )


def _as_they_are(sequence: MeshSequence) -> tuple[dict[str, object], float]:
    _extent(sequence)
    return {"vertices": Streamed(sequence.vertices.shape, "<f4", in_blocks(sequence.vertices))}, 0.0


def _quantised(sequence: MeshSequence) -> tuple[dict[str, object], float]:
    """Vertices in 65 536 steps of each axis' range over the sequence, and the largest error that was measured."""
    low, high = _extent(sequence)
    offset = ((low + high) / 2).astype(np.float32)
    # half a step of room at both ends, because the offset was rounded
    step = (np.maximum(high - low, 1e-6) / (LEVELS - 1)).astype(np.float32)
    worst = 0.0
    for block in in_blocks(sequence.vertices):
        found = dequantised(quantised(block, offset, step), offset, step)
        worst = max(worst, float(np.abs(found.astype(np.float64) - block).max()))
    blocks = (quantised(block, offset, step) for block in in_blocks(sequence.vertices))
    error_mm = float(np.ceil(worst * 1e3 * 1e6) / 1e6)  # never told smaller than it is
    stored = Streamed(sequence.vertices.shape, "<i2", blocks)
    return {
        "vertices_int16": stored,
        "offset_m": offset,
        "step_m": step,
        "max_error_mm": np.float64(error_mm),
    }, error_mm


def quantised(
    vertices: Float[np.ndarray, "n_frames n_verts 3"],
    offset_m: Float32[np.ndarray, "3"],
    step_m: Float32[np.ndarray, "3"],
) -> Int16[np.ndarray, "n_frames n_verts 3"]:
    """The nearest steps."""
    steps = np.rint((vertices.astype(np.float64) - offset_m) / step_m)
    return np.clip(steps, -LEVELS // 2, LEVELS // 2).astype(np.int16)


def dequantised(
    steps: Int16[np.ndarray, "n_frames n_verts 3"], offset_m: Float32[np.ndarray, "3"], step_m: Float32[np.ndarray, "3"]
) -> Float32[np.ndarray, "n_frames n_verts 3"]:
    """Metres, from what `quantised` gives."""
    return (steps.astype(np.float64) * step_m + offset_m).astype(np.float32)


def _extent(sequence: MeshSequence) -> tuple[np.ndarray, np.ndarray]:
    ends = [(block.min((0, 1)), block.max((0, 1))) for block in in_blocks(sequence.vertices)]
    low, high = np.min([end[0] for end in ends], axis=0), np.max([end[1] for end in ends], axis=0)
    if not np.isfinite(low).all() or not np.isfinite(high).all():
        raise InputError(f"{sequence.path} has vertices that are no numbers", hint="reconstruct the take again")
    return low.astype(np.float64), high.astype(np.float64)
