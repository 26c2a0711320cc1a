"""From speech to frames, for sounds of any length.

A model that knows its halo decodes chunk after chunk, each with as many frames around it as its frames depend on: the
result is that of the whole sound in one (beyond rounding, 1e-5), and memory does not grow with the length. A model
without one (FaceFormer, MeshTalk) hears windows of 20 s, and is faded from one to the next; shorter sounds are one
window.
"""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from animation.audio.encoder import SPEECH_RATE_HZ, AudioEncoder
from animation.audio.features import check_sound, speech_samples
from animation.audio.long_speech import LongSpeech, token_pieces
from animation.audio.registry import open_same_encoder
from animation.data.batch import Style
from animation.data.clip import Sound
from animation.models.interface import ChunkableModel
from animation.training.checkpoint import Trained
from animation.use.features import FrameFeatures
from animation.use.template import check_template
from mmface4d.arrays import Vertices
from mmface4d.errors import InputError, UsageError

CHUNK_NUMBERS = 3 << 20  # coordinates of a chunk, unless it is said how many frames it has
LEAST_CHUNK_FRAMES = 32
WINDOW_S, FADE_S = 20.0, 2.0  # of models without a halo

StyleCode = Float[Tensor, "one n_style"]
Frames = Float32[np.ndarray, "n_some n_verts 3"]


def animate(
    trained: Trained, sound: Sound | LongSpeech, *, template: Vertices, style: Style | StyleCode,
    n_frames: int | None = None, encoder: AudioEncoder | None = None, chunk_frames: int | None = None,
) -> Iterator[Frames]:  # fmt: skip
    """Frames of the face that says a sound: some at a time, in the template's frame and unit (metres).

    Frame k is at k / fps; there are as many as the sound lasts, unless it is said. `style` comes from
    animation.use.style. Raises InputError where sound or template cannot be used, or the encoder has changed.
    """
    speech, start_s, duration_s = _speech_of(sound)
    about = trained.preprocessing
    check_template(template, about)
    count = frames_of(duration_s, fps=about.fps) if n_frames is None else n_frames
    if encoder is None:
        encoder = open_same_encoder(about.encoder.spec, about.encoder.identity)
    features = FrameFeatures(token_pieces(speech, encoder), fps=about.fps, start_s=start_s)
    drawer = Drawer(trained, template, style)
    if chunk_frames is None:
        chunk_frames = max(CHUNK_NUMBERS // template.size, LEAST_CHUNK_FRAMES)
    return drawer.frames(features, n_frames=count, chunk_frames=chunk_frames)


def frames_of(duration_s: float, *, fps: float) -> int:
    """How many frames show a sound: the nearest number, and never none."""
    return max(int(np.floor(duration_s * fps + 0.5)), 1)


class Drawer:
    """A model with a face and a manner: features in, frames out."""

    def __init__(self, trained: Trained, template: Vertices, style: Style | StyleCode) -> None:
        self.model, self._about = trained.model, trained.preprocessing
        self._template = template.astype(np.float32)
        self._device = next(self.model.parameters()).device
        seen = torch.from_numpy(self._about.normalisation.positions(self._template))
        self._seen = seen[None].to(self._device)
        self._style = style.to(self._device)
        self._code = self._encoded()

    @property
    def halo_frames(self) -> int | None:
        """How many frames to each side a frame depends on; None where on all."""
        return self.model.capabilities.halo_frames if self._code is not None else None

    @property
    def shape(self) -> tuple[int, int]:
        """Of a frame: vertices, 3."""
        return len(self._template), 3

    def frames(self, features: FrameFeatures, *, n_frames: int, chunk_frames: int) -> Iterator[Frames]:
        """All frames, chunk after chunk; raises InputError where they are no numbers."""
        if self.halo_frames is not None:
            return self._chunks(features, n_frames, chunk_frames, halo=self.halo_frames)
        window, fade = (max(round(seconds * self._about.fps), 2) for seconds in (WINDOW_S, FADE_S))
        return self._faded(features, n_frames, window=window, fade=fade)

    def draw(self, rows: Float32[np.ndarray, "n_frames n_audio"]) -> Frames:
        """The frames of a stretch of features, as if nothing were before or after it."""
        audio = torch.from_numpy(np.ascontiguousarray(rows))[None].to(self._device)
        with torch.inference_mode():
            moved = self._generated(audio)[0].float().cpu().numpy()
        if not np.isfinite(moved).all():
            raise InputError("the model predicts no numbers", hint="train it again, with a lower rate")
        return self._template + self._about.normalisation.displacements_m(moved)

    def _generated(self, audio: Float[Tensor, "one n_frames n_audio"]) -> Float[Tensor, "one n_frames n_verts 3"]:
        if isinstance(self.model, ChunkableModel) and self._code is not None:
            return self.model.decode(audio, self._seen, self._code)
        if not isinstance(self._style, Style):
            raise UsageError("this model takes no style code", hint="give a driving clip or a subject")
        return self.model.generate(audio, self._seen, self._style)

    def _encoded(self) -> StyleCode | None:
        """What chunks share; None where the model does not work in chunks."""
        if not isinstance(self.model, ChunkableModel):
            return None
        if not isinstance(self._style, Style):
            return self._style
        with torch.inference_mode():
            return self.model.encode_style(self._style)

    def _chunks(self, features: FrameFeatures, n_frames: int, chunk_frames: int, *, halo: int) -> Iterator[Frames]:
        for start in range(0, n_frames, max(chunk_frames, 1)):
            stop = min(start + max(chunk_frames, 1), n_frames)
            first = max(start - halo, 0)
            drawn = self.draw(features.rows(first, min(stop + halo, n_frames)))
            yield drawn[start - first : stop - first]

    def _faded(self, features: FrameFeatures, n_frames: int, *, window: int, fade: int) -> Iterator[Frames]:
        """Windows that overlap by `fade` frames, in which the one goes over into the next in a straight line."""
        before: Frames | None = None
        start = 0
        while True:
            stop = min(start + window, n_frames)
            drawn = self.draw(features.rows(start, stop))
            if before is not None:
                share = ((np.arange(len(before)) + 1) / (len(before) + 1)).astype(np.float32)[:, None, None]
                drawn[: len(before)] = (1 - share) * before + share * drawn[: len(before)]
            if stop == n_frames:
                yield drawn
                return
            before = drawn[-fade:].copy()
            yield drawn[:-fade]
            start = stop - fade


def _speech_of(sound: Sound | LongSpeech) -> tuple[LongSpeech, float, float]:
    """The speech, when its first sample is heard, and when its last one has been; from frame 0 on."""
    if isinstance(sound, LongSpeech):
        return sound, 0.0, sound.n_samples / SPEECH_RATE_HZ
    check_sound(sound)
    end_s = sound.start_s + len(sound.samples) / sound.rate_hz
    if end_s <= 0:
        raise InputError("the sound ends before the first frame", hint="check when it starts")
    return LongSpeech.of(speech_samples(sound)), sound.start_s, end_s
