"""The energy of one instant, differentiable in torch: what `paper` minimises and what `fast` linearises.

Data terms live on the depth pixels: the rasteriser picks the triangle a pixel's ray meets, and depth and surface point
follow from the exact ray-triangle intersection, so there is a gradient to the vertices but none to visibility.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reconstruct.depth_noise import sigma_m
from reconstruct.observation import ColorView, DepthView
from reconstruct.raster import Rasterizer
from reconstruct.rows import LEAST_COSINE, surface_hits
from reconstruct.seen import SeenDepth
from reconstruct.weights import EnergyWeights, geman_mcclure


@dataclass(frozen=True)
class ViewHits:
    """The rays of a view that meet the mesh, with what was seen there; triangles are held while gradients flow."""

    corners: Int[Tensor, "n 3"]
    ray: Float[Tensor, "n 3"]  # depth frame
    depth_m: Float[Tensor, "n"]
    color: Float[Tensor, "n 3"]
    sigma_m: Float[Tensor, "n"]
    compared: Bool[Tensor, "n"]  # depth is meaningful there (no eyes, nostrils, border)


def hits_of(
    view: DepthView,
    vertices_in_world: Float[Tensor, "n_verts 3"],
    faces: Int[Tensor, "n_faces 3"],
    *,
    compared: Bool[Tensor, "n_faces"],
    rasterizer: Rasterizer,
    sensor_sigma: bool,
) -> ViewHits:
    """Rasterises the mesh as it stands."""
    seen = SeenDepth.of(view, rasterizer.device)
    hits = surface_hits(seen, vertices_in_world, faces, rasterizer)
    keep = (hits.triangle >= 0) & (hits.cosine > LEAST_COSINE)
    depth_m = seen.depth_m[keep]
    return ViewHits(
        corners=hits.corners[keep].long(),
        ray=seen.ray[keep],
        depth_m=depth_m,
        color=torch.from_numpy(view.color).to(rasterizer.device)[keep],
        sigma_m=sigma_m(depth_m, hits.cosine[keep]) if sensor_sigma else torch.ones_like(depth_m),
        compared=compared[hits.triangle[keep].long()],
    )


def intersect(
    corners_in_camera: Float[Tensor, "n 3 3"], ray: Float[Tensor, "n 3"]
) -> tuple[Float[Tensor, "n"], Float[Tensor, "n 3"]]:
    """Depth (along z, for rays of unit z) and barycentric weights where rays meet the planes of triangles."""
    a, b, c = corners_in_camera.unbind(1)
    normal = torch.linalg.cross(b - a, c - a)
    depth = (normal * a).sum(1) / (normal * ray).sum(1)
    point = ray * depth[:, None]
    area2 = (normal * normal).sum(1)
    weight_a = (torch.linalg.cross(c - b, point - b) * normal).sum(1) / area2
    weight_b = (torch.linalg.cross(a - c, point - c) * normal).sum(1) / area2
    return depth, torch.stack([weight_a, weight_b, 1 - weight_a - weight_b], 1)


def depth_energy(hits: list[ViewHits], depths: list[Float[Tensor, "n"]], weights: EnergyWeights) -> Float[Tensor, ""]:
    """weights.depth * sum (or mean) of rho over all views' comparable pixels."""
    cost = torch.cat(
        [
            geman_mcclure((depth - view.depth_m)[view.compared] / view.sigma_m[view.compared], weights.depth_cut)
            for view, depth in zip(hits, depths, strict=True)
        ]
    )
    return weights.depth * (cost.mean() if weights.mean_over_pixels else cost.sum())


def color_energy(
    hits: list[ViewHits], rendered: list[Float[Tensor, "n 3"]], weights: EnergyWeights
) -> Float[Tensor, ""]:
    """weights.color * mean of rho(|I_model - I_seen|) over all views' pixels with a colour."""
    costs = []
    for view, color in zip(hits, rendered, strict=True):
        known = torch.isfinite(view.color[:, 0])
        # the small number keeps the root's gradient finite at zero
        distance = ((color[known] - view.color[known]).square().sum(1) + 1e-10).sqrt()
        costs.append(geman_mcclure(distance, weights.color_cut))
    return weights.color * torch.cat(costs).mean()


def landmark_energy(
    view: ColorView,
    landmarks_in_world: Float[Tensor, "n_landmarks 3"],
    target_px: Float[Tensor, "n_landmarks 2"],
    weights: EnergyWeights,
) -> Float[Tensor, ""]:
    """weights.landmark * sum of rho over the landmarks whose target is finite."""
    pose = torch.from_numpy(view.color_from_world).to(landmarks_in_world)
    pixels = view.imager.project(landmarks_in_world @ pose[:3, :3].T + pose[:3, 3])
    known = torch.isfinite(target_px[:, 0])
    distance = ((pixels - target_px)[known].square().sum(1) + 1e-12).sqrt() / weights.landmark_px
    return weights.landmark * geman_mcclure(distance, weights.landmark_cut).sum()
