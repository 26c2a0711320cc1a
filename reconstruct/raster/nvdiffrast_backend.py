"""nvdiffrast as a rasteriser, when it is installed (CUDA only)."""

import nvdiffrast.torch as dr
import torch
from jaxtyping import Float, Int
from torch import Tensor

from mmface4d.errors import MissingBackendError
from reconstruct.raster.interface import NEAR_M, Fragments

FAR_M = 20.0


class NvdiffrastRasterizer:
    """Clip space with w = z; row 0 is y = -1, so with v pointing down nothing is flipped."""

    name = "nvdiffrast"

    def __init__(self, device: str = "cuda") -> None:
        if not device.startswith("cuda") or not torch.cuda.is_available():
            raise MissingBackendError("nvdiffrast needs a CUDA device", hint="use --rasterizer warp")
        self.device = device
        self._context = dr.RasterizeCudaContext(device=device)

    def rasterize(
        self,
        vertices_px: Float[Tensor, "views n_verts 3"],
        faces: Int[Tensor, "n_faces 3"],
        *,
        height: int,
        width: int,
        cull_backfaces: bool = True,
    ) -> Fragments:
        """See Rasterizer.rasterize."""
        vertices_px = vertices_px.detach().float()
        faces = faces.to(torch.int32).contiguous()
        padded_height, padded_width = (
            -(-height // 8) * 8,
            -(-width // 8) * 8,
        )  # the CUDA rasteriser wants multiples of 8
        u, v, z = vertices_px.unbind(-1)
        # pixel centres are integers here and at +0.5 there
        x = 2 * (u + 0.5) / padded_width - 1
        y = 2 * (v + 0.5) / padded_height - 1
        a, b = (FAR_M + NEAR_M) / (FAR_M - NEAR_M), -2 * FAR_M * NEAR_M / (FAR_M - NEAR_M)
        clip = torch.stack([x * z, y * z, a * z + b, z], -1).contiguous()
        raster, _ = dr.rasterize(self._context, clip, faces, (padded_height, padded_width), grad_db=False)
        raster = raster[:, :height, :width]
        triangle = raster[..., 3].to(torch.int32) - 1
        first, second = raster[..., 0], raster[..., 1]
        barycentric = torch.stack([first, second, 1 - first - second], -1)
        if cull_backfaces:
            triangle = _cull(triangle, vertices_px, faces)
        seen = triangle >= 0
        corners = faces.long()[triangle.clamp(min=0).long()]
        views = torch.arange(len(z), device=z.device)[:, None, None, None]
        depth_m = (barycentric * z[views, corners]).sum(-1)  # the z/w of the rasteriser has no metres
        return Fragments(triangle, barycentric * seen[..., None], depth_m * seen)


def _cull(triangle: Tensor, vertices_px: Tensor, faces: Tensor) -> Tensor:
    """Drops pixels whose nearest triangle faces away (nvdiffrast itself cannot cull)."""
    a, b, c = (vertices_px[:, faces[:, i].long(), :2] for i in range(3))
    area = (b - a)[..., 0] * (c - a)[..., 1] - (b - a)[..., 1] * (c - a)[..., 0]
    views = torch.arange(len(area), device=area.device)[:, None, None]
    away = area[views, triangle.clamp(min=0).long()] > 0
    return torch.where(away, torch.full_like(triangle, -1), triangle)
