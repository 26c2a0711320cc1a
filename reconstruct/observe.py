"""Reads a take's frames into observations: landmarks first, then the depth around the head."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from calibration.lift import lift_landmarks
from mmface4d.arrays import ColorImage, DepthImage, Points
from mmface4d.errors import CalibrationError
from mmface4d.rig_calibration import RigCalibration
from mmface4d.take import Take, TakeView
from mmface4d.transforms import invert, transform
from reconstruct.models.landmark_sets import IBUG_TO_MEDIAPIPE
from reconstruct.observation import ColorView, DepthView, Observation, depth_view, head_crop
from reconstruct.rig_refinement import RigCorrection

BEHIND_SURFACE_M = 0.03  # the head's centre lies behind the landmarks on its surface
LEAST_LIFTED = 5
# brows, eyes, nose and lips: what a first pose needs
LIFTED = np.array(sorted(set(IBUG_TO_MEDIAPIPE[17:])))


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
        for serial, camera in take.rgbd.items():
            known = calibration.cameras[serial]
            if (camera.color.size, camera.depth.size) != (known.color.size, known.depth.size):
                raise CalibrationError(
                    f"{take.path}: camera {serial} was recorded in another mode than in the calibration "
                    f"(colour {camera.color.size}, depth {camera.depth.size}; "
                    f"calibrated {known.color.size}, {known.depth.size})",
                    hint="calibrate on a take that was recorded with the same settings",
                )
        self.take, self.calibration, self.landmarks = take, calibration, landmarks
        self.rig = RigCorrection()  # what an actor's fitting found the calibration to be off by
        self._head: Points | None = None  # world, of the last frame that had one

    def read(self, frame: int) -> Observation:
        """What the cameras saw; without any landmark the head is looked for where it was last."""
        views = self.take.views(frame)
        whole = {serial: view for serial, view in views.items() if view is not None}
        color_views = self._color_views(frame, whole)
        self._head = _head_center(color_views) if any(_lifted(view) for view in color_views) else self._head
        seen = Observation(
            frame=frame,
            timestamp_usec=int(self.take.timestamps_usec[frame]),
            depth_views=tuple(self._depth_views(whole)),
            color_views=tuple(self._with_picture(view, whole[view.serial].color) for view in color_views),
            missing=tuple(serial for serial in self.take.cameras if serial not in whole),
            damaged=tuple(serial for serial in views if serial not in whole),
        )
        return self.rig.applied(seen)

    def look_back(self, frames: list[int]) -> None:
        """Takes the head's place from the last of `frames` that shows it, as reading all of them would."""
        for frame in reversed(frames):
            views = {serial: view for serial, view in self.take.views(frame).items() if view is not None}
            color_views = self._color_views(frame, views)
            if any(_lifted(view) for view in color_views):
                self._head = _head_center(color_views)
                return

    def _color_views(self, frame: int, views: dict[str, TakeView]) -> tuple[ColorView, ...]:
        return tuple(self._color_view(frame, serial, view.depth_mm) for serial, view in views.items())

    def _color_view(self, frame: int, serial: str, depth_mm: DepthImage | None) -> ColorView:
        camera, pose = self.calibration.cameras[serial], self.calibration.world_from_camera[serial]
        pixels = self.landmarks[serial][frame]
        lifted = np.full((len(pixels), 3), np.nan)
        if depth_mm is not None:
            lifted[LIFTED] = transform(pose, lift_landmarks(camera, depth_mm, pixels[LIFTED]))
        return ColorView(
            serial=serial,
            imager=camera.color,
            color_from_world=invert(pose),
            landmarks_px=pixels,
            lifted_in_world=lifted,
        )

    def _with_picture(self, view: ColorView, color: ColorImage) -> ColorView:
        if self._head is None:
            return view
        return replace(view, head=head_crop(view.imager, color, transform(view.color_from_world, self._head)))

    def _depth_views(self, views: dict[str, TakeView]) -> list[DepthView]:
        if self._head is None:
            return []
        found = [
            depth_view(
                self.calibration,
                serial,
                depth_mm=view.depth_mm,
                color=view.color,
                head_in_world=self._head,
            )
            for serial, view in views.items()
            if view.depth_mm is not None
        ]
        return [view for view in found if view is not None and len(view)]


def _lifted(view: ColorView) -> bool:
    return bool(np.isfinite(view.lifted_in_world[:, 0]).sum() >= LEAST_LIFTED)


def _head_center(views: tuple[ColorView, ...]) -> Points:
    """The median over the cameras of a point behind the middle of their landmarks."""
    centers = []
    for view in filter(_lifted, views):
        eye = invert(view.color_from_world)[:3, 3]
        middle = np.nanmedian(view.lifted_in_world, 0)
        centers.append(middle + (middle - eye) * (BEHIND_SURFACE_M / np.linalg.norm(middle - eye)))
    return np.median(centers, 0)
