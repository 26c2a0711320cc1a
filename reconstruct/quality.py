"""How well a frame was fitted, in figures an operator can read."""

from dataclasses import dataclass

import numpy as np

from mmface4d.arrays import Vertices
from reconstruct.hits import hits_in_memory, landmarks_off_px
from reconstruct.observation import Observation
from reconstruct.parameters import Problem


@dataclass(frozen=True)
class Quality:
    """Of one frame; NaN where nothing was seen."""

    depth_residual_mm: float  # median distance of the seen points to the mesh, along its normal
    coverage: float  # part of the mesh's skin pixels in all views that have a trusted depth
    landmark_residual_px: float  # median distance of model and detected landmarks
    landmark_residual_mm: float  # the same, at the face's distance


def frame_quality(problem: Problem, observation: Observation, vertices: Vertices) -> Quality:
    """Figures over all views of a frame."""
    distances, seen, trusted = [], 0, 0
    for view in observation.depth_views:
        hits = hits_in_memory(problem, view, vertices)
        skin = (hits.triangle >= 0) & problem.compared[hits.triangle] & (hits.cosine > 0.3)
        gap = np.abs(hits.depth_m - view.depth_m)[skin] * hits.cosine[skin]
        distances.append(gap * 1000)
        trusted += int((gap < 0.01).sum())
        seen += hits.skin_pixels
    pixels, millimetres = [], []
    for view in observation.color_views:
        error = np.linalg.norm(landmarks_off_px(problem, view, vertices), axis=1)
        distance_m = np.linalg.norm(vertices.mean(0) - np.linalg.inv(view.color_from_world)[:3, 3])
        pixels.append(error)
        millimetres.append(error * distance_m / view.imager.fx * 1000)
    return Quality(_median(distances), trusted / seen if seen else 0.0, _median(pixels), _median(millimetres))


def _median(parts: list[np.ndarray]) -> float:
    values = np.concatenate(parts) if parts else np.empty(0)
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else float("nan")
