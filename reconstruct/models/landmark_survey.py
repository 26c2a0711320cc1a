"""Where MediaPipe sees its points on a model: found by showing it pictures of the model's own heads.

Tables made by hand put a point where an anatomist would; the detector puts it elsewhere, by one to four millimetres and
always the same way. So random people of the model are drawn from many sides, detected, and for every MediaPipe point
the place on the mesh is taken whose projections lie nearest to the detections.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from mmface4d.arrays import Faces, Pixels, Vertices
from mmface4d.progress import progress
from reconstruct.models.landmark_sets import LOWER_LIP, UPPER_LIP, group_of
from reconstruct.models.model import LandmarkTable
from reconstruct.models.portrait import PortraitCamera, draw_head
from reconstruct.models.surface import cast
from reconstruct.topology import vertex_normals

MESH_POINTS = 468  # the ten after them are irises, which no model's skin has
MAX_YAW_DEG, MAX_PITCH_DEG = 48.0, 12.0
SIZE_PX, VIEW_M = 400, 0.34
MIN_PORTRAITS = 12  # with a face found
MIN_FACING = 0.45  # cosine between the skin's normal and the view for a detection to count
GUESS_PORTRAITS, GUESS_SEEN = 30, 0.25  # pictures, and the part of them in which the guess must be seen
SEARCH_M = 0.012  # around the first guess
ROBUST_M = 0.003
SUBDIVISION = 6
MAX_RESIDUAL_M = 0.0035  # points that scatter more are no points of the skin: they slide


@dataclass(frozen=True)
class Figure:
    """Heads to draw: shapes over one topology, whose first `model_vertices` vertices are the model's."""

    shapes: Float[np.ndarray, "n_shapes n_all 3"]
    faces: Faces
    colors: Float[np.ndarray, "n_shapes n_all 3"]
    model_vertices: int


@dataclass(frozen=True)
class Survey:
    """A table and how far, in metres at the head, the detections scatter around each of its points (median)."""

    table: LandmarkTable
    residual_m: Float[np.ndarray, "n_landmarks"]
    portraits: int

    def __str__(self) -> str:
        off_mm = 1000 * float(np.median(self.residual_m))
        return f"{len(self.table)} landmarks placed by MediaPipe on {self.portraits} heads, within {off_mm:.1f} mm"


@dataclass(frozen=True)
class _Portrait:
    camera: PortraitCamera
    shape: int
    detected: Float[np.ndarray, "478 2"]
    projected: Float[np.ndarray, "n_verts 2"]  # of the model's vertices
    visible: Bool[np.ndarray, "n_verts"]
    metres_per_px: float


def survey_landmarks(
    figure: Figure, mean: Vertices, faces: Faces, *, regions: dict[str, Bool[np.ndarray, "n_verts"]], seed: int = 0
) -> Survey | None:
    """The table of a model with that mean and those faces; None where MediaPipe does not take the figure for a face.

    One portrait of each of the figure's shapes is drawn. No point of one lip is put on the other.
    """
    portraits = _portraits(figure, faces, seed=seed)
    if len(portraits) < MIN_PORTRAITS:
        return None
    free = np.ones(len(mean), dtype=bool)
    not_upper, not_lower = ~regions["upper_lip"], ~regions["lower_lip"]
    allowed = {point: not_upper if point in LOWER_LIP else not_lower for point in LOWER_LIP + UPPER_LIP}
    detected = np.stack([p.detected[:MESH_POINTS] for p in portraits])
    places = [
        _place(detected[:, point], portraits, mean, faces, allowed=allowed.get(point, free))
        for point in range(MESH_POINTS)
    ]
    corners, weights, residual_m = (np.array(column) for column in zip(*places, strict=True))
    groups = [group_of(point) for point in range(MESH_POINTS)]
    kept = np.flatnonzero((residual_m < MAX_RESIDUAL_M) | ((np.array(groups) == "contour") & np.isfinite(residual_m)))
    table = LandmarkTable(
        mediapipe=kept.astype(np.int32),
        corners=corners[kept].astype(np.int32),
        barycentric=weights[kept].astype(np.float32),
        group=tuple(groups[point] for point in kept),
    )
    return Survey(table, residual_m[kept], len(portraits))


def _portraits(figure: Figure, faces: Faces, *, seed: int) -> list[_Portrait]:
    from calibration.landmarks import LandmarkDetector

    random = np.random.default_rng(seed)
    count = len(figure.shapes)
    yaws = random.permutation(np.linspace(-MAX_YAW_DEG, MAX_YAW_DEG, count))
    pitches = random.uniform(-MAX_PITCH_DEG, MAX_PITCH_DEG, count)
    portraits = []
    with LandmarkDetector() as detector, progress("landmarks on the model", count) as bar:
        for shape in range(count):
            camera = PortraitCamera(
                np.deg2rad(yaws[shape]), np.deg2rad(pitches[shape]), size_px=SIZE_PX, view_m=VIEW_M, distance_m=0.8
            )
            picture = draw_head(figure.shapes[shape], figure.faces, figure.colors[shape], camera)
            found = detector.detect(picture, None)
            if found is not None:
                portraits.append(_portrait(figure, faces, camera, shape=shape, detected=found))
            bar.advance()
    return portraits


def _portrait(figure: Figure, faces: Faces, camera: PortraitCamera, *, shape: int, detected: Pixels) -> _Portrait:
    vertices = figure.shapes[shape][: figure.model_vertices]
    towards = camera.eye - vertices
    distance = np.linalg.norm(towards, axis=1)
    towards /= distance[:, None]
    facing = np.einsum("nc,nc->n", vertex_normals(vertices, faces), towards) > MIN_FACING
    hits = cast(figure.shapes[shape], figure.faces, np.broadcast_to(camera.eye, vertices.shape), -towards)
    visible = facing & (hits.distance > distance - 0.002)
    return _Portrait(camera, shape, detected, camera.project(vertices), visible, camera.distance_m / camera.focal_px)


def _place(
    detected: Pixels,
    portraits: list[_Portrait],
    mean: Vertices,
    faces: Faces,
    *,
    allowed: Bool[np.ndarray, "n_verts"],
) -> tuple[Int[np.ndarray, "3"], Float[np.ndarray, "3"], float]:
    """Corners, barycentrics and residual of the mesh point that explains one MediaPipe point's detections best."""
    scale = np.array([p.metres_per_px for p in portraits])
    start = _first_guess(detected, portraits, allowed)
    usable = np.array([p.visible[start] for p in portraits])
    if usable.sum() < MIN_PORTRAITS // 2:
        return np.full(3, start), np.array([1.0, 0.0, 0.0]), np.inf
    used = [p for p, ok in zip(portraits, usable, strict=True) if ok]
    target, scale = detected[usable], scale[usable]
    near = np.flatnonzero((np.linalg.norm(mean - mean[start], axis=1) < SEARCH_M) & allowed)
    best = near[_cost(np.stack([p.projected[near] for p in used]), target, scale).argmin()]
    ring = np.unique(faces[(faces == best).any(axis=1)])
    around = faces[np.isin(faces, ring).any(axis=1) & allowed[faces].all(axis=1)]
    grid = _barycentric_grid()
    corners = np.stack([p.projected[around] for p in used])  # [P, F, 3, 2]
    samples = np.einsum("gk,pfkc->pfgc", grid, corners).reshape(len(used), -1, 2)
    winner = int(_cost(samples, target, scale).argmin())
    off_m = np.linalg.norm(samples[:, winner] - target, axis=1) * scale
    return around[winner // len(grid)], grid[winner % len(grid)], float(np.median(off_m))


def _first_guess(detected: Pixels, portraits: list[_Portrait], allowed: Bool[np.ndarray, "n_verts"]) -> int:
    """The vertex that is nearest to the detections in those of some pictures in which it is seen."""
    some = list(zip(portraits, detected, strict=True))[:GUESS_PORTRAITS]
    off = np.stack([np.linalg.norm(p.projected - d, axis=1) for p, d in some])
    seen = np.stack([p.visible & allowed for p, _ in some])
    count = seen.sum(axis=0)
    off = (off * seen).sum(axis=0) / np.maximum(count, 1)
    return int(np.where(count >= GUESS_SEEN * len(some), off, np.inf).argmin())


def _cost(projected: Float[np.ndarray, "n_used n_candidates 2"], target: Pixels, scale: np.ndarray) -> np.ndarray:
    """Geman-McClure over the pictures."""
    squared = (((projected - target[:, None]) * scale[:, None, None]) ** 2).sum(axis=2) / ROBUST_M**2
    return (squared / (squared + 1)).sum(axis=0)


def _barycentric_grid() -> Float[np.ndarray, "n_samples 3"]:
    n = SUBDIVISION
    return np.array([(i, j, n - i - j) for i in range(n + 1) for j in range(n + 1 - i)]) / n
