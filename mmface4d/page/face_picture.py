"""A face seen from the front, its regions coloured: the ground on which numbers of regions are drawn."""

import base64
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from mmface4d.arrays import Faces, Vertices
from mmface4d.page.svg import svg

WIDTH, HEIGHT = 420, 520
SUPERSAMPLING = 2
MARGIN = 0.05
LEAST_M = 1e-3  # a picture is as wide and as high at least
LIGHT = np.array([-0.35, 0.45, 0.82])
SKIN, OUTSIDE = (238, 232, 226), (224, 226, 229)
SMOOTH_PX = 4.0
SUBPIXEL_BITS = 4
SEAM = 0.55  # how much of the colour a border between regions keeps

NO_LABEL = -1

Color = tuple[int, int, int]


class FacePicture:
    """Draws one topology's template; `label_of` gives each vertex its region, -1 for none.

    The picture is as large as the vertices `inside` need; others may be cut off.
    """

    def __init__(
        self, template: Vertices, faces: Faces, *, label_of: Int[np.ndarray, "n_verts"],
        inside: Bool[np.ndarray, "n_verts"],
    ) -> None:  # fmt: skip
        self._vertices, self._faces = template.astype(np.float64), faces
        framed = self._vertices[inside]
        low, high = framed[:, :2].min(axis=0), framed[:, :2].max(axis=0)
        wide, tall = np.maximum(high - low, LEAST_M)
        self._middle = (low + high) / 2
        self._px_per_m = (1 - 2 * MARGIN) * min(WIDTH / wide, HEIGHT / tall)
        self._labels, self._shade, self._covered = self._rendered(label_of)

    def project(self, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 2"]:
        """Pixels of points in the head frame; the subject's left is on the picture's right."""
        away = (points[:, :2] - self._middle) * self._px_per_m
        return np.stack([WIDTH / 2 + away[:, 0], HEIGHT / 2 - away[:, 1]], axis=1)

    def painted(self, colors: Sequence[Color | None], *, seams: bool = True) -> UInt8[np.ndarray, "height width 4"]:
        """RGBA; a region of colour None is skin."""
        palette = np.array([*(color or SKIN for color in colors), OUTSIDE], dtype=np.float64)
        painted = palette[self._labels] * self._shade[..., None]
        if seams:
            painted = np.where(self._seams()[..., None], SEAM * painted + (1 - SEAM) * 255, painted)
        whole = np.concatenate([painted, 255.0 * self._covered[..., None]], axis=2)
        size = (HEIGHT, SUPERSAMPLING, WIDTH, SUPERSAMPLING)
        whole[..., :3] *= whole[..., 3:] / 255
        mean = whole.reshape(*size, 4).mean(axis=(1, 3))
        mean[..., :3] /= np.maximum(mean[..., 3:] / 255, 1e-6)
        return np.clip(mean, 0, 255).astype(np.uint8)

    def _seams(self) -> np.ndarray:
        import cv2

        low = cv2.erode(self._labels.astype(np.int16), np.ones((3, 3), np.uint8))
        return low != self._labels

    def _rendered(self, label_of: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Region, light and whether there is any face, of every pixel."""
        import cv2

        corners = self._vertices[self._faces]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)
        outside = int(label_of.max()) + 1
        labels = np.where(label_of == NO_LABEL, outside, label_of)[self._faces[:, 0]]
        light = np.clip(normals @ (LIGHT / np.linalg.norm(LIGHT)), 0, 1)
        pixels = self.project(corners.reshape(-1, 3)) * SUPERSAMPLING * (1 << SUBPIXEL_BITS)
        pixels = np.round(pixels).astype(np.int32).reshape(-1, 3, 2)
        size = (HEIGHT * SUPERSAMPLING, WIDTH * SUPERSAMPLING)
        label_map, shade = np.full(size, outside, np.int32), np.ones(size, np.float32)
        covered = np.zeros(size, np.uint8)
        for face in corners[:, :, 2].mean(axis=1).argsort().tolist():
            if normals[face, 2] > 0:
                for canvas, value in ((label_map, labels[face]), (shade, light[face]), (covered, 1)):
                    cv2.fillConvexPoly(canvas, pixels[face], [float(value)], cv2.LINE_8, SUBPIXEL_BITS)
        shade = cv2.GaussianBlur(shade, (0, 0), 1.5 * SUPERSAMPLING)
        return _smoothed(label_map, outside + 1), 0.62 + 0.42 * shade, covered.astype(np.float64)


def _smoothed(labels: Int[np.ndarray, "height width"], count: int) -> Int[np.ndarray, "height width"]:
    """The triangles' zigzag taken off the borders: each pixel takes the label most frequent around it."""
    import cv2

    best, chosen = np.full(labels.shape, -1.0, np.float32), labels.copy()
    for label in range(count):
        share = cv2.GaussianBlur((labels == label).astype(np.float32), (0, 0), SMOOTH_PX * SUPERSAMPLING)
        chosen[share > best] = label
        best = np.maximum(best, share)
    return chosen


def data_uri(picture: UInt8[np.ndarray, "height width 4"]) -> str:
    """A picture to stand in a page."""
    import cv2

    encoded = cv2.imencode(".webp", picture[..., [2, 1, 0, 3]], [cv2.IMWRITE_WEBP_QUALITY, 90])[1]
    return f"data:image/webp;base64,{base64.b64encode(encoded.tobytes()).decode()}"


def figure(picture: UInt8[np.ndarray, "height width 4"]) -> str:
    """A painted face by itself, as SVG."""
    image = f'<image href="{data_uri(picture)}" width="{WIDTH}" height="{HEIGHT}"/>'
    return svg([image], width=WIDTH, height=HEIGHT)
