"""Virtual Kinects on a bench: cables between them, pulses through the cables, and one device each.

How the SDK and the devices behave, and where that is known from:
- A subordinate without a cable in its IN jack, or a master without one in its OUT jack, refuses to start; so do a
  second start, and a delay of a device that is no subordinate (k4a.c, validate_configuration).
- A subordinate exposes on the pulses of its master only: before the master has started it delivers nothing, and
  `get_capture` times out. Its OUT jack passes the pulses on.
- Starting the colour camera sets a device's clock to zero (k4a.c, k4a_device_start_cameras). The clocks of a rig agree
  if all devices got the same first pulse; the clock of a subordinate that was started after its master is late by
  whole frames, and stays so.
- A queue of half a second holds what nobody reads; then the oldest capture is lost. A device that is unplugged fails
  at once, and its handle stays dead after it was plugged in again.

Two things are simpler here: the master's pulses are the stage's ticks, so the device clocks, not the pulses, carry the
drift against the host; and depth, colour and the host's timestamp arrive at once.
"""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil, floor

import numpy as np

from capture.virtual.controls import ColorControls
from capture.virtual.faults import Faults
from capture.virtual.rig import FIRST_FRAME_USEC, TICK_USEC, VirtualKinect, VirtualRig, in_ticks_usec
from capture.virtual.stage import Stage
from mmface4d.arrays import DepthImage

SUCCEEDED, FAILED, TIMEOUT = 0, 1, 2
STANDALONE, MASTER, SUBORDINATE = 0, 1, 2
FPS = {0: 5, 1: 15, 2: 30}
MJPG, RES_1080P, NFOV_UNBINNED, OFF = 0, 2, 2, 0
FOREVER = 1 << 62
JITTERS = 4096
MOST_JITTER = 0.7  # of a frame period, so that captures arrive in their order
LOOK_AGAIN_S = 0.05


@dataclass(frozen=True)
class BenchSettings:
    """What a bench is like. Jitter is one-sided, its mean is given; nothing arrives before `latency_s`."""

    jacks: bool = True  # False: every jack seems empty, and nothing is refused for it, as with Orbbec's wrapper
    master_rate_ppm: float = -380.0  # of the master's clock against the host's
    startup_s: float = 0.1
    latency_s: float = 0.040
    jitter_s: float = 0.003
    queue: int = 15
    firmware: dict[str, str] = field(default_factory=dict)  # by serial, where it is not the usual one
    usual_firmware: str = "1.6.110079014"
    seed: int = 0


@dataclass(frozen=True)
class StreamSettings:
    """How a device was started, in the SDK's own numbers."""

    color_format: int
    color_resolution: int
    depth_mode: int
    fps: int
    synchronized_only: bool
    depth_delay_usec: int
    sync_mode: int
    subordinate_delay_usec: int

    @property
    def period_usec(self) -> float:
        """Between two captures."""
        return 1e6 / FPS[self.fps]

    def possible(self) -> bool:
        """Whether the SDK, and the stage's pictures, allow it."""
        known = self.fps in FPS and self.sync_mode in (STANDALONE, MASTER, SUBORDINATE)
        pictures = self.color_format == MJPG and self.color_resolution in (OFF, RES_1080P)
        depth = self.depth_mode in (OFF, NFOV_UNBINNED)
        some = self.color_resolution != OFF or self.depth_mode != OFF
        both = self.color_resolution != OFF and self.depth_mode != OFF
        if not (known and pictures and depth and some) or (
            not both and (self.synchronized_only or self.depth_delay_usec)
        ):
            return False
        late = self.subordinate_delay_usec == 0 or self.sync_mode == SUBORDINATE
        return late and max(abs(self.depth_delay_usec), self.subordinate_delay_usec) <= self.period_usec


@dataclass(frozen=True)
class VirtualCapture:
    """What a device delivers at once."""

    color_jpeg: bytes | None
    color_usec: int
    depth_mm: DepthImage | None
    depth_usec: int
    host_nsec: int
    exposure_usec: int
    white_balance_k: int


@dataclass
class Run:
    """Pulses that a device sent, or got, from a start to a stop."""

    first: int
    last: int = FOREVER

    def holds(self, pulse: int) -> bool:
        """Whether a pulse is among them."""
        return self.first <= pulse <= self.last


class Bench:
    """All devices of a rig, their cables and their faults."""

    def __init__(self, rig: VirtualRig, stage: Stage, settings: BenchSettings | None = None) -> None:
        self.rig, self.stage = rig, stage
        self.settings = settings or BenchSettings()
        self.faults = Faults([kinect.serial for kinect in rig.devices], fps=stage.fps)
        self.changed = threading.Condition()
        self.devices = {kinect.serial: Device(self, kinect) for kinect in rig.devices}

    @property
    def chain(self) -> list[str]:
        """Serials in the order of the cables; the first has only its OUT jack taken."""
        master = self.rig.master.serial
        chain = [master, *(serial for serial in self.devices if serial != master)]
        return [chain[1], chain[0], *chain[2:]] if self.faults.swapped() and len(chain) > 1 else chain

    def jacks(self, serial: str) -> tuple[bool, bool]:
        """What a device says of its IN and OUT jack."""
        chain = self.chain
        if not self.settings.jacks or len(chain) == 1:
            return False, False
        return serial != chain[0], serial != chain[-1]

    def present(self) -> list["Device"]:
        """The devices that are plugged in, in the order of the system's list."""
        now_s = self.stage.now_s()
        return [d for serial, d in self.devices.items() if not self.faults.active("unplug", serial, now_s)]

    def pulses(self, serial: str, settings: StreamSettings) -> list[Run]:
        """The pulses that reach a device: its own, or those of the nearest master before it in the chain."""
        if settings.sync_mode != SUBORDINATE:
            return self.devices[serial].sent
        chain = self.chain
        for other in reversed(chain[: chain.index(serial)]):
            if self.devices[other].sent and self.devices[other].mode == MASTER:
                return self.devices[other].sent
        return []

    def fault(self, text: str) -> None:
        """Asks for faults now (see capture.virtual.faults)."""
        self.faults.add(text, now_s=self.stage.now_s())
        with self.changed:
            self.changed.notify_all()

    def repair(self) -> None:
        """Ends every fault."""
        self.faults.clear()
        with self.changed:
            self.changed.notify_all()


class Device:
    """One virtual Kinect. Its functions return what the SDK's would: whether they succeeded."""

    def __init__(self, bench: Bench, kinect: VirtualKinect) -> None:
        self.bench, self.kinect, self.serial = bench, kinect, kinect.serial
        self.controls = ColorControls()
        self.opened_s: float | None = None
        self.session = 0  # counts how often it was opened or closed
        self.sent: list[Run] = []  # pulses, over all starts
        self.mode = STANDALONE
        self.dropped = 0  # captures that nobody read in time
        self._settings: StreamSettings | None = None
        self._ready = 0  # pulses before this one are missed
        self._zero: int | None = None  # the pulse at which its clock began
        self._scanned = 0
        self._waiting: deque[int] = deque()
        delays = np.random.default_rng([bench.settings.seed, kinect.seed, 2]).exponential(size=JITTERS)
        self._jitters_s = bench.settings.jitter_s * delays

    @property
    def alive(self) -> bool:
        """Whether it has been plugged in all the time since it was opened."""
        now_s, faults = self.bench.stage.now_s(), self.bench.faults
        return self.opened_s is not None and not faults.happened("unplug", self.serial, self.opened_s, now_s)

    def open(self) -> bool:
        """Claims it."""
        now_s, faults = self.bench.stage.now_s(), self.bench.faults
        if self.alive or faults.active("unplug", self.serial, now_s) or faults.active("busy", self.serial, now_s):
            return False
        self._forget()
        self.opened_s, self.session = now_s, self.session + 1
        return True

    def close(self) -> None:
        """Gives it back."""
        self.stop()
        self.opened_s, self.session = None, self.session + 1

    def start(self, settings: StreamSettings) -> bool:
        """Starts the cameras; a subordinate waits for pulses from then on."""
        with self.bench.changed:
            if not self.alive or self._settings is not None or not settings.possible() or not self._wired(settings):
                return False
            fps = FPS[settings.fps]
            self._forget()
            self._settings, self.mode = settings, settings.sync_mode
            self._ready = ceil((self.bench.stage.now_s() + self.bench.settings.startup_s) * fps)
            self._scanned = self._ready
            if settings.sync_mode != SUBORDINATE:
                self.sent = [Run(self._ready)]
            self.bench.changed.notify_all()
            return True

    def stop(self) -> None:
        """Stops the cameras; what was not read is lost."""
        with self.bench.changed:
            if self._settings is not None and self.sent:
                self.sent[-1].last = floor(self.bench.stage.now_s() * FPS[self._settings.fps])
            self._settings = None
            self._waiting.clear()
            self.bench.changed.notify_all()

    def capture(self, timeout_s: float, wait: Callable[[float], object]) -> tuple[int, VirtualCapture | None]:
        """The next capture and SUCCEEDED; else TIMEOUT, or FAILED where the device is gone or not started.

        `wait` waits for a change, at most for some seconds, holding `bench.changed`.
        """
        end_s = self.bench.stage.now_s() + timeout_s
        with self.bench.changed:
            while True:
                now_s = self.bench.stage.now_s()
                if self.bench.faults.active("hang", self.serial, now_s):
                    wait(self._next_look_s(now_s, None))
                    continue
                if not self.alive or self._settings is None:
                    return FAILED, None
                self._advance(self._settings, now_s)
                if self._waiting:
                    pulse, settings = self._waiting.popleft(), self._settings
                    break
                if now_s >= end_s:
                    return TIMEOUT, None
                wait(self._next_look_s(now_s, end_s))
        return SUCCEEDED, self._capture(settings, pulse)

    def wait_while_hanging(self) -> None:
        """Returns when the device answers."""
        with self.bench.changed:
            while self.bench.faults.active("hang", self.serial, now_s := self.bench.stage.now_s()):
                self.bench.changed.wait(self._next_look_s(now_s, None))

    def exposed_nsec(self, color_usec: int) -> int:
        """The truth: when, on the host's clock, a colour picture with this device time was exposed."""
        settings = self._settings
        if settings is None or self._zero is None:
            raise ValueError(f"{self.serial} is not running")
        rate = (1 + 1e-6 * self.bench.settings.master_rate_ppm) * (1 + 1e-6 * self.kinect.clock.rate_ppm)
        since_usec = color_usec - FIRST_FRAME_USEC - self.kinect.clock.offset_usec
        delay_usec = in_ticks_usec(settings.subordinate_delay_usec)
        pulse = self._zero + round((since_usec - delay_usec) / rate / settings.period_usec)
        return self._exposed_nsec(settings, pulse)

    def _forget(self) -> None:
        self._settings, self._zero, self.sent, self.dropped = None, None, [], 0
        self._waiting.clear()

    def _wired(self, settings: StreamSettings) -> bool:
        jack_in, jack_out = self.bench.jacks(self.serial)
        if not self.bench.settings.jacks or settings.sync_mode == STANDALONE:
            return True
        return jack_in if settings.sync_mode == SUBORDINATE else jack_out

    def _advance(self, settings: StreamSettings, now_s: float) -> None:
        """Puts what has arrived into the queue."""
        runs = self.bench.pulses(self.serial, settings)
        while self._arrival_s(settings, self._scanned) <= now_s:
            pulse = self._scanned
            self._scanned += 1
            if not any(run.holds(pulse) for run in runs):
                continue
            self._zero = pulse if self._zero is None else self._zero
            if self._delivers(settings, pulse):
                self._waiting.append(pulse)
        while len(self._waiting) > self.bench.settings.queue:
            self._waiting.popleft()
            self.dropped += 1

    def _delivers(self, settings: StreamSettings, pulse: int) -> bool:
        faults, tick = self.bench.faults, self._tick(settings, pulse)
        lost = faults.of_tick("drop", self.serial, tick) or faults.active(
            "stall", self.serial, pulse / FPS[settings.fps]
        )
        return not lost and not (settings.synchronized_only and faults.of_tick("half", self.serial, tick))

    def _next_look_s(self, now_s: float, end_s: float | None) -> float:
        """How long nothing can happen, unless somebody starts or stops a device."""
        times = [self.bench.faults.next_change_s(self.serial, now_s), now_s + LOOK_AGAIN_S]
        if end_s is not None:
            times.append(end_s)
            if self._settings is not None:
                times.append(self._arrival_s(self._settings, self._scanned))
        return max(min(times) - now_s, 1e-4)

    def _tick(self, settings: StreamSettings, pulse: int) -> int:
        return round(pulse * self.bench.stage.fps / FPS[settings.fps])

    def _exposed_nsec(self, settings: StreamSettings, pulse: int) -> int:
        late_s = 1e-6 * in_ticks_usec(settings.subordinate_delay_usec)
        return self.bench.stage.host_nsec(pulse / FPS[settings.fps] + late_s)

    def _arrival_s(self, settings: StreamSettings, pulse: int) -> float:
        """The stage's second at which a capture is on the host."""
        jitter_s = min(self._jitters_s[pulse % JITTERS], MOST_JITTER / FPS[settings.fps])
        late_s = 1e-6 * in_ticks_usec(settings.subordinate_delay_usec)
        return pulse / FPS[settings.fps] + late_s + self.bench.settings.latency_s + jitter_s

    def _capture(self, settings: StreamSettings, pulse: int) -> VirtualCapture:
        tick = self._tick(settings, pulse)
        shot = self.bench.stage.shot(self.serial, tick)
        color_usec = self._device_usec(settings, pulse)
        depth_usec = color_usec + round(in_ticks_usec(settings.depth_delay_usec))
        has_depth = settings.depth_mode != OFF and not self.bench.faults.of_tick("half", self.serial, tick)
        has_color = settings.color_resolution != OFF
        return VirtualCapture(
            color_jpeg=shot.color_jpeg if has_color else None,
            color_usec=int(color_usec[0]) if has_color else 0,
            depth_mm=shot.depth_mm if has_depth else None,
            depth_usec=int(depth_usec[0]) if has_depth else 0,
            host_nsec=self.bench.stage.host_nsec(self._arrival_s(settings, pulse)),
            exposure_usec=self.controls.exposure_usec,
            white_balance_k=self.controls.white_balance_k,
        )

    def _device_usec(self, settings: StreamSettings, pulse: int) -> np.ndarray:
        """Colour exposure of a pulse by the device's own clock, as an array of one."""
        since = pulse - (pulse if self._zero is None else self._zero)
        elapsed_usec = since * settings.period_usec * (1 + 1e-6 * self.bench.settings.master_rate_ppm)
        master_usec = FIRST_FRAME_USEC + np.rint(np.rint(np.array([elapsed_usec]) / TICK_USEC) * TICK_USEC)
        rng = np.random.default_rng([self.kinect.seed, 1, pulse])
        return self.kinect.clock.read(master_usec.astype(np.int64), rng) + round(
            in_ticks_usec(settings.subordinate_delay_usec)
        )
