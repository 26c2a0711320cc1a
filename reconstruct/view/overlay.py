"""The calibration at a glance: the surfaces that all cameras measured at one instant, together in one picture."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from mmface4d.arrays import Points
from mmface4d.transforms import transform
from reconstruct.view.cameras import free_view
from reconstruct.view.pictures import Picture, plate
from reconstruct.view.render import View
from reconstruct.view.scene import Scene

# one for each camera of a rig, tellable apart by the colour-blind (Okabe and Ito), darkest last
HUES = (
    (230, 120, 0), (0, 130, 200), (0, 158, 115), (204, 80, 160), (240, 200, 40), (100, 190, 240), (150, 80, 40),
    (90, 90, 90),
)  # fmt: skip
SIZE = (400, 480)
POINT_PX = 2
AROUND_M = 0.03  # beyond the mesh
HEAD_BOX_M = np.array([0.12, 0.12, 0.16])  # half sides, where there is no mesh to say where the head is
SLICE_HALF_M = 0.0015
SLICE_MARGIN_PX = 24
BAR_M = 0.02
INK = (70, 74, 82)
WHITE = (255, 255, 255)


def overlay_pictures(
    scene: Scene, *, position: int, world_from_head: Float[np.ndarray, "3 3"] | None = None
) -> Picture | None:
    """Front view, three-quarter view and a slice through the face, the points of each camera in its own hue.

    None without calibration or depth. `world_from_head` turns the views; without it the head faces the master.
    """
    clouds = measured_points(scene, position)
    if not any(len(points) for points in clouds.values()):
        return None
    axes = np.diag([1.0, -1.0, -1.0]) if world_from_head is None else world_from_head
    everything = np.concatenate(list(clouds.values()))
    views = [free_view(everything, axes, turn_deg=turn_deg, size=SIZE) for turn_deg in (0.0, -50.0)]
    return np.concatenate([*(draw_points(clouds, view) for view in views), draw_slice(clouds, axes)], 1)


def measured_points(scene: Scene, position: int) -> dict[str, Points]:
    """World points around the head that each camera measured, by serial."""
    if scene.take is None or scene.calibration is None:
        return {}
    clouds = {}
    for serial in scene.serials:
        depth_mm = scene.depth_mm(position, serial)
        points = np.zeros((0, 3))
        if depth_mm is not None:
            in_color, _ = scene.calibration.cameras[serial].points_in_color(depth_mm)
            points = transform(scene.calibration.world_from_camera[serial], in_color)
        clouds[serial] = points
    low, high = _head_box(scene, position, clouds)
    return {serial: points[((points > low) & (points < high)).all(1)] for serial, points in clouds.items()}


def _head_box(scene: Scene, position: int, clouds: Mapping[str, Points]) -> tuple[np.ndarray, np.ndarray]:
    vertices = scene.vertices(position)
    if vertices is not None:
        return vertices.min(0) - AROUND_M, vertices.max(0) + AROUND_M
    everything = np.concatenate([points for points in clouds.values() if len(points)] or [np.zeros((1, 3))])
    # the person is what stands nearest to the cameras, the head its top
    near = everything[everything[:, 2] < np.percentile(everything[:, 2], 2) + 0.35]
    top = near[near[:, 1] < np.percentile(near[:, 1], 1) + 2 * HEAD_BOX_M[1]] if len(near) else everything
    center = np.median(top, axis=0)
    return center - HEAD_BOX_M, center + HEAD_BOX_M


def draw_points(clouds: Mapping[str, Points], view: View) -> Picture:
    """Points as dots, the nearest in front. Where cameras agree the hues mix finely; where not, one hides the rest."""
    width, height = view.intrinsics.size
    image = plate(width, height, WHITE)
    rows, columns, depths, inks = [], [], [], []
    for (_, points), hue in zip(clouds.items(), HUES, strict=False):
        pixels = np.floor(np.nan_to_num(view.project(points), nan=-99.0)).astype(int)
        depth_m = np.linalg.norm(points - view.world_from_camera[:3, 3], axis=1)
        for right in range(POINT_PX):
            for down in range(POINT_PX):
                columns.append(pixels[:, 0] + right)
                rows.append(pixels[:, 1] + down)
                depths.append(depth_m)
                inks.append(np.tile(np.array(hue, dtype=np.uint8), (len(points), 1)))
    row, column = np.concatenate(rows), np.concatenate(columns)
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    order = np.argsort(-np.concatenate(depths)[inside], kind="stable")  # the last written stays
    image[row[inside][order], column[inside][order]] = np.concatenate(inks)[inside][order]
    return image


def draw_slice(clouds: Mapping[str, Points], world_from_head: Float[np.ndarray, "3 3"]) -> Picture:
    """The points of a thin horizontal slice through the tip of the nose, seen from above, with a bar of 20 mm."""
    import cv2

    image = plate(*SIZE, WHITE)
    turned = {serial: points @ world_from_head for serial, points in clouds.items()}
    everything = np.concatenate(list(turned.values()))
    foremost = everything[everything[:, 2] >= np.percentile(everything[:, 2], 99.5)]  # the tip of the nose
    middle = float(np.median(foremost[:, 1]))
    thin = {serial: points[np.abs(points[:, 1] - middle) < SLICE_HALF_M] for serial, points in turned.items()}
    flat = np.concatenate([points[:, [0, 2]] for points in thin.values()])
    if len(flat) < 2:
        return image
    low, high = np.percentile(flat, [1, 99], axis=0)
    scale = float(np.min((np.array(SIZE) - 2 * SLICE_MARGIN_PX) / np.maximum(high - low, 0.01)))
    for points, hue in zip(thin.values(), HUES, strict=False):
        offset = (points[:, [0, 2]] - (low + high) / 2) * scale + np.array(SIZE) / 2
        for x, y in offset.tolist():  # the subject looks down the picture, as one who stands above it sees the front
            cv2.circle(image, (round(x * 8), round(y * 8)), 12, hue, -1, cv2.LINE_AA, shift=3)
    bottom = SIZE[1] - 16
    cv2.line(image, (16, bottom), (16 + round(BAR_M * scale), bottom), INK, 2)
    cv2.putText(image, "20 mm", (16, bottom - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.45, INK, 1, cv2.LINE_AA)
    return image
