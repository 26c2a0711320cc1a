"""Clips made ready for a model: displacements and speech features at one rate, on the disk, keyed by content."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from animation.audio.encoder import AudioEncoder
from animation.data.corpus import SPLITS, Split, SpeechCorpus, Topology
from animation.data.normalisation import Normalisation
from mmface4d.arrays import Vertices


@dataclass(frozen=True)
class PreparedClip:
    """A clip at the prepared rate. Nothing of it is in memory; both readers copy what is asked for."""

    name: str
    subject: str
    sentence: str
    split: Split
    n_frames: int
    features_file: Path
    motion_file: Path

    def features(self, start: int = 0, stop: int | None = None) -> Float32[np.ndarray, "n_read n_audio"]:
        """Speech features of frames start to stop."""
        raise NotImplementedError

    def displacement_m(self, start: int = 0, stop: int | None = None) -> Float32[np.ndarray, "n_read n_verts 3"]:
        """Frames start to stop as metres from the subject's template."""
        raise NotImplementedError


@dataclass(frozen=True)
class Prepared:
    """Prepared clips with what belongs to them."""

    origin: str
    topology: Topology
    fps: float
    n_audio: int
    encoder_identity: str
    normalisation: Normalisation
    clips: tuple[PreparedClip, ...]
    templates: Mapping[str, Vertices]  # metres, by subject
    training_subjects: tuple[str, ...]  # the number of a subject is its place here
    licence: str = ""

    def of_split(self, split: Split) -> tuple[PreparedClip, ...]:
        """The clips of a split, in the corpus' order."""
        return tuple(clip for clip in self.clips if clip.split == split)


def prepare(
    corpus: SpeechCorpus, *, encoder: AudioEncoder, fps: float, normalisation: Normalisation | None = None,
    cache: Path | None = None, splits: Collection[Split] = SPLITS,
) -> Prepared:  # fmt: skip
    """Prepares the clips of some splits; what the cache has of them is used.

    A normalisation is fitted to the training clips unless one is given. Raises InputError that names every clip that
    cannot be used.
    """
    raise NotImplementedError
