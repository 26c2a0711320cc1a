"""A dense landmark table for a model that MediaPipe cannot be shown: bent over from the built-in model's."""

import numpy as np
from jaxtyping import Float, Int

from mmface4d.arrays import Faces, Vertices
from reconstruct.models.landmark_sets import LOWER_LIP, UPPER_LIP, group_of
from reconstruct.models.model import LandmarkTable, MorphableModel
from reconstruct.models.surface import closest

MAX_GAP_M = 0.008  # a bent point farther off the mesh has nothing there to stand on
SMOOTHING = 1e-6  # of the spline, in its own unit of 10 cm: anchors agree to about a millimetre


def dense_landmarks(
    mean: Vertices, faces: Faces, anchors: LandmarkTable, *, template: MorphableModel, sides: dict[str, np.ndarray]
) -> LandmarkTable:
    """The template's landmarks on another mean in the head frame.

    A thin-plate spline through the anchors both have bends the template's points over; each is put on the nearest
    triangle, lip points on their own lip (`sides`: the regions `upper_lip` and `lower_lip`). Anchors stay as they are.
    """
    source = template.landmarks.positions(template.mean.astype(np.float64))
    bent = _bend(source, template.landmarks, anchors, anchors.positions(mean))
    points = template.landmarks.mediapipe
    missing = ~np.isin(points, anchors.mediapipe)
    landed = _land(mean, faces, points[missing], bent[missing], sides)
    order = np.argsort(np.concatenate([anchors.mediapipe, landed.mediapipe]), kind="stable")
    groups = [*anchors.group, *landed.group]
    return LandmarkTable(
        mediapipe=np.concatenate([anchors.mediapipe, landed.mediapipe])[order],
        corners=np.concatenate([anchors.corners, landed.corners])[order],
        barycentric=np.concatenate([anchors.barycentric, landed.barycentric])[order],
        group=tuple(groups[i] for i in order),
    )


def _bend(
    points: Float[np.ndarray, "n_landmarks 3"],
    table: LandmarkTable,
    anchors: LandmarkTable,
    targets: Float[np.ndarray, "n_anchors 3"],
) -> Float[np.ndarray, "n_landmarks 3"]:
    from scipy.interpolate import RBFInterpolator

    place = {int(point): i for i, point in enumerate(table.mediapipe)}
    shared = [i for i, point in enumerate(anchors.mediapipe) if int(point) in place]
    here = points[[place[int(anchors.mediapipe[i])] for i in shared]]
    spline = RBFInterpolator(10 * here, targets[shared], kernel="thin_plate_spline", smoothing=SMOOTHING)
    return spline(10 * points)


def _land(
    mean: Vertices,
    faces: Faces,
    points: Int[np.ndarray, "n_points"],
    places: Float[np.ndarray, "n_points 3"],
    sides: dict[str, np.ndarray],
) -> LandmarkTable:
    """The nearest places on the mesh, lip points not on the other lip; without those that are too far."""
    corners = np.zeros((len(points), 3), dtype=np.int32)
    weights = np.zeros((len(points), 3), dtype=np.float32)
    near = np.zeros(len(points), dtype=bool)
    lower, upper = np.isin(points, LOWER_LIP), np.isin(points, UPPER_LIP)
    for rows, other in ((lower, "upper_lip"), (upper, "lower_lip"), (~lower & ~upper, None)):
        allowed = faces if other is None else faces[~sides[other][faces].any(axis=1)]
        hits = closest(mean, allowed, places[rows])
        corners[rows], weights[rows], near[rows] = allowed[hits.face], hits.barycentric, hits.distance < MAX_GAP_M
    return LandmarkTable(
        mediapipe=points[near].astype(np.int32),
        corners=corners[near],
        barycentric=weights[near],
        group=tuple(group_of(int(point)) for point in points[near]),
    )
