"""From takes of a face to the poses of the cameras that saw it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibration.pairs import PairFit, Views, fit_landmarks, fit_surfaces, odd_frames
from calibration.pose_graph import optimise
from calibration.report import make_report
from calibration.views import FrameRef, choose_frames, gather_views
from mmface4d.errors import CalibrationError, UsageError
from mmface4d.rig_calibration import RigCalibration
from mmface4d.take import Take


@dataclass(frozen=True)
class CalibrationSettings:
    """How many frames are used at most, and the operator's `.task` file if there is one."""

    frames: int = 24
    task_file: Path | None = None


def calibrate_takes(takes: Sequence[Take], settings: CalibrationSettings = CalibrationSettings()) -> RigCalibration:
    """The cameras' poses on the actor's face; the report tells how well pairs, loops and landmarks agree.

    Raises CalibrationError (cameras differ or do not overlap) or FaceNotFoundError.
    """
    _require_same_cameras(takes)
    frames = choose_frames(takes, settings.frames, task_file=settings.task_file)
    views = gather_views(takes, frames, task_file=settings.task_file)
    return calibrate_views(takes[0], frames, views)


def calibrate_views(take: Take, frames: Sequence[FrameRef], views: Views) -> RigCalibration:
    """The same from gathered views of the cameras that `take` describes."""
    fits, rejected = fit_pairs(views, master=take.master)
    poses, covariances = optimise(list(take.cameras), [fit.edge for fit in fits], master=take.master)
    report = make_report(frames, views, fits, poses=poses, covariances=covariances, rejected=rejected)
    return RigCalibration(master=take.master, cameras=dict(take.rgbd), world_from_camera=poses, report=report)


def fit_pairs(views: Views, *, master: str) -> tuple[list[PairFit], list[int]]:
    """Fits of all overlapping pairs, and the frames that were left out because they disagree with the others."""
    landmark_edges = fit_landmarks(views)
    fits = fit_surfaces(views, landmark_edges, master=master)
    rejected = odd_frames(fits)
    if not rejected:
        return fits, []
    kept: Views = {
        serial: [None if frame in rejected else view for frame, view in enumerate(mine)]
        for serial, mine in views.items()
    }
    return fit_surfaces(kept, landmark_edges, master=master), rejected


def _require_same_cameras(takes: Sequence[Take]) -> None:
    if not takes:
        raise UsageError("no take to calibrate on", hint="mmface4d calibrate TAKE... -o calibration.json")
    first = takes[0]
    for take in takes[1:]:
        if set(take.cameras) != set(first.cameras) or take.master != first.master:
            raise CalibrationError(
                f"{take.path} has cameras {', '.join(take.cameras)} (master {take.master}), "
                f"{first.path} has {', '.join(first.cameras)} (master {first.master})",
                hint="calibrate on takes of one rig, one set-up at a time",
            )
        for serial, camera in take.rgbd.items():
            if not np.allclose(camera.color.matrix, first.rgbd[serial].color.matrix):
                raise CalibrationError(
                    f"camera {serial} has another mode or factory calibration in {take.path} than in {first.path}",
                    hint="calibrate on takes that were recorded with the same settings",
                )
