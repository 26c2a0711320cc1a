"""What calibration looks at: still frames of the takes, their landmarks in 3-D and their head surfaces."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from calibration.landmarks import take_landmarks
from calibration.lift import lift_landmarks
from calibration.surface import Surface, head_surface
from mmface4d.errors import CalibrationError, FaceNotFoundError
from mmface4d.progress import Progress, progress
from mmface4d.take import Take

# landmarks on firm skin that every view sees alike: nose, eye corners, glabella, inner cheeks; no contour, no lips
INNER_FACE = np.array([
    168, 6, 197, 195, 5, 4, 1, 122, 351, 196, 419, 3, 248, 51, 281, 45, 275, 44, 274, 220, 440, 134, 363, 236,
    456, 174, 399, 198, 420, 131, 360, 49, 279, 133, 362, 33, 263, 243, 463, 193, 417, 8, 9, 107, 336, 55, 285,
    117, 346, 118, 347, 119, 348, 100, 329, 101, 330, 50, 280, 36, 266, 205, 425, 126, 355, 142, 371, 129, 358,
])  # fmt: skip
CANDIDATES = 3  # frames looked at for each one that is used
MIN_LIFTED = 15  # of the inner-face landmarks


@dataclass(frozen=True)
class FrameRef:
    """A frame of one of the takes."""

    take: Take
    frame: int


@dataclass(frozen=True)
class View:
    """One camera's look at one frame: inner-face landmarks (metres, colour frame, NaN where unknown) and the head."""

    landmarks: Float[np.ndarray, "n_inner 3"]
    surface: Surface


def choose_frames(takes: Sequence[Take], count: int, *, task_file: Path | None = None) -> list[FrameRef]:
    """Up to `count` frames, spread over the takes; where there is a choice, those with most faces and least motion."""
    frames = [FrameRef(take, frame) for take in takes for frame in range(len(take))]
    if not frames:
        raise CalibrationError("the takes hold no frame", hint="check them with: mmface4d take show TAKE")
    if len(frames) <= count:
        return frames
    pool = [frames[i] for i in np.unique(np.linspace(0, len(frames) - 1, count * CANDIDATES).round().astype(int))]
    with progress("finding still frames", len(pool)) as bar:
        scores = _scores(takes, pool, task_file=task_file, report=bar)
    chosen = [min(part, key=lambda i: scores[i]) for part in np.array_split(np.arange(len(pool)), count) if len(part)]
    return [pool[i] for i in chosen]


def _scores(
    takes: Sequence[Take], pool: Sequence[FrameRef], *, task_file: Path | None, report: Progress
) -> list[tuple[int, float]]:
    """Views without a face and motion to the next frame (pixels), for each frame: less is better."""
    scores: dict[int, tuple[int, float]] = {}
    for take in takes:
        mine = [i for i, ref in enumerate(pool) if ref.take is take]
        wanted = sorted({f for i in mine for f in (pool[i].frame, min(pool[i].frame + 1, len(take) - 1))})
        found = take_landmarks(take, frames=wanted, task_file=task_file)
        for i in mine:
            now, after = wanted.index(pool[i].frame), wanted.index(min(pool[i].frame + 1, len(take) - 1))
            missing = sum(not np.isfinite(pixels[now]).all() for pixels in found.values())
            moves = [np.linalg.norm(pixels[after] - pixels[now], axis=1)[INNER_FACE] for pixels in found.values()]
            motion = np.concatenate(moves)
            known = motion[np.isfinite(motion)]
            scores[i] = missing, float(np.median(known)) if len(known) else np.inf
            report.advance()
    return [scores[i] for i in range(len(pool))]


def gather_views(
    takes: Sequence[Take], frames: Sequence[FrameRef], *, task_file: Path | None = None
) -> dict[str, list[View | None]]:
    """Each camera's views of the frames, in their order; None where it has no picture or no face is found."""
    views: dict[str, list[View | None]] = {serial: [] for serial in takes[0].cameras}
    with progress("lifting landmarks", len(frames)) as bar:
        for take in takes:
            wanted = [ref.frame for ref in frames if ref.take is take]
            found = take_landmarks(take, frames=wanted, task_file=task_file)
            for row, frame in enumerate(wanted):
                for serial in views:
                    views[serial].append(_view(take, frame, serial=serial, pixels=found[serial][row]))
                bar.advance()
    _require_faces(takes, frames, views)
    return views


def _view(take: Take, frame: int, *, serial: str, pixels: Float[np.ndarray, "478 2"]) -> View | None:
    depth_mm = take.depth_mm(frame, serial)
    if depth_mm is None or not np.isfinite(pixels).all():
        return None
    camera = take.rgbd[serial]
    landmarks = lift_landmarks(camera, depth_mm, pixels[INNER_FACE])
    known = np.isfinite(landmarks).all(1)
    if known.sum() < MIN_LIFTED:
        return None
    return View(landmarks, head_surface(camera, depth_mm, np.median(landmarks[known], axis=0)))


def _require_faces(takes: Sequence[Take], frames: Sequence[FrameRef], views: dict[str, list[View | None]]) -> None:
    counts = {serial: sum(view is not None for view in mine) for serial, mine in views.items()}
    if all(counts.values()):
        return
    names = ", ".join(str(take.path) for take in takes)
    seen = "; ".join(f"camera {serial}: {count} of {len(frames)}" for serial, count in counts.items())
    raise FaceNotFoundError(
        f"no face with depth in {names}: frames with a face: {seen}",
        hint="the actor must sit lit, 0.4 to 2 m away, facing the cameras; look with: mmface4d view TAKE",
    )
