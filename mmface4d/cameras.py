"""Pinhole cameras with rational distortion, and the two imagers of an RGB-D device.

Pixels follow OpenCV: (u, v) with integers at pixel centres. Camera frames: x right, y down, z forward, metres.
"""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Annotated, Any

import numpy as np
from jaxtyping import Float
from pydantic import AfterValidator, BaseModel, ConfigDict, field_validator

from mmface4d.arrays import Pixels, Points, Transform
from mmface4d.transforms import is_rigid, transform

UNDISTORT_ITERATIONS = 30
UNDISTORT_TOLERANCE_PX = 1e-6


@dataclass(frozen=True)
class Intrinsics:
    """Focal lengths, principal point and distortion of one imager.

    `distortion` is OpenCV's order (k1, k2, p1, p2, k3, k4, k5, k6). `tangential_cross` is the factor of the mixed
    tangential term: 2 in OpenCV and Brown-Conrady, 1 in the Azure Kinect's older "Rational6KT" lens model.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = (0.0,) * 8
    tangential_cross: float = 2.0
    distortion_center: tuple[float, float] = (0.0, 0.0)  # normalised; only the older Kinect lens model moves it
    max_radius: float = 1.7  # normalised radius up to which the model was measured (a Kinect's MetricRadius)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.width, self.height

    @property
    def matrix(self) -> Float[np.ndarray, "3 3"]:
        """The 3x3 camera matrix."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]])

    def distort(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Distorted normalised coordinates of ideal ones (numpy arrays or torch tensors alike).

        Source: OpenCV's rational model; Azure Kinect SDK, intrinsic_transformation.c, for the mixed term.
        """
        k1, k2, p1, p2, k3, k4, k5, k6 = self.distortion
        center_x, center_y = self.distortion_center
        x, y = x - center_x, y - center_y
        r2 = x * x + y * y
        radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
        mixed = self.tangential_cross * x * y
        return (
            x * radial + mixed * p1 + (r2 + 2 * x * x) * p2 + center_x,
            y * radial + mixed * p2 + (r2 + 2 * y * y) * p1 + center_y,
        )

    def project(self, points_in_camera: Any) -> Any:
        """Pixels [..., 2] of points [..., 3] in front of the camera (numpy arrays or torch tensors alike).

        Points behind the camera, or outside the lens model's radius, give numbers without meaning: test
        `points_in_camera[..., 2] > 0` and `max_radius` where that can happen.
        """
        z = points_in_camera[..., 2]
        x, y = self.distort(points_in_camera[..., 0] / z, points_in_camera[..., 1] / z)
        u, v = x * self.fx + self.cx, y * self.fy + self.cy
        if isinstance(points_in_camera, np.ndarray):
            return np.stack([u, v], -1)
        import torch

        return torch.stack([u, v], -1)

    def projection_slope(self, points_in_camera: Any) -> Any:
        """d pixel / d point [..., 2, 3] of `project` (numpy arrays or torch tensors alike)."""
        z = points_in_camera[..., 2]
        ideal_x, ideal_y = points_in_camera[..., 0] / z, points_in_camera[..., 1] / z
        k1, k2, p1, p2, k3, k4, k5, k6 = self.distortion
        x, y = ideal_x - self.distortion_center[0], ideal_y - self.distortion_center[1]
        r2 = x * x + y * y
        above, below = 1 + r2 * (k1 + r2 * (k2 + r2 * k3)), 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
        radial = above / below
        # d radial / d r2, doubled: r2 grows by 2 x dx
        bend = 2 * (k1 + r2 * (2 * k2 + r2 * 3 * k3) - radial * (k4 + r2 * (2 * k5 + r2 * 3 * k6))) / below
        cross = self.tangential_cross
        uu = self.fx * (radial + x * x * bend + cross * y * p1 + 6 * x * p2)
        uv = self.fx * (x * y * bend + cross * x * p1 + 2 * y * p2)
        vu = self.fy * (x * y * bend + cross * y * p2 + 2 * x * p1)
        vv = self.fy * (radial + y * y * bend + cross * x * p2 + 6 * y * p1)
        columns = [uu / z, uv / z, -(uu * ideal_x + uv * ideal_y) / z]
        rows = [vu / z, vv / z, -(vu * ideal_x + vv * ideal_y) / z]
        if isinstance(points_in_camera, np.ndarray):
            return np.stack([np.stack(columns, -1), np.stack(rows, -1)], -2)
        import torch

        return torch.stack([torch.stack(columns, -1), torch.stack(rows, -1)], -2)

    def undistort(self, pixels: Pixels) -> Float[np.ndarray, "*batch 2"]:
        """Ideal normalised coordinates (x/z, y/z) of pixels, by Newton; NaN where the model does not invert."""
        target = (pixels - [self.cx, self.cy]) / [self.fx, self.fy]
        xy = np.array(target, dtype=np.float64)
        step = 1e-6
        for _ in range(UNDISTORT_ITERATIONS):
            x, y = xy[..., 0], xy[..., 1]
            fx, fy = self.distort(x, y)
            gx, gy = fx - target[..., 0], fy - target[..., 1]
            error = np.hypot(gx, gy)
            if not (error > UNDISTORT_TOLERANCE_PX / self.fx).any():
                break
            xr, yr = self.distort(x + step, y)
            xd, yd = self.distort(x, y + step)
            a, b, c, d = (xr - fx) / step, (xd - fx) / step, (yr - fy) / step, (yd - fy) / step
            det = a * d - b * c
            with np.errstate(divide="ignore", invalid="ignore"):
                delta = np.stack([(d * gx - b * gy) / det, (a * gy - c * gx) / det], -1)
            # half a unit is far more than a lens bends a ray; it keeps Newton from leaping over the model's pole
            xy = xy - np.clip(np.nan_to_num(delta), -0.5, 0.5)
        back = np.stack(self.distort(xy[..., 0], xy[..., 1]), -1)
        wrong = np.linalg.norm((back - target) * [self.fx, self.fy], axis=-1) > 1e-3
        wrong |= np.linalg.norm(xy, axis=-1) > self.max_radius
        xy[wrong] = np.nan
        return xy

    def unproject(self, pixels: Pixels, depth_m: Float[np.ndarray, "*batch"]) -> Points:
        """Points [..., 3] in the camera's frame of pixels [..., 2] at depths (z, metres)."""
        xy = self.undistort(pixels)
        return np.concatenate([xy * depth_m[..., None], depth_m[..., None]], -1)

    @cached_property
    def ray_grid(self) -> Float[np.ndarray, "height width 3"]:
        """Rays with unit z through every pixel centre, float32; NaN where the lens model does not reach."""
        return _ray_grid(replace(self))

    def scaled(self, factor: float) -> "Intrinsics":
        """The same camera with its image resized by `factor` (pixel centres at integers are kept in place)."""
        return replace(
            self,
            width=round(self.width * factor),
            height=round(self.height * factor),
            fx=self.fx * factor,
            fy=self.fy * factor,
            cx=(self.cx + 0.5) * factor - 0.5,
            cy=(self.cy + 0.5) * factor - 0.5,
        )

    def cropped(self, left: int, top: int, width: int, height: int) -> "Intrinsics":
        """The same camera with its image cut to a rectangle of whole pixels."""
        return replace(self, width=width, height=height, cx=self.cx - left, cy=self.cy - top)

    def to_json(self) -> dict[str, Any]:
        """Plain numbers for a JSON file."""
        return {
            "width": self.width, "height": self.height, "fx": self.fx, "fy": self.fy, "cx": self.cx, "cy": self.cy,
            "distortion": list(self.distortion), "tangential_cross": self.tangential_cross,
            "distortion_center": list(self.distortion_center), "max_radius": self.max_radius,
        }  # fmt: skip


class IntrinsicsRecord(BaseModel):
    """How intrinsics stand in a JSON file; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = (0.0,) * 8
    tangential_cross: float = 2.0
    distortion_center: tuple[float, float] = (0.0, 0.0)
    max_radius: float = 1.7

    @field_validator("distortion")
    @classmethod
    def _eight(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if len(value) not in (0, 4, 5, 8):
            raise ValueError(f"distortion needs 0, 4, 5 or 8 numbers in OpenCV's order, got {len(value)}")
        return value + (0.0,) * (8 - len(value))

    @field_validator("width", "height", "fx", "fy")
    @classmethod
    def _positive(cls, value: int | float) -> int | float:
        if value <= 0:
            raise ValueError("must be positive")
        return value

    def to_intrinsics(self) -> Intrinsics:
        """The camera these numbers describe."""
        return Intrinsics(**self.model_dump())


def _rigid_rows(value: list[list[float]]) -> list[list[float]]:
    if [len(row) for row in value] != [4] * 4 or not is_rigid(np.array(value)):
        raise ValueError("not a 4x4 rigid transform (row-major, metres)")
    return value


# how a transform stands in a JSON file
TransformRecord = Annotated[list[list[float]], AfterValidator(_rigid_rows)]


@lru_cache(maxsize=16)
def _ray_grid(intrinsics: Intrinsics) -> np.ndarray:
    u, v = np.meshgrid(np.arange(intrinsics.width, dtype=float), np.arange(intrinsics.height, dtype=float))
    xy = intrinsics.undistort(np.stack([u, v], -1))
    return np.concatenate([xy, np.ones_like(xy[..., :1])], -1).astype(np.float32)


@dataclass(frozen=True)
class RgbdCamera:
    """One device: a colour and a depth imager. The device's frame is its colour imager's."""

    serial: str
    color: Intrinsics
    depth: Intrinsics
    color_from_depth: Transform

    def __post_init__(self) -> None:
        if not is_rigid(np.asarray(self.color_from_depth)):
            raise ValueError(f"camera {self.serial}: color_from_depth is not a rigid transform")

    def points_in_color(self, depth_mm: np.ndarray) -> tuple[Points, np.ndarray]:
        """Points [n, 3] in the colour frame of the valid depth pixels, and the pixels' flat indices [n]."""
        flat = np.flatnonzero((depth_mm > 0) & np.isfinite(self.depth.ray_grid[..., 0]))
        depth_m = depth_mm.ravel()[flat].astype(np.float64) * 1e-3
        points_in_depth = self.depth.ray_grid.reshape(-1, 3)[flat] * depth_m[:, None]
        return transform(self.color_from_depth, points_in_depth), flat
