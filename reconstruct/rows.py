"""Residuals and their derivatives with respect to points of the mesh, on a device.

Every data term is a list of rows: residual r, its gradient g with respect to a surface point X, and the three vertices
and barycentric weights that make up X. Chaining to pose, coefficients or offsets is the same for all of them. Every
row also knows what it costs (the robust function's value), so that steps can be accepted or refused.
"""

from dataclasses import dataclass, fields

import torch
import warp as wp
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reconstruct.depth_noise import CORRELATED_PX, sigma_m
from reconstruct.kernels import hit_rays
from reconstruct.model_tensors import vertex_normals_of
from reconstruct.models.model import LandmarkTable
from reconstruct.raster import Rasterizer
from reconstruct.raster.warp_device import launch
from reconstruct.seen import SeenColor, SeenDepth
from reconstruct.weights import geman_mcclure, geman_mcclure_weight

LEAST_COSINE = 0.30  # model surface seen at more than about 72 degrees is not compared
LANDMARK_COSINE = 0.30
# nothing else says where along the surface the lips are: they have no points of skin detail
LIPS = ("lip_outer", "lip_inner")
LIP_IMPORTANCE = 4.0
# a residual beyond so many cuts weighs less than 1/250 and may be hair, a hand or the background
MOST_CUTS = 8.0


@dataclass(frozen=True)
class Rows:
    """1/2 sum weight * residual^2, linearised: residual + gradient . dX with X = sum_k barycentric_k V_corner_k."""

    residual: Float[Tensor, "n_rows"]
    gradient: Float[Tensor, "n_rows 3"]  # world frame
    corners: Int[Tensor, "n_rows 3"]  # int32
    barycentric: Float[Tensor, "n_rows 3"]
    weight: Float[Tensor, "n_rows"]
    camera: Int[Tensor, "n_rows"]  # twice its camera's index, one more for a picture; -1 where it does not matter
    cost: float  # of all rows and of what should have had one

    def __len__(self) -> int:
        return len(self.residual)

    def points(self, vertices: Float[Tensor, "n_verts 3"]) -> Float[Tensor, "n_rows 3"]:
        """The surface points X."""
        return (self.barycentric[:, :, None] * vertices[self.corners.long()]).sum(1)

    def taken(self, index: "Tensor | slice", factor: float = 1.0) -> "Rows":
        """Some of the rows, their weights times `factor`."""
        parts = {f.name: getattr(self, f.name)[index] for f in fields(self) if f.name not in ("cost", "weight")}
        return Rows(**parts, weight=self.weight[index] * factor, cost=self.cost)

    def thinned(self, most: int) -> "Rows":
        """About `most` rows, evenly chosen, that weigh as much as all."""
        stride = -(-len(self) // most)
        return self if stride <= 1 else self.taken(slice(None, None, stride), float(stride))


def join(parts: list[Rows]) -> Rows:
    """All rows of several terms."""
    names = [f.name for f in fields(Rows) if f.name != "cost"]
    joined = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
    return Rows(**joined, cost=sum(part.cost for part in parts))


@dataclass(frozen=True)
class SurfaceHits:
    """Where the pixels' rays meet the mesh, in the depth imager's frame; all pixels, hit or not."""

    triangle: Int[Tensor, "n_pixels"]  # -1 where the ray misses
    corners: Int[Tensor, "n_pixels 3"]
    barycentric: Float[Tensor, "n_pixels 3"]
    depth_m: Float[Tensor, "n_pixels"]
    slope: Float[Tensor, "n_pixels 3"]  # d depth / d surface point
    cosine: Float[Tensor, "n_pixels"]  # of incidence
    rendered: Int[Tensor, "height width"]  # the triangle at every pixel, trusted or not; -1 where none

    def skin_pixels(self, compared: Bool[Tensor, "n_faces"]) -> int:
        """How many pixels the mesh's comparable triangles cover."""
        return int(compared[self.rendered[self.rendered >= 0].long()].sum())


def surface_hits(
    view: SeenDepth,
    vertices_in_world: Float[Tensor, "n_verts 3"],
    faces: Int[Tensor, "n_faces 3"],
    rasterizer: Rasterizer,
) -> SurfaceHits:
    """Exact ray-triangle intersections of the view's trusted pixels; the rasteriser only picks the triangles."""
    vertices = view.pose.points(vertices_in_world)
    vertices_px = torch.cat([view.imager.project(vertices), vertices[:, 2:]], 1)[None]
    imager = view.imager
    rendered = rasterizer.rasterize(vertices_px, faces, height=imager.height, width=imager.width).triangle[0]
    count, device = len(view.pixel), vertices.device
    triangle = torch.empty(count, dtype=torch.int32, device=device)
    corners = torch.zeros((count, 3), dtype=torch.int32, device=device)
    barycentric, slope = torch.zeros((2, count, 3), device=device)
    depth_m, cosine = torch.zeros((2, count), device=device)
    launch(
        hit_rays,
        dim=count,
        inputs=[
            wp.from_torch(vertices.contiguous(), dtype=wp.vec3), wp.from_torch(faces, dtype=wp.vec3i),
            wp.from_torch(rendered.reshape(-1)), wp.from_torch(view.pixel), wp.from_torch(view.ray, dtype=wp.vec3),
        ],
        outputs=[
            wp.from_torch(triangle), wp.from_torch(corners, dtype=wp.vec3i), wp.from_torch(barycentric, dtype=wp.vec3),
            wp.from_torch(depth_m), wp.from_torch(slope, dtype=wp.vec3), wp.from_torch(cosine),
        ],
        device=str(device),
    )  # fmt: skip
    return SurfaceHits(triangle, corners, barycentric, depth_m, slope, cosine, rendered)


@dataclass(frozen=True)
class DepthTerm:
    """How depth rows are weighted: `cut` in sigmas, `floor_m` an extra tolerance while the fit is still far off."""

    cut: float = 3.0
    floor_m: float = 0.0
    weight: float = 1.0 / CORRELATED_PX


def depth_rows(
    view: SeenDepth,
    vertices_in_world: Float[Tensor, "n_verts 3"],
    faces: Int[Tensor, "n_faces 3"],
    *,
    compared: Bool[Tensor, "n_faces"],
    rasterizer: Rasterizer,
    term: DepthTerm,
    camera: int = 0,
) -> Rows:
    """z_model - z_seen at the view's trusted pixels, on the triangles that may be compared with depth."""
    hits = surface_hits(view, vertices_in_world, faces, rasterizer)
    residual = hits.depth_m - view.depth_m
    sigma = sigma_m(view.depth_m, hits.cosine) + term.floor_m
    scaled = residual / sigma
    keep = (hits.triangle >= 0) & (hits.cosine > LEAST_COSINE) & (scaled.abs() < MOST_CUTS * term.cut)
    keep &= compared[hits.triangle.clamp(min=0).long()]
    robust = geman_mcclure_weight(scaled, term.cut) * term.cut**2
    cost = torch.where(keep, geman_mcclure(scaled, term.cut), 2.0).sum() * (term.weight * term.cut**2)
    rows = Rows(
        residual=residual,
        gradient=view.pose.gradients(hits.slope),
        corners=hits.corners,
        barycentric=hits.barycentric,
        weight=term.weight * robust / sigma**2,
        camera=torch.full_like(hits.triangle, camera),
        cost=float(cost),
    )
    return rows.taken(keep)


@dataclass(frozen=True)
class LandmarkTerm:
    """How landmark rows are weighted. Neighbouring landmarks err together, hence a weight below one."""

    sigma_px: float = 2.5
    cut: float = 3.0
    weight: float = 0.3


@dataclass(frozen=True)
class Landmarks:
    """A landmark table on a device."""

    mediapipe: Int[Tensor, "n_landmarks"]
    corners: Int[Tensor, "n_landmarks 3"]  # int32
    barycentric: Float[Tensor, "n_landmarks 3"]
    importance: Float[Tensor, "n_landmarks"]  # 1 for most

    @classmethod
    def of(cls, table: LandmarkTable, device: str) -> "Landmarks":
        """Uploads a table."""
        return cls(
            torch.from_numpy(table.mediapipe).long().to(device),
            torch.from_numpy(table.corners).int().to(device),
            torch.from_numpy(table.barycentric).float().to(device),
            torch.tensor([LIP_IMPORTANCE if group in LIPS else 1.0 for group in table.group], device=device),
        )

    def at(self, values: Float[Tensor, "n_verts 3"]) -> Float[Tensor, "n_landmarks 3"]:
        """Values interpolated at the landmarks."""
        return (self.barycentric[:, :, None] * values[self.corners.long()]).sum(1)


def landmark_rows(
    view: SeenColor,
    vertices_in_world: Float[Tensor, "n_verts 3"],
    faces: Int[Tensor, "n_faces 3"],
    *,
    landmarks: Landmarks,
    term: LandmarkTerm,
    bias_px: Float[Tensor, "n_landmarks 2"] | None = None,
    normals: Float[Tensor, "n_verts 3"] | None = None,
    camera: int = -1,
) -> Rows:
    """Pixel distances (u and v rows) between the model's landmarks that face the camera and the detected ones.

    `bias_px` is where this actor's landmarks are seen off the model's.
    """
    residual = landmark_residuals(view, vertices_in_world, faces, landmarks=landmarks, normals=normals)
    residual = residual if bias_px is None else residual + bias_px
    keep = torch.isfinite(residual).all(1)
    residual = residual[keep]
    weight = term.weight * landmarks.importance[keep]
    points = view.pose.points(landmarks.at(vertices_in_world)[keep])
    gradient = view.imager.projection_slope(points) @ view.pose.rotation  # [n, 2, 3], world frame
    distance = residual.norm(dim=1) / term.sigma_px
    robust = weight * geman_mcclure_weight(distance, term.cut) * term.cut**2 / term.sigma_px**2
    lost = 2.0 * term.weight * float(landmarks.importance[~keep].sum())
    cost = term.cut**2 * (float((weight * geman_mcclure(distance, term.cut)).sum()) + lost)
    return Rows(
        residual=residual.reshape(-1),
        gradient=gradient.reshape(-1, 3),
        corners=landmarks.corners[keep].repeat_interleave(2, 0),
        barycentric=landmarks.barycentric[keep].repeat_interleave(2, 0),
        weight=robust.repeat_interleave(2),
        camera=torch.full((2 * len(residual),), camera, dtype=torch.int32, device=residual.device),
        cost=cost,
    )


def landmark_residuals(
    view: SeenColor,
    vertices_in_world: Float[Tensor, "n_verts 3"],
    faces: Int[Tensor, "n_faces 3"],
    *,
    landmarks: Landmarks,
    normals: Float[Tensor, "n_verts 3"] | None = None,
) -> Float[Tensor, "n_landmarks 2"]:
    """Model minus detected pixel of every landmark of the table; NaN where it faces away or was not detected."""
    points = view.pose.points(landmarks.at(vertices_in_world))
    normals = vertex_normals_of(vertices_in_world, faces) if normals is None else normals
    normal = landmarks.at(normals) @ view.pose.rotation.T
    facing = -(normal * points).sum(1) / points.norm(dim=1) > LANDMARK_COSINE
    residual = view.imager.project(points) - view.landmarks_px[landmarks.mediapipe]
    return torch.where(facing[:, None], residual, torch.nan)
