"""A quick portrait of a head on the CPU, without a display: one ray a pixel, a few lamps."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from mmface4d.arrays import ColorImage, Faces, Pixels, Points, Vertices
from reconstruct.models.surface import Hits, cast
from reconstruct.topology import vertex_normals

BACKGROUND = np.array([0.86, 0.87, 0.88])
# directions towards the lamps in the camera's axes (x right, y up, z to the viewer) and their strengths
LAMPS = ((np.array([-0.45, 0.55, 0.70]), 0.55), (np.array([0.60, 0.25, 0.75]), 0.35))
AMBIENT = 0.30


@dataclass(frozen=True)
class PortraitCamera:
    """A pinhole that looks at the head's origin from `distance_m`, turned about the head; square pictures.

    Positive yaw sees more of the subject's left side, positive pitch looks down on the head.
    """

    yaw_rad: float = 0.0
    pitch_rad: float = 0.0
    distance_m: float = 1.0
    size_px: int = 320
    view_m: float = 0.30  # width of what is seen at the origin's distance

    @cached_property
    def camera_from_head(self) -> Float[np.ndarray, "3 3"]:
        """Rotation to x right, y up, z to the viewer."""
        cy, sy, cp, sp = np.cos(self.yaw_rad), np.sin(self.yaw_rad), np.cos(self.pitch_rad), np.sin(self.pitch_rad)
        turn = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
        return np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]]) @ turn

    @property
    def eye(self) -> Float[np.ndarray, "3"]:
        """Centre of projection in the head frame."""
        return self.camera_from_head.T @ np.array([0.0, 0.0, self.distance_m])

    @property
    def focal_px(self) -> float:
        """Focal length."""
        return self.size_px * self.distance_m / self.view_m

    def project(self, points: Points) -> Pixels:
        """Pixels (column, row; the first pixel's centre is at 0) of points in the head frame."""
        x, y, z = np.moveaxis(points @ self.camera_from_head.T, -1, 0)
        scale = self.focal_px / (self.distance_m - z)
        middle = (self.size_px - 1) / 2
        return np.stack([middle + x * scale, middle - y * scale], axis=-1)

    def rays(self, pixels: Pixels) -> tuple[Points, Points]:
        """Origins and unit directions, in the head frame, through pixels."""
        middle = (self.size_px - 1) / 2
        x, y = (pixels[..., 0] - middle) / self.focal_px, (middle - pixels[..., 1]) / self.focal_px
        direction = np.stack([x, y, -np.ones_like(x)], axis=-1) @ self.camera_from_head
        direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
        return np.broadcast_to(self.eye, direction.shape), direction


def draw_head(
    vertices: Vertices, faces: Faces, colors: Float[np.ndarray, "n_verts 3"], camera: PortraitCamera
) -> ColorImage:
    """The head, smoothly shaded; `colors` are sRGB in 0..1. Edges are smoothed by four rays a pixel."""
    rows, columns = np.indices((2 * camera.size_px,) * 2)
    origins, directions = camera.rays(np.stack([columns, rows], axis=-1) / 2 - 0.25)
    picture = shade(vertices, faces, colors, camera=camera, hits=cast(vertices, faces, origins, directions))
    fine = picture.reshape(camera.size_px, 2, camera.size_px, 2, 3)
    return np.clip(fine.mean(axis=(1, 3)) * 255 + 0.5, 0, 255).astype(np.uint8)


def shade(
    vertices: Vertices, faces: Faces, colors: Float[np.ndarray, "n_verts 3"], *, camera: PortraitCamera, hits: Hits
) -> Float[np.ndarray, "height width 3"]:
    """Lambert shading of what the rays hit, with lamps that stand by the camera."""
    normals = vertex_normals(vertices, faces) @ camera.camera_from_head.T
    light = np.full(len(vertices), AMBIENT)
    for direction, strength in LAMPS:
        light += strength * np.maximum(normals @ (direction / np.linalg.norm(direction)), 0)
    lit = colors * light[:, None]
    picture = np.tile(BACKGROUND, (*hits.face.shape, 1))
    seen = hits.face >= 0
    picture[seen] = np.einsum("nk,nkc->nc", hits.barycentric[seen], lit[faces[hits.face[seen]]])
    return picture
