"""The default rasteriser: NVIDIA Warp kernels, one source for CPU and CUDA.

Pass 1 keeps, per pixel, the minimum of (depth bits << 32 | triangle); pass 2 resolves barycentrics.
"""

from typing import Any, no_type_check

import torch
import warp as wp
from jaxtyping import Float, Int
from torch import Tensor

from mmface4d.errors import MissingBackendError
from reconstruct.raster.interface import NEAR_M, Fragments
from reconstruct.raster.warp_device import launch

EMPTY = (1 << 63) - 1

wp.set_module_options({"enable_backward": False})


@wp.func
@no_type_check
def edge(a: wp.vec3, b: wp.vec3, x: float, y: float) -> float:
    """Twice the signed area of the triangle a, b, (x, y)."""
    return (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])


@wp.kernel
@no_type_check
def splat(
    vertices: wp.array2d(dtype=wp.vec3),
    faces: wp.array(dtype=wp.vec3i),
    cull: int,
    near: float,
    nearest: wp.array3d(dtype=wp.int64),
):
    view, triangle = wp.tid()
    corner = faces[triangle]
    a = vertices[view, corner[0]]
    b = vertices[view, corner[1]]
    c = vertices[view, corner[2]]
    # also false for NaN, which is how a camera marks what it cannot project
    if not (a[2] > near and b[2] > near and c[2] > near):
        return
    area = edge(a, b, c[0], c[1])
    # y points down, so a triangle that is counter-clockwise from outside has a negative area when seen from outside
    if area == 0.0 or (cull == 1 and area > 0.0) or not (wp.abs(area) < 1.0e12):
        return
    height = nearest.shape[1]
    width = nearest.shape[2]
    left = wp.max(int(wp.ceil(wp.min(a[0], wp.min(b[0], c[0])))), 0)
    right = wp.min(int(wp.floor(wp.max(a[0], wp.max(b[0], c[0])))), width - 1)
    top = wp.max(int(wp.ceil(wp.min(a[1], wp.min(b[1], c[1])))), 0)
    bottom = wp.min(int(wp.floor(wp.max(a[1], wp.max(b[1], c[1])))), height - 1)
    for row in range(top, bottom + 1):
        for column in range(left, right + 1):
            x = float(column)
            y = float(row)
            wa = edge(b, c, x, y) / area
            wb = edge(c, a, x, y) / area
            wc = edge(a, b, x, y) / area
            if wa >= 0.0 and wb >= 0.0 and wc >= 0.0:
                z = 1.0 / (wa / a[2] + wb / b[2] + wc / c[2])
                # the bits of positive floats sort like the floats
                key = (wp.int64(wp.cast(z, wp.int32)) << wp.int64(32)) | wp.int64(triangle)
                wp.atomic_min(nearest, view, row, column, key)


@wp.kernel
@no_type_check
def resolve(
    vertices: wp.array2d(dtype=wp.vec3),
    faces: wp.array(dtype=wp.vec3i),
    nearest: wp.array3d(dtype=wp.int64),
    triangles: wp.array3d(dtype=wp.int32),
    barycentric: wp.array3d(dtype=wp.vec3),
    depth: wp.array3d(dtype=float),
):
    view, row, column = wp.tid()
    key = nearest[view, row, column]
    if key == wp.int64(9223372036854775807):
        triangles[view, row, column] = -1
        return
    triangle = int(key & wp.int64(0xFFFFFFFF))
    corner = faces[triangle]
    a = vertices[view, corner[0]]
    b = vertices[view, corner[1]]
    c = vertices[view, corner[2]]
    x = float(column)
    y = float(row)
    area = edge(a, b, c[0], c[1])
    wa = edge(b, c, x, y) / area / a[2]
    wb = edge(c, a, x, y) / area / b[2]
    wc = edge(a, b, x, y) / area / c[2]
    z = 1.0 / (wa + wb + wc)
    triangles[view, row, column] = triangle
    barycentric[view, row, column] = wp.vec3(wa * z, wb * z, wc * z)
    depth[view, row, column] = z


class WarpRasterizer:
    """Warp on "cpu" or "cuda"."""

    name = "warp"

    def __init__(self, device: str = "cpu") -> None:
        if device.startswith("cuda") and not (torch.cuda.is_available() and wp.is_cuda_available()):
            raise MissingBackendError("no CUDA device is there for Warp", hint="run with --device cpu")
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
        """See Rasterizer.rasterize."""
        views = len(vertices_px)
        shape = (views, height, width)
        options: dict[str, Any] = {"device": self.device}
        nearest = torch.full(shape, EMPTY, dtype=torch.int64, **options)
        triangle = torch.empty(shape, dtype=torch.int32, **options)
        barycentric = torch.zeros((*shape, 3), dtype=torch.float32, **options)
        depth_m = torch.zeros(shape, dtype=torch.float32, **options)
        vertices = wp.from_torch(vertices_px.detach().float().contiguous(), dtype=wp.vec3)
        corners = wp.from_torch(faces.to(torch.int32).contiguous(), dtype=wp.vec3i)
        buffer = wp.from_torch(nearest)
        launch(
            splat,
            dim=(views, len(faces)),
            inputs=[vertices, corners, int(cull_backfaces), NEAR_M, buffer],
            device=self.device,
        )
        launch(
            resolve,
            dim=shape,
            inputs=[vertices, corners, buffer],
            outputs=[
                wp.from_torch(triangle),
                wp.from_torch(barycentric, dtype=wp.vec3),
                wp.from_torch(depth_m),
            ],
            device=self.device,
        )
        return Fragments(triangle, barycentric, depth_m)
