"""A first guess of the head's pose: landmarks of all views, lifted by depth, laid onto the model's."""

import numpy as np

from mmface4d.arrays import Points
from reconstruct.observation import Observation
from reconstruct.parameters import Problem
from reconstruct.state import FrameFit

LEAST_LANDMARKS = 12
OUTLIER_M = 0.025


def initial_fit(problem: Problem, observation: Observation) -> FrameFit | None:
    """Rigid pose of the model's mean; None where too few landmarks could be lifted."""
    model, table = problem.model, problem.table
    target = observation.lifted_landmarks()[table.mediapipe]
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
