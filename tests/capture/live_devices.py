"""Three cameras and a microphone that deliver in real time, so that recorders can be tested without rendering."""

import threading
import time
from collections.abc import Mapping

import numpy as np

from capture.devices.camera import Capture
from capture.microphone.microphone import Block
from capture.recorder.recorder import Recorder, RecorderSettings
from capture.sound_track import SoundFormat
from tests.capture.small_take import DELAYS, PERIOD_USEC, camera, depth, jpeg

RATE = 48_000
BLOCK = 480
BOOT_NSEC = 5_000_000_000  # host time of the devices' zero
FORM = SoundFormat(RATE, 1)


def recorder(**settings: float) -> Recorder:
    """For the devices below."""
    return Recorder([camera(serial) for serial in DELAYS], sound=FORM, settings=RecorderSettings(**settings))


class LiveDevices:
    """Feeds a recorder from threads of their own until closed; `dead` cameras have stopped.

    `pictures` are what cameras show all the time, by serial; noise where there are none.
    """

    def __init__(self, target: Recorder, *, speaks: bool = False, pictures: Mapping[str, bytes] | None = None) -> None:
        self._shown = pictures or {}
        self.target, self.dead = target, set[str]()
        self.speaks, self.loud_until = speaks, 0.0  # time.monotonic()
        self.mute = False  # no block comes
        self.opened_nsec = time.monotonic_ns()
        self._end = threading.Event()
        self._pictures = [(jpeg(frame), {serial: depth(frame, serial) for serial in DELAYS}) for frame in range(8)]
        self._threads = [threading.Thread(target=self._film, args=(serial,), daemon=True) for serial in DELAYS]
        self._threads.append(threading.Thread(target=self._listen, daemon=True))
        for thread in self._threads:
            thread.start()

    def _film(self, serial: str) -> None:
        frame = 0
        while not self._wait(frame * PERIOD_USEC * 1000):
            color, depths = self._pictures[frame % 8]
            usec = 1_000_000 + frame * PERIOD_USEC
            if serial not in self.dead:
                self.target.on_capture(
                    Capture(
                        serial,
                        time.monotonic_ns(),
                        self._shown.get(serial, color),
                        usec,
                        depths[serial],
                        usec + DELAYS[serial],
                    )
                )
            frame += 1

    def _listen(self) -> None:
        first = 0
        while not self._wait(round((first + BLOCK) / RATE * 1e9)):
            samples = self._voice(first) if self.speaks else ramp(first, BLOCK)
            begun_nsec = self.opened_nsec + round(first / RATE * 1e9)
            if not self.mute:
                self.target.on_block(Block(samples, first, begun_nsec))
            first += BLOCK

    def _voice(self, first: int) -> np.ndarray:
        """A tone while somebody speaks, a quiet room otherwise."""
        level = 0.3 if time.monotonic() < self.loud_until else 1e-4
        tone = level * np.sin(2 * np.pi * 200 * np.arange(first, first + BLOCK) / RATE)
        return (np.round(tone * (1 << 23)).astype(np.int32) << 8)[:, None]

    def say(self, seconds: float) -> None:
        """Speaks from now on."""
        self.loud_until = time.monotonic() + seconds

    def _wait(self, after_nsec: int) -> bool:
        left_s = (self.opened_nsec + after_nsec - time.monotonic_ns()) / 1e9
        return self._end.wait(max(left_s, 0))

    def close(self) -> None:
        """Ends the threads."""
        self._end.set()
        for thread in self._threads:
            thread.join()


def ramp(first: int, count: int) -> np.ndarray:
    """Samples that tell their own number, 24 bits left-justified."""
    values = (np.arange(first, first + count) % (1 << 23)).astype(np.int32)
    return (values << 8)[:, None]
