"""What every microphone can do."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int32


@dataclass(frozen=True)
class Block:
    """Consecutive samples, left-justified in 32 bits (24 of them used).

    `first` counts samples since the stream was opened, lost ones included; `host_nsec` is when the first of them was
    in the air, as well as the system knows, on the host's monotonic clock; `lost` samples are missing before it.
    """

    samples: Int32[np.ndarray, "n_samples n_channels"]
    first: int
    host_nsec: int
    lost: int = 0


@dataclass(frozen=True)
class SoundFormat:
    """How a microphone records."""

    rate: int = 48_000
    channels: int = 1


@runtime_checkable
class Microphone(Protocol):
    """A microphone whose stream is opened once a session. `on_block` is called from the microphone's own thread."""

    @property
    def name(self) -> str:
        """What the system calls it."""
        ...

    @property
    def format(self) -> SoundFormat:
        """Rate and channels."""
        ...

    @property
    def overflows(self) -> int:
        """How often samples were lost since the stream was opened."""
        ...

    def open(self, on_block: Callable[[Block], None], on_error: Callable[[Exception], None]) -> None:
        """Opens the stream. Raises DeviceError; one that is lost later is told to `on_error`, once."""
        ...

    def close(self) -> None:
        """Closes the stream; may be called twice."""
        ...
