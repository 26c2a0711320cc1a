"""What a rasteriser does here: say which triangle every pixel centre sees.

Vertices come in pixels (OpenCV: integers at pixel centres) with their camera depth; lens distortion is applied to the
vertices by the camera, so every backend sees straight lines. Backends agree on one
scene: tests/reconstruct/test_raster.py.
"""

import importlib
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

from mmface4d.errors import MissingBackendError, UsageError

NEAR_M = 0.05

# name -> (module, class, what to do where it is missing)
BACKENDS = {
    "warp": ("reconstruct.raster.warp_backend", "WarpRasterizer", "pip install warp-lang"),
    "nvdiffrast": (
        "reconstruct.raster.nvdiffrast_backend",
        "NvdiffrastRasterizer",
        "install nvdiffrast from its authors' repository; it needs a CUDA card and is not for commercial use",
    ),
    "pytorch3d": (
        "reconstruct.raster.pytorch3d_backend",
        "Pytorch3dRasterizer",
        "install pytorch3d from its authors' repository; on a CPU it is for small meshes only",
    ),
}


@dataclass(frozen=True)
class Fragments:
    """What each pixel centre sees. Ids carry no gradient."""

    triangle: Int[Tensor, "views height width"]  # -1 where nothing is seen
    barycentric: Float[Tensor, "views height width 3"]  # perspective-correct
    depth_m: Float[Tensor, "views height width"]  # along the camera's z; 0 where nothing is seen


@runtime_checkable
class Rasterizer(Protocol):
    """A backend on one device ("cpu", "cuda")."""

    name: str
    device: str

    def rasterize(
        self,
        vertices_px: Float[Tensor, "views n_verts 3"],
        faces: Int[Tensor, "n_faces 3"],
        *,
        height: int,
        width: int,
        cull_backfaces: bool = True,
    ) -> Fragments:
        """The nearest triangle at every pixel; of equals the one with the lower index.

        `vertices_px` are (u, v, z): pixels and camera depth in metres. Triangles with a corner nearer than NEAR_M are
        left out. `faces` are counter-clockwise seen from outside.
        """
        ...


def make_rasterizer(name: str = "warp", device: str = "cpu") -> Rasterizer:
    """A backend by name; raises MissingBackendError with the remedy where it is not installed."""
    if name not in BACKENDS:
        raise UsageError(f"unknown rasteriser {name!r}", hint=f"known: {', '.join(BACKENDS)}")
    module, attribute, remedy = BACKENDS[name]
    try:
        return getattr(importlib.import_module(module), attribute)(device)
    except ImportError as error:
        raise MissingBackendError(f"the rasteriser {name} is not installed: {error}", hint=remedy) from error
