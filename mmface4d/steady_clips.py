"""Mesh sequences as clips: the head held still, frames on an even beat, and what was not seen filled in between."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Float32, Int

from mmface4d.errors import InputError
from mmface4d.frame_rates import on_beat
from mmface4d.sequence import MeshSequence

if TYPE_CHECKING:
    from corpus.dataset.regions import FaceRegions
    from corpus.dataset.stabilise import Stabiliser

VERSION = 1  # to be raised when the same sequence gives other frames
MOST_LOST_S = 0.5  # that the face may not have been seen in one piece
LAST_SEEN_STATUS = 1  # of mmface4d.sequence.STATUS: frames above it were carried over


@dataclass(frozen=True)
class _Plan:
    """How frames on the beat come about: between which two usable frames, and how each is turned."""

    usable: Int[np.ndarray, "n_usable"]
    stabiliser: "Stabiliser"
    places: Float[np.ndarray, "n_frames"]  # among the usable frames
    lost_s: float  # the longest time without a usable frame


class SteadyFrames:
    """The frames of a sequence in the head frame. `load` opens it; it is called for every reading."""

    def __init__(self, load: Callable[[], MeshSequence], regions: "FaceRegions") -> None:
        self._load, self._regions = load, regions

    def __call__(self, start: int, stop: int) -> Float32[np.ndarray, "n_read n_verts 3"]:
        """Frames start to stop on the beat, metres; raises InputError where the sequence cannot be used.

        That vertices are no numbers for too long is found here, because it takes reading them all.
        """
        lost_s = self._plan.lost_s
        if lost_s > MOST_LOST_S:
            raise InputError(
                f"{self._load().path}: for {lost_s:.2f} s no frame is usable, {MOST_LOST_S:g} s would be filled in",
                hint="reconstruct the take again, or leave it out",
            )
        places = self._plan.places[start:stop]
        if not len(places):
            return np.zeros((0, len(self._regions.template), 3), np.float32)
        first, last = int(places.min()), int(np.ceil(places.max()))
        seen = self._seen(np.arange(first, last + 1))
        before = np.floor(places).astype(int)
        after, weight = np.minimum(before + 1, last) - first, (places - before)[:, None, None]
        return ((1 - weight) * seen[before - first] + weight * seen[after]).astype(np.float32)

    def rows(self, rows: Int[np.ndarray, "n_rows"]) -> Float32[np.ndarray, "n_rows n_verts 3"]:
        """Rows of the sequence itself, in the head frame; those that are not usable come as the nearest that is."""
        nearest = np.abs(self._plan.usable[None] - rows[:, None]).argmin(axis=1)
        return self._seen(nearest).astype(np.float32)

    def _seen(self, numbers: Int[np.ndarray, "n_some"]) -> Float[np.ndarray, "n_some n_verts 3"]:
        """Usable frames, by their number among these."""
        vertices = np.asarray(self._load().vertices[self._plan.usable[numbers]], dtype=np.float64)
        return self._plan.stabiliser.apply(vertices, numbers)

    @cached_property
    def _plan(self) -> _Plan:
        from corpus.dataset.motion import steadied

        sequence = self._load()
        usable, held = steadied(sequence, self._regions)
        rows, _ = on_beat(sequence)
        places = np.interp(rows, usable, np.arange(len(usable)))
        return _Plan(usable, held, places, lost_s=_longest_gap_s(sequence, usable))


def frames_on_beat(sequence: MeshSequence) -> tuple[int, float]:
    """How many frames a sequence has on an even beat, and its rate; raises InputError where that cannot be told."""
    rows, fps = on_beat(sequence)
    return len(rows), fps


def longest_lost_s(sequence: MeshSequence) -> float:
    """For how long at most the face was not seen in one piece, by its status; the whole length where it never was."""
    status = sequence.arrays.get("status")
    seen = np.ones(len(sequence), bool) if status is None else status <= LAST_SEEN_STATUS
    return _longest_gap_s(sequence, np.flatnonzero(seen))


def _longest_gap_s(sequence: MeshSequence, rows: Int[np.ndarray, "n_rows"]) -> float:
    """The longest time without one of some rows, beyond the usual step."""
    times_s = (sequence.timestamps_usec - sequence.timestamps_usec[0]) * 1e-6
    steps = np.diff(np.concatenate([[0.0], times_s[rows], [times_s[-1]]]))
    usual = float(np.median(np.diff(times_s))) if len(times_s) > 1 else 0.0
    return max(float(steps.max()) - usual, 0.0)
