"""A microphone that hears a virtual stage, by a clock of its own, with faults on demand."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int32

from capture.microphone.microphone import Block, SoundFormat
from capture.virtual.stage import Stage
from capture.virtual.voice import SAMPLE_RATE
from mmface4d.errors import DeviceError

FULL_SCALE = 1 << 23
TAPS = 4  # of the interpolation between the stage's samples


@dataclass(frozen=True)
class VirtualSound:
    """What a virtual microphone is like. Its samples come `rate_ppm` faster than 48 kHz by the host's clock.

    `heard_s` is by how much later than it sounded a sample is reported to have been in the air, at least; the jitter is
    one-sided, its mean is given.
    """

    rate_ppm: float = 120.0
    heard_s: float = 0.0
    jitter_s: float = 0.001
    block: int = 480
    gain: float = 1.0
    seed: int = 0


class VirtualMicrophone:
    """Delivers blocks in real time. `fault("gone" | "lost" | "silent")` makes it fail, `repair()` mends it."""

    def __init__(self, stage: Stage, sound: VirtualSound | None = None) -> None:
        self.stage, self.sound = stage, sound or VirtualSound()
        self.overflows = 0
        self._rng = np.random.default_rng([self.sound.seed, 30])
        self._faults: set[str] = set()
        self._thread: threading.Thread | None = None
        self._end = threading.Event()
        self.opened_s = 0.0  # on the stage's clock

    @property
    def name(self) -> str:
        """What the system calls it."""
        return "virtual microphone"

    @property
    def format(self) -> SoundFormat:
        """Mono, 48 kHz."""
        return SoundFormat(SAMPLE_RATE, 1)

    def open(self, on_block: Callable[[Block], None], on_error: Callable[[Exception], None]) -> None:
        """Begins to deliver; raises DeviceError while it is gone."""
        if "gone" in self._faults:
            raise DeviceError("the microphone is not there", hint="plug it in again")
        self.opened_s = self.stage.now_s()
        self._end.clear()
        self._thread = threading.Thread(target=self._deliver, args=(on_block, on_error), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends delivering; may be called twice."""
        self._end.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._thread = None

    def fault(self, kind: str) -> None:
        """Fails from now on: is gone, loses its next block, or hears nothing."""
        self._faults.add(kind)

    def repair(self) -> None:
        """Ends every fault."""
        self._faults.clear()

    def heard_at_s(self, sample: int) -> float:
        """When a sample really sounded, on the stage's clock."""
        return self.opened_s + sample / (SAMPLE_RATE * (1 + self.sound.rate_ppm * 1e-6))

    def _deliver(self, on_block: Callable[[Block], None], on_error: Callable[[Exception], None]) -> None:
        first, lost = 0, 0
        while not self._end.wait(max(self.heard_at_s(first + self.sound.block) - self.stage.now_s(), 0.0)):
            if "gone" in self._faults:
                on_error(DeviceError("the microphone is gone", hint="plug it in again, then record the sentence again"))
                return
            if "lost" in self._faults:
                self._faults.discard("lost")
                self.overflows, lost = self.overflows + 1, self.sound.block
            else:
                on_block(Block(self._samples(first), first, self._reported_nsec(first), lost))
                lost = 0
            first += self.sound.block

    def _reported_nsec(self, first: int) -> int:
        late_s = self.sound.heard_s + float(self._rng.exponential(self.sound.jitter_s))
        return self.stage.host_nsec(self.heard_at_s(first) + late_s)

    def _samples(self, first: int) -> Int32[np.ndarray, "n_samples 1"]:
        if "silent" in self._faults:
            return np.zeros((self.sound.block, 1), np.int32)
        at = self.heard_at_s(first) * SAMPLE_RATE + np.arange(self.sound.block) / (1 + self.sound.rate_ppm * 1e-6)
        values = self.sound.gain * interpolated(self.stage, at)
        whole = np.clip(np.rint(values * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int32)
        return (whole << 8)[:, None]


def interpolated(stage: Stage, at: Float[np.ndarray, "n_samples"]) -> Float[np.ndarray, "n_samples"]:
    """The stage's sound at fractional sample numbers, by Catmull-Rom splines."""
    begin = int(np.floor(at[0])) - 1
    known = stage.sound(begin, int(np.ceil(at[-1])) - begin + TAPS)
    index = np.floor(at).astype(int)
    t, index = at - index, index - begin
    before, here, after, beyond = (known[index + step] for step in (-1, 0, 1, 2))
    slope, slope_after = (after - before) / 2, (beyond - here) / 2
    bend = 3 * (after - here) - 2 * slope - slope_after
    return here + t * (slope + t * (bend + t * (slope + slope_after - 2 * (after - here))))
