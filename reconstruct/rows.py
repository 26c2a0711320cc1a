"""Residuals and their derivatives with respect to points of the mesh.

Every data term is a list of rows: residual r, its gradient g with respect to a surface point X, and the three vertices
and barycentric weights that make up X. Chaining to pose, coefficients or offsets is the same for all of them.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse

from mmface4d.arrays import Faces, Pixels, Points, Vertices
from mmface4d.transforms import rotate, transform
from reconstruct.depth_noise import CORRELATED_PX, sigma_m
from reconstruct.models.model import LandmarkTable
from reconstruct.observation import ColorView, DepthView
from reconstruct.raster import Rasterizer
from reconstruct.topology import vertex_normals
from reconstruct.weights import geman_mcclure_weight

LEAST_COSINE = 0.30  # model surface seen at more than about 72 degrees is not compared
LANDMARK_COSINE = 0.30
STEP_M = 1e-5


@dataclass(frozen=True)
class Rows:
    """1/2 sum weight * residual^2, linearised: residual + gradient . dX with X = sum_k barycentric_k V_corner_k."""

    residual: Float[np.ndarray, "n_rows"]
    gradient: Float[np.ndarray, "n_rows 3"]  # world frame
    corners: Int[np.ndarray, "n_rows 3"]
    barycentric: Float[np.ndarray, "n_rows 3"]
    weight: Float[np.ndarray, "n_rows"]

    def __len__(self) -> int:
        return len(self.residual)

    def points(self, vertices: Vertices) -> Points:
        """The surface points X [n_rows, 3]."""
        return np.einsum("rk,rkc->rc", self.barycentric, vertices[self.corners])

    def jacobian(self, gradient: Points, vertex_count: int) -> sparse.csr_matrix:
        """d residual / d vertices, [n_rows, 3N], for gradients expressed in the frame of the vertices."""
        count = len(self)
        columns = (self.corners[:, :, None] * 3 + np.arange(3)).reshape(count, 9)
        values = (self.barycentric[:, :, None] * gradient[:, None, :]).reshape(count, 9)
        starts = np.arange(count + 1, dtype=np.int32) * 9
        data = values.astype(np.float32).ravel()
        return sparse.csr_matrix((data, columns.astype(np.int32).ravel(), starts), shape=(count, 3 * vertex_count))

    def thinned(self, most: int) -> "Rows":
        """About `most` rows, evenly chosen, that weigh as much as all."""
        stride = -(-len(self) // most)
        if stride <= 1:
            return self
        keep = np.s_[::stride]
        return Rows(
            self.residual[keep], self.gradient[keep], self.corners[keep], self.barycentric[keep],
            self.weight[keep] * stride,
        )  # fmt: skip


def join(parts: list[Rows]) -> Rows:
    """All rows of several terms."""
    names = ("residual", "gradient", "corners", "barycentric", "weight")
    return Rows(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True)
class SurfaceHits:
    """Where the pixels' rays meet the mesh, in the depth imager's frame."""

    pixel: Int[np.ndarray, "n_hits"]  # into the view's pixel list
    triangle: Int[np.ndarray, "n_hits"]
    barycentric: Float[np.ndarray, "n_hits 3"]
    depth_m: Float[np.ndarray, "n_hits"]
    slope: Float[np.ndarray, "n_hits 3"]  # d depth / d surface point
    cosine: Float[np.ndarray, "n_hits"]  # of incidence
    rendered: Int[np.ndarray, "height width"]  # the triangle at every pixel, trusted or not; -1 where none

    def skin_pixels(self, compared: Bool[np.ndarray, "n_faces"]) -> int:
        """How many pixels the mesh's comparable triangles cover."""
        return int(compared[self.rendered[self.rendered >= 0]].sum())


def surface_hits(view: DepthView, vertices_in_world: Vertices, faces: Faces, rasterizer: Rasterizer) -> SurfaceHits:
    """Exact ray-triangle intersections of the view's trusted pixels; the rasteriser only picks the triangles."""
    import torch

    vertices = transform(view.depth_from_world, vertices_in_world)
    pixels = view.imager.project(vertices)
    vertices_px = torch.from_numpy(np.concatenate([pixels, vertices[:, 2:]], 1).astype(np.float32))[None]
    fragments = rasterizer.rasterize(
        vertices_px.to(rasterizer.device),
        torch.from_numpy(faces).to(rasterizer.device),
        height=view.imager.height,
        width=view.imager.width,
    )
    rendered = fragments.triangle[0].cpu().numpy()
    triangle = rendered.ravel()[view.pixel]
    pixel = np.flatnonzero(triangle >= 0)
    triangle = triangle[pixel]
    ray = view.ray[pixel].astype(np.float64)
    a, b, c = (vertices[faces[triangle, i]] for i in range(3))
    normal = np.cross(b - a, c - a)
    facing = (normal * ray).sum(1)  # negative where the triangle faces the camera
    facing = np.where(np.abs(facing) < 1e-12, -1e-12, facing)
    depth_m = (normal * a).sum(1) / facing
    point = ray * depth_m[:, None]
    area2 = np.maximum((normal * normal).sum(1), 1e-24)
    weight_a = (np.cross(c - b, point - b) * normal).sum(1) / area2
    weight_b = (np.cross(a - c, point - c) * normal).sum(1) / area2
    lengths = np.sqrt(area2) * np.linalg.norm(ray, axis=1)
    return SurfaceHits(
        pixel=pixel,
        triangle=triangle,
        barycentric=np.stack([weight_a, weight_b, 1 - weight_a - weight_b], 1),
        depth_m=depth_m,
        slope=normal / facing[:, None],
        cosine=-facing / lengths,
        rendered=rendered,
    )


@dataclass(frozen=True)
class DepthTerm:
    """How depth rows are weighted: `cut` in sigmas, `floor_m` an extra tolerance while the fit is still far off."""

    cut: float = 3.0
    floor_m: float = 0.0
    weight: float = 1.0 / CORRELATED_PX


def depth_rows(
    view: DepthView,
    vertices_in_world: Vertices,
    faces: Faces,
    *,
    compared: Bool[np.ndarray, "n_faces"],
    rasterizer: Rasterizer,
    term: DepthTerm,
) -> Rows:
    """z_model - z_seen at the view's trusted pixels, on the triangles that may be compared with depth."""
    hits = surface_hits(view, vertices_in_world, faces, rasterizer)
    seen = view.depth_m[hits.pixel].astype(np.float64)
    residual = hits.depth_m - seen
    sigma = sigma_m(seen, hits.cosine) + term.floor_m
    # a residual beyond 8 cuts weighs less than 1/250 and may be hair, a hand or the background
    keep = compared[hits.triangle] & (hits.cosine > LEAST_COSINE) & (np.abs(residual) < 8 * term.cut * sigma)
    residual, sigma = residual[keep], sigma[keep]
    robust = geman_mcclure_weight(residual / sigma, term.cut) * term.cut**2
    return Rows(
        residual=residual,
        gradient=rotate(view.depth_from_world.T, hits.slope[keep]),
        corners=faces[hits.triangle[keep]],
        barycentric=hits.barycentric[keep],
        weight=term.weight * robust / sigma**2,
    )


@dataclass(frozen=True)
class LandmarkTerm:
    """How landmark rows are weighted. Neighbouring landmarks err together, hence a weight below one."""

    sigma_px: float = 2.5
    cut: float = 3.0
    weight: float = 0.3


def landmark_rows(
    view: ColorView,
    vertices_in_world: Vertices,
    faces: Faces,
    *,
    table: LandmarkTable,
    term: LandmarkTerm,
    bias_px: Pixels | None = None,
    normals: Vertices | None = None,
) -> Rows:
    """Pixel distances (u and v rows) between the model's landmarks that face the camera and the detected ones.

    `bias_px` [n_landmarks, 2] is where this actor's landmarks are seen off the model's.
    """
    residual = landmark_residuals(view, vertices_in_world, faces, table=table, normals=normals)
    residual = residual + (0.0 if bias_px is None else bias_px)
    keep = np.flatnonzero(np.isfinite(residual).all(1))
    residual = residual[keep]
    points = transform(view.color_from_world, table.positions(vertices_in_world)[keep])
    pixels = view.imager.project(points)
    slope = np.stack([(view.imager.project(points + step) - pixels) / STEP_M for step in np.eye(3) * STEP_M], -1)
    gradient = slope @ view.color_from_world[:3, :3]  # [n, 2, 3], world frame
    distance = np.linalg.norm(residual, axis=1) / term.sigma_px
    robust = term.weight * geman_mcclure_weight(distance, term.cut) * term.cut**2 / term.sigma_px**2
    return Rows(
        residual=residual.ravel(),
        gradient=gradient.reshape(-1, 3),
        corners=np.repeat(table.corners[keep], 2, 0),
        barycentric=np.repeat(table.barycentric[keep], 2, 0),
        weight=np.repeat(robust, 2),
    )


def landmark_residuals(
    view: ColorView,
    vertices_in_world: Vertices,
    faces: Faces,
    *,
    table: LandmarkTable,
    normals: Vertices | None = None,
) -> Float[np.ndarray, "n_landmarks 2"]:
    """Model minus detected pixel of every landmark of the table; NaN where it faces away or was not detected."""
    points = transform(view.color_from_world, table.positions(vertices_in_world))
    normals = vertex_normals(vertices_in_world, faces) if normals is None else normals
    normal = rotate(view.color_from_world, np.einsum("lk,lkc->lc", table.barycentric, normals[table.corners]))
    facing = -(normal * points).sum(1) / np.linalg.norm(points, axis=1) > LANDMARK_COSINE
    residual = view.imager.project(points) - view.landmarks_px[table.mediapipe]
    residual[~facing] = np.nan
    return residual
