"""A clip: somebody speaking, as meshes of one topology at an even rate with the sound that belongs to them."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32


@dataclass(frozen=True)
class Sound:
    """Mono speech. Sample k is heard at `start_s + k / rate_hz`, in seconds from the clip's first frame."""

    samples: Float32[np.ndarray, "n_samples"]
    rate_hz: int
    start_s: float = 0.0

    @property
    def sha256(self) -> str:
        """Of the samples, as little-endian float32."""
        return hashlib.sha256(self.samples.astype("<f4").tobytes()).hexdigest()


@dataclass(frozen=True)
class Clip:
    """One sentence. Frame i is at `i / fps` seconds; vertices are in the head frame, so that only the face moves.

    `frames(start, stop)` reads float32 [stop - start, n_verts, 3], metres; `sound()` reads the speech. Neither is kept
    in memory by the clip.
    """

    name: str  # unique in its corpus; safe as a file's name
    subject: str
    sentence: str  # the sentence's id; equal ids are the same text
    fps: float
    n_frames: int
    frames: Callable[[int, int], Float32[np.ndarray, "n_read n_verts 3"]]
    sound: Callable[[], Sound]
    text: str = ""
    language: str = ""
    emotion: str = ""
    fingerprint: str = ""  # changes with the frames and with the sound; empty: they must be read to tell
    # of the frames and of the samples, as little-endian float32, where somebody wrote down what they should be
    frames_sha256: str = ""
    sound_sha256: str = ""

    @property
    def duration_s(self) -> float:
        return self.n_frames / self.fps

    def times_s(self) -> Float[np.ndarray, "n_frames"]:
        """Of every frame, from the first one on."""
        return np.arange(self.n_frames) / self.fps
