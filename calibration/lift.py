"""Landmarks of a colour image, lifted to 3-D by the depth around them."""

import numpy as np
from jaxtyping import Float

from mmface4d.arrays import DepthImage
from mmface4d.cameras import RgbdCamera
from mmface4d.transforms import invert, transform

REACH_DEPTH_PIXELS = 2.6  # how far around a landmark depth pixels are asked
NEIGHBOURS = 16  # at most; a disc of that reach holds about twenty
MIN_NEIGHBOURS = 5
FRONT_LAYER_M = 0.012  # farther behind the nearest neighbour is another surface, seen past an edge
MAX_STEEPNESS = 2.5  # depth change per sideways step: beyond it depth says too little about the place
MARGIN_PX = 20.0
NEAREST_M, FARTHEST_M = 0.25, 6.0


def lift_landmarks(
    camera: RgbdCamera, depth_mm: DepthImage, pixels: Float[np.ndarray, "n 2"]
) -> Float[np.ndarray, "n 3"]:
    """Points in the colour frame (metres) of colour pixels; NaN where depth does not hold them.

    Depth pixels are projected into the colour image with both lenses' distortion; a plane is fitted to the ones
    around each landmark, without those behind an edge, and the landmark's ray meets it.
    """
    lifted = np.full((len(pixels), 3), np.nan)
    seen = np.flatnonzero(np.isfinite(pixels).all(1))
    points, at = _points_around(camera, depth_mm, pixels[seen])
    if not len(seen) or len(points) < MIN_NEIGHBOURS:
        return lifted
    from scipy.spatial import KDTree

    reach_px = REACH_DEPTH_PIXELS * camera.color.fx / camera.depth.fx
    distance, index = map(np.asarray, KDTree(at).query(pixels[seen], k=NEIGHBOURS, distance_upper_bound=reach_px))
    rays = camera.color.undistort(pixels[seen])
    for row, ray in enumerate(rays):
        near = points[index[row][np.isfinite(distance[row])]]
        depth_m = _plane_depth(near, ray)
        if depth_m is not None:
            lifted[seen[row]] = [ray[0] * depth_m, ray[1] * depth_m, depth_m]
    return lifted


def _points_around(
    camera: RgbdCamera, depth_mm: DepthImage, pixels: Float[np.ndarray, "n 2"]
) -> tuple[Float[np.ndarray, "m 3"], Float[np.ndarray, "m 2"]]:
    """Depth points that fall among the landmarks, and where they fall in the colour image."""
    if not len(pixels):
        return np.zeros((0, 3)), np.zeros((0, 2))
    low, high = pixels.min(0) - MARGIN_PX, pixels.max(0) + MARGIN_PX
    points, _ = camera.points_in_color(_cut_to(camera, depth_mm, low=low, high=high))
    points = points[points[:, 2] > NEAREST_M]
    at = camera.color.project(points)
    inside = ((at > low) & (at < high)).all(1)
    return points[inside], at[inside]


def _cut_to(camera: RgbdCamera, depth_mm: DepthImage, *, low: np.ndarray, high: np.ndarray) -> DepthImage:
    """The depth image without the pixels that cannot fall into a rectangle of the colour image."""
    corners = np.array([(u, v) for u in (low[0], high[0]) for v in (low[1], high[1])])
    rays = camera.color.undistort(corners)
    rays = np.column_stack([rays, np.ones(len(rays))])
    if not np.isfinite(rays).all():
        return depth_mm
    # a colour pixel's ray crosses the depth image on a line between these two distances
    ends = np.concatenate([rays * NEAREST_M, rays * FARTHEST_M])
    at = camera.depth.project(transform(invert(camera.color_from_depth), ends))
    left, top = np.maximum(np.floor(at.min(0)).astype(int) - 2, 0)
    right, bottom = np.maximum(np.ceil(at.max(0)).astype(int) + 3, 0)
    cut = np.zeros_like(depth_mm)
    cut[top:bottom, left:right] = depth_mm[top:bottom, left:right]
    return cut


def _plane_depth(near: Float[np.ndarray, "k 3"], ray: Float[np.ndarray, "2"]) -> float | None:
    """Depth (z) at which a ray meets the plane through the front surface's points; None where there is no such plane.

    In normalised coordinates a plane's inverse depth is linear: 1/z = a x + b y + c.
    """
    near = near[near[:, 2] < near[:, 2].min(initial=np.inf) + FRONT_LAYER_M]
    if len(near) < MIN_NEIGHBOURS:
        return None
    xy, inverse = near[:, :2] / near[:, 2:], 1 / near[:, 2]
    away = xy - ray
    # the landmark must lie among the points, not beside them at an edge
    if np.linalg.norm(away.mean(0)) > 0.6 * np.linalg.norm(away, axis=1).max():
        return None
    (a, b, c), *_ = np.linalg.lstsq(np.column_stack([away, np.ones(len(near))]), inverse, rcond=None)
    if c <= 0 or np.hypot(a, b) / c > MAX_STEEPNESS:
        return None
    depth_m = 1 / c
    return float(depth_m) if abs(depth_m - np.median(near[:, 2])) < FRONT_LAYER_M else None
