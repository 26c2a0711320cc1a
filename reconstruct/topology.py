"""What follows from a mesh's triangles alone: edges, Laplacian, normals."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse

from mmface4d.arrays import Faces, Vertices
from reconstruct.models.model import MorphableModel


@dataclass(frozen=True)
class Topology:
    """Edges and operators of one mesh; upper and lower lip are never coupled."""

    faces: Faces
    vertex_count: int
    split: Bool[np.ndarray, "n_verts"]  # upper lip
    split_from: Bool[np.ndarray, "n_verts"]  # lower lip

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
        model.faces, model.vertex_count, split=model.regions["upper_lip"], split_from=model.regions["lower_lip"]
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
