"""The thread that owns a camera: everything that is done to the device is done there, one thing after the other."""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, replace
from typing import TypeVar

from capture.devices.camera import Camera, Capture
from mmface4d.errors import DeviceError, Mmface4dError

READ_S = 0.1  # how long a camera may keep its thread from listening
LEAST_GAP = 1.5  # of a frame period in device time; more than that is a lost frame
T = TypeVar("T")


@dataclass(frozen=True)
class DeviceCounters:
    """What a camera has delivered since it was started."""

    captures: int = 0
    missing_color: int = 0
    missing_depth: int = 0
    lost_frames: int = 0  # gaps seen in device time
    longest_wait_s: float = 0.0  # between two captures
    last_nsec: int | None = None  # when the last one was read, on the host's monotonic clock

    def after(self, capture: Capture, *, lost_frames: int, now_nsec: int) -> "DeviceCounters":
        """The counters with one more capture."""
        waited_s = 0.0 if self.last_nsec is None else (now_nsec - self.last_nsec) / 1e9
        return replace(
            self,
            captures=self.captures + 1,
            missing_color=self.missing_color + (capture.color_jpeg is None),
            missing_depth=self.missing_depth + (capture.depth_mm is None),
            lost_frames=self.lost_frames + lost_frames,
            longest_wait_s=max(self.longest_wait_s, waited_s),
            last_nsec=now_nsec,
        )


class Owner:
    """A camera with its thread. `on_fault` is told once that the device is gone, or that captures are not taken."""

    def __init__(
        self, camera: Camera, *, on_capture: Callable[[Capture], None], on_fault: Callable[[str, DeviceError], None]
    ) -> None:
        self.camera, self.serial = camera, camera.info.serial
        self.counters = DeviceCounters()
        self.gone = False
        self._on_capture, self._on_fault = on_capture, on_fault
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._delivering = False
        self._abandoned = False
        self._refused = False
        self._period_usec = 0.0
        self._last_usec: int | None = None
        # a device that hangs must not keep the program from ending
        self._thread = threading.Thread(target=self._run, name=f"camera {self.serial}", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], T]) -> "Future[T]":
        """Has something done in the thread."""
        future: Future[T] = Future()

        def work() -> None:
            try:
                future.set_result(job())
            except Exception as error:  # whoever waits for the future gets it
                future.set_exception(error)

        self._jobs.put(work)
        return future

    def start(self, *, fps: int) -> "Future[None]":
        """Starts the camera, and reads it from then on."""

        def job() -> None:
            self.counters, self._last_usec, self._period_usec = DeviceCounters(), None, 1e6 / fps
            self.gone = self._refused = False
            self.camera.start()
            self._delivering = True

        return self.submit(job)

    def stop(self) -> "Future[None]":
        """Stops the camera; nothing is delivered afterwards."""

        def job() -> None:
            self._delivering = False
            self.camera.stop()

        return self.submit(job)

    def close(self) -> "Future[None]":
        """Gives the device back and ends the thread."""

        def job() -> None:
            self._delivering = False
            self.camera.close()

        future = self.submit(job)
        self._jobs.put(None)
        return future

    def abandon(self) -> None:
        """Listens no longer to a device that hangs; its thread gives it back if it ever answers."""
        self._abandoned = True
        self.close()

    def _run(self) -> None:
        while True:
            try:
                job = self._jobs.get_nowait() if self._delivering else self._jobs.get()
            except queue.Empty:
                self._read()
                continue
            if job is None:
                return
            job()

    def _read(self) -> None:
        try:
            capture = self.camera.read(READ_S)
        except Mmface4dError as error:
            self._end(error if isinstance(error, DeviceError) else DeviceError(error.message, hint=error.hint))
            return
        if capture is not None and not self._abandoned:
            self._count(capture)
            self._hand_over(capture)

    def _end(self, error: DeviceError) -> None:
        self._delivering, self.gone = False, True
        if not self._abandoned:
            self._on_fault(self.serial, error)

    def _count(self, capture: Capture) -> None:
        usec = capture.color_usec if capture.color_usec is not None else capture.depth_usec
        lost = 0
        if usec is not None and self._last_usec is not None and usec - self._last_usec > LEAST_GAP * self._period_usec:
            lost = round((usec - self._last_usec) / self._period_usec) - 1
        self._last_usec = usec
        self.counters = self.counters.after(capture, lost_frames=lost, now_nsec=time.monotonic_ns())

    def _hand_over(self, capture: Capture) -> None:
        try:
            self._on_capture(capture)
        except Exception as error:  # a recorder that fails must not stop the camera, nor be silent
            if not self._refused:
                self._refused = True
                refused = DeviceError(f"a capture of camera {self.serial} could not be taken: {error}")
                refused.__cause__ = error
                self._on_fault(self.serial, refused)


def result(future: "Future[T]", *, serial: str, doing: str, timeout_s: float) -> T:
    """What a camera's thread did; raises DeviceError where it does not answer in time."""
    try:
        return future.result(max(timeout_s, 0.0))
    except FutureTimeoutError as error:
        raise DeviceError(
            f"camera {serial} does not answer while it {doing}", hint="unplug it and plug it in again"
        ) from error
