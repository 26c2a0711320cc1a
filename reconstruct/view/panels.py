"""The frames of the preview: what stands where in the picture."""

import math
from typing import Protocol, runtime_checkable

import numpy as np

from mmface4d.sequence import STATUS
from mmface4d.transforms import rotation_from_quaternion
from reconstruct.view.cameras import crop_image, crop_view, free_view, head_axes
from reconstruct.view.pictures import (
    CARRIED_CLAY,
    CLAY,
    OVERLAY_CLAY,
    OVERLAY_OPACITY,
    SOFT_TEXT,
    Picture,
    backdrop,
    centered,
    color_depth,
    draw_mesh,
    fit,
    label,
    plate,
)
from reconstruct.view.render import PosedMesh, View, vertex_normals
from reconstruct.view.scene import Scene

TILE = (280, 360)
FREE = (440, 720)
FREE_TURN_DEG = -28.0
CROP_MARGIN = 0.22
FRAMES_FOR_CROP = 8
FRAMES_FOR_DEPTH_RANGE = 4
MAX_DEPTH_SPAN_MM = 450.0
CARRIED_STATUS = (2, 3, 4)


@runtime_checkable
class Panel(Protocol):
    """Draws one frame of the preview, all of one size with even sides."""

    def draw(self, position: int) -> Picture: ...

    def tiles(self, position: int) -> list[Picture]:
        """The frame's most telling parts, for a contact sheet."""
        ...


def make_panel(scene: Scene) -> Panel:
    """The panel that fits what the scene has."""
    return MeshPanel(scene) if scene.sequence is not None else TakePanel(scene)


class MeshPanel:
    """Each camera's picture around the head, below it the same with the mesh in place; beside them the mesh alone."""

    def __init__(self, scene: Scene) -> None:
        assert scene.sequence is not None  # make_panel's choice
        self._scene, self._faces = scene, np.asarray(scene.sequence.faces)
        cloud = _cloud(scene)
        self.world_from_head = world_from_head(scene)
        self.free = free_view(cloud, self.world_from_head, turn_deg=FREE_TURN_DEG, size=FREE)
        self._backdrop = backdrop(*FREE)
        self.views: dict[str, View] = {}
        if scene.take is not None and scene.calibration is not None:
            for serial in scene.serials:
                camera, pose = scene.calibration.cameras[serial].color, scene.calibration.world_from_camera[serial]
                self.views[serial] = crop_view(camera, pose, cloud, size=TILE, margin=CROP_MARGIN)

    def draw(self, position: int) -> Picture:
        """One frame of the preview."""
        mesh = self._mesh(position)
        tiles = [self._pair(position, serial, mesh) for serial in self.views]
        return np.concatenate([*_rows(tiles), self._draw_free(position, mesh)], 1)

    def tiles(self, position: int) -> list[Picture]:
        """The mesh in every camera's picture, and alone."""
        mesh = self._mesh(position)
        return [*(self._pair(position, serial, mesh)[1] for serial in self.views), self._draw_free(position, mesh)]

    def _draw_free(self, position: int, mesh: PosedMesh | None) -> Picture:
        image = self._backdrop.copy()
        if mesh is not None:
            image = draw_mesh(image, mesh.look(self.free), CARRIED_CLAY if self._carried(position) else CLAY)
        else:
            centered(image, "no mesh in this frame")
        scene = self._scene
        seconds = (scene.timestamps_usec[position] - scene.timestamps_usec[0]) / 1e6
        label(image, f"frame {scene.frames[position]}   {seconds:.3f} s", (16, FREE[1] - 18), color=SOFT_TEXT)
        status = self._status(position)
        if status:
            label(image, STATUS.get(status, f"status {status}"), (16, FREE[1] - 40), color=(255, 170, 90))
        return image

    def _pair(self, position: int, serial: str, mesh: PosedMesh | None) -> tuple[Picture, Picture]:
        scene, view = self._scene, self.views[serial]
        photo = scene.color(position, serial)
        if photo is None:
            picture = plate(*TILE)
            centered(picture, "no picture")
        else:
            assert scene.calibration is not None
            picture = crop_image(photo, camera=scene.calibration.cameras[serial].color, view=view.intrinsics)
        over = picture.copy()
        if mesh is not None:
            albedo = CARRIED_CLAY if self._carried(position) else OVERLAY_CLAY
            over = draw_mesh(picture, mesh.look(view), albedo, opacity=OVERLAY_OPACITY)
        label(picture, serial, (10, 20))
        return picture, over

    def _mesh(self, position: int) -> PosedMesh | None:
        vertices = self._scene.vertices(position)
        return None if vertices is None else PosedMesh(vertices, self._faces)

    def _status(self, position: int) -> int:
        sequence = self._scene.sequence
        assert sequence is not None
        return int(sequence["status"][self._scene.frames[position]]) if "status" in sequence else 0

    def _carried(self, position: int) -> bool:
        return self._status(position) in CARRIED_STATUS


class TakePanel:
    """Each camera's colour picture, below it its depth."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._columns = min(len(scene.serials), 4)
        self._width = 640 if self._columns == 1 else 424
        self._range_mm = depth_range_mm(scene)

    def draw(self, position: int) -> Picture:
        """One frame of the preview."""
        tiles = [self._pair(position, serial) for serial in self._scene.serials]
        return np.concatenate(_rows(tiles), 1)

    def tiles(self, position: int) -> list[Picture]:
        """Colour and depth of every camera."""
        return [tile for serial in self._scene.serials for tile in self._pair(position, serial)]

    def _pair(self, position: int, serial: str) -> tuple[Picture, Picture]:
        scene, width = self._scene, self._width
        assert scene.take is not None  # make_panel's choice
        rgbd = scene.take.rgbd[serial]
        boxes = [(width, _even(width * camera.height / camera.width)) for camera in (rgbd.color, rgbd.depth)]
        photo = scene.color(position, serial)
        depth_mm = scene.depth_mm(position, serial)
        low_mm, high_mm = self._range_mm
        coded = None if depth_mm is None else color_depth(depth_mm, low_mm=low_mm, high_mm=high_mm)
        pair = []
        for image, box, missing in zip((photo, coded), boxes, ("no picture", "no depth"), strict=True):
            tile = plate(*box) if image is None else fit(image, *box)
            if image is None:
                centered(tile, missing)
            pair.append(tile)
        label(pair[0], serial + ("  master" if serial == scene.take.master else ""), (10, 20))
        label(pair[1], f"depth {low_mm:.0f} to {high_mm:.0f} mm", (10, pair[1].shape[0] - 10), color=SOFT_TEXT)
        return pair[0], pair[1]


def depth_range_mm(scene: Scene) -> tuple[float, float]:
    """The depths that the colours of a take span: from the nearest of some frames on, no deeper than a person."""
    samples = [np.zeros(0, dtype=np.uint16)]
    for position in scene.spread(FRAMES_FOR_DEPTH_RANGE):
        for serial in scene.serials:
            depth_mm = scene.depth_mm(position, serial)
            if depth_mm is not None:
                samples.append(depth_mm[::4, ::4][depth_mm[::4, ::4] > 0])
    depths_mm = np.concatenate(samples)
    if not len(depths_mm):
        return 500.0, 1500.0
    low_mm, high_mm = np.percentile(depths_mm, [1, 97])
    high_mm = np.clip(high_mm, low_mm + 100, low_mm + MAX_DEPTH_SPAN_MM)
    return math.floor(low_mm / 50) * 50.0, math.ceil(high_mm / 50) * 50.0


def world_from_head(scene: Scene) -> np.ndarray:
    """The head's mean axes over the sequence: from its pose where it is known, else guessed from the mesh."""
    sequence = scene.sequence
    assert sequence is not None
    positions = [p for p in scene.spread(FRAMES_FOR_CROP) if scene.vertices(p) is not None]
    quaternions = np.asarray(sequence["rotation"] if "rotation" in sequence else np.zeros((len(sequence), 4)))
    if quaternions.shape == (len(sequence), 4):
        known = [quaternions[scene.frames[p]].astype(np.float64) for p in positions]
        turns = [rotation_from_quaternion(q) for q in known if np.isfinite(q).all() and np.linalg.norm(q) > 0.1]
        if turns:
            left, _, right = np.linalg.svd(np.mean(turns, axis=0))
            return left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right
    up = np.array([0.0, -1.0, 0.0])
    for position in positions:
        vertices = scene.vertices(position)
        assert vertices is not None  # chosen so above
        return head_axes(vertex_normals(vertices, np.asarray(sequence.faces)), up)
    return np.diag([1.0, -1.0, -1.0])


def _cloud(scene: Scene) -> np.ndarray:
    """Vertices of some frames together, which every picture shall hold."""
    meshes = [scene.vertices(position) for position in scene.spread(FRAMES_FOR_CROP)]
    whole = [vertices for vertices in meshes if vertices is not None]
    return np.concatenate(whole) if whole else np.array([[-0.1, -0.1, 0.7], [0.1, 0.1, 0.9]], dtype=np.float32)


def _rows(tiles: list[tuple[Picture, Picture]]) -> list[Picture]:
    """Up to four cameras: pairs beside each other; more: only the lower ones, in two rows."""
    if len(tiles) <= 4:
        return [np.concatenate(pair, 0) for pair in tiles]
    lower = [second for _, second in tiles]
    lower += [np.zeros_like(lower[0])] * (len(lower) % 2)
    return [np.concatenate(lower[k : k + 2], 0) for k in range(0, len(lower), 2)]


def _even(value: float) -> int:
    return round(value / 2) * 2
