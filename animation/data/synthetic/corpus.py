"""A whole corpus of synthetic speakers: voices, manners, faces, clips, splits."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float32

from animation.data.clip import Clip, Sound
from animation.data.corpus import SpeechCorpus, Split
from animation.data.synthetic.acting import Chance, act, draw_chance
from animation.data.synthetic.delivery import Delivery, Voice, deliver, draw_voice
from animation.data.synthetic.face import SyntheticFace, synthetic_face
from animation.data.synthetic.script import Sentence, sentence
from animation.data.synthetic.style import Manner, average_manner, draw_manner
from animation.data.synthetic.voice import RATE_HZ, speak
from mmface4d.arrays import Vertices
from mmface4d.errors import UsageError

VERSION = 1  # to be raised when the same seed gives other frames or sounds
SUBJECTS, SENTENCES, N_VERTS, FPS = 34, 8, 400, 30.0
# of 34 subjects 24 train, 4 validate and 6 test
VALIDATION_SHARE, TEST_SHARE = 4 / 34, 6 / 34
LEAST_SUBJECTS, LEAST_SENTENCES = 4, 2  # a driving clip is another one of the same person
MOST = 1000  # subjects, sentences of each
POOL = 3  # sentences to choose from, for each that somebody says
HELD_OUT = 500_000  # the number of the first sentence that no training subject says
_SENTENCE_WORDS = 2  # seeds are lists of numbers: [seed, what for, ...]
_SUBJECT, _CLIP, _SOUND = 2, 3, 4


@dataclass(frozen=True)
class Speaker:
    """One synthetic person."""

    name: str
    voice: Voice
    manner: Manner
    template: Vertices


@dataclass(frozen=True)
class Performance:
    """A sentence said by a speaker. Nothing of it is kept: frames and sound are worked out when they are read."""

    face: SyntheticFace
    speaker: Speaker
    delivery: Delivery
    chance: Chance
    fps: float
    sound_seed: tuple[int, ...]

    @property
    def n_frames(self) -> int:
        """All that lie within the sound."""
        return int(self.delivery.duration_s * self.fps)

    def frames(self, start: int, stop: int) -> Float32[np.ndarray, "n_read n_verts 3"]:
        """The speaker's face, metres."""
        return self.frames_as(self.speaker.manner, start, stop)

    def frames_as(
        self, manner: Manner, start: int, stop: int, *, chance: bool = True
    ) -> Float32[np.ndarray, "n_read n_verts 3"]:
        """The speaker's face as somebody of another manner would move it; without chance, what is to be expected."""
        start, stop, _ = slice(start, stop).indices(self.n_frames)
        times_s = np.arange(start, max(start, stop)) / self.fps
        weights = act(self.delivery, manner, times_s, chance=self.chance if chance else None)
        return (self.speaker.template + np.tensordot(weights, self.face.bases, axes=1)).astype(np.float32)

    def sound(self) -> Sound:
        """The speech; the same bytes whenever it is asked for."""
        return Sound(speak(self.delivery, self.speaker.voice, np.random.default_rng(self.sound_seed)), RATE_HZ)

    def clip(self, said: Sentence) -> Clip:
        """As models see it."""
        name = f"{self.speaker.name}_{said.id}"
        # the seed tells who says what; numpy may draw other numbers from it in another version
        made_of = f"synthetic {VERSION} numpy {np.__version__} {self.face.topology.n_verts} {self.fps!r}"
        return Clip(
            name, self.speaker.name, said.id, self.fps, self.n_frames, frames=self.frames, sound=self.sound,
            text=said.text, fingerprint=f"{made_of} {self.sound_seed}",
        )  # fmt: skip


@dataclass(frozen=True)
class Cast:
    """Who speaks in a corpus, and what they do; `make_corpus` shows it as a corpus."""

    subjects: int = SUBJECTS
    sentences: int = SENTENCES
    seed: int = 0
    n_verts: int = N_VERTS
    fps: float = FPS

    @cached_property
    def face(self) -> SyntheticFace:
        """What all speakers share."""
        return synthetic_face(self.n_verts)

    @cached_property
    def splits(self) -> dict[str, Split]:
        """By subject: training first, then validation, then test."""
        test = max(1, round(TEST_SHARE * self.subjects))
        validation = max(1, round(VALIDATION_SHARE * self.subjects))
        train = self.subjects - validation - test
        names = [f"subject{number:03d}" for number in range(self.subjects)]
        ends: tuple[tuple[Split, int], ...] = (
            ("train", train), ("validation", train + validation), ("test", self.subjects)
        )  # fmt: skip
        return {name: next(split for split, end in ends if at < end) for at, name in enumerate(names)}

    @cached_property
    def speakers(self) -> dict[str, Speaker]:
        """By name."""
        return {name: self._speaker(name, number) for number, name in enumerate(self.splits)}

    def _speaker(self, name: str, number: int) -> Speaker:
        rng = np.random.default_rng([self.seed, _SUBJECT, number])
        # one after the other, so that nothing of a manner can be told from the voice or the face
        voice, manner = draw_voice(rng), draw_manner(rng)
        return Speaker(name, voice, manner, template=self.face.template(rng).astype(np.float32))

    @cached_property
    def performances(self) -> dict[tuple[str, str], tuple[Sentence, Performance]]:
        """Every clip by subject and sentence."""
        said = ((name, number, each) for number, name in enumerate(self.splits) for each in self._script(name, number))
        return {(name, each.id): (each, self._performance(name, number, each)) for name, number, each in said}

    def _script(self, name: str, number: int) -> list[Sentence]:
        """What somebody says: out of a common pool, which is another one for those who are not trained on."""
        rng = np.random.default_rng([self.seed, _SUBJECT, number, _SENTENCE_WORDS])
        first = 0 if self.splits[name] == "train" else HELD_OUT
        numbers = first + rng.choice(POOL * self.sentences, size=self.sentences, replace=False)
        return [sentence(int(each), seed=self.seed) for each in sorted(numbers)]

    def _performance(self, name: str, number: int, said: Sentence) -> Performance:
        which = int(said.id[1:])
        rng = np.random.default_rng([self.seed, _CLIP, number, which])
        speaker = self.speakers[name]
        delivery = deliver(said, speaker.voice, rng)
        chance = draw_chance(delivery.duration_s, rng)
        return Performance(
            self.face, speaker, delivery, chance=chance, fps=self.fps, sound_seed=(self.seed, _SOUND, number, which)
        )

    def average_manner(self) -> Manner:
        """Of the training subjects."""
        return average_manner(
            [speaker.manner for name, speaker in self.speakers.items() if self.splits[name] == "train"]
        )


def make_corpus(
    *, subjects: int = SUBJECTS, sentences: int = SENTENCES, seed: int = 0, n_verts: int = N_VERTS, fps: float = FPS
) -> SpeechCorpus:
    """A corpus of synthetic speakers; the same arguments always give the same bytes.

    Test and validation subjects say sentences that no training subject says. Raises UsageError for numbers that make no
    corpus.
    """
    if not (LEAST_SUBJECTS <= subjects <= MOST and LEAST_SENTENCES <= sentences <= MOST):
        raise UsageError(
            f"a synthetic corpus of {subjects} subjects with {sentences} sentences each cannot be made",
            hint=f"{LEAST_SUBJECTS} to {MOST} subjects, {LEAST_SENTENCES} to {MOST} sentences",
        )
    if not (1 <= fps <= 240 and seed >= 0):
        raise UsageError(f"neither {fps:g} frames a second nor the seed {seed} may be had", hint="1 to 240; 0 or more")
    cast = Cast(subjects, sentences, seed, n_verts=n_verts, fps=float(fps))
    return SpeechCorpus(
        origin=f"synthetic speech, seed {seed}",
        topology=cast.face.topology,
        clips=tuple(performance.clip(said) for said, performance in cast.performances.values()),
        templates={name: speaker.template for name, speaker in cast.speakers.items()},
        splits=cast.splits,
        licence="CC0-1.0",
    )
