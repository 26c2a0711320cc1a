"""A reconstruction measured against a known truth, in millimetres.

A sequence is aligned to the truth once, by one rigid motion for all its frames; aligning every frame would hide errors.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from mmface4d.arrays import Faces, Points, TimestampsUsec, Transform, Vertices
from mmface4d.errors import InputError
from mmface4d.rig_calibration import RigCalibration
from mmface4d.transforms import invert, rigid, rotation_angle_deg, rotation_from_rotvec, transform

SAMPLES = 4000  # points on the true surface
ALIGN_FRAMES, ALIGN_SAMPLES = 30, 1000
ALIGN_ITERATIONS, ALIGN_KEEP = 30, 0.9
CONVERGED = 1e-7  # radians and metres
MATCH_USEC = 8000  # half a frame at 60 fps


@dataclass(frozen=True)
class Truth:
    """The true surface over time; only triangles with all corners in `scored` count."""

    vertices: Float[np.ndarray, "n_frames n_verts 3"]
    faces: Faces
    scored: Bool[np.ndarray, "n_verts"]
    timestamps_usec: TimestampsUsec


@dataclass(frozen=True)
class Spread:
    """Mean and tail of distances, millimetres."""

    mean: float
    median: float
    p95: float


@dataclass(frozen=True)
class SequenceScore:
    """Errors of a sequence after one rigid alignment.

    `surface_mm`: true points to the nearest reconstructed surface. `tracking_mm`: true points attached to the
    reconstruction on the first frame, and where the reconstruction has carried them since.
    """

    frames: int
    surface_mm: Spread
    tracking_mm: Spread
    alignment_deg: float
    alignment_mm: float

    def to_json(self) -> dict[str, Any]:
        """Plain numbers."""
        return asdict(self)


@dataclass(frozen=True)
class PoseError:
    """Error of a camera's pose; `face_mm` is how far it displaces a point of the face."""

    rotation_deg: float
    face_mm: float


class _Surface:
    """Closest points on one frame of a mesh."""

    def __init__(self, vertices: Vertices, faces: Faces) -> None:
        import open3d as o3d

        self._scene = o3d.t.geometry.RaycastingScene()
        # copies, because Open3D refuses the unaligned memory of a mapped file
        self._scene.add_triangles(np.array(vertices, np.float32), np.array(faces, np.uint32))

    def closest(self, points: Points) -> dict[str, np.ndarray]:
        """Nearest points, their triangles, barycentric coordinates and the triangles' normals."""
        answer = self._scene.compute_closest_points(points.astype(np.float32))
        return {
            name: answer[name].numpy() for name in ("points", "primitive_ids", "primitive_uvs", "primitive_normals")
        }


def score_sequence(
    truth: Truth, vertices: Float[np.ndarray, "n_other n_other_verts 3"], faces: Faces,
    *, timestamps_usec: TimestampsUsec, seed: int = 0,
) -> SequenceScore:  # fmt: skip
    """How far a mesh sequence is from the truth, at the instants that both have.

    Raises InputError where they have none in common.
    """
    pairs = _pairs(truth.timestamps_usec, timestamps_usec)
    if not len(pairs):
        raise InputError("no frame of the sequence is at an instant of the truth", hint="compare sequences of one take")
    corners, weights = _samples(truth, np.random.default_rng(seed))
    clouds = [_on(truth.vertices[frame], corners, weights) for frame, _ in pairs]
    surfaces = [_Surface(vertices[frame], faces) for _, frame in pairs]
    target_from_truth = _align(surfaces, clouds)
    moved = [transform(target_from_truth, cloud) for cloud in clouds]
    found = [surface.closest(cloud)["points"] for surface, cloud in zip(surfaces, moved, strict=True)]
    first = surfaces[0].closest(moved[0])
    carried_corners, carried_weights = faces[first["primitive_ids"]], _barycentric(first["primitive_uvs"])
    carried = [_on(vertices[frame], carried_corners, carried_weights) for _, frame in pairs]
    return SequenceScore(
        frames=len(pairs),
        surface_mm=_spread(np.stack(found) - np.stack(moved)),
        tracking_mm=_spread(np.stack(carried) - np.stack(moved)),
        alignment_deg=rotation_angle_deg(target_from_truth[:3, :3]),
        alignment_mm=float(np.linalg.norm((moved[0] - clouds[0]).mean(0)) * 1000),
    )


def score_poses(
    calibration: RigCalibration, truth: RigCalibration, *, point_in_world: Float[np.ndarray, "3"]
) -> dict[str, PoseError]:
    """Errors of the poses by serial, for a point on the face in the master's frame.

    Raises InputError where a camera of the truth is missing.
    """
    missing = sorted(set(truth.world_from_camera) - set(calibration.world_from_camera))
    if missing:
        raise InputError(f"the calibration lacks camera {', '.join(missing)}", hint="calibrate with all cameras")
    errors = {}
    for serial, true_pose in truth.world_from_camera.items():
        moved_from_true = calibration.world_from_camera[serial] @ invert(true_pose)
        displaced = transform(moved_from_true, point_in_world) - point_in_world
        errors[serial] = PoseError(rotation_angle_deg(moved_from_true[:3, :3]), float(np.linalg.norm(displaced) * 1000))
    return errors


def _pairs(true_usec: TimestampsUsec, other_usec: Int[np.ndarray, "n_other"]) -> Int[np.ndarray, "n_pairs 2"]:
    """Frames of both at the same instant: (of the truth, of the other)."""
    apart = np.abs(true_usec[:, None] - other_usec[None])
    nearest = apart.argmin(0)
    common = np.flatnonzero(apart.min(0) <= MATCH_USEC)
    return np.stack([nearest[common], common], 1)


def _samples(truth: Truth, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Corners [n,3] and weights [n,3] of points spread evenly over the scored surface."""
    faces = truth.faces[truth.scored[truth.faces].all(1)]
    a, b, c = (truth.vertices[0][faces[:, corner]].astype(float) for corner in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    chosen = rng.choice(len(faces), SAMPLES, p=area / area.sum())
    u, v = np.sqrt(rng.random(SAMPLES)), rng.random(SAMPLES)
    return faces[chosen], np.stack([1 - u, u * (1 - v), u * v], 1)


def _barycentric(uv: np.ndarray) -> np.ndarray:
    return np.concatenate([1 - uv.sum(1, keepdims=True), uv], 1)


def _on(vertices: Vertices, corners: np.ndarray, weights: np.ndarray) -> Points:
    return np.einsum("nk,nkc->nc", weights, vertices[corners].astype(float))


def _align(surfaces: list[_Surface], clouds: list[np.ndarray]) -> Transform:
    """One rigid motion of all clouds onto their surfaces: trimmed point-to-plane ICP over a spread of the frames."""
    some = np.unique(np.linspace(0, len(clouds) - 1, ALIGN_FRAMES).astype(int))
    every = max(1, SAMPLES // ALIGN_SAMPLES)
    target_from_truth = np.eye(4)
    for _ in range(ALIGN_ITERATIONS):
        step = _icp_step([(surfaces[i], transform(target_from_truth, clouds[i][::every])) for i in some])
        target_from_truth = rigid(rotation_from_rotvec(step[:3]), step[3:]) @ target_from_truth
        if np.abs(step).max() < CONVERGED:
            break
    return target_from_truth


def _icp_step(pairs: list[tuple[_Surface, np.ndarray]]) -> Float[np.ndarray, "6"]:
    """Rotation vector and shift that bring points nearer to the planes of their closest triangles."""
    rows, gaps = [], []
    for surface, points in pairs:
        found = surface.closest(points)
        offset, normal = found["points"] - points, found["primitive_normals"].astype(float)
        distance = np.linalg.norm(offset, axis=1)
        near = distance <= np.quantile(distance, ALIGN_KEEP)
        rows.append(np.concatenate([np.cross(points, normal), normal], 1)[near])
        gaps.append((offset * normal).sum(1)[near])
    return np.linalg.lstsq(np.concatenate(rows), np.concatenate(gaps), rcond=None)[0]


def _spread(offsets_m: Float[np.ndarray, "n_frames n_points 3"]) -> Spread:
    mm = np.linalg.norm(offsets_m, axis=-1) * 1000
    return Spread(float(mm.mean()), float(np.median(mm)), float(np.percentile(mm, 95)))
