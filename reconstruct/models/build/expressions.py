"""Turns a table of moved control points into smooth expression shapes.

A shape is the conditional mean of a Gaussian process on the surface (Matern precision (A + l^2 L) A^-1 (A + l^2 L);
Lindgren, Rue, Lindstroem 2011), so that motion spreads over the skin and not across the cut between the lips.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse
from scipy.sparse.linalg import splu

Handles = dict[int, np.ndarray]  # control vertex -> displacement in metres

Number = int | float
Move = tuple[Number, Number, Number]  # mm
LipShape = Callable[[float, int], Move]  # (u, ring) -> mm; u -1 right corner .. 1 left corner

HANDLE_WEIGHT = 1e4


def cotangent_laplacian(vertices: np.ndarray, faces: np.ndarray) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Positive semi-definite Laplacian (small weights raised, so that it stays one) and the vertices' areas."""
    n = len(vertices)
    matrix = sparse.csr_matrix((n, n))
    area = np.zeros(n)
    for k in range(3):
        a, b, c = (faces[:, (k + j) % 3] for j in range(3))
        u, v = vertices[b] - vertices[a], vertices[c] - vertices[a]
        double_area = np.linalg.norm(np.cross(u, v), axis=1)
        weight = np.clip((u * v).sum(axis=1) / np.maximum(double_area, 1e-12), 0.05, 20.0) / 2
        matrix = matrix + sparse.csr_matrix((weight, (b, c)), shape=(n, n))
        np.add.at(area, a, double_area / 6)
    matrix = matrix + matrix.T
    return sparse.diags(np.asarray(matrix.sum(axis=1)).ravel()) - matrix, area


class SkinSolver:
    """Spreads the handles' displacements over the control mesh."""

    def __init__(self, vertices: Float[np.ndarray, "n_verts 3"], faces: Int[np.ndarray, "n_faces 3"]) -> None:
        self.vertices = vertices
        self.laplacian, self.area = cotangent_laplacian(vertices, faces)

    def spread(self, handles: Handles, *, length_m: float) -> Float[np.ndarray, "n_verts channels"]:
        """Displacement of every vertex; it fades over about `length_m` where no handle holds."""
        keys = np.array(sorted(handles))
        values = np.stack([np.asarray(handles[k], dtype=np.float64) for k in keys])
        root = sparse.diags(self.area) + length_m**2 * self.laplacian
        precision = root @ sparse.diags(1 / self.area) @ root
        held = np.zeros(len(self.vertices))
        held[keys] = HANDLE_WEIGHT * precision.diagonal().mean()
        right = np.zeros((len(self.vertices), values.shape[1]))
        right[keys] = held[keys, None] * values
        return splu((precision + sparse.diags(held)).tocsc()).solve(right)

    def spread_scalar(self, handles: dict[int, float], *, length_m: float) -> Float[np.ndarray, "n_verts"]:
        """The same for one number a vertex."""
        return self.spread({k: np.array([v]) for k, v in handles.items()}, length_m=length_m)[:, 0]


def mirrored(displacement: Float[np.ndarray, "n_verts 3"], mirror: Int[np.ndarray, "n_verts"]) -> np.ndarray:
    """The same motion on the other side of the face."""
    return displacement[mirror] * np.array([-1.0, 1.0, 1.0])


def turn_about_x(points: np.ndarray, angles_rad: np.ndarray, *, hinge_y: float, hinge_z: float) -> np.ndarray:
    """Displacement of points turned about an axis parallel to x, each by its own angle (positive: forward and down)."""
    y, z = points[:, 1] - hinge_y, points[:, 2] - hinge_z
    cos, sin = np.cos(angles_rad), np.sin(angles_rad)
    return np.column_stack([np.zeros(len(points)), y * cos - z * sin - y, y * sin + z * cos - z])
