"""What turns speech into features."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32

SPEECH_RATE_HZ = 16_000


@dataclass(frozen=True)
class Tokens:
    """Features as an encoder gives them, with the instant that each one stands for (the middle of what it covers)."""

    values: Float32[np.ndarray, "n_tokens n_audio"]
    times_s: Float[np.ndarray, "n_tokens"]  # from the first sample on


@runtime_checkable  # the tests check arguments against it
class AudioEncoder(Protocol):
    """`identity` names everything that the values depend on: kind, weights, layer, version. It keys the cache."""

    @property
    def name(self) -> str: ...

    @property
    def identity(self) -> str: ...

    @property
    def n_audio(self) -> int: ...

    def tokens(self, samples: Float32[np.ndarray, "n_samples"]) -> Tokens:
        """Of mono speech at 16 kHz, between -1 and 1. Silence gives finite values; raises InputError below 25 ms."""
        ...
