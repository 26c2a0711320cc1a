"""What follows from a mesh's triangles: edges, Laplacians, areas, normals."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse

from mmface4d.arrays import Faces, Vertices
from reconstruct.models.model import MorphableModel

LEAST_HEIGHT = 0.1  # of a triangle over its longest edge; flatter ones count as if they were this high
LEAST_AREA = 0.01  # of a vertex, as a share of the mean


@dataclass(frozen=True)
class Topology:
    """Edges and operators of one mesh; upper and lower lip are never coupled."""

    faces: Faces
    vertex_count: int
    split: Bool[np.ndarray, "n_verts"]  # upper lip
    split_from: Bool[np.ndarray, "n_verts"]  # lower lip
    mean: Vertices  # the mesh at rest, metres; what lengths and areas are taken from

    @cached_property
    def edges(self) -> Int[np.ndarray, "n_edges 2"]:
        """Undirected edges, each once; none runs from the upper to the lower lip."""
        pairs = np.concatenate([self.faces[:, [0, 1]], self.faces[:, [1, 2]], self.faces[:, [2, 0]]])
        pairs = np.unique(np.sort(pairs, axis=1), axis=0)
        a, b = pairs.T
        across = (self.split[a] & self.split_from[b]) | (self.split_from[a] & self.split[b])
        return pairs[~across]

    @cached_property
    def laplacian(self) -> sparse.csr_matrix:
        """Combinatorial graph Laplacian [N,N], positive semi-definite: the membrane energy is d^T L d."""
        a, b = self.edges.T
        ones = np.ones(len(a))
        adjacency = sparse.coo_matrix((ones, (a, b)), shape=(self.vertex_count,) * 2).tocsr()
        adjacency = adjacency + adjacency.T
        return (sparse.diags(np.asarray(adjacency.sum(1)).ravel()) - adjacency).tocsr()

    @cached_property
    def umbrella(self) -> sparse.csr_matrix:
        """Each vertex less the mean of its neighbours [N,N]; a vertex without neighbours has an empty row."""
        degree = self.laplacian.diagonal()
        return sparse.diags(np.divide(1.0, degree, out=np.zeros_like(degree), where=degree > 0)) @ self.laplacian

    @cached_property
    def uncoupled_faces(self) -> Int[np.ndarray, "n_kept 3"]:
        """The triangles that do not join the upper to the lower lip."""
        return self.faces[~(self.split[self.faces].any(1) & self.split_from[self.faces].any(1))]

    @cached_property
    def stiffness(self) -> sparse.csr_matrix:
        """Cotangent Laplacian [N,N], positive semi-definite: d^T C d is the integral of |grad d|^2 over the skin.

        A triangle's part is the Gram matrix of its edges over 4 areas, so it stays semi-definite with a floor below
        the area, whatever the triangle.
        """
        corners = self.mean[self.uncoupled_faces].astype(np.float64)
        edges = np.roll(corners, 1, axis=1) - np.roll(corners, -1, axis=1)  # each opposite its corner
        gram = np.einsum("tic,tjc->tij", edges, edges)
        longest2 = np.einsum("tii->ti", gram).max(1)
        area2 = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
        floored = 2 * np.maximum(area2, LEAST_HEIGHT * longest2)
        parts = np.divide(gram, floored[:, None, None], out=np.zeros_like(gram), where=floored[:, None, None] > 0)
        rows, columns = np.repeat(self.uncoupled_faces, 3, 1).ravel(), np.tile(self.uncoupled_faces, 3).ravel()
        return sparse.csr_matrix((parts.ravel(), (rows, columns)), shape=(self.vertex_count,) * 2)

    @cached_property
    def areas(self) -> Float[np.ndarray, "n_verts"]:
        """Skin that each vertex stands for, m^2: a third of its triangles, and no less than a share of the mean."""
        triangles = np.linalg.norm(face_normals(self.mean, self.uncoupled_faces), axis=1) / 2
        areas = np.bincount(self.uncoupled_faces.ravel(), np.repeat(triangles / 3, 3), minlength=self.vertex_count)
        return np.maximum(areas, LEAST_AREA * areas.mean())

    @cached_property
    def border(self) -> Bool[np.ndarray, "n_verts"]:
        """Vertices at an open edge of the mesh, or at the slit between the lips."""
        faces = self.uncoupled_faces
        sides = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
        edges, uses = np.unique(sides, axis=0, return_counts=True)
        border = np.zeros(self.vertex_count, bool)
        border[edges[uses == 1]] = True
        return border

    @cached_property
    def bending(self) -> sparse.csr_matrix:
        """C^T M^-1 C over the vertices inside [N,N], 1/m^2: d^T B d is the integral of (laplace d)^2 over the skin.

        At a border the cotangents measure the slope across it instead, which is free.
        """
        inside = sparse.diags(np.where(self.border, 0.0, 1.0 / self.areas))
        bending = (self.stiffness @ inside @ self.stiffness).tocsr()
        return ((bending + bending.T) * 0.5).tocsr()

    def inverse_distance_laplacian(self, vertices: Vertices) -> sparse.csr_matrix:
        """Each vertex less the mean of its neighbours weighted by 1/distance [N,N], as the published code has it."""
        a, b = self.edges.T
        near = 1.0 / np.maximum(np.linalg.norm(vertices[a] - vertices[b], axis=1), 1e-6)
        weights = sparse.coo_matrix((near, (a, b)), shape=(self.vertex_count,) * 2).tocsr()
        weights = weights + weights.T
        total = np.asarray(weights.sum(1)).ravel()
        mean = sparse.diags(np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)) @ weights
        return (sparse.diags((total > 0).astype(float)) - mean).tocsr()


def topology_of(model: MorphableModel) -> Topology:
    """The topology of a morphable model."""
    return Topology(
        model.faces,
        model.vertex_count,
        split=model.regions["upper_lip"],
        split_from=model.regions["lower_lip"],
        mean=model.mean,
    )


def face_normals(vertices: Vertices, faces: Faces) -> Float[np.ndarray, "n_faces 3"]:
    """Outward normals of the triangles, not normalised (length = twice the area)."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    return np.cross(b - a, c - a)


def vertex_normals(vertices: Vertices, faces: Faces) -> Float[np.ndarray, "n_verts 3"]:
    """Unit normals: the area-weighted mean of the triangles around each vertex."""
    normals = face_normals(vertices, faces)
    out = np.stack(
        [np.bincount(faces.ravel(), np.repeat(normals[:, i], 3), minlength=len(vertices)) for i in range(3)], 1
    )
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-20)
