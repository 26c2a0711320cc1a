"""A small corpus with known content: smooth faces on a grid, and a tone that follows the mouth."""

import zlib
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from animation.audio.encoder import Tokens
from animation.data.clip import Clip, Sound
from animation.data.corpus import Mask, SpeechCorpus, Split, Topology

RATE_HZ = 16_000
SPLIT_OF: Mapping[str, Split] = {"s1": "train", "s2": "train", "s3": "validation", "s4": "test"}


def grid(side: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """A bowl of 16 cm and its triangles."""
    x, y = np.meshgrid(np.linspace(-0.08, 0.08, side), np.linspace(-0.08, 0.08, side))
    corner = np.arange(side * side).reshape(side, side)[:-1, :-1].reshape(-1)
    upper = np.stack([corner, corner + 1, corner + side], 1)
    faces = np.concatenate([upper, np.stack([corner + 1, corner + side + 1, corner + side], 1)]).astype(np.int32)
    return np.stack([x, y, -3 * (x**2 + y**2)], -1).reshape(-1, 3).astype(np.float32), faces


def topology(side: int = 5) -> Topology:
    """The grid with its lower rows as lips and its upper ones as upper face."""
    points, faces = grid(side)
    regions = {"lips": points[:, 1] < -0.03, "upper_face": points[:, 1] > 0.03, "face": points[:, 1] > -1}
    masks = {name: Mask(name, np.flatnonzero(where).astype(np.int32)) for name, where in regions.items()}
    return Topology("grid", len(points), faces, masks)


def toy_corpus(
    *, splits: Mapping[str, Split] = SPLIT_OF, sentences: int = 3, n_frames: int = 40, fps: float = 30.0, **more: Any
) -> SpeechCorpus:
    """Clips of lengths that differ by a frame; everything is a function of names."""
    mesh = topology()
    templates = {subject: grid()[0] * np.float32(1 + 0.02 * k) for k, subject in enumerate(splits)}
    clips = [
        toy_clip(f"{subject}_{n:02}", templates[subject], n_frames=n_frames + n, fps=fps)
        for subject in splits
        for n in range(sentences)
    ]
    return SpeechCorpus(
        **{"origin": "toy", "topology": mesh, "clips": tuple(clips), "templates": templates, "splits": dict(splits),
           "licence": "for tests", **more}
    )  # fmt: skip


def toy_clip(name: str, template: np.ndarray, *, n_frames: int = 40, fps: float = 30.0) -> Clip:
    """A clip called SUBJECT_SENTENCE."""
    subject, sentence = name.split("_")
    frames, sound = partial(toy_frames, name, template, n_frames, fps), partial(toy_sound, name, n_frames / fps)
    return Clip(name, subject, sentence, fps, n_frames, frames, sound, text=f"Sentence {sentence}.")


def opening(name: str, times_s: np.ndarray) -> np.ndarray:
    """How far a mouth is open, 0 to 1."""
    speed = 3 + zlib.crc32(name.encode()) % 1000 / 200
    return 0.5 - 0.5 * np.cos(speed * times_s)


def toy_frames(name: str, template: np.ndarray, n_frames: int, fps: float, start: int, stop: int) -> np.ndarray:
    times_s = np.arange(n_frames)[start:stop] / fps
    moved = np.repeat(template[None].astype(np.float64), len(times_s), axis=0)
    moved[:, :, 1] -= 0.01 * opening(name, times_s)[:, None] * (template[:, 1] < 0)
    return moved.astype(np.float32)


def toy_sound(name: str, duration_s: float) -> Sound:
    times_s = np.arange(round(duration_s * RATE_HZ)) / RATE_HZ
    tone = (0.1 + 0.5 * opening(name, times_s)) * np.sin(2 * np.pi * 220 * times_s)
    return Sound(tone.astype(np.float32), RATE_HZ)


def changed(corpus: SpeechCorpus, number: int, **how: Any) -> SpeechCorpus:
    """The corpus with another clip in the place of one."""
    clips = list(corpus.clips)
    clips[number] = replace(clips[number], **how)
    return replace(corpus, clips=tuple(clips))


class ToyEncoder:
    """Loudness in steps of 20 ms, in two channels."""

    name, n_audio = "toy", 2

    def __init__(self, identity: str = "toy 1") -> None:
        self.identity = identity

    def tokens(self, samples: np.ndarray) -> Tokens:
        count = len(samples) // 320
        loud = np.square(samples[: 320 * count].reshape(count, 320)).mean(axis=1)
        return Tokens(np.stack([loud, np.sqrt(loud)], 1).astype(np.float32), (np.arange(count) * 320 + 160) / RATE_HZ)
