"""The last pass over a sequence: pose, expression and offsets of all its frames, smoothed by what each frame knows."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from mmface4d.transforms import rotation_from_quaternion
from reconstruct.offset_smoothing import SmoothedOffsets, offset_noise
from reconstruct.partial import PartialResult, frame_name
from reconstruct.sequence_run import Fitting
from reconstruct.state import FrameFit
from reconstruct.topology import topology_of
from reconstruct.track_smoothing import FrameInformation, SmoothedTrack, about_pivot, smoothed_track

LEAST_FRAMES = 3
KEPT_FRAMES = 700  # in memory while the smoother goes over them again and again
INFORMATION = ("timestamps_usec", "rotation", "translation", "expression", "hessian", "gradient", "pivot")


class Smoothing:
    """Replaces what was fitted frame by frame in stored values by the smoothed."""

    def __init__(
        self, fitting: Fitting, fitted: dict[str, int], track: SmoothedTrack, offsets: SmoothedOffsets
    ) -> None:
        self.fitting, self.fitted, self.track, self.offsets = fitting, fitted, track, offsets
        self._last = 0

    def smoothed(self, name: str, values: dict[str, np.ndarray]) -> dict[str, Any]:
        """A frame's values; one without a fit of its own holds the last one's."""
        self._last = self.fitted.get(name, self._last)
        index = self._last
        fit = FrameFit(
            self.track.rotation[index], self.track.translation[index], self.track.expression[index],
            self.offsets[index],
        )  # fmt: skip
        return {**values, **self.fitting.values(fit)}


@contextmanager
def smoothing(partial: PartialResult, fitting: Fitting, frames: Sequence[int]) -> Iterator[Smoothing | None]:
    """Smooths the stored frames that have a fit; None where they are too few or their solver knows no information."""
    names = [name for frame in frames if "pivot" in _load(partial, name := frame_name(frame), "pivot")]
    if len(names) < LEAST_FRAMES:
        yield None
        return
    track = _smoothed_track(partial, fitting, names, scratch=partial.folder)
    times = np.array([int(_load(partial, name, "timestamps_usec")["timestamps_usec"]) for name in names])

    def read(index: int) -> np.ndarray:
        return _load(partial, names[index], "offsets")["offsets"].astype(np.float64)

    noise = offset_noise(times, read, topology_of(fitting.problem.model))
    with SmoothedOffsets(times, read, noise=noise, scratch=partial.folder) as offsets:
        yield Smoothing(fitting, {name: index for index, name in enumerate(names)}, track, offsets)


def _load(partial: PartialResult, name: str, *only: str) -> dict[str, np.ndarray]:
    return partial.load(name, only=only) or {}


def _smoothed_track(partial: PartialResult, fitting: Fitting, names: list[str], *, scratch: Path) -> SmoothedTrack:
    model, actor = fitting.problem.model, fitting.actor_fit.actor
    pivot_in_head = actor.scale * actor.neutral(model).mean(0)

    @lru_cache(maxsize=KEPT_FRAMES)
    def read(index: int) -> FrameInformation:
        stored = _load(partial, names[index], *INFORMATION)
        fit = FrameFit(
            rotation_from_quaternion(stored["rotation"].astype(np.float64)), stored["translation"].astype(np.float64),
            stored["expression"].astype(np.float64), np.zeros((0, 3)),
        )  # fmt: skip
        pivot = fit.rotation @ pivot_in_head + fit.translation
        hessian, gradient = about_pivot(
            stored["hessian"], stored["gradient"], pivot_before=stored["pivot"], pivot=pivot
        )
        return FrameInformation(int(stored["timestamps_usec"]), fit, hessian, gradient)

    return smoothed_track(
        len(names), read, pivot_in_head=pivot_in_head, expression_std=model.expression_std, scratch=scratch
    )
