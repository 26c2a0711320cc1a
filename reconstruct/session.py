"""One actor for all takes of a person: keyframes from every take, shape and skin solved once."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from mmface4d.errors import InputError
from mmface4d.progress import Progress, progress
from mmface4d.rig_calibration import RigCalibration
from mmface4d.take import open_take
from reconstruct.actor_file import load_actor, read_actor, write_actor
from reconstruct.batches.failures import is_transient
from reconstruct.keyframes import (
    cameras_with_face,
    keyframe_count,
    landmark_rows,
    landmarks_of,
    numbered,
    solve_actor,
    spread_frames,
    wanted_frames,
)
from reconstruct.models.model import MorphableModel
from reconstruct.observation import Observation
from reconstruct.observe import TakeObserver
from reconstruct.parameters import Problem, make_problem
from reconstruct.raster import make_rasterizer
from reconstruct.result_key import result_key
from reconstruct.settings import ReconstructSettings
from reconstruct.solver import make_solver

KEYFRAMES_PER_TAKE, MOST_KEYFRAMES = 2, 24
NO_FRAME = -1  # the actor's keyframes are of no frame in particular


def solve_session_actor(
    takes: list[Path],
    calibration: RigCalibration,
    model: MorphableModel,
    *,
    output: Path,
    settings: ReconstructSettings,
) -> Path:
    """Writes the actor of all takes to `output`; one that was solved from the same takes is kept.

    A take that cannot be read is left out, with a remark. Raises FaceNotFoundError where none shows a face, InputError
    where `output` is somebody else's file.
    """
    with progress("one actor", len(takes)) as report:
        cameras = _cameras_with_face(takes, calibration, settings, report=report)
    chosen = _keyframes(cameras, settings)
    problem = make_problem(model, make_rasterizer(settings.rasterizer, settings.device))
    key = _key(chosen, calibration, model, settings)
    if _is_solved(output, key, problem):
        return output
    with progress("actor", 1) as report:
        observations = [o for path, frames in chosen.items() for o in _observations(path, frames, calibration)]
        fit = solve_actor(problem, make_solver(settings, problem), numbered(observations))
        fit = replace(fit, frames=[NO_FRAME] * len(fit.frames))
        report.advance()
    write_actor(output, fit, model, key=key)
    return output


def _cameras_with_face(
    takes: list[Path], calibration: RigCalibration, settings: ReconstructSettings, *, report: Progress
) -> dict[Path, dict[int, int]]:
    """Of every take the wanted frames and in how many cameras each shows a face."""
    found, failed = {}, None
    for path in takes:
        try:
            with open_take(path) as take:
                frames = wanted_frames(take, settings)
                TakeObserver(take, calibration, {})  # refuses a calibration of other cameras
                seen = cameras_with_face(frames, landmarks_of(take, frames))
                found[path] = dict(zip(frames, seen.tolist(), strict=True))
        except Exception as error:  # it is told again, with its reasons, when the take's own turn comes
            if is_transient(error):  # the actor must not depend on whether a disk answered in time
                raise
            failed = error
            report.note(f"{path} gives no keyframes: {error}")
        report.advance()
    if not found and failed is not None:
        raise failed
    return found


def _keyframes(cameras: dict[Path, dict[int, int]], settings: ReconstructSettings) -> dict[Path, list[int]]:
    """Spread over all takes as if they were one."""
    everything = [(path, frame) for path, frames in cameras.items() for frame in frames]
    seen = np.array([count for frames in cameras.values() for count in frames.values()])
    count = keyframe_count(settings)
    if count > 1:
        count = min(max(count, KEYFRAMES_PER_TAKE * len(cameras)), MOST_KEYFRAMES)
    chosen: dict[Path, list[int]] = {}
    for index in spread_frames(seen, count):
        path, frame = everything[index]
        chosen.setdefault(path, []).append(frame)
    return chosen


def _observations(path: Path, frames: list[int], calibration: RigCalibration) -> list[Observation]:
    with open_take(path) as take:
        observer = TakeObserver(take, calibration, landmark_rows(take, frames))
        return [observer.read(frame) for frame in frames]


def _key(
    chosen: dict[Path, list[int]], calibration: RigCalibration, model: MorphableModel, settings: ReconstructSettings
) -> str:
    parts = []
    for path, frames in chosen.items():
        with open_take(path) as take:
            # by its name: the same session elsewhere has the same actor, byte for byte
            parts.append([frames, result_key(take, calibration, model, settings=settings) | {"take": take.name}])
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _is_solved(output: Path, key: str, problem: Problem) -> bool:
    """Whether the file is this actor already; raises InputError where it is not an actor's at all."""
    if not output.exists():
        return False
    try:
        known = str(read_actor(output)["key"])
    except InputError as error:
        raise InputError(
            f"{output} is in the way: it is no actor file", hint="move it away, or choose another output folder"
        ) from error
    if known != key:
        return False
    load_actor(output, problem)
    return True
