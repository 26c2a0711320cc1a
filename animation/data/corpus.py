"""What a model is trained and judged on: clips of one topology, templates, masks, and who is in which split."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Int

from animation.data.clip import Clip
from mmface4d.arrays import Faces, Vertices

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
NEEDED_MASKS = ("lips", "upper_face", "face")  # every corpus has these


@dataclass(frozen=True)
class Mask:
    """A set of vertices by name. Two masks of one name need not be the same: a number needs the hash beside it."""

    name: str
    vertices: Int[np.ndarray, "n_in_mask"]  # sorted, each once

    @cached_property
    def sha256(self) -> str:
        """Of the indices as little-endian int32."""
        return hashlib.sha256(self.vertices.astype("<i4").tobytes()).hexdigest()


@dataclass(frozen=True)
class Topology:
    """The mesh that all clips of a corpus share."""

    name: str  # the face model's, such as canonical or flame; or what a folder was called
    n_verts: int
    faces: Faces
    masks: Mapping[str, Mask]

    @cached_property
    def sha256(self) -> str:
        """Of the number of vertices and the triangles as little-endian int32."""
        return hashlib.sha256(np.int32(self.n_verts).tobytes() + self.faces.astype("<i4").tobytes()).hexdigest()


@dataclass(frozen=True)
class SpeechCorpus:
    """Clips with what they need. A template is a subject's neutral face in the head frame, metres."""

    origin: str  # what was read, for messages and model cards: a name, never a path of this machine
    topology: Topology
    clips: tuple[Clip, ...]
    templates: Mapping[str, Vertices]  # by subject
    splits: Mapping[str, Split]  # by subject: splits are disjoint in identity
    licence: str = ""
    notes: tuple[str, ...] = ()  # what a user should know of it: what was left out, and why
    refuse_withdrawn: Callable[[], None] = lambda: None  # raises ConsentError where consent does not cover it any more

    def of_split(self, split: Split) -> tuple[Clip, ...]:
        """The clips of a split's subjects, in the corpus' order."""
        return tuple(clip for clip in self.clips if self.splits[clip.subject] == split)

    def subjects(self, split: Split) -> tuple[str, ...]:
        """The subjects of a split who have clips, in the order in which they come up."""
        return tuple(dict.fromkeys(clip.subject for clip in self.of_split(split)))
