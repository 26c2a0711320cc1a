"""A microphone of this machine, by sounddevice (PortAudio). The callback copies, everything else is another thread's.

PortAudio's time, the arrival of captures and `time.monotonic` share a clock on Linux, unless ALSA reports wall-clock
time: the difference is looked at when the stream is opened, and where stream time says nothing the callback's counts.
"""

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Int32

from capture.microphone.microphone import Block, SoundFormat
from mmface4d.errors import DeviceError, MissingBackendError

RATE, CHANNELS = 48_000, 1
BLOCK = 480
SLOTS = 1024  # of a block each: ten seconds
LATENCY_S = 0.2
SILENT_S = 2.0  # without a callback the device is gone
WAKE_S = 0.05
SAME_CLOCK_S = 60.0  # stream times farther than this from the monotonic clock are of another clock
LEAST_HOLE = 2  # blocks' worth of time: smaller jumps are jitter
# PortAudio's formats from best to worst: bytes a sample
WIDTHS = {"int24": 3, "int32": 4, "int16": 2}


class SoundDeviceMicrophone:
    """An input device, chosen by a part of its name, or the system's default."""

    def __init__(self, name: str | None = None, *, channels: int = CHANNELS) -> None:
        """Raises DeviceError where there is no such device, MissingBackendError without PortAudio."""
        self._sounddevice = load_sounddevice()
        self._device = find_device(self._sounddevice, name)
        self.overflows = 0
        self._format = SoundFormat(RATE, channels)
        self.width, self._width_name = 3, "int24"
        self._stream: Any = None
        self._pump: threading.Thread | None = None

    @property
    def name(self) -> str:
        """What the system calls it."""
        return str(self._device["name"])

    @property
    def format(self) -> SoundFormat:
        """48 kHz."""
        return self._format

    def open(self, on_block: Callable[[Block], None], on_error: Callable[[Exception], None]) -> None:
        """Opens the stream; raises DeviceError."""
        self._width_name = self._best_width()
        self.width = WIDTHS[self._width_name]
        self._slots = np.zeros((SLOTS, BLOCK * self._format.channels * self.width), np.uint8)
        self._times = np.zeros((SLOTS, 2))  # stream time of the first sample, monotonic time of the callback
        self._overflowed = np.zeros(SLOTS, bool)
        self._written = self._read = 0
        self._ended = threading.Event()
        self._epoch_s: float | None = None
        sounddevice = self._sounddevice
        try:
            self._stream = sounddevice.RawInputStream(
                samplerate=RATE, blocksize=BLOCK, device=self._device["index"], channels=self._format.channels,
                dtype=self._width_name, latency=LATENCY_S, callback=self._called,
            )  # fmt: skip
            self._stream.start()
        except (sounddevice.PortAudioError, ValueError) as error:
            raise DeviceError(
                f"the microphone {self.name} cannot be opened: {error}",
                hint="close other programs that use it; see what works with: mmface4d doctor",
            ) from error
        self._pump = threading.Thread(
            target=self._forward, args=(on_block, on_error), name="microphone", daemon=True
        )  # fmt: skip
        self._pump.start()

    def close(self) -> None:
        """Closes the stream; may be called twice."""
        stream, self._stream = self._stream, None
        if stream is not None:
            self._ended.set()
            try:
                stream.abort()
                stream.close()
            except self._sounddevice.PortAudioError:
                pass  # it is gone already
        if self._pump is not None and self._pump is not threading.current_thread():
            self._pump.join()
        self._pump = None

    def _best_width(self) -> str:
        for name in WIDTHS:
            try:
                self._sounddevice.check_input_settings(
                    device=self._device["index"], channels=self._format.channels, dtype=name, samplerate=RATE
                )
            except (self._sounddevice.PortAudioError, ValueError):
                continue
            return name
        raise DeviceError(
            f"the microphone {self.name} does not record {self._format.channels} channel(s) at {RATE} Hz",
            hint="choose another one with --microphone; see them with: mmface4d doctor",
        )

    def _called(self, data: Any, frames: int, times: Any, status: Any) -> None:
        """PortAudio's callback: copies a block and its times into the ring; no file, no error, no waiting."""
        slot = self._written % SLOTS
        if frames != BLOCK:
            return
        self._slots[slot] = np.frombuffer(data, np.uint8)
        self._times[slot] = times.inputBufferAdcTime, time.monotonic()
        self._overflowed[slot] = bool(status.input_overflow)
        self._written += 1

    def _forward(self, on_block: Callable[[Block], None], on_error: Callable[[Exception], None]) -> None:
        """Turns the ring into blocks; what was lost keeps its place in the count of samples."""
        first, last_s, began = 0, -1.0, time.monotonic()
        while not self._ended.wait(WAKE_S):
            if self._written - self._read > SLOTS:  # nobody listened for ten seconds
                skipped = self._written - SLOTS - self._read
                self._read, first, last_s = self._read + skipped, first + skipped * BLOCK, -1.0
                self.overflows += 1
            while self._read < self._written:
                slot = self._read % SLOTS
                at_s = self._monotonic_s(*self._times[slot])
                lost = self._hole(at_s - last_s) if self._overflowed[slot] and last_s >= 0 else 0
                self.overflows += bool(self._overflowed[slot])
                first += lost
                on_block(Block(self._samples(slot), first, round(at_s * 1e9), lost))
                first, last_s, began = first + BLOCK, at_s, time.monotonic()
                self._read += 1
            if time.monotonic() - began > SILENT_S:
                on_error(DeviceError(
                    f"the microphone {self.name} has delivered nothing for {SILENT_S:g} s",
                    hint="plug it in again, then record the sentence again",
                ))  # fmt: skip
                return

    def _hole(self, step_s: float) -> int:
        """How many samples are missing between two blocks that began so far apart."""
        missing = round(step_s * RATE) - BLOCK
        return missing if missing > LEAST_HOLE * BLOCK else 0

    def _monotonic_s(self, stream_s: float, called_s: float) -> float:
        """When the block's first sample was in the air, on the monotonic clock."""
        if stream_s <= 0.0:
            return called_s - BLOCK / RATE  # stream time says nothing here
        if self._epoch_s is None:
            difference = called_s - stream_s
            self._epoch_s = 0.0 if abs(difference) < SAME_CLOCK_S else difference - BLOCK / RATE
        return stream_s + self._epoch_s

    def _samples(self, slot: int) -> Int32[np.ndarray, "n_samples n_channels"]:
        raw = self._slots[slot].reshape(-1, self.width)
        wide = np.zeros((len(raw), 4), np.uint8)
        wide[:, 4 - self.width :] = raw
        return wide.view("<i4").reshape(BLOCK, self._format.channels).astype(np.int32)


def load_sounddevice() -> Any:
    """The package; raises MissingBackendError where it or PortAudio is absent."""
    try:
        import sounddevice
    except ImportError as error:
        raise MissingBackendError(
            "sounddevice is not installed", hint='install it with: pip install "mmface4d[capture]"'
        ) from error
    except OSError as error:
        raise MissingBackendError(
            f"PortAudio cannot be loaded: {error}", hint="install it, on Debian with: apt install libportaudio2"
        ) from error
    return sounddevice


def find_device(sounddevice: Any, name: str | None) -> dict[str, Any]:
    """The input device with a name like this one, or the default; raises DeviceError that lists what there is."""
    inputs = [device for device in sounddevice.query_devices() if device["max_input_channels"] > 0]
    listed = ", ".join(str(device["name"]) for device in inputs) or "none"
    if name is None:
        try:
            return dict(sounddevice.query_devices(kind="input"))
        except (sounddevice.PortAudioError, ValueError) as error:
            raise DeviceError(
                f"the system has no default microphone (inputs: {listed})", hint="name one with --microphone"
            ) from error
    found = [device for device in inputs if name.casefold() in str(device["name"]).casefold()]
    exact = [device for device in found if str(device["name"]).casefold() == name.casefold()]
    if len(exact or found) != 1:
        what = "no microphone" if not found else f"{len(found)} microphones"
        raise DeviceError(f"{what} with {name!r} in the name (inputs: {listed})", hint="give more of its name")
    return dict((exact or found)[0])
