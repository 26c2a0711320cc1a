"""A plausible skin texture, per vertex, for models that come without one."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mmface4d.arrays import Faces, Vertices
from reconstruct.models.landmark_sets import ibug_points
from reconstruct.models.model import LandmarkTable
from reconstruct.models.surface import openness
from reconstruct.topology import vertex_normals

# sRGB in 0..1
SKIN = np.array([0.76, 0.59, 0.50])
LIP = np.array([0.66, 0.40, 0.38])
HAIR = np.array([0.30, 0.22, 0.18])
CAVITY = np.array([0.25, 0.14, 0.12])
BLUSH = np.array([0.74, 0.50, 0.43])
BROW_ROWS = ((17, 18, 19, 20, 21), (22, 23, 24, 25, 26))
EYE_ROWS = ((36, 37, 38, 39, 40, 41), (42, 43, 44, 45, 46, 47))
EYEBALL, IRIS, PUPIL = np.array([0.88, 0.86, 0.84]), np.array([0.24, 0.17, 0.12]), np.array([0.05, 0.05, 0.05])
IRIS_RADIUS_M, PUPIL_RADIUS_M = 0.006, 0.0022
WAVES = ((1, 0), (0, 1), (1, 1), (2, 0), (0, 2), (2, 1), (1, 2))


@dataclass(frozen=True)
class Texture:
    """sRGB mean and basis; the coefficients' standard deviation is 1."""

    mean: Float[np.ndarray, "n_verts 3"]
    basis: Float[np.ndarray, "n_texture n_verts 3"]

    @property
    def std(self) -> Float[np.ndarray, "n_texture"]:
        """Ones: the basis carries the scale."""
        return np.ones(len(self.basis), dtype=np.float32)


def skin_texture(vertices: Vertices, faces: Faces, landmarks: LandmarkTable, lips: np.ndarray) -> Texture:
    """Skin with lips, brows and dark cavities, in the head frame; the table needs the inner 51 iBUG points."""
    points = ibug_points(landmarks, landmarks.positions(vertices))
    weights = {
        "lip": _smooth(lips.astype(float), vertices, faces),
        "brow": np.maximum(*(_brow(vertices, points[list(rows)]) for rows in BROW_ROWS)),
        "lid": np.maximum(*(_line(vertices, points[[*rows, rows[0]]], 0.0012) for rows in EYE_ROWS)),
        "cheek": _cheeks(vertices, points),
    }
    cavity = np.clip((0.45 - openness(vertices, faces, vertex_normals(vertices, faces))) / 0.45, 0, 1) ** 1.5
    color = np.tile(SKIN, (len(vertices), 1))
    for name, target, strength in (("cheek", BLUSH, 0.6), ("lip", LIP, 1.0), ("brow", HAIR, 0.85), ("lid", HAIR, 0.6)):
        color += (strength * weights[name])[:, None] * (target - color)
    color += 0.8 * cavity[:, None] * (CAVITY - color)
    return Texture(color.astype(np.float32), _basis(vertices, weights).astype(np.float32))


def eyeball_colors(ball: Vertices) -> Float[np.ndarray, "n_verts 3"]:
    """sRGB of one eyeball's vertices (head frame) that looks ahead."""
    middle = (ball.min(axis=0) + ball.max(axis=0)) / 2
    from_axis = np.linalg.norm(ball[:, :2] - middle[:2], axis=1)
    front = ball[:, 2] > middle[2]
    colors = np.tile(EYEBALL, (len(ball), 1))
    colors[front & (from_axis < IRIS_RADIUS_M)] = IRIS
    colors[front & (from_axis < PUPIL_RADIUS_M)] = PUPIL
    return colors


def random_colors(texture: Texture, random: np.random.Generator) -> Float[np.ndarray, "n_verts 3"]:
    """The texture of a random person, kept within what a camera would show."""
    weights = 0.6 * random.normal(size=len(texture.basis))
    return np.clip(texture.mean + np.tensordot(weights, texture.basis, 1), 0.03, 1.0)


def _basis(vertices: Vertices, weights: dict[str, np.ndarray]) -> Float[np.ndarray, "n_texture n_verts 3"]:
    """Tone, warmth, lips, brows and cheeks, then slow waves of brightness; one unit is a usual deviation."""
    ones = np.ones(len(vertices))
    features = [
        np.outer(ones, [0.14, 0.15, 0.15]),
        np.outer(ones, [0.04, 0.0, -0.04]),
        np.outer(ones, [0.02, -0.03, 0.02]),
        np.outer(weights["lip"], [0.02, -0.08, -0.06]),
        np.outer(weights["lip"], [0.08, 0.07, 0.07]),
        np.outer(weights["brow"], [0.15, 0.14, 0.12]),
        np.outer(weights["cheek"], [0.01, -0.05, -0.04]),
    ]
    half = np.abs(vertices[:, :2]).max(axis=0)
    x, y = (vertices[:, :2] / half).T * (np.pi / 2)
    waves = [np.outer(_wave(x, i) * _wave(y, j), [0.04, 0.04, 0.04]) for i, j in WAVES]
    return np.stack(features + waves)


def _wave(angle: np.ndarray, order: int) -> np.ndarray:
    return np.sin(order * angle) if order % 2 else np.cos(order * angle)


def _brow(vertices: Vertices, points: Float[np.ndarray, "5 3"]) -> Float[np.ndarray, "n_verts"]:
    """iBUG's brow points lie on the upper rim: the hair is drawn a little below them."""
    return _line(vertices, points - [0.0, 0.003, 0.0], 0.0032)


def _line(vertices: Vertices, points: Float[np.ndarray, "n 3"], width_m: float) -> Float[np.ndarray, "n_verts"]:
    """1 on a polyline, falling off with distance to it (Gaussian of that width)."""
    steps = np.linspace(0, 1, 8)[:, None, None]
    dense = (points[:-1] * (1 - steps) + points[1:] * steps).reshape(-1, 3)
    from scipy.spatial import KDTree

    distance, _ = KDTree(dense).query(vertices)
    return np.exp(-0.5 * (distance / width_m) ** 2)


def _cheeks(vertices: Vertices, points: Float[np.ndarray, "68 3"]) -> Float[np.ndarray, "n_verts"]:
    """Blush between the outer corner of the eye, the nose wing and the corner of the mouth."""
    centres = np.stack([points[[36, 31, 48]].mean(axis=0), points[[45, 35, 54]].mean(axis=0)])
    distance = np.linalg.norm(vertices[:, None, :2] - centres[None, :, :2], axis=2).min(axis=1)
    return np.exp(-0.5 * (distance / 0.02) ** 2) * (vertices[:, 2] > 0)


def _smooth(weight: np.ndarray, vertices: Vertices, faces: Faces) -> Float[np.ndarray, "n_verts"]:
    """Two rounds of averaging over the neighbours, so that no edge runs along triangles."""
    from scipy import sparse

    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    shape = (len(vertices),) * 2
    ones = np.ones(len(pairs))
    graph = sparse.coo_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=shape).tocsr()
    graph = graph + graph.T + sparse.identity(len(vertices))
    degree = np.asarray(graph.sum(axis=1)).ravel()
    for _ in range(2):
        weight = (graph @ weight) / degree
    return weight
