"""A take replayed as cameras: the same pictures and device times again, in real time or as fast as they are read."""

import threading
import time
from pathlib import Path

from capture.devices.camera import Camera, CameraInfo, CameraSettings, Capture
from mmface4d.errors import DeviceError
from mmface4d.take import Take, open_take

MODEL = "replay"


class Replay:
    """The cameras of a take. In real time, captures come at the pace they were recorded in, all cameras together.

    `loop` begins again at the end, device times going on; without it a camera that has shown everything is gone.
    """

    def __init__(self, take: Path, *, real_time: bool = True, loop: bool = False) -> None:
        self._path, self.real_time, self.loop = take, real_time, loop
        self._lock = threading.Lock()
        self._began_nsec: int | None = None

    def open_all(self) -> list[Camera]:
        """Every camera of the take; raises TakeError where it cannot be read."""
        take = open_take(self._path)
        blobs = take.streams.attachments()
        take.close()
        return [ReplayedCamera(self, open_take(self._path), s, blobs.get(f"{s}.json", b"")) for s in take.cameras]

    def began_nsec(self) -> int:
        """When the replay began: with the first camera that is read."""
        with self._lock:
            if self._began_nsec is None:
                self._began_nsec = time.monotonic_ns()
            return self._began_nsec

    def rewind(self) -> None:
        """Lets the replay begin with the next camera that is read."""
        with self._lock:
            self._began_nsec = None


class ReplayedCamera:
    """One camera of a take. Its factory calibration is empty where the take keeps none."""

    def __init__(self, replay: Replay, take: Take, serial: str, factory_calibration: bytes) -> None:
        self._replay, self._take, self._serial = replay, take, serial
        self._blob = factory_calibration
        column = take.info.frames.color_usec[serial]
        self._frames = [frame for frame, usec in enumerate(column) if usec is not None]
        self._next = 0
        self._running = False

    @property
    def info(self) -> CameraInfo:
        """Who it is."""
        settings = self._take.cameras[self._serial].settings
        firmware = settings.get("firmware") or settings.get("color_firmware") or None
        return CameraInfo(self._serial, MODEL, firmware, None, None, self._blob)

    def configure(self, settings: CameraSettings) -> dict[str, str]:
        """What the take says of the settings it was recorded with; raises DeviceError where the role is another."""
        camera = self._take.cameras[self._serial]
        if settings.role != camera.role:
            raise DeviceError(
                f"camera {self._serial} was recorded as {camera.role}, not as {settings.role}",
                hint="give it the role it was recorded with",
            )
        return dict(camera.settings)

    def start(self) -> None:
        """Begins at the take's first frame."""
        self._replay.rewind()
        self._next, self._running = 0, True

    def read(self, timeout_s: float) -> Capture | None:
        """The next capture; None where none is due yet. Raises DeviceError where the take is at its end."""
        if not self._running:
            raise DeviceError(f"camera {self._serial} is not running", hint="start it before it is read")
        count = len(self._frames)
        if not count or (self._next >= count and not self._replay.loop):
            raise DeviceError(f"camera {self._serial}: the take is at its end", hint="start the replay again")
        cycle, position = divmod(self._next, count)
        frame = self._frames[position]
        host_nsec = self._wait(frame, cycle, timeout_s)
        if host_nsec is None:
            return None
        self._next += 1
        return self._capture(frame, cycle, host_nsec)

    def stop(self) -> None:
        """Ends delivering; may be called twice."""
        self._running = False

    def close(self) -> None:
        """Closes the take; may be called twice."""
        self.stop()
        self._take.close()

    def _wait(self, frame: int, cycle: int, timeout_s: float) -> int | None:
        """When a frame arrives, once it has; None where that is later than the timeout."""
        now_nsec = time.monotonic_ns()
        if not self._replay.real_time:
            return now_nsec
        times = self._take.timestamps_usec
        due_nsec = self._replay.began_nsec() + 1000 * (int(times[frame] - times[0]) + cycle * self._span_usec)
        wait_s = (due_nsec - now_nsec) / 1e9
        time.sleep(max(0.0, min(wait_s, timeout_s)))
        return due_nsec if wait_s <= timeout_s else None

    @property
    def _span_usec(self) -> int:
        """Of the take, the last frame's duration included."""
        times = self._take.timestamps_usec
        return int(times[-1] - times[0]) + round(1e6 / self._take.fps)

    def _capture(self, frame: int, cycle: int, host_nsec: int) -> Capture:
        frames, later_usec = self._take.info.frames, cycle * self._span_usec
        color_usec, depth_usec = frames.color_usec[self._serial][frame], frames.depth_usec[self._serial][frame]
        return Capture(
            serial=self._serial,
            host_nsec=host_nsec,
            color_jpeg=self._take.color_jpeg(frame, self._serial),
            color_usec=None if color_usec is None else color_usec + later_usec,
            depth_mm=self._take.depth_mm(frame, self._serial),
            depth_usec=None if depth_usec is None else depth_usec + later_usec,
        )
