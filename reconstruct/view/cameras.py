"""Where the pictures are taken from: crops of the real cameras around the head, and free views of the mesh."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from mmface4d.arrays import Points, Transform
from mmface4d.cameras import Intrinsics
from mmface4d.transforms import rigid, rotation_from_rotvec
from reconstruct.view.pictures import Picture
from reconstruct.view.render import View

FREE_DISTANCE_M = 1.5
PERCENTILES = (0.5, 99.5)  # a stray vertex must not widen the crop


def crop_view(
    camera: Intrinsics, world_from_camera: Transform, points_in_world: Points, *, size: tuple[int, int], margin: float
) -> View:
    """The part of a real camera around some points, `size` = (width, height) pixels; may reach over the image's rim.

    `margin` is what is added on each side, as part of the points' extent.
    """
    pixels = View(camera, world_from_camera).project(points_in_world)
    pixels = pixels[np.isfinite(pixels).all(1)]
    if not len(pixels):
        pixels = np.array([[0.0, 0.0], [camera.width - 1.0, camera.height - 1.0]])
    low, high = np.percentile(pixels, PERCENTILES, axis=0)
    return View(_cut(camera, (low, high), size=size, margin=margin), world_from_camera)


def _cut(camera: Intrinsics, box: tuple[np.ndarray, np.ndarray], *, size: tuple[int, int], margin: float) -> Intrinsics:
    low, high = box
    extent = np.maximum((high - low) * (1 + 2 * margin), 16.0)
    factor = float(np.min(np.array(size) / extent))
    corner = (low + high) / 2 - np.array(size) / factor / 2
    moved = replace(camera, cx=camera.cx - float(corner[0]) - 0.5, cy=camera.cy - float(corner[1]) - 0.5)
    return replace(moved.scaled(factor), width=size[0], height=size[1])


def crop_image(image: Picture, *, camera: Intrinsics, view: Intrinsics) -> Picture:
    """The pixels of a camera's image that a view of the same camera shows; black outside the image."""
    import cv2

    factor = view.fx / camera.fx
    # pixel (u, v) of the camera lies at factor * (u - cx) + cx' of the view
    move = np.array([[factor, 0, view.cx - factor * camera.cx], [0, factor, view.cy - factor * camera.cy]])
    if factor < 0.7:  # warpAffine does not average; soften before shrinking
        image = cv2.GaussianBlur(image, (0, 0), 0.4 / factor)
    return cv2.warpAffine(image, move, view.size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


def free_view(
    points_in_world: Points, world_from_head: Float[np.ndarray, "3 3"], *, turn_deg: float, size: tuple[int, int]
) -> View:
    """A long lens that sees the points, turned about the head's vertical axis; positive shows the subject's left side.

    `world_from_head` are the head's axes in the world: x to the subject's left, y up, z out of the face.
    """
    turned = world_from_head @ rotation_from_rotvec(np.array([0.0, np.radians(turn_deg), 0.0]))
    left, up, out = turned.T
    world_from_camera = np.stack([left, -up, -out], 1)  # seen from the front, the subject's left is on the right
    low, high = np.percentile(points_in_world @ turned, PERCENTILES, axis=0)
    center = turned @ ((low + high) / 2)
    pose = rigid(world_from_camera, center + out * FREE_DISTANCE_M)
    width, height = size
    lens = Intrinsics(width=width, height=height, fx=1000.0, fy=1000.0, cx=(width - 1) / 2, cy=(height - 1) / 2)
    return crop_view(lens, pose, points_in_world, size=size, margin=0.06)


def head_axes(normals: Float[np.ndarray, "n_verts 3"], up_in_world: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """The head's axes guessed from an open face mesh: it faces where its normals point on average.

    A closed mesh has no such direction; it is taken to face the master camera (world -z).
    """
    out = normals.mean(0).astype(np.float64)
    if np.linalg.norm(out) < 0.15:
        out = np.array([0.0, 0.0, -1.0])
    out -= up_in_world * (out @ up_in_world)
    out /= np.linalg.norm(out)
    return np.stack([np.cross(up_in_world, out), up_in_world, out], 1)
