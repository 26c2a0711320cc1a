"""The head of the person in front of a camera, found in its depth image alone."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from mmface4d.arrays import ColorImage, DepthImage, Points
from mmface4d.cameras import RgbdCamera

CROP_WIDTH_M = 0.36  # a head is 0.15-0.2 m wide and 0.25 m high, and stands off-centre when seen from the side
HEAD_HEIGHT_M = 0.24  # crown to chin
HEAD_WIDTH_M = (0.09, 0.34)
NEAREST_M, FARTHEST_M = 0.25, 2.5  # where a Kinect's narrow mode measures, and where a face still has pixels enough
LAYER_M = 0.05  # neighbouring pixels farther apart than this belong to two things
STRIDE = 4  # the search needs no single pixels
MIN_PIXELS = 40  # of the thinned image: a head at 2.5 m


@dataclass(frozen=True)
class Crop:
    """A square of whole colour pixels; it may reach over the image's border."""

    left: int
    top: int
    size: int

    def widened(self, factor: float) -> "Crop":
        """A square around the same middle."""
        size = round(self.size * factor)
        return Crop(self.left - (size - self.size) // 2, self.top - (size - self.size) // 2, size)

    def cut(self, color: ColorImage) -> UInt8[np.ndarray, "size size 3"]:
        """The square's pixels; black where the image has none."""
        height, width = color.shape[:2]
        out = np.zeros((self.size, self.size, 3), dtype=np.uint8)
        x0, y0 = max(self.left, 0), max(self.top, 0)
        x1, y1 = min(self.left + self.size, width), min(self.top + self.size, height)
        if x1 > x0 and y1 > y0:
            out[y0 - self.top : y1 - self.top, x0 - self.left : x1 - self.left] = color[y0:y1, x0:x1]
        return out


def head_crop(camera: RgbdCamera, depth_mm: DepthImage) -> Crop | None:
    """A square around the head in the colour image; None where depth shows nobody."""
    center = head_center(camera, depth_mm)
    if center is None:
        return None
    u, v = camera.color.project(center)
    size = round(CROP_WIDTH_M * camera.color.fx / center[2])
    inside = -size < u < camera.color.width + size and -size < v < camera.color.height + size
    return Crop(round(float(u) - size / 2), round(float(v) - size / 2), size) if inside else None


def head_center(camera: RgbdCamera, depth_mm: DepthImage) -> Float[np.ndarray, "3"] | None:
    """The middle of the visible head, metres, colour frame; None where depth shows nobody.

    Of the connected near surfaces, the nearest whose upper end is as wide as a head.
    """
    best: tuple[float, np.ndarray] | None = None
    for points in _surfaces(camera, depth_mm):
        head = _upper_end(points)
        if head is None:
            continue
        center = np.median(head, axis=0)
        if best is None or center[2] < best[0]:
            best = float(center[2]), center
    return None if best is None else best[1]


def _upper_end(points_in_color: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "m 3"] | None:
    """The points within a head's height of the surface's upper end, if they are as wide as a head."""
    # y points down; the crown is a low percentile because single pixels fly
    crown = np.sort(points_in_color[:, 1])[min(10, len(points_in_color) - 1)]
    head = points_in_color[points_in_color[:, 1] < crown + HEAD_HEIGHT_M]
    low, high = np.percentile(head[:, 0], [5, 95])
    return head if HEAD_WIDTH_M[0] < high - low < HEAD_WIDTH_M[1] and len(head) >= MIN_PIXELS else None


def _surfaces(camera: RgbdCamera, depth_mm: DepthImage) -> list[Points]:
    """Connected surfaces within reach, as points in the colour frame."""
    thin_mm = np.zeros_like(depth_mm)
    thin_mm[::STRIDE, ::STRIDE] = depth_mm[::STRIDE, ::STRIDE]
    thin_mm[(thin_mm < NEAREST_M * 1e3) | (thin_mm > FARTHEST_M * 1e3)] = 0
    points, flat = camera.points_in_color(thin_mm)
    if not len(flat):
        return []
    rows, columns = np.unravel_index(flat, depth_mm.shape)
    index = np.full((-(-depth_mm.shape[0] // STRIDE), -(-depth_mm.shape[1] // STRIDE)), -1)
    index[rows // STRIDE, columns // STRIDE] = np.arange(len(flat))
    labels = _connected(index, points[:, 2])
    counts = np.bincount(labels)
    return [points[labels == label] for label in np.flatnonzero(counts >= MIN_PIXELS)]


def _connected(index: np.ndarray, depth_m: np.ndarray) -> np.ndarray:
    """A label for each point; neighbours in the image with like depth share it."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    edges = []
    for a, b in ((index[:, :-1], index[:, 1:]), (index[:-1], index[1:])):
        pairs = np.stack([a.ravel(), b.ravel()], 1)[(a.ravel() >= 0) & (b.ravel() >= 0)]
        edges.append(pairs[np.abs(depth_m[pairs[:, 0]] - depth_m[pairs[:, 1]]) < LAYER_M])
    first, second = np.concatenate(edges).T
    count = len(depth_m)
    graph = coo_matrix((np.ones(len(first)), (first, second)), (count, count))
    return connected_components(graph, directed=False)[1]
