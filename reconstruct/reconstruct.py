"""From a take and a calibration to a mesh sequence, frame by frame and resumable."""

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np

from mmface4d.errors import TakeError
from mmface4d.progress import Progress, progress
from mmface4d.rig_calibration import RigCalibration
from mmface4d.sequence import write_sequence
from mmface4d.take import Take
from reconstruct.actor_file import load_actor
from reconstruct.keyframes import keyframe_count, keyframes_of, landmarks_of, solve_actor, wanted_frames
from reconstruct.models.model import MorphableModel
from reconstruct.observe import TakeObserver
from reconstruct.parameters import Problem, make_problem
from reconstruct.partial import PartialResult, frame_name, open_partial
from reconstruct.raster import make_rasterizer
from reconstruct.result_key import result_key
from reconstruct.sequence_run import ONLY_PARTIAL, Fitting, SequenceRun
from reconstruct.sequence_smoothing import Smoothing, smoothing
from reconstruct.settings import ReconstructSettings
from reconstruct.solver import Solver, make_solver
from reconstruct.tracks import ActorFit


def reconstruct_take(
    take: Take,
    calibration: RigCalibration,
    model: MorphableModel,
    *,
    output: Path,
    settings: ReconstructSettings | None = None,
    actor: Path | None = None,
) -> Path:
    """Writes the mesh sequence of a take to `output`; a run that was stopped goes on where it was.

    The actor is solved from the take's keyframes, or read from the file `actor`. Raises FaceNotFoundError where no
    frame shows a face, CalibrationError where the calibration is of other cameras, BusyError where another process is
    at it.
    """
    settings = settings or ReconstructSettings()
    frames = wanted_frames(take, settings)
    landmarks = landmarks_of(take, frames)
    keyframes = keyframes_of(frames, landmarks, keyframe_count(settings))
    problem = make_problem(model, make_rasterizer(settings.rasterizer, settings.device))
    known = load_actor(actor, problem) if actor else None
    observer = TakeObserver(take, calibration, landmarks)
    solver = make_solver(settings, problem)
    key = result_key(take, calibration, model, settings=settings, actor=actor)
    with open_partial(output, key) as partial:
        actor_fit = known or _actor(partial, problem, solver, observer=observer, keyframes=keyframes)
        observer.rig = actor_fit.rig
        with progress(f"reconstruct {take.name}", len(frames)) as report:
            fitting = Fitting(problem, solver, actor_fit)
            run = SequenceRun(fitting, observer, partial=partial, report=report)
            run.run(frames)
            _warn_of_damage(run.damaged, report)
        with smoothing(partial, fitting, frames if settings.smooth else []) as smooth:
            _write(
                output, partial, take, calibration=calibration, fitting=fitting, frames=frames, solver=settings.solver,
                smooth=smooth,
            )  # fmt: skip
        partial.remove()
    return output


def _actor(
    partial: PartialResult, problem: Problem, solver: Solver, *, observer: TakeObserver, keyframes: list[int]
) -> ActorFit:
    stored = partial.load("actor")
    if stored is None:
        with progress("actor", 1) as report:
            fit = solve_actor(problem, solver, [observer.read(frame) for frame in keyframes])
            report.advance()
        partial.store("actor", fit.arrays())
        stored = partial.load("actor")
    if stored is None:
        raise TakeError(f"the actor is missing in {partial.folder}", hint="run the same command again")
    return ActorFit.from_arrays(stored, problem.device)


def _warn_of_damage(damaged: Counter[str], report: Progress) -> None:
    for serial, count in sorted(damaged.items()):
        report.note(f"warning: {count} of {report.total} pictures of camera {serial} are damaged and were left out")


def _write(
    output: Path,
    partial: PartialResult,
    take: Take,
    *,
    calibration: RigCalibration,
    fitting: Fitting,
    frames: list[int],
    solver: str,
    smooth: Smoothing | None,
) -> None:
    def read_frame(index: int) -> dict[str, np.ndarray]:
        values = partial.load(frame_name(frames[index]))
        if values is None:
            raise TakeError(f"frame {frames[index]} is missing in {partial.folder}", hint="run the same command again")
        if smooth is not None:
            values = smooth.smoothed(frame_name(frames[index]), values)
        return {name: value for name, value in values.items() if name not in ONLY_PARTIAL}

    model, actor = fitting.problem.model, fitting.actor_fit.actor
    serials = list(take.cameras)
    write_sequence(
        output,
        frame_count=len(frames),
        read_frame=read_frame,
        of_sequence={
            "faces": model.faces.astype(np.int32),
            "fps": float(take.fps),
            "model": model.name,
            "model_hash": model.content_hash,
            "solver": solver,
            "smoothed": np.bool_(smooth is not None),
            "identity": actor.identity.astype(np.float32),
            "scale": np.float32(actor.scale),
            "texture": actor.texture.astype(np.float32),
            "lighting": np.stack([actor.lighting.get(s, np.zeros((3, 9))) for s in serials]).astype(np.float32),
            "vertex_colors": fitting.actor_fit.vertex_colors.astype(np.float32),
            "serials": np.array(serials),
            "take": os.path.relpath(take.path.resolve(), output.resolve().parent),
            "calibration_json": json.dumps(fitting.actor_fit.rig.calibration(calibration).record()),
            "depth_bias_mm": np.array([fitting.actor_fit.rig.bias(s) * 1e3 for s in serials], np.float32),
        },
    )
