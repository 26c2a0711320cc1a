"""The colour term: skin detail that each camera saw on the actor is found again in every frame.

Points spread evenly over the skin carry, for each camera, the band-passed log intensity seen there in the keyframes.
The reference never moves, so nothing drifts; what a band-pass leaves of light and shadow is left to the robust weight.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mmface4d.arrays import Faces, Vertices
from reconstruct.bands import BANDS_PX
from reconstruct.raster import Rasterizer
from reconstruct.rows import Rows
from reconstruct.seen import SeenColor
from reconstruct.topology import face_normals
from reconstruct.weights import geman_mcclure, geman_mcclure_weight

SPACING_M = 0.0012
LEAST_COSINE = 0.45  # nearer to the silhouette the outer blur mixes the background in
HIDDEN_BEHIND_M = 0.003
LEAST_SIGMA = 0.01


@dataclass(frozen=True)
class SkinPoints:
    """Points that stay on the skin: triangles and barycentric weights."""

    triangle: Int[Tensor, "n_points"]
    corners: Int[Tensor, "n_points 3"]  # int32
    barycentric: Float[Tensor, "n_points 3"]

    @classmethod
    def spread(cls, mean: Vertices, faces: Faces, *, compared: np.ndarray, device: str) -> "SkinPoints":
        """About one point in SPACING_M squared of the triangles that are skin; the same ones every time."""
        area = np.where(compared, np.linalg.norm(face_normals(mean.astype(np.float64), faces), axis=1) / 2, 0.0)
        count = max(int(area.sum() / SPACING_M**2), 1)
        # systematic sampling: a triangle gets its share of points, give or take one
        at = (np.arange(count) + 0.5) / count * area.sum()
        triangle = np.searchsorted(np.cumsum(area), at).clip(0, len(faces) - 1)
        u, v = np.random.default_rng(0).random((2, count))
        root = np.sqrt(u)
        barycentric = np.stack([1 - root, root * (1 - v), root * v], 1)
        return cls(
            torch.from_numpy(triangle).to(device),
            torch.from_numpy(faces[triangle].astype(np.int32)).to(device),
            torch.from_numpy(barycentric.astype(np.float32)).to(device),
        )

    def __len__(self) -> int:
        return len(self.triangle)


@dataclass(frozen=True)
class SkinReference:
    """What one camera sees at the skin points, for each band; NaN where it never looked."""

    value: Float[Tensor, "n_bands n_points"]
    sigma: Float[Tensor, "n_bands"]  # how far a single look is off


@dataclass(frozen=True)
class ColorTerm:
    """How colour rows are weighted: neighbouring points err together, hence a weight below one."""

    references: dict[str, SkinReference]
    level: int = len(BANDS_PX) - 1
    cut: float = 3.0
    weight: float = 0.15


@dataclass(frozen=True)
class Look:
    """The skin points in one picture."""

    visible: Bool[Tensor, "n_points"]
    points_in_camera: Float[Tensor, "n_points 3"]
    pixels: Float[Tensor, "n_points 2"]  # in the crop


def look_at_skin(
    view: SeenColor,
    vertices_in_world: Float[Tensor, "n_verts 3"],
    faces: Int[Tensor, "n_faces 3"],
    *,
    points: SkinPoints,
    rasterizer: Rasterizer,
) -> Look:
    """Where the skin points are in the picture, and which of them are seen well; needs view.bands."""
    assert view.bands is not None
    imager = view.bands.imager
    vertices = view.pose.points(vertices_in_world)
    vertices_px = torch.cat([imager.project(vertices), vertices[:, 2:]], 1)[None]
    nearest = rasterizer.rasterize(vertices_px, faces, height=imager.height, width=imager.width).depth_m[0]
    a, b, c = vertices[points.corners.long()].unbind(1)
    normal = torch.linalg.cross(b - a, c - a)
    weight = points.barycentric
    at = weight[:, :1] * a + weight[:, 1:2] * b + weight[:, 2:] * c
    cosine = -(normal * at).sum(1) / (normal.norm(dim=1) * at.norm(dim=1)).clamp(min=1e-12)
    pixels = imager.project(at)
    column, row = pixels.round().long().unbind(1)
    inside = (column >= 0) & (column < imager.width) & (row >= 0) & (row < imager.height)
    depth = nearest[row.clamp(0, imager.height - 1), column.clamp(0, imager.width - 1)]
    visible = inside & (cosine > LEAST_COSINE) & (depth > 0) & (at[:, 2] < depth + HIDDEN_BEHIND_M)
    return Look(visible, at, pixels)


def color_rows(
    view: SeenColor,
    vertices_in_world: Float[Tensor, "n_verts 3"],
    faces: Int[Tensor, "n_faces 3"],
    *,
    points: SkinPoints,
    rasterizer: Rasterizer,
    term: ColorTerm,
    camera: int = -1,
) -> Rows | None:
    """Detail in the picture minus the reference, at the skin points this camera knows; None where it knows none."""
    reference = term.references.get(view.serial)
    if view.bands is None or reference is None:
        return None
    look = look_at_skin(view, vertices_in_world, faces, points=points, rasterizer=rasterizer)
    known = reference.value[term.level]
    keep = torch.nonzero(look.visible & torch.isfinite(known))[:, 0]
    value, along_u, along_v = view.bands.sample(look.pixels[keep], term.level)
    residual = value - known[keep]
    slope = view.bands.imager.projection_slope(look.points_in_camera[keep])
    gradient = along_u[:, None] * slope[:, 0] + along_v[:, None] * slope[:, 1]
    sigma = float(reference.sigma[term.level])
    robust = geman_mcclure_weight(residual / sigma, term.cut) * term.cut**2
    lost = 2.0 * float(torch.isfinite(known).sum() - len(keep))
    cost = term.weight * term.cut**2 * (float(geman_mcclure(residual / sigma, term.cut).sum()) + lost)
    return Rows(
        residual=residual,
        gradient=view.pose.gradients(gradient),
        corners=points.corners[keep],
        barycentric=points.barycentric[keep],
        weight=term.weight * robust / sigma**2,
        camera=torch.full((len(keep),), camera, dtype=torch.int32, device=residual.device),
        cost=cost,
    )


def learn_references(
    looks: dict[str, list[Float[Tensor, "n_bands n_points"]]],
) -> dict[str, SkinReference]:
    """The median over the keyframes of what each camera saw (NaN where it did not look)."""
    out = {}
    for serial, values in looks.items():
        stack = torch.stack(values)
        # of an even number torch takes the lower of the middle two: the mean of both ends' medians is unbiased
        middle = (torch.nanmedian(stack, 0).values - torch.nanmedian(-stack, 0).values) / 2
        spread = (stack - middle).abs()
        sigma = [1.4826 * float(torch.nanmedian(part)) for part in spread.unbind(1)]
        sigma = [max(value if np.isfinite(value) else 0.0, LEAST_SIGMA) for value in sigma]
        out[serial] = SkinReference(middle, stack.new_tensor(sigma))
    return out


def skin_values(view: SeenColor, look: Look) -> Float[Tensor, "n_bands n_points"]:
    """What a picture shows at the skin points, for each band; NaN where they are not seen."""
    assert view.bands is not None
    values = [view.bands.sample(look.pixels, level)[0] for level in range(len(BANDS_PX))]
    return torch.where(look.visible, torch.stack(values), torch.nan)
