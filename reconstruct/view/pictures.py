"""Small helpers to draw: labels, tiles, colour-coded depth, mesh over picture."""

import base64

import numpy as np
from jaxtyping import UInt8

from mmface4d.arrays import DepthImage
from reconstruct.view.render import Hits, shade, shade_flat

# RGB of any size; unlike ColorImage its sides are not tied to those of other arguments
Picture = UInt8[np.ndarray, "_ _ 3"]
Rgb = tuple[int, int, int]

BACKGROUND: Rgb = (24, 27, 32)
PLATE: Rgb = (38, 42, 49)
TEXT: Rgb = (232, 234, 237)
SOFT_TEXT: Rgb = (150, 156, 166)
CLAY = np.array([0.62, 0.52, 0.45], dtype=np.float32)  # linear light
OVERLAY_CLAY = np.array([0.22, 0.55, 0.80], dtype=np.float32)
CARRIED_CLAY = np.array([0.80, 0.38, 0.12], dtype=np.float32)  # a mesh that is not this frame's own
OVERLAY_OPACITY = 0.55
JPEG_QUALITY = 88


def plate(width: int, height: int, color: Rgb = BACKGROUND) -> Picture:
    """A picture of one colour."""
    return np.full((height, width, 3), color, dtype=np.uint8)


def label(image: Picture, text: str, at: tuple[int, int], *, color: Rgb = TEXT, size: float = 0.45) -> None:
    """Writes into a picture, on a soft shadow; `at` is the text's lower left. Signs the font lacks become '?'."""
    import cv2

    plain = text.encode("ascii", "replace").decode()
    for ink, weight in (((0, 0, 0), 3), (color, 1)):
        cv2.putText(image, plain, at, cv2.FONT_HERSHEY_SIMPLEX, size, ink, weight, cv2.LINE_AA)


def centered(image: Picture, text: str, *, color: Rgb = SOFT_TEXT) -> None:
    """Writes into the middle of a picture."""
    import cv2

    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
    label(image, text, ((image.shape[1] - width) // 2, (image.shape[0] + height) // 2), color=color, size=0.5)


def draw_mesh(image: Picture, hits: Hits, albedo: np.ndarray, *, opacity: float = 1.0, flat: bool = False) -> Picture:
    """A shaded mesh over a picture of the same view, its rim softened; `flat` light where colours carry numbers."""
    import cv2

    painted = np.zeros_like(image)
    painted[hits.mask] = (shade_flat if flat else shade)(hits, albedo)
    # the rim's colour is carried outwards, so that softening the mask mixes mesh and picture only
    grown = cv2.dilate(painted, np.ones((3, 3), np.uint8))
    painted = np.where(hits.mask[..., None], painted, grown)
    # a ray that meets an edge exactly can slip through: single pixels are closed
    closed = cv2.morphologyEx(hits.mask.astype(np.float32), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    cover = cv2.blur(closed, (3, 3))[..., None] * opacity
    return (image * (1 - cover) + painted * cover + 0.5).astype(np.uint8)


def backdrop(width: int, height: int) -> Picture:
    """A soft gradient, lighter in the middle, behind a free view."""
    y, x = np.mgrid[0:height, 0:width]
    radius = np.hypot((x / width - 0.5) * 1.1, y / height - 0.45)
    glow = np.clip(1 - radius * 1.25, 0, 1)[..., None] ** 1.3
    return (np.array(BACKGROUND) + glow * np.array([38, 42, 50])).astype(np.uint8)


def color_depth(depth_mm: DepthImage, *, low_mm: float, high_mm: float) -> Picture:
    """Depth as colours, near red to far blue; black where there is none."""
    import cv2

    scaled = np.clip((high_mm - depth_mm.astype(np.float32)) / max(high_mm - low_mm, 1.0), 0, 1)
    coded = cv2.applyColorMap((scaled * 255).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1].copy()
    coded[depth_mm == 0] = 0
    return coded


def fit(image: Picture, width: int, height: int) -> Picture:
    """A picture resized into a box, its sides kept in proportion, on a plate."""
    import cv2

    factor = min(width / image.shape[1], height / image.shape[0])
    size = (max(round(image.shape[1] * factor), 1), max(round(image.shape[0] * factor), 1))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    out = plate(width, height)
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    out[top : top + size[1], left : left + size[0]] = small
    return out


def jpeg_uri(image: Picture) -> str:
    """A picture as a `data:` address for HTML."""
    import cv2

    _, coded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(coded.tobytes()).decode()
