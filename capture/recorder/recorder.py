"""The recorder: cameras and a microphone on one side, takes on the other."""

import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from capture.clock_lines import SessionClocks
from capture.devices.camera import Capture
from capture.microphone.microphone import Block
from capture.recorder.finish import finish_take
from capture.recorder.packer import Packer
from capture.recorder.tape import Tape
from capture.sound_track import SoundBlock, SoundFormat
from capture.speech_activity import FLOOR_DBFS
from mmface4d.errors import Mmface4dError, RecordingError
from mmface4d.take import Take, TakeCamera, TakeWriter

LEVEL_WINDOW_S = 0.3


@dataclass(frozen=True)
class RecorderSettings:
    """Seconds kept before the start and after the end of a take, and what a clap check found."""

    fps: float = 30.0
    pre_roll_s: float = 0.5
    post_roll_s: float = 0.5
    av_offset_usec: float = 0.0


@dataclass
class Running:
    """The take in progress."""

    writer: TakeWriter
    began_nsec: int
    failure: Mmface4dError | None = None


class Recorder:
    """Takes what devices deliver, from any thread, and writes takes of it. One take at a time."""

    def __init__(
        self, cameras: list[TakeCamera], *, sound: SoundFormat | None, settings: RecorderSettings | None = None
    ) -> None:
        self.cameras, self.sound = cameras, sound
        self.settings = settings or RecorderSettings()
        self.tape = Tape(hold_s=self.settings.pre_roll_s + 0.5)
        self.packer = Packer(self.tape.put)
        self.clocks = SessionClocks(rate=sound.rate if sound else 48_000)
        self.latest: dict[str, Capture] = {}
        self.faults: list[str] = []  # of the take in progress
        self._levels: deque[tuple[float, float, float]] = deque(maxlen=400)  # seconds, peak and power of blocks
        self._levels_lock = threading.Lock()
        self._running: Running | None = None

    def on_capture(self, capture: Capture) -> None:
        """From a camera's thread."""
        self.latest[capture.serial] = capture
        self.clocks.add(capture)
        self.packer.submit(capture)

    def on_block(self, block: Block) -> None:
        """From the microphone's thread."""
        self._note_level(block)
        self.clocks.add(block)
        self.tape.put(SoundBlock(block.host_nsec, block.first, block.lost, _pcm24(block.samples)))

    def on_fault(self, text: str) -> None:
        """Something that belongs into the record of the take in progress."""
        self.faults.append(text)

    @property
    def recording(self) -> bool:
        """Whether a take is in progress."""
        return self._running is not None

    @property
    def failure(self) -> Mmface4dError | None:
        """Why the take in progress cannot go on."""
        return self._running.failure if self._running else None

    def peak(self, window_s: float = LEVEL_WINDOW_S) -> float:
        """The loudest sample of the last moments, 0..1."""
        return max((peak for _, peak, _ in self._recent(window_s)), default=0.0)

    def level_dbfs(self, window_s: float = 0.1) -> float:
        """The sound's level over the last moments."""
        powers = [power for _, _, power in self._recent(window_s)]
        return max(10 * float(np.log10(np.mean(powers) + 1e-12)), FLOOR_DBFS) if powers else FLOOR_DBFS

    def _recent(self, window_s: float) -> list[tuple[float, float, float]]:
        """The blocks of the last moments, at least the last one."""
        oldest = time.monotonic() - window_s
        with self._levels_lock:
            return [entry for entry in self._levels if entry[0] >= oldest] or list(self._levels)[-1:]

    def begin(self, path: Path, *, source: dict[str, Any]) -> None:
        """Begins a take, the pre-roll included; raises TakeError where the folder exists."""
        if self._running is not None:
            raise RecordingError("a take is in progress", hint="end it first")
        now = time.monotonic_ns()
        writer = TakeWriter(
            path, self.cameras, fps=self.settings.fps, source={"kind": "recorded", **source},
            sound=self.sound.metadata() if self.sound else None,
        )  # fmt: skip
        self.faults = []
        self._running = running = Running(writer, now)

        def failed(error: Mmface4dError) -> None:
            running.failure = error

        self.tape.record(writer, since_nsec=now - round(self.settings.pre_roll_s * 1e9), on_failure=failed)

    def end(self) -> Take:
        """Ends the take after the post-roll; raises what prevented it, and then leaves its streams to be recovered."""
        running = self._running
        if running is None:
            raise RecordingError("no take is in progress", hint="begin one first")
        try:
            self.tape.end(until_nsec=time.monotonic_ns() + round(self.settings.post_roll_s * 1e9))
        except Mmface4dError:
            running.writer.leave()
            raise
        finally:
            self._running = None
        if self.sound is not None and not self.tape.written.sound:
            self.on_fault("the microphone delivered nothing; plug it in again, then record the sentence again")
        return finish_take(
            running.writer, self.tape.written, sound=self.sound, av_offset_usec=self.settings.av_offset_usec,
            notes=list(self.faults), clocks=self.clocks,
        )  # fmt: skip

    def abandon(self) -> None:
        """Ends a take that nobody wants to wait for; its streams stay, to be recovered."""
        if self._running is not None:
            running, self._running = self._running, None
            try:
                self.tape.end(until_nsec=time.monotonic_ns())
            finally:
                running.writer.leave()

    def close(self) -> None:
        """Ends the threads; a take in progress is abandoned."""
        self.abandon()
        self.packer.close()

    def _note_level(self, block: Block) -> None:
        values = block.samples.astype(np.float64) / 2**31
        with self._levels_lock:
            self._levels.append((time.monotonic(), float(np.abs(values).max(initial=0.0)), float((values**2).mean())))


def _pcm24(samples: np.ndarray) -> bytes:
    """Left-justified 32-bit samples as interleaved 24-bit bytes."""
    return np.ascontiguousarray(samples.astype("<i4")).view(np.uint8).reshape(-1, 4)[:, 1:].tobytes()
