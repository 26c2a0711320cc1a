"""Questions to a model's mesh: what a ray hits, how open a vertex lies, how far apart vertices are along the skin."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse
from scipy.sparse import csgraph

from mmface4d.arrays import Faces, Points, Vertices


@dataclass(frozen=True)
class Hits:
    """Where rays meet a mesh; `distance` is infinite where they do not, and the rest is then meaningless."""

    distance: Float[np.ndarray, "*rays"]
    face: Int[np.ndarray, "*rays"]
    barycentric: Float[np.ndarray, "*rays 3"]


def cast(vertices: Vertices, faces: Faces, origins: Points, directions: Points) -> Hits:
    """The first hit of every ray, by Open3D on the CPU."""
    answer = _scene(vertices, faces).cast_rays(np.concatenate([origins, directions], axis=-1).astype(np.float32))
    uv = answer["primitive_uvs"].numpy().astype(np.float64)
    face = answer["primitive_ids"].numpy().astype(np.int64)
    missed = face == np.iinfo(np.uint32).max
    return Hits(
        distance=answer["t_hit"].numpy().astype(np.float64),
        face=np.where(missed, -1, face),
        barycentric=np.concatenate([1 - uv.sum(-1, keepdims=True), uv], axis=-1),
    )


def closest(vertices: Vertices, faces: Faces, points: Points) -> Hits:
    """The nearest point of the mesh to each point."""
    import open3d as o3d

    answer = _scene(vertices, faces).compute_closest_points(o3d.core.Tensor(points.astype(np.float32)))
    uv = answer["primitive_uvs"].numpy().astype(np.float64)
    return Hits(
        distance=np.linalg.norm(answer["points"].numpy() - points, axis=1).astype(np.float64),
        face=answer["primitive_ids"].numpy().astype(np.int64),
        barycentric=np.concatenate([1 - uv.sum(-1, keepdims=True), uv], axis=-1),
    )


def openness(vertices: Vertices, faces: Faces, normals: Vertices) -> Float[np.ndarray, "n_verts"]:
    """The share (0..1, cosine-weighted) of the hemisphere over each vertex that no other part of the mesh hides."""
    directions = _sphere(96)
    facing = np.maximum(normals @ directions.T, 0.0)
    origins = np.repeat((vertices + 2e-4 * normals)[:, None], len(directions), axis=1)  # 0.2 mm clear of its own skin
    hits = cast(vertices, faces, origins, np.broadcast_to(directions, origins.shape))
    # what lies farther than 5 cm does not make a cavity
    return (facing * (hits.distance > 0.05)).sum(1) / np.maximum(facing.sum(1), 1e-9)


def edge_graph(vertices: Vertices, faces: Faces) -> sparse.csr_matrix:
    """Symmetric graph of the edges with their lengths in metres."""
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    pairs = np.unique(np.sort(pairs, axis=1), axis=0)
    lengths = np.maximum(np.linalg.norm(vertices[pairs[:, 0]] - vertices[pairs[:, 1]], axis=1), 1e-9)
    upper = sparse.coo_matrix((lengths, (pairs[:, 0], pairs[:, 1])), shape=(len(vertices),) * 2)
    return (upper + upper.T).tocsr()


def distance_along(graph: sparse.csr_matrix, seeds: Int[np.ndarray, "n_seeds"]) -> Float[np.ndarray, "n_verts"]:
    """Metres along the edges to the nearest seed."""
    return np.asarray(csgraph.dijkstra(graph, indices=np.unique(seeds), min_only=True))


def border_loops(faces: Faces, vertex_count: int) -> list[Int[np.ndarray, "n_loop"]]:
    """The vertices of each connected border, the longest border first."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    unique, counts = np.unique(np.sort(edges, axis=1), axis=0, return_counts=True)
    border = unique[counts == 1]
    graph = sparse.coo_matrix((np.ones(len(border)), (border[:, 0], border[:, 1])), shape=(vertex_count,) * 2)
    _, label = csgraph.connected_components(graph, directed=False)
    loops = [np.flatnonzero(label == one) for one in np.unique(label[border.ravel()])]
    return sorted(loops, key=len, reverse=True)


def grow(mask: Bool[np.ndarray, "n_verts"], faces: Faces, *, rings: int) -> Bool[np.ndarray, "n_verts"]:
    """The mask and that many rings of neighbours around it."""
    mask = mask.copy()
    for _ in range(rings):
        mask[faces[mask[faces].any(axis=1)]] = True
    return mask


def _scene(vertices: Vertices, faces: Faces):
    import open3d as o3d

    scene = o3d.t.geometry.RaycastingScene(nthreads=2)
    scene.add_triangles(
        o3d.core.Tensor(np.ascontiguousarray(vertices, dtype=np.float32)),
        o3d.core.Tensor(np.ascontiguousarray(faces, dtype=np.uint32)),
    )
    return scene


def _sphere(count: int) -> Float[np.ndarray, "count 3"]:
    """Evenly spread directions (Fibonacci)."""
    i = np.arange(count) + 0.5
    z, turn = 1 - 2 * i / count, np.pi * (1 + 5**0.5) * i
    radius = np.sqrt(1 - z * z)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), z], axis=1)
