"""From a take and a calibration to a mesh sequence, frame by frame and resumable."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from mmface4d.errors import FaceNotFoundError, TakeError
from mmface4d.progress import Progress, progress
from mmface4d.rig_calibration import RigCalibration
from mmface4d.sequence import write_sequence
from mmface4d.take import Take
from mmface4d.transforms import quaternion_from_rotation, rotation_from_quaternion
from reconstruct.appearance import solve_appearance
from reconstruct.models.model import MorphableModel
from reconstruct.observation import Observation
from reconstruct.observe import TakeObserver
from reconstruct.parameters import Problem, make_problem
from reconstruct.partial import PartialResult, frame_name
from reconstruct.quality import Quality, frame_quality
from reconstruct.raster import make_rasterizer
from reconstruct.state import Actor, FrameFit, posed
from reconstruct.tracks import ActorFit, Track

OK, CAMERAS_MISSING, NO_FACE, REJECTED, BEFORE_FIRST_FACE = range(5)
# beyond these a fit is not of this face: a hand, a lost track
MOST_RESIDUAL_MM = 4.0
LEAST_COVERAGE = 0.25


@dataclass(frozen=True)
class ReconstructSettings:
    """What the operator chooses."""

    solver: str = "fast"
    rasterizer: str = "warp"
    device: str = "cpu"
    keyframes: int = 8
    frames: tuple[int, int] | None = None  # first and one past the last


@runtime_checkable
class Solver(Protocol):
    """Fits one actor, then frame after frame."""

    def fit_actor(self, keyframes: list[Observation]) -> ActorFit:
        """What is constant over the sequence."""
        ...

    def start(self, observation: Observation, actor_fit: ActorFit) -> FrameFit | None:
        """A frame without one before it; None where it has no face."""
        ...

    def track(self, observation: Observation, actor_fit: ActorFit, before: list[Track]) -> FrameFit:
        """A frame after others (the last one first)."""
        ...


def make_solver(name: str, problem: Problem) -> Solver:
    """The solver by its name on the command line."""
    if name == "paper":
        from reconstruct.paper_solver import PaperSolver

        return PaperSolver(problem)
    from reconstruct.fast_solver import FastSolver

    return FastSolver(problem)


def reconstruct_take(
    take: Take,
    calibration: RigCalibration,
    model: MorphableModel,
    *,
    output: Path,
    settings: ReconstructSettings | None = None,
) -> Path:
    """Writes the mesh sequence of a take to `output`; a run that was stopped goes on where it was.

    Raises FaceNotFoundError where no frame shows a face, CalibrationError where the calibration is of other cameras.
    """
    settings = settings or ReconstructSettings()
    frames = _wanted_frames(take, settings)
    landmarks = _landmarks(take, frames)
    keyframes = keyframes_of(frames, landmarks, settings.keyframes if settings.solver == "fast" else 1)
    problem = make_problem(model, make_rasterizer(settings.rasterizer, settings.device))
    observer = TakeObserver(take, calibration, landmarks)
    solver = make_solver(settings.solver, problem)
    partial = PartialResult(output, _key(take, calibration, model, settings))
    actor_fit = _actor(partial, problem, solver, observer, keyframes)
    with progress(f"reconstruct {take.name}", len(frames)) as report:
        _Sequence(problem, solver, observer, partial, actor_fit, report).run(frames)
    _write(output, partial, take, calibration, model, frames=frames, settings=settings, actor=actor_fit.actor)
    partial.remove()
    return output


def _wanted_frames(take: Take, settings: ReconstructSettings) -> list[int]:
    first, end = settings.frames or (0, len(take))
    frames = list(range(max(first, 0), min(end, len(take))))
    if not frames:
        raise TakeError(f"{take.path} has {len(take)} frames, none of {first}:{end}", hint="choose others: --frames")
    return frames


def _landmarks(take: Take, frames: list[int]) -> dict[str, np.ndarray]:
    """Landmarks by serial with a row for every frame of the take; NaN for frames that are not wanted."""
    from calibration.landmarks import take_landmarks

    with progress(f"landmarks {take.name}", len(frames)) as report:
        found = take_landmarks(take, frames=frames, report=report)
    out = {}
    for serial, pixels in found.items():
        out[serial] = np.full((len(take), *pixels.shape[1:]), np.nan)
        out[serial][frames] = pixels
    return out


def _key(
    take: Take, calibration: RigCalibration, model: MorphableModel, settings: ReconstructSettings
) -> dict[str, Any]:
    return {
        "take": str(take.path.resolve()),
        "timestamps_usec": [int(take.timestamps_usec[0]), int(take.timestamps_usec[-1]), len(take)],
        "poses": {serial: pose.tolist() for serial, pose in calibration.world_from_camera.items()},
        "model": model.content_hash,
        "settings": [settings.solver, settings.keyframes, settings.frames],
    }


def keyframes_of(frames: list[int], landmarks: dict[str, np.ndarray], count: int) -> list[int]:
    """Spread frames that have a face in most cameras; raises FaceNotFoundError where there are none."""
    seen = np.array([sum(np.isfinite(pixels[frame]).any() for pixels in landmarks.values()) for frame in frames])
    if not seen.any():
        raise FaceNotFoundError(
            f"no face was found in any of {len(frames)} frames of {len(landmarks)} cameras",
            hint="look at the take with: mmface4d view TAKE -o DIR",
        )
    best = [frame for frame, cameras in zip(frames, seen, strict=True) if cameras == seen.max()]
    chosen = np.linspace(0, len(best) - 1, min(count, len(best))).round().astype(int)
    return [best[i] for i in chosen]


def _actor(
    partial: PartialResult, problem: Problem, solver: Solver, observer: TakeObserver, keyframes: list[int]
) -> ActorFit:
    stored = partial.load("actor")
    if stored is not None:
        return ActorFit.from_arrays(stored)
    with progress("actor", 1) as report:
        observations = [observer.read(frame) for frame in keyframes]
        fit = solver.fit_actor(observations)
        actor, colors = solve_appearance(problem, fit.observations(observations), actor=fit.actor, fits=fit.fits)
        # a solver that finds light and texture itself keeps its own
        fit = fit.with_appearance(fit.actor if fit.actor.lighting else actor, colors)
        report.advance()
    partial.store("actor", fit.arrays())
    return fit


class _Sequence:
    """Goes through the frames, each from the ones before it."""

    def __init__(
        self,
        problem: Problem,
        solver: Solver,
        observer: TakeObserver,
        partial: PartialResult,
        actor_fit: ActorFit,
        report: Progress,
    ) -> None:
        self.problem, self.solver, self.observer = problem, solver, observer
        self.partial, self.actor_fit, self.report = partial, actor_fit, report
        self.before: list[Track] = []

    def run(self, frames: list[int]) -> None:
        """Fits and stores every frame that is not stored yet."""
        passed_over = False
        for index, frame in enumerate(frames):
            stored = self.partial.load(frame_name(frame))
            if stored is None:
                if passed_over:  # the observer did not see the frames before
                    self.observer.look_back(frames[:index])
                self._fit_and_store(frame)
            elif stored["status"] in (OK, CAMERAS_MISSING):
                fit = _stored_fit(stored)
                self._remember(Track(fit, int(stored["timestamps_usec"])))
            passed_over = stored is not None
            self.report.advance()

    def _fit_and_store(self, frame: int) -> None:
        observation = self.observer.read(frame)
        fit, quality = self._fit(observation)
        if fit is not None:
            self._remember(Track(fit, observation.timestamp_usec))
            status = CAMERAS_MISSING if observation.missing else OK
        else:
            status = self._failure(observation)
            fit = self.before[0].fit if self.before else self.actor_fit.fits[0]
        self.partial.store(frame_name(frame), self._values(observation, fit, status, quality))

    def _fit(self, observation: Observation) -> tuple[FrameFit | None, Quality]:
        """Tracked from the frames before, else started anew; None where neither gives this face."""
        nothing = Quality(float("nan"), 0.0, float("nan"), float("nan"))
        if not observation.depth_views:
            return None, nothing
        quality = nothing
        if self.before:
            fit = self.solver.track(observation, self.actor_fit, self.before)
            quality = self._quality(observation, fit)
            if _accepted(quality):
                return fit, quality
        fit = self.solver.start(observation, self.actor_fit) if observation.has_face else None
        if fit is not None:
            quality = self._quality(observation, fit)
        return (fit, quality) if fit is not None and _accepted(quality) else (None, quality)

    def _quality(self, observation: Observation, fit: FrameFit) -> Quality:
        return frame_quality(self.problem, observation, posed(self.problem.model, self.actor_fit.actor, fit))

    def _failure(self, observation: Observation) -> int:
        if not self.before:
            return BEFORE_FIRST_FACE
        return REJECTED if observation.has_face else NO_FACE

    def _remember(self, track: Track) -> None:
        self.before = [track, *self.before[:1]]

    def _values(self, observation: Observation, fit: FrameFit, status: int, quality: Quality) -> dict[str, Any]:
        vertices = posed(self.problem.model, self.actor_fit.actor, fit).astype(np.float32)
        return {
            "vertices": vertices,
            "timestamps_usec": np.int64(observation.timestamp_usec),
            "expression": fit.expression.astype(np.float32),
            "rotation": quaternion_from_rotation(fit.rotation).astype(np.float32),
            "translation": fit.translation.astype(np.float32),
            "offsets": fit.offsets.astype(np.float32),
            "offset_rms": np.float32(np.sqrt((fit.offsets**2).sum(1).mean())),
            "status": np.uint8(status),
            "depth_residual_mm": np.float32(quality.depth_residual_mm),
            "coverage": np.float32(quality.coverage),
            "landmark_residual_px": np.float32(quality.landmark_residual_px),
            "landmark_residual_mm": np.float32(quality.landmark_residual_mm),
        }


def _accepted(quality: Quality) -> bool:
    return quality.depth_residual_mm < MOST_RESIDUAL_MM and quality.coverage > LEAST_COVERAGE


def _stored_fit(stored: dict[str, np.ndarray]) -> FrameFit:
    return FrameFit(
        rotation=rotation_from_quaternion(stored["rotation"].astype(np.float64)),
        translation=stored["translation"].astype(np.float64),
        expression=stored["expression"].astype(np.float64),
        offsets=stored["offsets"].astype(np.float64),
    )


def _write(
    output: Path,
    partial: PartialResult,
    take: Take,
    calibration: RigCalibration,
    model: MorphableModel,
    *,
    frames: list[int],
    settings: ReconstructSettings,
    actor: Actor,
) -> None:
    def read_frame(index: int) -> dict[str, np.ndarray]:
        values = partial.load(frame_name(frames[index]))
        if values is None:
            raise TakeError(f"frame {frames[index]} is missing in {partial.folder}", hint="run the same command again")
        del values["offsets"]
        return values

    stored = partial.load("actor") or {}
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
            "solver": settings.solver,
            "identity": actor.identity.astype(np.float32),
            "scale": np.float32(actor.scale),
            "texture": actor.texture.astype(np.float32),
            "lighting": np.stack([actor.lighting.get(s, np.zeros((3, 9))) for s in serials]).astype(np.float32),
            "vertex_colors": stored["vertex_colors"].astype(np.float32),
            "serials": np.array(serials),
            "take": os.path.relpath(take.path.resolve(), output.resolve().parent),
            "calibration_json": json.dumps(calibration.record()),
        },
    )
