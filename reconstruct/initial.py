"""A first guess of the head's pose: landmarks of all views, lifted by depth, laid onto the model's."""

import numpy as np
from jaxtyping import Float

from mmface4d.arrays import Points
from reconstruct.observation import ColorView, DepthView, Observation
from reconstruct.parameters import Problem
from reconstruct.state import FrameFit

NEAREST_PX = 5.0
LEAST_LANDMARKS = 12
OUTLIER_M = 0.025


def lifted_landmarks(observation: Observation) -> Float[np.ndarray, "478 3"]:
    """World positions of the landmarks, the median over the views that see them; NaN where none does."""
    views = {view.serial: view for view in observation.depth_views}
    lifted = [_lift(view, views[view.serial]) for view in observation.color_views if view.serial in views]
    if not lifted:
        return np.full((478, 3), np.nan)
    stacked = np.stack(lifted)
    out = np.full(stacked.shape[1:], np.nan)
    known = np.isfinite(stacked[..., 0]).any(0)
    out[known] = np.nanmedian(stacked[:, known], 0)
    return out


def _lift(color_view: ColorView, depth_view: DepthView) -> Points:
    """The seen point nearest to each landmark in the colour image, of those in front."""
    from scipy.spatial import cKDTree

    out = np.full((len(color_view.landmarks_px), 3), np.nan)
    known = np.flatnonzero(np.isfinite(color_view.landmarks_px).all(1))
    if not len(known) or len(depth_view) < 100:
        return out
    distance, index = cKDTree(depth_view.color_px).query(
        color_view.landmarks_px[known], k=5, distance_upper_bound=NEAREST_PX
    )
    inside = np.isfinite(distance)
    depth_m = np.where(inside, np.append(depth_view.depth_m, np.inf)[index], np.inf)
    front = depth_m.argmin(1)
    hit = inside.any(1)
    out[known[hit]] = depth_view.points_in_world[index[np.arange(len(known)), front][hit]]
    return out


def initial_fit(problem: Problem, observation: Observation) -> FrameFit | None:
    """Rigid pose of the model's mean; None where too few landmarks could be lifted."""
    model, table = problem.model, problem.table
    target = lifted_landmarks(observation)[table.mediapipe]
    known = np.isfinite(target).all(1)
    if known.sum() < LEAST_LANDMARKS:
        return None
    pose = rigid_fit(table.positions(model.mean.astype(np.float64))[known], target[known])
    if pose is None:
        return None
    rotation, translation = pose
    return FrameFit(rotation, translation, np.zeros(len(model.expression_std)), np.zeros((model.vertex_count, 3)))


def rigid_fit(source: Points, target: Points) -> tuple[np.ndarray, np.ndarray] | None:
    """Rotation and translation by Kabsch's method, repeated on the points within OUTLIER_M; None where few remain."""
    keep = np.ones(len(source), bool)
    for _ in range(5):
        if keep.sum() < LEAST_LANDMARKS:
            return None
        a, b = source[keep], target[keep]
        left, _, right = np.linalg.svd((b - b.mean(0)).T @ (a - a.mean(0)))
        flip = np.diag([1, 1, np.linalg.det(left @ right)])
        rotation = left @ flip @ right
        translation = b.mean(0) - rotation @ a.mean(0)
        distance = np.linalg.norm(source @ rotation.T + translation - target, axis=1)
        keep = distance < max(OUTLIER_M, 2 * float(np.median(distance)))
    return rotation, translation
