"""Speech of any length in bounded memory: read in parts, encoded piece by piece.

Pieces are those in which an encoder takes a long sound anyway, so the tokens are the same as of the sound in one.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32

from animation.audio.encoder import AudioEncoder, Tokens
from mmface4d.errors import InputError


@dataclass(frozen=True)
class LongSpeech:
    """Mono speech at 16 kHz; `read(first, stop)` gives samples, `mean` and `variance` are of all of them."""

    n_samples: int
    read: Callable[[int, int], Float32[np.ndarray, "n_read"]]
    mean: float
    variance: float

    @classmethod
    def of(cls, samples: Float32[np.ndarray, "n_samples"]) -> "LongSpeech":
        """Of samples in memory."""
        mean, variance = (samples.mean(), samples.var()) if len(samples) else (0.0, 0.0)
        return cls(len(samples), lambda first, stop: samples[first:stop], float(mean), float(variance))

    def standard(self, samples: Float[np.ndarray, "n_read"]) -> Float32[np.ndarray, "n_read"]:
        """Samples as if all of it had been brought to zero mean and unit variance; silence stays silent."""
        # 1e-7 as in the feature extractor of the package transformers
        return ((samples - self.mean) / np.sqrt(self.variance + 1e-7)).astype(np.float32)


@runtime_checkable
class PiecewiseEncoder(Protocol):
    """An encoder that need not have the whole sound in memory."""

    def token_pieces(self, speech: LongSpeech) -> Iterator[Tokens]:
        """All tokens in their order, some at a time."""
        ...


def token_pieces(speech: LongSpeech, encoder: AudioEncoder) -> Iterator[Tokens]:
    """The tokens of `encoder.tokens`, piece by piece where the encoder can; raises InputError as it does."""
    if isinstance(encoder, PiecewiseEncoder):
        pieces = encoder.token_pieces(speech)
    else:
        pieces = iter([encoder.tokens(speech.read(0, speech.n_samples))])
    for piece in pieces:
        if not np.isfinite(piece.values).all():
            raise InputError(
                f"{encoder.name} gave features that are no numbers", hint="check the encoder's weights, then the sound"
            )
        yield piece


def joined(pieces: Iterable[Tokens]) -> Tokens:
    """Pieces as one."""
    parts = list(pieces)
    return Tokens(np.concatenate([each.values for each in parts]), np.concatenate([each.times_s for each in parts]))
