"""`mel`: log-mel energies, the encoder that needs no weights.

Its tokens lie on the beat of HuBERT and its relatives, 25 ms every 20 ms, so that the one can take the other's place.
A token depends on its own 25 ms of sound and on nothing else, which makes it right for streaming. Loudness is kept: a
recording that is half as loud gives features that are lower by log10(4) / 4 = 0.15.

Mel scale: Slaney, Auditory Toolbox (1998): straight below 1000 Hz, logarithmic above.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float32

from animation.audio.encoder import SPEECH_RATE_HZ, Tokens
from animation.audio.long_speech import LongSpeech, joined
from mmface4d.errors import InputError

VERSION = 1  # of what the numbers mean; a part of the identity
WINDOW, HOP = 400, 320  # samples at 16 kHz
FFT = 512
FLOOR = 1e-8  # of a full-scale sine's energy: silence and what is 80 dB down are the same
BLOCK = 1024  # tokens in memory at a time


@dataclass(frozen=True)
class LogMel:
    """Energies of `n_audio` mel bands: log10(energy) / 4 + 1, which is -1 for silence and 1 for a full-scale sine."""

    n_audio: int = 80
    low_hz: float = 60.0
    high_hz: float = 7600.0

    @property
    def name(self) -> str:
        return "mel"

    @property
    def identity(self) -> str:
        return f"mel-{VERSION}:{self.n_audio}:{self.low_hz:g}-{self.high_hz:g}:{WINDOW}/{HOP}/{FFT}"

    def tokens(self, samples: Float32[np.ndarray, "n_samples"]) -> Tokens:
        """Of mono speech at 16 kHz, between -1 and 1; raises InputError below 25 ms."""
        return joined(self.token_pieces(LongSpeech.of(samples)))

    def token_pieces(self, speech: LongSpeech) -> Iterator[Tokens]:
        """All tokens in their order, some at a time."""
        count = token_count(speech.n_samples)
        if count < 1:
            raise InputError(
                f"{speech.n_samples} samples are too short for speech features", hint="give at least 25 ms"
            )
        times_s = token_times_s(count)
        for first in range(0, count, BLOCK):
            stop = min(first + BLOCK, count)
            yield Tokens(self._values(speech.read(first * HOP, (stop - 1) * HOP + WINDOW)), times_s[first:stop])

    @cached_property
    def filters(self) -> Float[np.ndarray, "n_bins n_audio"]:
        """What each frequency counts for each band: triangles that reach from the band below to the band above."""
        low, high = mel_from_hz(np.array([self.low_hz, self.high_hz]))
        edges_hz = hz_from_mel(np.linspace(low, high, self.n_audio + 2))
        bins_hz = np.fft.rfftfreq(FFT, 1 / SPEECH_RATE_HZ)[:, None]
        rising = (bins_hz - edges_hz[:-2]) / (edges_hz[1:-1] - edges_hz[:-2])
        falling = (edges_hz[2:] - bins_hz) / (edges_hz[2:] - edges_hz[1:-1])
        return np.maximum(0.0, np.minimum(rising, falling))

    def _values(self, samples: Float32[np.ndarray, "n_samples"]) -> Float32[np.ndarray, "n_tokens n_audio"]:
        window = np.hanning(WINDOW + 1)[:-1]
        pieces = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
        energy = np.abs(np.fft.rfft(pieces * window, FFT) * (2.0 / window.sum())) ** 2
        return (np.log10(np.maximum(energy @ self.filters, FLOOR)) / 4.0 + 1.0).astype(np.float32)


def token_count(n_samples: int, *, window: int = WINDOW, hop: int = HOP) -> int:
    """How many tokens fit into a sound without padding; 49 into a second of it."""
    return max(0, (n_samples - window) // hop + 1)


def token_times_s(count: int, *, window: int = WINDOW, hop: int = HOP) -> Float[np.ndarray, "n_tokens"]:
    """The middle of what each token covers, from the first sample on."""
    return (np.arange(count) * hop + window / 2) / SPEECH_RATE_HZ


def mel_from_hz(hz: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    return np.where(hz < 1000.0, 0.015 * hz, 15.0 + 27.0 * np.log(np.maximum(hz, 1.0) / 1000.0) / np.log(6.4))


def hz_from_mel(mel: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    return np.where(mel < 15.0, mel / 0.015, 1000.0 * np.exp((mel - 15.0) / 27.0 * np.log(6.4)))
