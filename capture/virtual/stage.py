"""What virtual cameras see and virtual microphones hear: a loop of an idle actor, and performances on cue.

Time is the stage's own: seconds since it was opened, on the host's monotonic clock. Frames are ticks of 1/fps; tick 0
is exposed at second 0. Everything was rendered beforehand, so that looking costs nothing.
"""

import threading
import time
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from capture.virtual.rig import Shot
from capture.virtual.voice import SAMPLE_RATE

KEPT_S = 5.0  # after a performance, for cameras and microphones that look late
ROOM_NOISE = 3e-4  # of full scale


@dataclass(frozen=True)
class Clip:
    """Frames of all devices by serial, and their sound: mono, its first sample at the first frame."""

    shots: tuple[dict[str, Shot], ...]
    sound: Float[np.ndarray, "n_samples"] = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True)
class Performed:
    """A clip and the tick of its first frame."""

    clip: Clip
    tick: int


class Stage:
    """Idle until somebody performs; safe to look at from several threads."""

    def __init__(self, idle: Clip, *, fps: int, seed: int = 0) -> None:
        self.idle, self.fps = idle, fps
        self._opened_nsec = time.monotonic_ns()
        self._performed: list[Performed] = []
        self._lock = threading.Lock()
        self._noise = ROOM_NOISE * np.random.default_rng(seed).standard_normal(SAMPLE_RATE)

    def now_s(self) -> float:
        """Seconds since the stage was opened."""
        return (time.monotonic_ns() - self._opened_nsec) / 1e9

    def host_nsec(self, seconds: float) -> int:
        """The host's monotonic clock at a second of the stage."""
        return self._opened_nsec + round(seconds * 1e9)

    def perform(self, clip: Clip, *, lead_s: float = 0.0) -> int:
        """Shows a clip from the next tick that is `lead_s` away, after what is still shown; returns that tick."""
        with self._lock:
            tick = int(np.ceil((self.now_s() + lead_s) * self.fps)) + 1
            if self._performed:
                last = self._performed[-1]
                tick = max(tick, last.tick + len(last.clip.shots))
            # what is long over is forgotten: a clip holds some 90 MB a second
            now = self.now_s() * self.fps
            self._performed = [p for p in self._performed if p.tick + len(p.clip.shots) > now - KEPT_S * self.fps]
            self._performed.append(Performed(clip, tick))
            return tick

    def busy_until_s(self) -> float:
        """The second at which the last performance is over; 0 where there was none."""
        with self._lock:
            last = self._performed[-1] if self._performed else None
        return (last.tick + len(last.clip.shots)) / self.fps if last else 0.0

    def shot(self, serial: str, tick: int) -> Shot:
        """What a device sees at a tick."""
        for performed in reversed(self._all()):
            frame = tick - performed.tick
            if 0 <= frame < len(performed.clip.shots):
                return performed.clip.shots[frame][serial]
        # forth and back, so that the loop has no jump
        count = len(self.idle.shots)
        frame = tick % max(2 * count - 2, 1)
        return self.idle.shots[frame if frame < count else 2 * count - 2 - frame][serial]

    def sound(self, first: int, count: int) -> Float[np.ndarray, "n_samples"]:
        """Samples at 48 kHz from the stage's sample `first` on."""
        out = self._noise[np.arange(first, first + count) % len(self._noise)].copy()
        for performed in self._all():
            start = round(performed.tick / self.fps * SAMPLE_RATE) - first
            begin, end = max(start, 0), min(start + len(performed.clip.sound), count)
            if begin < end:
                out[begin:end] += performed.clip.sound[begin - start : end - start]
        return out

    def _all(self) -> list[Performed]:
        with self._lock:
            return list(self._performed)
