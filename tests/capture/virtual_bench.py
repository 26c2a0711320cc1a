"""A rig of virtual Kinects under pyk4a, with small synthetic pictures, for tests of whatever drives cameras."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from capture.devices.azure_kinect import AzureKinects
from capture.devices.camera import CameraSettings, Capture
from capture.devices.rig import CameraRig
from capture.devices.roles import rig_settings
from capture.virtual.bench import Bench, BenchSettings
from capture.virtual.k4a import installed
from capture.virtual.rig import Clock, Shot, VirtualRig, virtual_rig
from capture.virtual.stage import Clip, Stage
from mmface4d.errors import DeviceError

WANTED = CameraSettings(role="standalone", exposure_usec=10_000, white_balance_k=4500, powerline_hz=50)
QUICK = BenchSettings(startup_s=0.02, latency_s=0.01, jitter_s=0.001)


def small_clip(rig: VirtualRig, *, frames: int = 4) -> Clip:
    """Shots of the right size that tell device and frame, and cost nothing to make."""
    shots = []
    for frame in range(frames):
        depth_mm = np.full((576, 640), 600 + frame, np.uint16)
        shots.append(
            {k.serial: Shot(b"\xff\xd8%s-%d\xff\xd9" % (k.serial.encode(), frame), depth_mm) for k in rig.devices}
        )
    return Clip(tuple(shots))


def rig_with_rates(rates_ppm: Mapping[int, float], *, seed: int = 3) -> VirtualRig:
    """A rig whose devices, counted from the left, have clocks of given rates against the master's."""
    rig = virtual_rig(seed=seed)
    devices = tuple(
        replace(device, clock=replace(device.clock, rate_ppm=rates_ppm[place])) if place in rates_ppm else device
        for place, device in enumerate(rig.devices)
    )
    return replace(rig, devices=devices)


def exact_rig(*, seed: int = 3) -> VirtualRig:
    """A rig whose clocks agree perfectly."""
    rig = virtual_rig(seed=seed)
    return replace(rig, devices=tuple(replace(device, clock=Clock()) for device in rig.devices))


@contextmanager
def bench_of(rig: VirtualRig, settings: BenchSettings = QUICK) -> Iterator[Bench]:
    """The devices of a rig in place of real ones."""
    with installed(Bench(rig, Stage(small_clip(rig), fps=30), settings)) as bench:
        yield bench


@dataclass
class Heard:
    """What a rig told its owner."""

    captures: list[Capture] = field(default_factory=list)
    faults: list[tuple[str, DeviceError]] = field(default_factory=list)

    def of(self, serial: str) -> list[Capture]:
        """Captures of one camera."""
        return [capture for capture in list(self.captures) if capture.serial == serial]


@contextmanager
def running(bench: Bench, *, stall_s: float = 3.0, start: bool = True) -> Iterator[tuple[CameraRig, Heard]]:
    """All cameras of a bench as a rig, started; closed at the end."""
    heard = Heard()
    cameras = AzureKinects().open_all()
    settings = rig_settings([camera.info for camera in cameras], WANTED, master=bench.rig.master.serial)
    rig = CameraRig(
        cameras, settings, on_capture=heard.captures.append, on_fault=lambda s, e: heard.faults.append((s, e)),
        stall_s=stall_s, answer_s=3.0,
    )  # fmt: skip
    try:
        if start:
            rig.start()
        yield rig, heard
    finally:
        rig.close(timeout_s=2.0)


def wait_until(condition: Callable[[], object], *, timeout_s: float = 5.0) -> None:
    """Returns when a condition holds; fails where that takes too long."""
    end_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end_s:
            raise TimeoutError("the condition was not met")
        time.sleep(0.005)


@contextmanager
def ticking(period_s: float = 0.005) -> Iterator[list[float]]:
    """Another thread that notes the time again and again, as long as it gets the interpreter."""
    times: list[float] = []
    ended = threading.Event()

    def tick() -> None:
        while not ended.wait(period_s):
            times.append(time.monotonic())

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    try:
        yield times
    finally:
        ended.set()
        thread.join()
