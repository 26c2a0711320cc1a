"""Goes through a take's frames, each from the ones before it, and stores every one as soon as it is done."""

from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmface4d.arrays import Vertices
from mmface4d.progress import Progress
from mmface4d.sequence import CARRIED, COVERAGE_FAILED, DEPTH_FAILED, REFITTED, STARTED, TRACKED
from mmface4d.transforms import quaternion_from_rotation, rotation_from_quaternion
from reconstruct.gate import Gate
from reconstruct.observation import Observation
from reconstruct.observe import TakeObserver
from reconstruct.parameters import Problem
from reconstruct.partial import PartialResult, frame_name
from reconstruct.quality import Quality, frame_quality
from reconstruct.solver import Solver
from reconstruct.state import FrameFit, posed
from reconstruct.tracks import ActorFit, Track

OK, CAMERAS_MISSING, NO_FACE, REJECTED, BEFORE_FIRST_FACE = range(5)
NOT_MEASURED = Quality(float("nan"), 0.0, float("nan"), float("nan"))
# stored with a frame for a run that goes on, and left out of the sequence
ONLY_PARTIAL = ("offsets", "damaged", "hessian", "gradient", "pivot")


@dataclass(frozen=True)
class Fitting:
    """A solver and the actor it fits."""

    problem: Problem
    solver: Solver
    actor_fit: ActorFit

    def vertices(self, fit: FrameFit) -> Vertices:
        """Posed, world metres."""
        return posed(self.problem.model, self.actor_fit.actor, fit)

    def values(self, fit: FrameFit) -> dict[str, np.ndarray | np.generic]:
        """A fit as the sequence file has it."""
        return {
            "vertices": self.vertices(fit).astype(np.float32),
            "expression": fit.expression.astype(np.float32),
            "rotation": quaternion_from_rotation(fit.rotation).astype(np.float32),
            "translation": fit.translation.astype(np.float32),
            "offset_rms": np.float32(np.sqrt((fit.offsets**2).sum(1).mean())),
        }

    def track(self, observation: Observation, before: list[Track]) -> "Attempt | None":
        """From the frames before; None where there are none."""
        return self._attempt(observation, self.solver.track(observation, self.actor_fit, before)) if before else None

    def start(self, observation: Observation) -> "Attempt | None":
        """From this frame's landmarks; None where they do not suffice."""
        fit = self.solver.start(observation, self.actor_fit) if observation.has_face else None
        return None if fit is None else self._attempt(observation, fit)

    def _attempt(self, observation: Observation, fit: FrameFit) -> "Attempt":
        quality = frame_quality(self.problem, observation, self.vertices(fit))
        return Attempt(fit, _as_stored(quality))


@dataclass(frozen=True)
class Attempt:
    """A fit and how good it is."""

    fit: FrameFit
    quality: Quality


@dataclass(frozen=True)
class Outcome:
    """What became of a frame: no fit where none was good enough."""

    fit: FrameFit | None
    quality: Quality
    how: int  # see mmface4d.sequence.FIT
    failed: int  # see mmface4d.sequence.GATE


def fit_frame(fitting: Fitting, observation: Observation, before: list[Track], *, gate: Gate) -> Outcome:
    """Tracks; where that is doubted, fits anew and keeps the better one; rejects what is no fit of this face."""
    if not observation.depth_views:
        return Outcome(None, NOT_MEASURED, CARRIED, DEPTH_FAILED | COVERAGE_FAILED)
    tracked = fitting.track(observation, before)
    doubts = gate.doubts(tracked.quality) if tracked else 0
    if tracked and not doubts:
        return Outcome(tracked.fit, tracked.quality, TRACKED, 0)
    anew = fitting.start(observation)
    if tracked is None:
        how, best, doubts = STARTED, anew, gate.doubts(anew.quality) if anew else DEPTH_FAILED | COVERAGE_FAILED
    elif anew and (not gate.doubts(anew.quality) or gate.clearly_better(anew.quality, tracked.quality)):
        how, best = REFITTED, anew
    else:
        how, best = TRACKED, tracked
    if best is None:
        return Outcome(None, NOT_MEASURED, CARRIED, doubts)
    rejected = gate.rejects(best.quality)
    if rejected:
        return Outcome(None, best.quality, CARRIED, rejected)
    return Outcome(best.fit, best.quality, how, doubts)


class SequenceRun:
    """The frames of one take; `run` may be stopped at any time and goes on from what is stored."""

    def __init__(self, fitting: Fitting, observer: TakeObserver, *, partial: PartialResult, report: Progress) -> None:
        self.fitting, self.observer, self.partial, self.report = fitting, observer, partial, report
        self.gate = Gate()
        self.before: list[Track] = []
        self.damaged: Counter[str] = Counter()  # pictures that could not be read, by camera

    def run(self, frames: list[int]) -> None:
        """Fits and stores every frame that is not stored yet."""
        with ThreadPoolExecutor(max_workers=1) as reader:
            ahead: Future[Observation] | None = None
            for index, frame in enumerate(frames):
                stored = self.partial.load(frame_name(frame))
                if stored is None:
                    observation = (ahead or reader.submit(self._read, frames, index)).result()
                    # the next one is read while this one is fitted
                    going_on = index + 1 < len(frames) and not self.partial.has(frame_name(frames[index + 1]))
                    ahead = reader.submit(self.observer.read, frames[index + 1]) if going_on else None
                    stored = self._fit_and_store(observation)
                self._remember(stored)
                self.report.advance()

    def _read(self, frames: list[int], index: int) -> Observation:
        """Of a frame whose predecessor the observer did not see."""
        self.observer.look_back(frames[:index])
        return self.observer.read(frames[index])

    def _fit_and_store(self, observation: Observation) -> dict[str, Any]:
        frame = observation.frame
        outcome = fit_frame(self.fitting, observation, self.before, gate=self.gate)
        status = self._status(observation, outcome)
        fit = outcome.fit or (self.before[0].fit if self.before else self.fitting.actor_fit.fits[0])
        values = self._values(observation, fit, outcome)
        values["status"] = np.uint8(status)
        values["damaged"] = np.array(observation.damaged, dtype=np.str_)
        self.partial.store(frame_name(frame), values)
        return values

    def _status(self, observation: Observation, outcome: Outcome) -> int:
        if outcome.fit is not None:
            return CAMERAS_MISSING if observation.missing else OK
        if not self.before:
            return BEFORE_FIRST_FACE
        return REJECTED if observation.has_face else NO_FACE

    def _remember(self, stored: dict[str, Any]) -> None:
        """Goes on from what was stored, not from what was computed: so that a stopped run gives the same numbers."""
        self.damaged.update(stored["damaged"].tolist())
        if stored["status"] not in (OK, CAMERAS_MISSING):
            return
        fit = FrameFit(
            rotation=rotation_from_quaternion(stored["rotation"].astype(np.float64)),
            translation=stored["translation"].astype(np.float64),
            expression=stored["expression"].astype(np.float64),
            offsets=stored["offsets"].astype(np.float64),
        )
        self.before = [Track(fit, int(stored["timestamps_usec"])), *self.before[:1]]
        self.gate.accept(
            Quality(
                depth_residual_mm=float(stored["depth_residual_mm"]),
                coverage=float(stored["coverage"]),
                landmark_residual_px=float(stored["landmark_residual_px"]),
                landmark_residual_mm=float(stored["landmark_residual_mm"]),
            )
        )

    def _values(self, observation: Observation, fit: FrameFit, outcome: Outcome) -> dict[str, Any]:
        quality = outcome.quality
        known = fit.information if outcome.fit is not None else None
        return {
            **({} if known is None else {"hessian": known.hessian, "gradient": known.gradient, "pivot": known.pivot}),
            **self.fitting.values(fit),
            "timestamps_usec": np.int64(observation.timestamp_usec),
            "offsets": fit.offsets.astype(np.float32),
            "depth_residual_mm": np.float32(quality.depth_residual_mm),
            "coverage": np.float32(quality.coverage),
            "landmark_residual_px": np.float32(quality.landmark_residual_px),
            "landmark_residual_mm": np.float32(quality.landmark_residual_mm),
            "fit": np.uint8(outcome.how),
            "gate": np.uint8(outcome.failed),
        }


def _as_stored(quality: Quality) -> Quality:
    """In the precision of the file, so that a gate that reads it back judges alike."""
    figures = (
        quality.depth_residual_mm, quality.coverage, quality.landmark_residual_px, quality.landmark_residual_mm,
    )  # fmt: skip
    return Quality(*(float(np.float32(value)) for value in figures))
