"""Where a view's rays meet a mesh, as arrays: for what looks at a fit but does not move it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from mmface4d.arrays import Vertices
from reconstruct.model_tensors import tensor
from reconstruct.observation import ColorView, DepthView
from reconstruct.parameters import Problem
from reconstruct.rows import landmark_residuals, surface_hits
from reconstruct.seen import SeenColor, SeenDepth


@dataclass(frozen=True)
class Hits:
    """For every trusted pixel of a depth view."""

    triangle: Int[np.ndarray, "n_pixels"]  # -1 where the ray misses the mesh
    barycentric: Float[np.ndarray, "n_pixels 3"]
    depth_m: Float[np.ndarray, "n_pixels"]
    cosine: Float[np.ndarray, "n_pixels"]  # of incidence
    skin_pixels: int  # how many pixels, trusted or not, the mesh's comparable triangles cover


def hits_in_memory(problem: Problem, view: DepthView, vertices_in_world: Vertices) -> Hits:
    """The intersections of a view's rays with posed vertices."""
    device = problem.device
    found = surface_hits(
        SeenDepth.of(view, device), tensor(vertices_in_world, device), problem.tensors.faces, problem.rasterizer
    )
    return Hits(
        found.triangle.cpu().numpy(),
        found.barycentric.cpu().double().numpy(),
        found.depth_m.cpu().double().numpy(),
        found.cosine.cpu().double().numpy(),
        found.skin_pixels(problem.compared_there),
    )


def landmarks_off_px(
    problem: Problem, view: ColorView, vertices_in_world: Vertices
) -> Float[np.ndarray, "n_landmarks 2"]:
    """Model minus detected pixel of the landmarks; NaN where one faces away or was not detected."""
    device = problem.device
    residual = landmark_residuals(
        SeenColor.of(view, device), tensor(vertices_in_world, device), problem.tensors.faces,
        landmarks=problem.landmarks,
    )  # fmt: skip
    return residual.cpu().double().numpy()
