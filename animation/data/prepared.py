"""Clips made ready for a model: displacements and speech features at one rate, on the disk, keyed by content."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32

from animation.audio.cache import FeatureCache
from animation.audio.encoder import AudioEncoder
from animation.audio.features import speech_features
from animation.data.check import (
    BLOCK_FRAMES,
    LEAST_FRAMES,
    clip_mistakes,
    error_of,
    frame_mistakes,
    refuse,
    repeated,
    sound_mistakes,
)
from animation.data.clip import Clip, Sound
from animation.data.corpus import SPLITS, SpeechCorpus, Split, Topology
from animation.data.normalisation import Normalisation, fit_normalisation
from animation.data.resample import resample_clip
from mmface4d.arrays import Vertices
from mmface4d.errors import InputError
from mmface4d.files import user_cache_folder
from mmface4d.npy import map_npy, write_npy
from mmface4d.progress import Progress, progress

VERSION = 1  # to be raised when the same clip gives other numbers
_HINT = "delete this file, which can be made again, and run the command once more"


@dataclass(frozen=True)
class PreparedClip:
    """A clip at the prepared rate. Nothing of it is in memory; both readers copy what is asked for."""

    name: str
    subject: str
    sentence: str  # one id a text of the subject, so that nobody is shown another recording of what is to be said
    split: Split
    n_frames: int
    features_file: Path
    motion_file: Path

    def features(self, start: int = 0, stop: int | None = None) -> Float32[np.ndarray, "n_read n_audio"]:
        """Speech features of frames start to stop."""
        return np.array(map_npy(self.features_file, hint=_HINT)[start:stop])

    def displacement_m(self, start: int = 0, stop: int | None = None) -> Float32[np.ndarray, "n_read n_verts 3"]:
        """Frames start to stop as metres from the subject's template."""
        return np.array(map_npy(self.motion_file, hint=_HINT)[start:stop])


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

    def clip(self, name: str) -> PreparedClip:
        """One clip; raises InputError where there is none of that name."""
        for each in self.clips:
            if each.name == name:
                return each
        raise InputError(f"{self.origin} has no clip {name}", hint="see them all with: mmface4d clips show DATA")


def prepare(
    corpus: SpeechCorpus, *, encoder: AudioEncoder, fps: float, normalisation: Normalisation | None = None,
    cache: Path | None = None, splits: Collection[Split] = SPLITS,
) -> Prepared:  # fmt: skip
    """Prepares the clips of some splits; what the cache (the user's, where none is given) has of them is used.

    A normalisation is fitted to the training clips unless one is given. Raises InputError that names every clip that
    cannot be used: too short, not finite, of another topology, silent, or without the sound of a part.
    """
    clips = [clip for clip in corpus.clips if corpus.splits.get(clip.subject, "train") in splits]
    if not clips:
        wanted = " or ".join(split for split in SPLITS if split in splits)
        raise InputError(f"{corpus.origin} has no clip in {wanted}", hint="see: mmface4d clips show DATA")
    folder = cache or user_cache_folder() / "clips"
    maker = _Maker(corpus, encoder, fps, folder)
    maker.mistakes += [f"{name}: several clips have this name" for name in repeated(clip.name for clip in clips)]
    with progress("clips prepared", len(clips)) as bar:
        made = [maker.make(clip, bar) for clip in _one_id_a_text(clips)]
    refuse(maker.mistakes, origin=corpus.origin)
    if normalisation is None:
        normalisation = _fitted(corpus, [clip for clip in made if clip is not None], fps=fps)
    return Prepared(
        origin=corpus.origin, topology=corpus.topology, fps=fps, n_audio=encoder.n_audio,
        encoder_identity=encoder.identity,
        normalisation=normalisation,
        clips=tuple(clip for clip in made if clip is not None), templates=corpus.templates,
        training_subjects=corpus.subjects("train"), licence=corpus.licence,
    )  # fmt: skip


def _one_id_a_text(clips: Sequence[Clip]) -> Iterator[Clip]:
    """The clips; somebody's of one text, as in several emotions, with the sentence's id of the first of them.

    Others may have given that id to something else.
    """
    ids: dict[tuple[str, str], str] = {}
    for clip in clips:
        text = " ".join(clip.text.casefold().split())
        yield replace(clip, sentence=ids.setdefault((clip.subject, text), clip.sentence)) if text else clip


def _fitted(corpus: SpeechCorpus, made: Sequence[PreparedClip], *, fps: float) -> Normalisation:
    """From what was prepared of the training clips, which is quicker to read; else from the clips themselves."""
    prepared = {clip.name: clip for clip in made}
    clips = [clip if clip.name not in prepared else _again(clip, prepared[clip.name], corpus, fps=fps)
             for clip in corpus.of_split("train")]  # fmt: skip
    return fit_normalisation(clips, corpus.templates)


def _again(clip: Clip, made: PreparedClip, corpus: SpeechCorpus, *, fps: float) -> Clip:
    template = corpus.templates[clip.subject].astype(np.float32)

    def frames(start: int, stop: int) -> Float32[np.ndarray, "n_read n_verts 3"]:
        return made.displacement_m(start, stop) + template

    return replace(clip, fps=fps, n_frames=made.n_frames, frames=frames)


class _Maker:
    """Makes the files of one clip after the other and gathers what speaks against them."""

    def __init__(self, corpus: SpeechCorpus, encoder: AudioEncoder, fps: float, folder: Path) -> None:
        self._corpus, self._encoder, self._fps, self._folder = corpus, encoder, fps, folder
        self.mistakes: list[str] = []

    def make(self, clip: Clip, bar: Progress) -> PreparedClip | None:
        """None where something speaks against the clip."""
        bar.advance()
        said = clip_mistakes(clip, self._corpus)
        if said:
            self.mistakes += said
            return None
        try:
            return self._make(clip)
        except _UnusableError as error:
            self.mistakes += error.mistakes
        except InputError as error:
            self.mistakes.append(error_of(clip, error))
        return None

    def _make(self, clip: Clip) -> PreparedClip:
        resampled = resample_clip(_checked(clip, self._corpus.templates[clip.subject]), self._fps)
        if resampled.n_frames < LEAST_FRAMES:
            left = (
                f"{clip.name}: at {self._fps:g} frames a second it has {resampled.n_frames}, fewer than {LEAST_FRAMES}"
            )
            raise _UnusableError([left])
        content = clip.fingerprint or _content(clip)
        template = self._corpus.templates[clip.subject]
        about = [VERSION, content, clip.fps, clip.n_frames, self._fps]
        motion = self._kept(
            "motion", [*about, hashlib.sha256(template.astype("<f4").tobytes()).hexdigest()],
            lambda path: _write_motion(path, resampled, template),
        )  # fmt: skip
        features = self._kept(
            "features", [*about, self._encoder.identity],
            lambda path: self._write_features(path, clip, resampled),
        )  # fmt: skip
        return PreparedClip(
            name=clip.name, subject=clip.subject, sentence=clip.sentence, split=self._corpus.splits[clip.subject],
            n_frames=resampled.n_frames, features_file=features, motion_file=motion,
        )  # fmt: skip

    def _kept(self, kind: str, key: list[object], make: Callable[[Path], None]) -> Path:
        """The file of a key, made where the cache does not have it whole."""
        name = hashlib.sha256(json.dumps([kind, *key]).encode()).hexdigest()
        path = self._folder / kind / name[:2] / f"{name}.npy"
        if not path.is_file():
            make(path)
        return path

    def _write_features(self, path: Path, clip: Clip, resampled: Clip) -> None:
        sound = clip.sound()
        if said := sound_mistakes(clip, sound):
            raise _UnusableError(said)
        tokens = FeatureCache(self._folder / "tokens")  # serve every rate
        features = speech_features(sound, resampled.times_s(), encoder=self._encoder, cache=tokens)
        write_npy(path, [features], shape=features.shape)


class _UnusableError(Exception):
    """A clip that cannot be used."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__(mistakes)
        self.mistakes = mistakes


def _checked(clip: Clip, template: Vertices) -> Clip:
    """The clip, whose frames are looked at as they are read; raises _UnusableError then."""

    def frames(start: int, stop: int) -> Float32[np.ndarray, "n_read n_verts 3"]:
        read = _read(clip, start, stop)
        if said := frame_mistakes(clip, read, template=template, start=start, stop=stop):
            raise _UnusableError(said)
        return read.astype(np.float32, copy=False)

    return replace(clip, frames=frames)


def _write_motion(path: Path, clip: Clip, template: Vertices) -> None:
    steps = (clip.frames(start, stop) - template.astype(np.float32) for start, stop in _blocks(clip.n_frames))
    write_npy(path, steps, shape=(clip.n_frames, *template.shape))


def _read(clip: Clip, start: int, stop: int) -> Float[np.ndarray, "..."]:
    return clip.frames(start, stop)


def _blocks(n_frames: int) -> Iterator[tuple[int, int]]:
    for start in range(0, n_frames, BLOCK_FRAMES):
        yield start, min(start + BLOCK_FRAMES, n_frames)


def _content(clip: Clip) -> str:
    """A hash of everything that a clip without a fingerprint shows and says."""
    digest = hashlib.sha256()
    for start, stop in _blocks(clip.n_frames):
        digest.update(np.ascontiguousarray(_read(clip, start, stop), "<f4").tobytes())
    sound: Sound = clip.sound()
    digest.update(f"{sound.rate_hz} {sound.start_s!r} {len(sound.samples)}".encode())
    digest.update(np.ascontiguousarray(sound.samples, "<f4").tobytes())
    return digest.hexdigest()
