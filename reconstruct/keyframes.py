"""Which frames of a take show the actor, and the actor from them."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from mmface4d.errors import FaceNotFoundError, TakeError
from mmface4d.progress import Progress, progress
from mmface4d.take import Take
from reconstruct.appearance import solve_appearance
from reconstruct.observation import Observation
from reconstruct.parameters import Problem
from reconstruct.settings import ReconstructSettings
from reconstruct.solver import Solver
from reconstruct.tracks import ActorFit

CAMERAS_POWER = 2  # two cameras are worth four times one: each more sees the others' blind sides


def wanted_frames(take: Take, settings: ReconstructSettings) -> list[int]:
    """The frames that the operator asked for; raises TakeError where the take has none of them."""
    first, end = settings.frames or (0, len(take))
    frames = list(range(max(first, 0), min(end, len(take))))
    if not frames:
        raise TakeError(f"{take.path} has {len(take)} frames, none of {first}:{end}", hint="choose others: --frames")
    return frames


def landmarks_of(take: Take, frames: list[int]) -> dict[str, Float[np.ndarray, "n_frames 478 2"]]:
    """Landmarks of the wanted frames, looked for under a progress bar; see landmark_rows."""
    with progress(f"landmarks {take.name}", len(frames)) as report:
        return landmark_rows(take, frames, report)


def landmark_rows(
    take: Take, frames: list[int], report: Progress | None = None
) -> dict[str, Float[np.ndarray, "n_frames 478 2"]]:
    """Landmarks by serial with a row for every frame of the take; NaN for frames that are not wanted."""
    from calibration.landmarks import take_landmarks

    found = take_landmarks(take, frames=frames, report=report)
    out = {}
    for serial, pixels in found.items():
        out[serial] = np.full((len(take), *pixels.shape[1:]), np.nan)
        out[serial][frames] = pixels
    return out


def cameras_with_face(
    frames: list[int], landmarks: dict[str, Float[np.ndarray, "n_frames 478 2"]]
) -> Int[np.ndarray, "n_wanted"]:
    """In how many cameras each of the frames shows a face; raises FaceNotFoundError where none does."""
    seen = np.sum([np.isfinite(pixels[frames]).any((1, 2)) for pixels in landmarks.values()], 0, dtype=int)
    if not np.any(seen):
        raise FaceNotFoundError(
            f"no face was found in any of {len(frames)} frames of {len(landmarks)} cameras",
            hint="look at the take with: mmface4d view TAKE -o DIR",
        )
    return seen


def spread_frames(cameras: Int[np.ndarray, "n_frames"], count: int) -> list[int]:
    """Up to `count` indices, spread over the frames, denser where more cameras see the face; never one without."""
    known = np.flatnonzero(cameras)
    if len(known) <= count:
        return known.tolist()
    worth = cameras[known].astype(float) ** CAMERAS_POWER
    passed = np.cumsum(worth) - worth / 2
    # where this share of the frames' worth has passed; the ends are the first and the last frame
    ideal = np.interp(np.linspace(passed[0], passed[-1], count), passed, np.arange(len(known)))
    borders = np.concatenate([[0], (ideal[1:] + ideal[:-1]) / 2, [len(known)]])
    chosen = []
    for place, low, high in zip(ideal, borders[:-1], borders[1:], strict=True):
        near = np.arange(int(np.ceil(low)), int(np.ceil(high)))
        if len(near):
            best = near[np.lexsort((np.abs(near - place), -cameras[known[near]]))[0]]
            chosen.append(int(known[best]))
    return chosen


def keyframes_of(frames: list[int], landmarks: dict[str, Float[np.ndarray, "n_frames 478 2"]], count: int) -> list[int]:
    """Frames to fit the actor on; raises FaceNotFoundError where none shows a face."""
    return [frames[index] for index in spread_frames(cameras_with_face(frames, landmarks), count)]


def keyframe_count(settings: ReconstructSettings) -> int:
    """How many keyframes the solver fits at once; the published schedule knows one."""
    return settings.keyframes if settings.solver == "fast" else 1


def solve_actor(problem: Problem, solver: Solver, observations: list[Observation]) -> ActorFit:
    """Shape, texture, light and skin colours of the actor from keyframes."""
    fit = solver.fit_actor(observations)
    actor, colors = solve_appearance(problem, fit.observations(observations), actor=fit.actor, fits=fit.fits)
    # a solver that finds light and texture itself keeps its own
    return fit.with_appearance(fit.actor if fit.actor.lighting else actor, colors)


def numbered(observations: list[Observation]) -> list[Observation]:
    """Observations of several takes, each under a number of its own instead of its frame's in its take."""
    return [replace(observation, frame=number) for number, observation in enumerate(observations)]
