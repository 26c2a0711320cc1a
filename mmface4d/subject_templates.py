"""Neutral faces of people, from the calmest frames of what they said."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmface4d.arrays import Vertices
from mmface4d.errors import InputError
from mmface4d.files import user_cache_folder
from mmface4d.npy import map_npy, write_npy
from mmface4d.sequence import MeshSequence

if TYPE_CHECKING:
    from collections.abc import Callable

    from mmface4d.steady_clips import SteadyFrames

VERSION = 1
CLIPS_LOOKED_AT = 4
CALM_FRAMES = 5


@dataclass(frozen=True)
class Spoken:
    """A sentence of somebody, as their template is made of it."""

    frames: "SteadyFrames"
    load: "Callable[[], MeshSequence]"
    fingerprint: str
    neutral: bool  # whether it was to be said without emotion


class SubjectTemplates(Mapping[str, Vertices]):
    """Templates by subject, each made when it is first asked for and kept in the user's cache.

    The mean of the five frames with the weakest expression, among the first four sentences, neutral ones first; where
    no expression is told, the median of the first of these sentences. Those that cannot be read are passed over.
    """

    def __init__(self, spoken: Mapping[str, Sequence[Spoken]], *, cache: Path | None = None) -> None:
        self._spoken, self._folder = spoken, cache or user_cache_folder() / "templates"
        self._made: dict[str, Vertices] = {}

    def __getitem__(self, subject: str) -> Vertices:
        if subject not in self._made:
            self._made[subject] = self._template(self._spoken[subject])
        return self._made[subject]

    def __iter__(self) -> Iterator[str]:
        return iter(self._spoken)

    def __len__(self) -> int:
        return len(self._spoken)

    def _template(self, spoken: Sequence[Spoken]) -> Vertices:
        chosen = sorted(spoken, key=lambda each: not each.neutral)[:CLIPS_LOOKED_AT]
        key = hashlib.sha256("\n".join([str(VERSION), *(each.fingerprint for each in chosen)]).encode()).hexdigest()
        path = self._folder / f"{key}.npy"
        try:
            return np.array(map_npy(path, hint=""), dtype=np.float32)
        except InputError:
            readable = [each for each in chosen if _is_readable(each)]
            made = calm_face(readable or chosen)
            if len(readable) == len(chosen):  # others may be readable again
                write_npy(path, [made], shape=made.shape)
            return made


def _is_readable(spoken: Spoken) -> bool:
    try:
        spoken.frames.rows(np.zeros(1, int))
    except InputError:
        return False
    return True


def calm_face(spoken: Sequence[Spoken]) -> Vertices:
    """The neutral face of one person in the head frame, metres."""
    told = [(strength, number, row) for number, each in enumerate(spoken) for strength, row in _strengths(each.load())]
    if not told:
        sequence = spoken[0].load()
        rows = np.unique(np.linspace(0, len(sequence) - 1, min(len(sequence), 64)).astype(int))
        return np.median(spoken[0].frames.rows(rows), axis=0).astype(np.float32)
    calm = sorted(told)[:CALM_FRAMES]
    faces = [spoken[number].frames.rows(np.array([row]))[0] for _, number, row in calm]
    return np.mean(np.stack(faces).astype(np.float64), axis=0).astype(np.float32)


def _strengths(sequence: MeshSequence) -> list[tuple[float, int]]:
    """How strong the expression is in each frame that was seen, and the frame; nothing where it is not told."""
    expression = sequence.arrays.get("expression")
    if expression is None or not expression.size:
        return []
    status = sequence.arrays.get("status", np.zeros(len(sequence), np.uint8))
    strength = np.linalg.norm(expression.astype(np.float64), axis=1)
    rows = np.flatnonzero((status <= 1) & np.isfinite(strength))
    return [(float(strength[row]), int(row)) for row in rows]
