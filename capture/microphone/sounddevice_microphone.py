"""A microphone of this machine, by sounddevice (PortAudio). The callback copies, everything else is another thread's.

PortAudio says when each block was in the air by its stream's own clock, which is the monotonic one or the wall clock;
the difference is looked at when the stream is opened, and again and again. Sound servers may get these times wrong
while they settle, so the first moments are not passed on. Where samples were lost, later ones keep their place:
callbacks come later by the hole from then on, over many blocks, while one that was merely held up is followed by others
that are not.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Int32

from capture.microphone.microphone import Block, SoundFormat
from mmface4d.errors import DeviceError, MissingBackendError

RATE, CHANNELS = 48_000, 1
BLOCK = 480
SLOTS = 1024  # of a block each: ten seconds
AHEAD = 10  # blocks that are looked at before one is passed on
SILENT_S = 2.0  # without a callback the device is gone
WAKE_S = 0.02
# blocks that are later than they should be by so much, all of them, come after a hole
TOLD_HOLE_S, UNTOLD_HOLE_S = 0.002, 0.030
SETTLE_S = 2.0
MOST_DRIFT = 400e-6  # of a sound card's clock
CLOCK_EVERY_S = 5.0
# PortAudio's formats from best to worst: bytes a sample
WIDTHS = {"int24": 3, "int32": 4, "int16": 2}


class SoundDeviceMicrophone:
    """An input device, chosen by a part of its name, or the system's default."""

    def __init__(self, name: str | None = None, *, channels: int = CHANNELS) -> None:
        """Raises DeviceError where there is no such device, MissingBackendError without PortAudio."""
        self._sounddevice = load_sounddevice()
        self._device = find_device(self._sounddevice, name)
        self._format = SoundFormat(RATE, channels)
        self._stream: Any = None
        self._pump: threading.Thread | None = None
        self._ended = threading.Event()
        self.overflows = 0
        self.width = 3  # bytes a sample, as the device gives them

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
        kind = self._best_width()
        self.width = WIDTHS[kind]
        ring = Ring(self.width * self._format.channels)
        try:
            self._stream = self._sounddevice.RawInputStream(
                samplerate=RATE, blocksize=BLOCK, device=self._device["index"], channels=self._format.channels,
                dtype=kind, latency="high", callback=ring.called,
            )  # fmt: skip
            self._stream.start()
        except (self._sounddevice.PortAudioError, ValueError) as error:
            raise DeviceError(
                f"the microphone {self.name} cannot be opened: {error}",
                hint="close other programs that use it; see what works with: mmface4d doctor",
            ) from error
        self._ended = threading.Event()
        self._pump = threading.Thread(
            target=self._forward, args=(ring, StreamClock(self._stream), on_block, on_error), daemon=True
        )  # fmt: skip
        self._pump.start()

    def close(self) -> None:
        """Closes the stream; may be called twice."""
        stream, self._stream = self._stream, None
        self._ended.set()
        if self._pump is not None and self._pump is not threading.current_thread():
            self._pump.join()
        self._pump = None
        if stream is not None:
            try:
                stream.abort()
                stream.close()
            except self._sounddevice.PortAudioError:
                return  # it is gone already

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

    def _forward(
        self, ring: "Ring", clock: "StreamClock", on_block: Callable[[Block], None],
        on_error: Callable[[Exception], None],
    ) -> None:  # fmt: skip
        """Turns what the callback copied into blocks."""
        places = Places()
        opened_s = heard_s = time.monotonic()
        while not self._ended.wait(WAKE_S):
            for arrived in ring.take():
                heard_s = time.monotonic()
                if arrived.called_s - opened_s > SETTLE_S:
                    places.add(arrived)
            for arrived, first, lost in places.ready():
                self.overflows += lost > 0 or arrived.overflowed
                at_s = clock.monotonic_s(arrived.stream_s, arrived.called_s)
                on_block(Block(self._samples(arrived.data), first, round(at_s * 1e9), lost))
            if time.monotonic() - heard_s > SILENT_S:
                on_error(DeviceError(
                    f"the microphone {self.name} has delivered nothing for {SILENT_S:g} s",
                    hint="plug it in again, then record the sentence again",
                ))  # fmt: skip
                return

    def _samples(self, data: np.ndarray) -> Int32[np.ndarray, "n_samples n_channels"]:
        """Left-justified in 32 bits, of which 24 are used."""
        raw = data.reshape(-1, self.width)
        wide = np.zeros((len(raw), 4), np.uint8)
        wide[:, 4 - self.width :] = raw
        wide[:, 0] = 0
        return wide.view("<i4").reshape(-1, self._format.channels).astype(np.int32)


class Arrived:
    """A block as the callback got it."""

    def __init__(self, data: np.ndarray, stream_s: float, called_s: float, overflowed: bool) -> None:
        self.data, self.stream_s, self.called_s, self.overflowed = data, stream_s, called_s, overflowed


class Ring:
    """Between the callback, which must never wait, and the thread that goes on with it."""

    def __init__(self, frame_bytes: int) -> None:
        self._slots = np.zeros((SLOTS, BLOCK * frame_bytes), np.uint8)
        self._times = np.zeros((SLOTS, 2))
        self._overflowed = np.zeros(SLOTS, bool)
        self._written = self._read = 0
        self._missed = False

    def called(self, data: Any, frames: int, times: Any, status: Any) -> None:
        """PortAudio's callback: copies a block and its times; no file, no error, no waiting."""
        try:
            slot = self._written % SLOTS
            if frames != BLOCK:
                self._missed = True
                return
            self._slots[slot] = np.frombuffer(data, np.uint8)
            self._times[slot] = times.inputBufferAdcTime, time.monotonic()
            self._overflowed[slot] = bool(status.input_overflow) or self._missed
            self._missed = False
            self._written += 1
        except Exception:
            self._missed = True  # an error in here would end the stream

    def take(self) -> list[Arrived]:
        """What has come since; blocks that were overwritten while nobody took them are left out, and told."""
        out = []
        while self._read < self._written:
            behind = self._written - self._read
            if behind > SLOTS - 8:  # the callback is about to write here
                self._read = self._written - SLOTS // 2
                self._missed = True
                continue
            slot = self._read % SLOTS
            stream_s, called_s = self._times[slot].tolist()
            out.append(Arrived(self._slots[slot].copy(), stream_s, called_s, bool(self._overflowed[slot])))
            self._read += 1
        return out


class StreamClock:
    """The stream's clock on the monotonic one; where the stream has none, callbacks' times count."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._looked_s = -CLOCK_EVERY_S
        self._ahead_s = 0.0

    def monotonic_s(self, stream_s: float, called_s: float) -> float:
        """When a block's first sample was in the air."""
        if stream_s <= 0.0:
            return called_s - BLOCK / RATE
        if time.monotonic() - self._looked_s > CLOCK_EVERY_S:
            self._look()
        return stream_s + self._ahead_s

    def _look(self) -> None:
        """The closest of some looks at both clocks; a wall clock may have been set meanwhile."""
        looks = []
        for _ in range(5):
            before = time.monotonic()
            there = float(self._stream.time)
            after = time.monotonic()
            looks.append((after - before, (before + after) / 2 - there))
        self._looked_s = time.monotonic()
        self._ahead_s = min(looks)[1]


class Places:
    """Numbers samples, lost ones included, from when the callbacks of some blocks ahead came."""

    def __init__(self) -> None:
        self._blocks: deque[Arrived] = deque()
        self._next = 0  # number of the next sample
        self._line: tuple[int, float] | None = None  # a sample, and the earliest instant its callback could come

    def add(self, arrived: Arrived) -> None:
        """The next block."""
        self._blocks.append(arrived)

    def ready(self) -> list[tuple[Arrived, int, int]]:
        """Blocks that are far enough back, the number of their first sample, and what is lost before it."""
        out = []
        while len(self._blocks) > AHEAD:
            lost = self._hole()
            arrived = self._blocks.popleft()
            first = self._next + lost
            out.append((arrived, first, lost))
            self._follow(first, arrived.called_s)
            self._next = first + BLOCK
        return out

    def _hole(self) -> int:
        """How many samples are missing before the next block."""
        if self._line is None:
            return 0
        number, line_s = self._line
        late_s = min(
            arrived.called_s - line_s - (self._next + index * BLOCK - number) / RATE
            for index, arrived in enumerate(self._blocks)
        )
        told = self._blocks[0].overflowed
        return round(late_s * RATE) if late_s > (TOLD_HOLE_S if told else UNTOLD_HOLE_S) else 0

    def _follow(self, first: int, called_s: float) -> None:
        """Keeps the earliest line, which gives way as a sound card's clock may drift."""
        if self._line is None:
            self._line = (first, called_s)
            return
        number, line_s = self._line
        due_s = line_s + (first - number) / RATE * (1 + MOST_DRIFT)
        self._line = (first, min(called_s, due_s))


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
