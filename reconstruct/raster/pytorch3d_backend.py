"""pytorch3d as a rasteriser, when it is installed."""

import torch
from jaxtyping import Float, Int
from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
from pytorch3d.structures import Meshes
from torch import Tensor

from mmface4d.errors import MissingBackendError
from reconstruct.raster.interface import NEAR_M, Fragments

CPU_FACE_LIMIT = 2000  # its CPU path tests every face at every pixel


class Pytorch3dRasterizer:
    """Normalised device coordinates point left and up; the shorter side spans -1..1."""

    name = "pytorch3d"

    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    def rasterize(
        self,
        vertices_px: Float[Tensor, "views n_verts 3"],
        faces: Int[Tensor, "n_faces 3"],
        *,
        height: int,
        width: int,
        cull_backfaces: bool = True,
    ) -> Fragments:
        """See Rasterizer.rasterize; raises MissingBackendError for large meshes on a CPU."""
        if self.device == "cpu" and len(faces) > CPU_FACE_LIMIT:
            raise MissingBackendError(
                f"pytorch3d on a CPU takes minutes for {len(faces)} faces", hint="use --rasterizer warp"
            )
        u, v, z = vertices_px.detach().float().unbind(-1)
        side = min(height, width)
        ndc = torch.stack([(width - 2 * (u + 0.5)) / side, (height - 2 * (v + 0.5)) / side, z], -1)
        triangle, depth_m, barycentric, _ = rasterize_meshes(
            Meshes(list(ndc), [faces.long()] * len(ndc)),
            image_size=(height, width),
            blur_radius=0.0,
            faces_per_pixel=1,
            perspective_correct=True,
            cull_backfaces=cull_backfaces,
            z_clip_value=NEAR_M,
        )
        seen = triangle[..., 0] >= 0
        # its ids count over the whole batch
        first = torch.arange(len(ndc), device=triangle.device)[:, None, None] * len(faces)
        local = torch.where(seen, triangle[..., 0] - first, -1).to(torch.int32)
        return Fragments(local, barycentric[..., 0, :] * seen[..., None], depth_m[..., 0] * seen)
