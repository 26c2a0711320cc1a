"""Reads a take's frames into observations: landmarks first, then the depth around the head."""

import numpy as np
from jaxtyping import Float

from mmface4d.arrays import Points
from mmface4d.errors import CalibrationError
from mmface4d.rig_calibration import RigCalibration
from mmface4d.take import Take
from mmface4d.transforms import invert, transform
from reconstruct.observation import ColorView, DepthView, Observation, depth_view

BEHIND_SURFACE_M = 0.03  # the head's centre lies behind the landmarks on its surface
NEAREST_PX = 6.0


class TakeObserver:
    """Makes observations of a take's frames."""

    def __init__(
        self, take: Take, calibration: RigCalibration, landmarks: dict[str, Float[np.ndarray, "n_frames 478 2"]]
    ) -> None:
        unknown = [serial for serial in take.cameras if serial not in calibration.cameras]
        if unknown:
            raise CalibrationError(
                f"{take.path}: camera {unknown[0]} is not in the calibration, which has "
                f"{', '.join(calibration.cameras)}",
                hint="calibrate on a take of the same rig: mmface4d calibrate TAKE -o calibration.json",
            )
        self.take, self.calibration, self.landmarks = take, calibration, landmarks
        self._head: Points | None = None  # world, of the last frame that had one

    def read(self, frame: int) -> Observation:
        """What the cameras saw; without any landmark the head is looked for where it was last."""
        present = self.take.present(frame)
        depth_mm = {serial: self.take.depth_mm(frame, serial) for serial in present}
        head = self._find_head(frame, {s: d for s, d in depth_mm.items() if d is not None})
        self._head = head if head is not None else self._head
        return Observation(
            frame=frame,
            timestamp_usec=int(self.take.timestamps_usec[frame]),
            depth_views=tuple(self._depth_views(frame, depth_mm)),
            color_views=tuple(
                ColorView(
                    serial=serial,
                    imager=self.calibration.cameras[serial].color,
                    color_from_world=invert(self.calibration.world_from_camera[serial]),
                    landmarks_px=self.landmarks[serial][frame],
                )
                for serial in present
            ),
            missing=tuple(serial for serial in self.take.cameras if serial not in present),
        )

    def _depth_views(self, frame: int, depth_mm: dict[str, np.ndarray | None]) -> list[DepthView]:
        if self._head is None:
            return []
        views = [
            depth_view(
                self.calibration,
                serial,
                depth_mm=depth,
                color=self.take.color(frame, serial),
                head_in_world=self._head,
            )
            for serial, depth in depth_mm.items()
            if depth is not None
        ]
        return [view for view in views if view is not None and len(view)]

    def _find_head(self, frame: int, depth_mm: dict[str, np.ndarray]) -> Points | None:
        """The mean over the cameras of the points behind their landmarks' middle."""
        found = []
        for serial, depth in depth_mm.items():
            pixels = self.landmarks[serial][frame]
            if not np.isfinite(pixels).any():
                continue
            camera = self.calibration.cameras[serial]
            points, _ = camera.points_in_color(depth)
            middle = np.nanmedian(pixels, 0)
            near = np.linalg.norm(camera.color.project(points) - middle, axis=1) < NEAREST_PX
            if near.sum() < 3:
                continue
            point = np.median(points[near], 0)
            center = point * (1 + BEHIND_SURFACE_M / np.linalg.norm(point))
            found.append(transform(self.calibration.world_from_camera[serial], center))
        return np.median(found, 0) if found else None
