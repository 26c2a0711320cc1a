"""A picture that shows whether the cameras stand where the calibration says."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8, UInt16

from calibration.head import Crop, head_center, head_crop
from calibration.landmarks import take_landmarks
from calibration.lift import lift_landmarks
from calibration.views import INNER_FACE, FrameRef
from mmface4d.arrays import ColorImage, DepthImage, Points
from mmface4d.cameras import RgbdCamera
from mmface4d.errors import CalibrationError
from mmface4d.rig_calibration import RigCalibration
from mmface4d.take import Take
from mmface4d.transforms import invert, transform

PANEL_PX, CAPTION_PX = 640, 34
WIDER = 1.25  # than the head's crop
HEAD_RADIUS_M = 0.2
HIDDEN_M = 0.01  # a point farther than this behind the camera's own depth is not drawn
POINT_OPACITY = 0.55
# one tint per camera, RGB; eight that stay apart on skin
TINTS = (
    (0, 190, 255), (255, 220, 0), (255, 60, 200), (60, 230, 80), (255, 130, 0), (150, 110, 255), (0, 230, 200),
    (255, 70, 70),
)  # fmt: skip
WHITE, BLACK = (255, 255, 255), (20, 20, 20)
LEGEND = (
    "dots: the other cameras' depth of the head, in the tint of their names; they must end where the head ends",
    "rings: the other cameras' landmarks; they must lie within some millimetres of this camera's own, in white",
)

Tint = tuple[int, int, int]


@dataclass(frozen=True)
class _Look:
    """What one camera shows of the drawn frame; points in the world frame."""

    camera: RgbdCamera
    color: ColorImage
    depth_mm: UInt16[np.ndarray, "rows columns"]
    landmarks_px: Float[np.ndarray, "n 2"]
    landmarks: Float[np.ndarray, "n 3"]
    head: Float[np.ndarray, "m 3"]
    tint: Tint


def draw_overlay(calibration: RigCalibration, frames: Sequence[FrameRef]) -> ColorImage:
    """One panel per camera: its picture of the head, and on it what the other cameras' depth and landmarks say.

    Drawn for the first of the frames that most cameras have; raises CalibrationError where none has a picture.
    """
    ref = max(frames, key=lambda ref: len(ref.take.present(ref.frame)))
    looks = _looks(calibration, ref.take, ref.frame)
    if not looks:
        raise CalibrationError(f"{ref.take.path} has no pictures in frame {ref.frame}", hint="check the take")
    panels = [_panel(calibration, serial, looks) for serial in looks]
    return _sheet(panels, [f"{ref.take.name}, frame {ref.frame}", *(LEGEND if len(looks) > 1 else ())])


def _looks(calibration: RigCalibration, take: Take, frame: int) -> dict[str, _Look]:
    found = take_landmarks(take, frames=[frame])
    looks = {}
    for index, (serial, camera) in enumerate(calibration.cameras.items()):
        color, depth_mm = take.color(frame, serial), take.depth_mm(frame, serial)
        if color is None or depth_mm is None:
            continue
        pixels = found[serial][0][INNER_FACE]
        world_from_camera = calibration.world_from_camera[serial]
        looks[serial] = _Look(
            camera=camera,
            color=color,
            depth_mm=depth_mm,
            landmarks_px=pixels,
            landmarks=transform(world_from_camera, lift_landmarks(camera, depth_mm, pixels)),
            head=transform(world_from_camera, _head_points(camera, depth_mm)),
            tint=TINTS[index % len(TINTS)],
        )
    return looks


def _head_points(camera: RgbdCamera, depth_mm: DepthImage) -> Points:
    center = head_center(camera, depth_mm)
    if center is None:
        return np.zeros((0, 3))
    points, _ = camera.points_in_color(depth_mm)
    return points[np.linalg.norm(points - center, axis=1) < HEAD_RADIUS_M]


def _panel(calibration: RigCalibration, serial: str, looks: dict[str, _Look]) -> ColorImage:
    """One camera's picture with the other cameras' points and landmarks, under a caption in its tint."""
    import cv2

    own = looks[serial]
    crop = head_crop(own.camera, own.depth_mm) or Crop(0, 0, max(own.color.shape[:2]))
    square = crop.widened(WIDER)
    image = np.asarray(cv2.resize(square.cut(own.color), (PANEL_PX, PANEL_PX), interpolation=cv2.INTER_CUBIC))
    camera_from_world = invert(calibration.world_from_camera[serial])

    def place(pixels: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        return (pixels - [square.left, square.top] + 0.5) * (PANEL_PX / square.size) - 0.5

    others = [look for name, look in looks.items() if name != serial]
    for other in others:
        visible = _visible(own, transform(camera_from_world, other.head))
        _blend(image, place(own.camera.color.project(visible)), other.tint)
    for other in others:
        known = other.landmarks[np.isfinite(other.landmarks).all(axis=1)]
        visible = _visible(own, transform(camera_from_world, known))
        for x, y in place(own.camera.color.project(visible)):
            cv2.circle(image, (round(x), round(y)), 6, BLACK, 3, cv2.LINE_AA)
            cv2.circle(image, (round(x), round(y)), 6, other.tint, 2, cv2.LINE_AA)
    for x, y in place(own.landmarks_px[np.isfinite(own.landmarks_px).all(axis=1)]):
        cv2.circle(image, (round(x), round(y)), 2, WHITE, -1, cv2.LINE_AA)
    name = f"camera {serial}{' (master)' if serial == calibration.master else ''}"
    return np.vstack([_caption([name], width=PANEL_PX, tint=own.tint), image])


def _visible(look: _Look, points_in_color: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "m 3"]:
    """The points that do not lie behind what the camera's own depth shows."""
    points_in_color = points_in_color[points_in_color[:, 2] > 0.05]
    in_depth = transform(invert(look.camera.color_from_depth), points_in_color)
    column, row = np.rint(look.camera.depth.project(in_depth)).astype(int).T
    height, width = look.depth_mm.shape
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    shown_m = np.zeros(len(in_depth))
    shown_m[inside] = look.depth_mm[row[inside], column[inside]] * 1e-3
    # where depth is missing, nothing hides a point
    return points_in_color[(shown_m == 0) | (in_depth[:, 2] < shown_m + HIDDEN_M)]


def _blend(image: ColorImage, at: Float[np.ndarray, "n 2"], tint: Tint) -> None:
    pixels = np.unique(np.rint(at).astype(int), axis=0)
    column, row = pixels[((pixels >= 0) & (pixels < PANEL_PX)).all(axis=1)].T
    mixed = image[row, column] * (1 - POINT_OPACITY) + np.array(tint) * POINT_OPACITY
    image[row, column] = mixed.astype(np.uint8)


def _caption(lines: Sequence[str], *, width: int, tint: Tint) -> ColorImage:
    import cv2

    band = np.full((CAPTION_PX * len(lines), width, 3), BLACK, dtype=np.uint8)
    for line, text in enumerate(lines):
        size = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.7, 1)[0][0]
        scale = 0.7 * min(1.0, (width - 20) / max(size, 1))
        cv2.putText(
            band, text, (10, CAPTION_PX * (line + 1) - 11), cv2.FONT_HERSHEY_SIMPLEX, scale, tint, 1, cv2.LINE_AA
        )
    return band


def _sheet(panels: Sequence[ColorImage], lines: Sequence[str]) -> UInt8[np.ndarray, "rows columns 3"]:
    """Panels in rows of up to four, over the legend."""
    columns = min(len(panels), 4)
    padded = [*panels, *[np.full_like(panels[0], BLACK[0])] * (-len(panels) % columns)]
    rows = [np.hstack(padded[i : i + columns]) for i in range(0, len(padded), columns)]
    return np.vstack([*rows, _caption(lines, width=rows[0].shape[1], tint=WHITE)])
