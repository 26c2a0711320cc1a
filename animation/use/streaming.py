"""Frames while somebody speaks: sound goes in as it comes, frames come out a bounded time later.

A frame waits for the sound that it depends on: as many frames as the model's halo, the token after the last of them
(32.5 ms), and 20 ms for the resampler where the sound is not at 16 kHz. audio2face at 30 frames a second has a halo of
16 frames: 0.59 s in all. With log-mel features the frames are those of the whole sound, beyond rounding. Where less
look-ahead is allowed than a model needs, frames are drawn as if the speech ended there.

Encoders like HuBERT look at the whole sound. Here they see the last 4 s of it, anew at every step, and no more of the
future than frames wait for: features differ from those of the whole sound, and a step costs what 4 s cost.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from animation.audio.encoder import SPEECH_RATE_HZ, AudioEncoder, Tokens
from animation.audio.features import check_sound, speech_samples
from animation.audio.mel import HOP, WINDOW, LogMel
from animation.audio.registry import open_same_encoder
from animation.data.batch import Style
from animation.data.clip import Sound
from animation.models.interface import ChunkableModel
from animation.training.checkpoint import Trained
from animation.use.features import FrameFeatures
from animation.use.generate import Drawer, Frames, StyleCode, frames_of
from animation.use.template import check_template
from mmface4d.arrays import Vertices
from mmface4d.errors import UsageError

LOOK_AHEAD_S = 0.6
TOKEN_REACH_S = (HOP + WINDOW / 2) / SPEECH_RATE_HZ  # from an instant to the end of the token after it, at most
MARGIN_S = 0.02  # at both ends of what is resampled, where the filter has not run in
PAST_S = 4.0  # that encoders are shown which look at the whole sound


@dataclass
class _Heard:
    """The sound that may still be needed: samples from number `first` on."""

    samples: Float32[np.ndarray, "n_kept"]
    first: int = 0

    @property
    def stop(self) -> int:
        return self.first + len(self.samples)

    def add(self, samples: Float32[np.ndarray, "n_new"]) -> None:
        self.samples = np.concatenate([self.samples, samples])

    def forget(self, before: int) -> None:
        dropped = min(max(before - self.first, 0), len(self.samples))
        self.samples, self.first = self.samples[dropped:], self.first + dropped


class Streamer:
    """A model at work on one live sound. Samples are mono, between -1 and 1, at `rate_hz`."""

    def __init__(
        self, trained: Trained, *, template: Vertices, style: Style | StyleCode, rate_hz: int = SPEECH_RATE_HZ,
        encoder: AudioEncoder | None = None, look_ahead_s: float = LOOK_AHEAD_S,
    ) -> None:  # fmt: skip
        about = trained.preprocessing
        self._halo = streaming_halo(trained)
        check_template(template, about)
        self._encoder = encoder or open_same_encoder(about.encoder.spec, about.encoder.identity)
        self._drawer, self._fps, self._rate_hz = Drawer(trained, template, style), about.fps, rate_hz
        self._margin_s = 0.0 if rate_hz == SPEECH_RATE_HZ else MARGIN_S
        affordable = math.floor((look_ahead_s - self._reach_s) * about.fps + 1e-9)
        self._after = max(min(self._halo, affordable), 0)
        self._heard, self._drawn, self._finished = _Heard(np.zeros(0, np.float32)), 0, False
        check_sound(Sound(np.zeros(1, np.float32), rate_hz))

    @property
    def exact(self) -> bool:
        """Whether frames are those of the whole sound."""
        return self._after == self._halo and isinstance(self._encoder, LogMel)

    @property
    def look_ahead_s(self) -> float:
        """By how much a frame comes later than its instant, at most; what computing takes is not in it."""
        return self._after / self._fps + self._reach_s

    @property
    def _reach_s(self) -> float:
        """From a frame's instant until its features are settled, and until it is certain that there is such a frame."""
        return max(TOKEN_REACH_S + self._margin_s, 0.5 / self._fps)

    def follow(self, blocks: Iterable[Float[np.ndarray, "_"]]) -> Iterator[Frames]:
        """The frames of a sound that comes in blocks, to its end."""
        for block in blocks:
            yield self.push(block)
        yield self.finish()

    def push(self, samples: Float[np.ndarray, "n_new"]) -> Frames:
        """The frames that these samples complete; often none. Raises InputError where samples are no numbers."""
        self._add(samples)
        known = self._known()
        return self._frames(known - self._after, known)

    def finish(self) -> Frames:
        """The frames that are left, when the sound has ended; raises InputError where it had less than 25 ms."""
        self._add(np.zeros(0, np.float32))
        self._finished = True
        n_frames = frames_of(self._heard.stop / self._rate_hz, fps=self._fps)
        return self._frames(n_frames, n_frames)

    def _add(self, samples: Float[np.ndarray, "n_new"]) -> None:
        if self._finished:
            raise UsageError("the sound has ended", hint="make a new Streamer for another one")
        if len(samples):
            check_sound(Sound(samples.astype(np.float32), self._rate_hz))
        self._heard.add(samples.astype(np.float32))

    def _known(self) -> int:
        """Of how many frames the features are settled, among those that there are even if the sound ends now."""
        speech_s = self._heard.stop / self._rate_hz - self._margin_s
        n_tokens = max((math.floor(speech_s * SPEECH_RATE_HZ) - WINDOW) // HOP + 1, 0)
        if not n_tokens:
            return 0
        last_s = ((n_tokens - 1) * HOP + WINDOW / 2) / SPEECH_RATE_HZ
        certain = frames_of(self._heard.stop / self._rate_hz, fps=self._fps)
        return min(math.floor(last_s * self._fps + 1e-9) + 1, certain)

    def _frames(self, stop: int, known: int) -> Frames:
        """Draws the frames from where it is to `stop`, with what is known around them."""
        start, self._drawn = self._drawn, max(stop, self._drawn)
        if stop <= start:
            return np.zeros((0, *self._drawer.shape), np.float32)
        first = max(start - self._halo, 0)
        features = FrameFeatures(iter([self._tokens(first)]), fps=self._fps)
        drawn = self._drawer.draw(features.rows(first, known))[start - first : stop - first]
        self._heard.forget(self._needed_from(max(stop - self._halo, 0)))
        return drawn

    def _tokens(self, first: int) -> Tokens:
        """Of the sound from before a frame on."""
        begin = self._needed_from(first)
        kept = self._heard.samples[begin - self._heard.first :]
        samples = speech_samples(Sound(kept, self._rate_hz))
        skipped = round(self._margin_s * SPEECH_RATE_HZ) if begin else 0
        skipped = math.ceil(skipped / self._step) * self._step
        left_out = 0 if self._finished else round(self._margin_s * SPEECH_RATE_HZ)
        tokens = self._encoder.tokens(samples[skipped : len(samples) - left_out])
        start_s = begin / self._rate_hz + skipped / SPEECH_RATE_HZ
        return Tokens(tokens.values, tokens.times_s + start_s)

    @property
    def _step(self) -> int:
        """Samples at 16 kHz after which tokens and both rates meet again."""
        return math.lcm(HOP, SPEECH_RATE_HZ // math.gcd(self._rate_hz, SPEECH_RATE_HZ))

    def _needed_from(self, frame: int) -> int:
        """The first sample that the features of a frame and of those after it depend on, on the beat of the tokens."""
        past_s = 0.0 if isinstance(self._encoder, LogMel) else PAST_S
        reach_s = TOKEN_REACH_S + past_s + self._step / SPEECH_RATE_HZ + self._margin_s
        whole = math.floor((frame / self._fps - reach_s) * SPEECH_RATE_HZ / self._step)
        return max(whole, 0) * self._step * self._rate_hz // SPEECH_RATE_HZ


def streaming_halo(trained: Trained) -> int:
    """How many frames to each side a frame depends on; raises UsageError where it depends on the whole sound."""
    halo = trained.model.capabilities.halo_frames
    if halo is None or not isinstance(trained.model, ChunkableModel):
        model = trained.preprocessing.model
        raise UsageError(
            f"{model} looks at the whole sound and cannot follow a live one", hint="use an audio2face model"
        )
    return halo
