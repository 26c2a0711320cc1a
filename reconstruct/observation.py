"""What the cameras saw at one instant, made ready for fitting."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from mmface4d.arrays import ColorImage, DepthImage, Pixels, Points, Transform
from mmface4d.cameras import Intrinsics
from mmface4d.rig_calibration import RigCalibration
from mmface4d.transforms import invert, transform
from reconstruct.depth_noise import reliable

CROP_MARGIN_PX = 12
HEAD_RADIUS_M = 0.16


@dataclass(frozen=True)
class DepthView:
    """The trusted depth pixels of one camera around the head, with the colours the colour imager saw there."""

    serial: str
    imager: Intrinsics  # the depth imager, cropped to the head
    depth_from_world: Transform
    pixel: Int[np.ndarray, "n_pixels"]  # flat indices into the crop
    ray: Points  # [n_pixels, 3], unit z, depth frame
    depth_m: Float[np.ndarray, "n_pixels"]
    color_px: Pixels  # [n_pixels, 2], where the colour imager sees the points
    color: Points  # [n_pixels, 3], sRGB in 0..1; NaN outside the colour image

    def __len__(self) -> int:
        return len(self.pixel)

    @property
    def points_in_world(self) -> Points:
        """The seen surface points [n_pixels, 3]."""
        return transform(invert(self.depth_from_world), self.ray.astype(np.float64) * self.depth_m[:, None])


@dataclass(frozen=True)
class ColorView:
    """The detected landmarks in one colour image; NaN rows where there are none."""

    serial: str
    imager: Intrinsics
    color_from_world: Transform
    landmarks_px: Pixels  # [478, 2]
    lifted_in_world: Points  # [478, 3], the landmarks with depth; NaN where depth does not hold them or nobody asked
    head: "HeadCrop | None" = None  # the picture around the head; None where it is out of view or the picture is lost


@dataclass(frozen=True)
class HeadCrop:
    """The part of a colour picture around the head."""

    image: ColorImage
    imager: Intrinsics  # of the crop


@dataclass(frozen=True)
class Observation:
    """All views of one instant."""

    frame: int
    timestamp_usec: int
    depth_views: tuple[DepthView, ...]
    color_views: tuple[ColorView, ...]
    missing: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()  # those of the missing cameras whose pictures exist and cannot be read

    def lifted_landmarks(self) -> Float[np.ndarray, "478 3"]:
        """World positions of the landmarks, the median over the views that lift them; NaN where none does."""
        stacked = np.array([view.lifted_in_world for view in self.color_views]).reshape(-1, 478, 3)
        out = np.full(stacked.shape[1:], np.nan)
        known = np.isfinite(stacked[..., 0]).any(0)
        out[known] = np.nanmedian(stacked[:, known], 0)
        return out

    @property
    def has_face(self) -> bool:
        """Whether any view has landmarks."""
        return any(np.isfinite(view.landmarks_px).any() for view in self.color_views)


def depth_view(
    calibration: RigCalibration,
    serial: str,
    *,
    depth_mm: DepthImage,
    color: ColorImage | None,
    head_in_world: Points,
) -> DepthView | None:
    """The trusted pixels within HEAD_RADIUS_M of the head's centre; None where the head is out of view."""
    camera = calibration.cameras[serial]
    depth_from_world = invert(calibration.world_from_depth(serial))
    head_in_depth = transform(depth_from_world, head_in_world)
    box = _head_box(camera.depth, head_in_depth)
    if box is None:
        return None
    left, top, right, bottom = box
    crop = np.s_[top:bottom, left:right]
    cut = depth_mm[crop]
    imager = camera.depth.cropped(left, top, right - left, bottom - top)
    rays = camera.depth.ray_grid[crop]
    trusted = reliable(cut, imager) & np.isfinite(rays[..., 0])
    depth_m = cut.astype(np.float32) * np.float32(1e-3)
    points = rays * depth_m[..., None]
    trusted &= np.linalg.norm(points - head_in_depth.astype(np.float32), axis=-1) < HEAD_RADIUS_M
    pixel = np.flatnonzero(trusted)
    ray, depth_m = rays.reshape(-1, 3)[pixel], depth_m.ravel()[pixel]
    points_in_color = transform(camera.color_from_depth, ray.astype(np.float64) * depth_m[:, None])
    color_px = camera.color.project(points_in_color)
    return DepthView(
        serial=serial,
        imager=imager,
        depth_from_world=depth_from_world,
        pixel=pixel,
        ray=ray,
        depth_m=depth_m,
        color_px=color_px,
        color=_sample(color, color_px),
    )


def head_crop(imager: Intrinsics, color: ColorImage, head_in_camera: Points) -> HeadCrop | None:
    """The picture within HEAD_RADIUS_M of the head's centre; None where the head is out of view."""
    box = _head_box(imager, head_in_camera)
    if box is None:
        return None
    left, top, right, bottom = box
    return HeadCrop(color[top:bottom, left:right], imager.cropped(left, top, right - left, bottom - top))


def _head_box(imager: Intrinsics, head_in_camera: Points) -> tuple[int, int, int, int] | None:
    if head_in_camera[2] <= HEAD_RADIUS_M:
        return None
    u, v = imager.project(head_in_camera)
    radius = HEAD_RADIUS_M * imager.fx / head_in_camera[2] + CROP_MARGIN_PX
    left, right = int(max(u - radius, 0)), int(min(u + radius, imager.width))
    top, bottom = int(max(v - radius, 0)), int(min(v + radius, imager.height))
    return (left, top, right, bottom) if right - left > 16 and bottom - top > 16 else None


def _sample(image: ColorImage | None, pixels: Pixels) -> Points:
    """Bilinear colours in 0..1; NaN outside the image or without one."""
    if image is None:
        return np.full((len(pixels), 3), np.nan, np.float32)
    import cv2

    columns = pixels.astype(np.float32).reshape(-1, 1, 2)
    out = np.empty((len(pixels), 3), np.float32)
    limit = 30000  # remap's maps are limited to 32767 rows
    for start in range(0, len(pixels), limit):
        part = columns[start : start + limit]
        sampled = cv2.remap(image, part[..., 0], part[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        out[start : start + limit] = sampled.reshape(-1, 3).astype(np.float32) / 255
    height, width = image.shape[:2]
    outside = (pixels < 0).any(1) | (pixels > [width - 1, height - 1]).any(1)
    out[outside] = np.nan
    return out
