"""Keeps the rig running from take to take: opened once, and opened anew where a camera was gone."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import replace

from capture.devices.camera import Camera, CameraSettings, CameraSource, Capture
from capture.devices.rig import CameraRig
from capture.devices.roles import rig_settings, wrong_cameras
from mmface4d.errors import DeviceError
from mmface4d.take import TakeCamera

FIRST_PICTURE_S = 4.0  # a Kinect that was started takes a second or two
OPEN_S = 15.0
FRESH_S = 1.0  # a camera whose last picture is older has stopped
WAIT_S = 0.05


class RigKeeper:
    """A running rig. `ready` is called before every take."""

    def __init__(
        self, source: CameraSource, wanted: CameraSettings, *, on_capture: Callable[[Capture], None],
        on_fault: Callable[[str], None], cameras: int | None = None, master: str | None = None,
        positions: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        """`positions` are the places of the cameras that are to be there, by serial number."""
        self.positions = positions or {}
        self.source, self.wanted, self.expected, self.master = source, wanted, cameras, master
        self._on_capture, self._tell = on_capture, on_fault
        self._rig: CameraRig | None = None
        self._opened = 0  # how often
        self._lost: dict[str, str] = {}  # serial -> what happened
        self._take_cameras: list[TakeCamera] = []

    def open(self) -> list[TakeCamera]:
        """Opens and starts all cameras; raises DeviceError."""
        cameras = self._open_all()
        try:
            self._check_cameras(cameras)
            settings = rig_settings([camera.info for camera in cameras], self.wanted, master=self.master)
            self._rig = self._new_rig(cameras, settings)
            self._rig.start()
        except DeviceError:
            if self._rig is not None:
                self.close()
            else:
                for camera in cameras:
                    camera.close()
            raise
        self._lost.clear()
        self._take_cameras = [self._placed(camera) for camera in self._rig.take_cameras()]
        return self._take_cameras

    def ready(self) -> None:
        """Returns when every camera delivers; raises DeviceError where one that was lost does not come back."""
        if not self._lost and not (silent := self._await_pictures()):
            return
        gone = dict(self._lost) or {serial: f"camera {serial} delivers nothing" for serial in silent}
        before = self._take_cameras
        self.close()
        try:
            now = self.open()
            if silent := self._await_pictures():
                raise DeviceError(
                    f"camera {', '.join(silent)} delivers nothing",
                    hint="check its USB and sync cables; unplug it and plug it in again",
                )
            _refuse_changed(before, now)
        except DeviceError as error:
            self._lost, self._take_cameras = gone, before
            raise DeviceError(f"{'; '.join(gone.values())}; now: {error.message}", hint=error.hint) from error

    def status(self) -> dict[str, str]:
        """A word on each camera: what was lost, or "ok"."""
        return {camera.serial: self._lost.get(camera.serial, "ok") for camera in self._take_cameras}

    def close(self) -> None:
        """Stops all cameras and gives them back."""
        if self._rig is not None:
            self._rig.close()
            self._rig = None

    def _open_all(self) -> list[Camera]:
        """In a thread of its own, because a device that hangs would hang us."""
        opened: Future[list[Camera]] = Future()

        def work() -> None:
            try:
                opened.set_result(self.source.open_all())
            except Exception as error:  # whoever waits for the future gets it
                opened.set_exception(error)

        threading.Thread(target=work, name="cameras open", daemon=True).start()
        try:
            return opened.result(OPEN_S)
        except FutureTimeoutError as error:
            opened.add_done_callback(_give_back)
            raise DeviceError(
                f"a camera has not answered for {OPEN_S:g} s while it was opened",
                hint="unplug the cameras and plug them in again; find out which one it is with: mmface4d doctor",
            ) from error

    def _new_rig(self, cameras: list[Camera], settings: Mapping[str, CameraSettings]) -> CameraRig:
        """A rig that is heard until the next one is made; a device that hung may still answer after that."""
        self._opened = number = self._opened + 1

        def deliver(capture: Capture) -> None:
            if number == self._opened:
                self._on_capture(capture)

        def fault(serial: str, error: DeviceError) -> None:
            if number == self._opened:
                self._lost[serial] = error.message
                self._tell(f"{error.message}; {error.hint}" if error.hint else error.message)

        return CameraRig(cameras, settings, on_capture=deliver, on_fault=fault)

    def _await_pictures(self) -> list[str]:
        """The cameras that deliver nothing, after some time for all to begin."""
        end_s = time.monotonic() + FIRST_PICTURE_S
        while silent := self._silent():
            if self._lost or time.monotonic() > end_s:
                return silent
            time.sleep(WAIT_S)
        return []

    def _silent(self) -> list[str]:
        counters = self._rig.counters if self._rig is not None else {}
        oldest_nsec = time.monotonic_ns() - round(FRESH_S * 1e9)
        return [serial for serial, seen in counters.items() if (seen.last_nsec or 0) < oldest_nsec]

    def _placed(self, camera: TakeCamera) -> TakeCamera:
        place = self.positions.get(camera.serial)
        return replace(camera, settings={**camera.settings, "position": place}) if place else camera

    def _check_cameras(self, cameras: list[Camera]) -> None:
        if self.positions and (wrong := wrong_cameras([camera.info.serial for camera in cameras], self.positions)):
            raise DeviceError(
                f"the cameras are not those of the lab: {wrong}",
                hint="check cables and power with: mmface4d doctor; or name in lab.toml what is there",
            )
        serials = ", ".join(camera.info.serial for camera in cameras) or "none"
        if not cameras or (self.expected is not None and len(cameras) != self.expected):
            wanted = f"{self.expected} expected" if self.expected is not None else "at least one is needed"
            raise DeviceError(
                f"{len(cameras)} cameras found ({serials}), {wanted}",
                hint="check cables and power with: mmface4d doctor",
            )


def _give_back(opened: "Future[list[Camera]]") -> None:
    """Closes cameras that were opened too late."""
    if opened.exception() is None:
        for camera in opened.result():
            camera.close()


def _refuse_changed(before: list[TakeCamera], now: list[TakeCamera]) -> None:
    """Raises DeviceError where a rig that was opened anew is not the one that takes were begun with."""
    was, is_now = ({camera.serial: camera.role for camera in cameras} for cameras in (before, now))
    if was != is_now:
        was_text, now_text = (", ".join(f"{s} {role}" for s, role in sorted(rig.items())) for rig in (was, is_now))
        raise DeviceError(
            f"the rig has changed: it was {was_text}; it is {now_text}",
            hint="connect the same cameras as before, or end and begin the recording again",
        )
