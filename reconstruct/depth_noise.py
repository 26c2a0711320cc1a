"""Which depth pixels to trust, and how much.

Figures of the Azure Kinect at 0.5-1.1 m on skin: sigma 0.5 mm, growing with distance and incidence, correlated over
about 1.5 pixels; flying pixels at silhouettes.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mmface4d.arrays import DepthImage, Mask
from mmface4d.cameras import Intrinsics

FLYING_M = 0.008
FLYING_RELATIVE = 0.01
JUMP_M = 0.015
EROSION_PX = 2
GRAZING_DEG = 70.0
# a blob of noise with a Gaussian radius of 1.5 px covers 4 pi 1.5^2 pixels: so many pixels count as one measurement
CORRELATED_PX = 28.0
# metres -> sigma in metres, degrees of incidence -> factor on it
BY_DISTANCE = ((0.9, 1.1, 1.5, 2.0, 3.0), (0.5e-3, 0.75e-3, 1.0e-3, 1.6e-3, 3.0e-3))
BY_ANGLE = ((0.0, 30.0, 50.0, 65.0, 75.0), (1.0, 1.5, 3.0, 5.0, 8.0))


def sigma_m(depth_m: Float[Tensor, "*n"], cosine: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Standard deviation of depth (along z) by distance and the cosine of incidence."""
    degrees = torch.rad2deg(torch.arccos(cosine.clamp(0.0, 1.0)))
    return _interpolated(depth_m, BY_DISTANCE) * _interpolated(degrees, BY_ANGLE)


def _interpolated(x: Tensor, table: tuple[tuple[float, ...], tuple[float, ...]]) -> Tensor:
    """Piecewise linear, constant outside."""
    at, value = (x.new_tensor(column) for column in table)
    right = torch.bucketize(x, at).clamp(1, len(at) - 1)
    part = ((x - at[right - 1]) / (at[right] - at[right - 1])).clamp(0, 1)
    return value[right - 1] + part * (value[right] - value[right - 1])


def reliable(depth_mm: DepthImage, intrinsics: Intrinsics) -> Mask:
    """Pixels that are neither invalid, flying, next to a jump in depth, nor seen at a grazing angle."""
    import cv2

    depth_m = depth_mm.astype(np.float32) * 1e-3
    valid = depth_mm > 0
    median = cv2.medianBlur(depth_mm, 5).astype(np.float32) * 1e-3
    flying = np.abs(depth_m - median) > np.maximum(FLYING_M, FLYING_RELATIVE * depth_m)
    return valid & ~flying & ~_near_jump(depth_m, valid) & (incidence_cosine(median, intrinsics) > _LEAST_COSINE)


_LEAST_COSINE = float(np.cos(np.radians(GRAZING_DEG)))


def _near_jump(depth_m: Float[np.ndarray, "height width"], valid: Mask) -> Mask:
    import cv2

    kernel = np.ones((3, 3), np.uint8)
    far = cv2.dilate(np.where(valid, depth_m, 0).astype(np.float32), kernel)
    near = cv2.erode(np.where(valid, depth_m, np.inf).astype(np.float32), kernel)
    # an invalid pixel between two valid ones is a hole, not a jump: inf and 0 fall away in the comparison
    jump = ((far - near) > JUMP_M).astype(np.uint8)
    return cv2.dilate(jump, np.ones((2 * EROSION_PX - 1,) * 2, np.uint8)) > 0


def incidence_cosine(
    depth_m: Float[np.ndarray, "height width"], intrinsics: Intrinsics
) -> Float[np.ndarray, "height width"]:
    """Cosine between the viewing ray and the surface normal, from smoothed depth gradients; 0 where unknown."""
    import cv2

    smooth = cv2.GaussianBlur(depth_m, (0, 0), 1.5)
    points = intrinsics.ray_grid * smooth[..., None]
    along_u = np.zeros_like(points)
    along_v = np.zeros_like(points)
    along_u[:, 1:-1] = points[:, 2:] - points[:, :-2]
    along_v[1:-1] = points[2:] - points[:-2]
    normal = np.cross(along_u, along_v)
    length = np.linalg.norm(normal, axis=-1) * np.linalg.norm(intrinsics.ray_grid, axis=-1)
    dot = np.abs((normal * intrinsics.ray_grid).sum(-1))
    return np.nan_to_num(np.divide(dot, length, out=np.zeros_like(dot), where=length > 0))
