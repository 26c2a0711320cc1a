"""Loop subdivision as sparse matrices, and a mesh that is refined only where its edges are long.

Weights: C. Loop, "Smooth subdivision surfaces based on triangles" (1987), with Warren's coefficients; limit positions
after Loop's eigen-analysis; cubic B-splines along borders.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

ValenceRule = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Level:
    """One mesh of the subdivision: triangles, unique edges, and which edges lie on the border."""

    vertex_count: int
    faces: Int[np.ndarray, "n_faces 3"]
    edges: Int[np.ndarray, "n_edges 2"]
    edge_of_face: Int[np.ndarray, "n_faces 3"]  # of the corners (0,1), (1,2), (2,0)
    is_border: np.ndarray

    @classmethod
    def of(cls, vertex_count: int, faces: np.ndarray) -> "Level":
        """Finds the edges; raises ValueError where an edge has more than two triangles."""
        corners = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
        edges, inverse, counts = np.unique(corners, axis=0, return_inverse=True, return_counts=True)
        if counts.max() > 2:
            raise ValueError("an edge has more than two triangles")
        return cls(vertex_count, faces, edges, inverse.reshape(3, -1).T, counts == 1)


def _sparse(
    rows: list[np.ndarray], columns: list[np.ndarray], values: list[np.ndarray], shape: tuple[int, int]
) -> sparse.csr_matrix:
    """A sparse matrix from lists of entries; what falls on one place is summed."""
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return sparse.csr_matrix(entries, shape=shape, dtype=np.float64)


def _vertex_rule(level: Level, beta_of_valence: ValenceRule, border_weight: float) -> sparse.csr_matrix:
    """Rows of the old vertices: beta for each neighbour; on the border `border_weight` for the two along it."""
    n = level.vertex_count
    a, b = level.edges.T
    valence = np.bincount(level.edges.ravel(), minlength=n)
    on_border = np.zeros(n, dtype=bool)
    on_border[level.edges[level.is_border]] = True
    beta = np.where(on_border, 0.0, beta_of_valence(np.maximum(valence, 1)))
    rows, columns = np.concatenate([a, b]), np.concatenate([b, a])
    values = beta[rows] + border_weight * np.concatenate([level.is_border, level.is_border])
    matrix = sparse.csr_matrix((values, (rows, columns)), shape=(n, n))
    return matrix + sparse.diags(1.0 - np.asarray(matrix.sum(axis=1)).ravel())


def subdivide(level: Level) -> tuple[sparse.csr_matrix, Level]:
    """One step: the matrix from old to new vertices (the old ones first, then the edges'), and the new mesh."""

    def warren(valence: np.ndarray) -> np.ndarray:
        return np.where(valence == 3, 3 / 16, 3 / (8 * valence))

    n, edge_count = level.vertex_count, len(level.edges)
    rows = [np.repeat(np.arange(edge_count), 2)]
    columns = [level.edges.ravel()]
    values = [np.repeat(np.where(level.is_border, 0.5, 0.375), 2)]
    for k in range(3):
        edge, opposite = level.edge_of_face[:, k], level.faces[:, (k + 2) % 3]
        rows.append(edge)
        columns.append(opposite)
        values.append(np.where(level.is_border[edge], 0.0, 0.125))
    of_edges = _sparse(rows, columns, values, (edge_count, n))
    matrix = sparse.csr_matrix(sparse.vstack([_vertex_rule(level, warren, 1 / 8), of_edges]))
    a, b, c = level.faces.T
    ab, bc, ca = (level.edge_of_face + n).T
    faces = np.stack([[a, ab, ca], [ab, b, bc], [ca, bc, c], [ab, bc, ca]]).transpose(0, 2, 1).reshape(-1, 3)
    return matrix, Level.of(n + edge_count, faces)


def limit_matrix(level: Level) -> sparse.csr_matrix:
    """Positions on the limit surface of a mesh's own vertices."""

    def limit_weight(valence: np.ndarray) -> np.ndarray:
        beta = np.where(valence == 3, 3 / 16, 3 / (8 * valence))
        return 1 / (valence + 3 / (8 * beta))

    return _vertex_rule(level, limit_weight, 1 / 6)


def control_for_limit(points: Float[np.ndarray, "n_verts 3"], faces: np.ndarray, *, part: float) -> np.ndarray:
    """Control vertices whose limit surface goes through the given points, by `part` of the way."""
    from scipy.sparse.linalg import spsolve

    limit = limit_matrix(Level.of(len(points), faces)).tocsc()
    return points + part * (spsolve(limit, points) - points)


@dataclass(frozen=True)
class RefinedMesh:
    """A mesh on the limit surface: vertices = `matrix` @ control vertices; the control vertices keep their numbers."""

    matrix: sparse.csr_matrix
    faces: Int[np.ndarray, "n_faces 3"]


def refine(
    control: Float[np.ndarray, "n_control 3"],
    faces: Int[np.ndarray, "n_faces 3"],
    *,
    longest: tuple[float, ...],
    coarseness: Float[np.ndarray, "n_control"],
) -> RefinedMesh:
    """Subdivides as often as `longest` has entries, splitting only edges longer than its entry (metres).

    `coarseness` multiplies these lengths from place to place.
    """
    level = Level.of(len(control), faces)
    matrix = sparse.identity(len(control), format="csr")
    kept_faces = faces
    for length in longest:
        step, finer = subdivide(level)
        points = limit_matrix(level) @ (matrix @ control)
        allowed = length * (matrix @ coarseness)[level.edges].mean(axis=1)
        kept_faces = _split_long(kept_faces, level, points, allowed)
        matrix, level = step @ matrix, finer
    matrix = sparse.csr_matrix(limit_matrix(level) @ matrix)
    used = np.unique(kept_faces)
    number = np.full(level.vertex_count, -1)
    number[used] = np.arange(len(used))
    return RefinedMesh(matrix[used], number[kept_faces])


def _split_long(faces: np.ndarray, level: Level, points: np.ndarray, longest: np.ndarray) -> np.ndarray:
    """Splits those edges of `faces` that are edges of `level` and too long; triangles follow by their pattern."""
    length = np.linalg.norm(points[level.edges[:, 0]] - points[level.edges[:, 1]], axis=1)
    # symmetric meshes must be split symmetrically, whatever the last digit says
    middle = {
        (int(a), int(b)): level.vertex_count + i
        for i, (a, b) in enumerate(level.edges)
        if length[i] > longest[i] + 1e-9
    }
    split: list[tuple[int, int, int]] = []
    for face in faces.tolist():
        mids = [middle.get((min(p, q), max(p, q)), -1) for p, q in zip(face, face[1:] + face[:1], strict=True)]
        split += _pattern(face, mids, points)
    return np.array(split, dtype=np.int64)


def _pattern(face: list[int], mids: list[int], points: np.ndarray) -> list[tuple[int, int, int]]:
    """One, two, three or four triangles for none to three split edges (-1: not split)."""
    count = sum(m >= 0 for m in mids)
    if count == 0:
        return [(face[0], face[1], face[2])]
    # turn the triangle so that its split edges come first (one: the first; two: the first and second)
    turn = next(k for k in range(3) if count == 3 or (mids[k] >= 0 and (count == 1 or mids[(k + 1) % 3] >= 0)))
    a, b, c = (face[(turn + k) % 3] for k in range(3))
    ab, bc, ca = (mids[(turn + k) % 3] for k in range(3))
    if count == 1:
        return [(a, ab, c), (ab, b, c)]
    if count == 2:
        shorter = np.linalg.norm((points[a] + points[b]) / 2 - points[c]) <= np.linalg.norm(
            (points[b] + points[c]) / 2 - points[a]
        )
        rest = [(a, ab, c), (ab, bc, c)] if shorter else [(a, ab, bc), (a, bc, c)]
        return [(ab, b, bc), *rest]
    return [(a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca)]
