"""Keeps the rig running from take to take: opened once, and opened anew where a camera was gone."""

from collections.abc import Callable

from capture.devices.camera import Camera, CameraSettings, CameraSource, Capture
from capture.devices.rig import CameraRig
from capture.devices.roles import rig_settings
from mmface4d.errors import DeviceError
from mmface4d.take import TakeCamera


class RigKeeper:
    """A running rig. `ready` is called before every take."""

    def __init__(
        self, source: CameraSource, wanted: CameraSettings, *, on_capture: Callable[[Capture], None],
        on_fault: Callable[[str], None], cameras: int | None = None, master: str | None = None,
    ) -> None:  # fmt: skip
        self.source, self.wanted, self.expected, self.master = source, wanted, cameras, master
        self._on_capture, self._tell = on_capture, on_fault
        self._rig: CameraRig | None = None
        self._lost: dict[str, str] = {}  # serial -> what happened
        self._take_cameras: list[TakeCamera] = []

    def open(self) -> list[TakeCamera]:
        """Opens and starts all cameras; raises DeviceError."""
        cameras = self.source.open_all()
        try:
            self._check_number(cameras)
            settings = rig_settings([camera.info for camera in cameras], self.wanted, master=self.master)
            self._rig = CameraRig(cameras, settings, on_capture=self._on_capture, on_fault=self._fault)
            self._rig.start()
        except DeviceError:
            if self._rig is not None:
                self.close()
            else:
                for camera in cameras:
                    camera.close()
            raise
        self._lost.clear()
        self._take_cameras = self._rig.take_cameras()
        return self._take_cameras

    def ready(self) -> None:
        """Raises DeviceError where a camera that was lost does not come back."""
        if not self._lost:
            return
        gone = dict(self._lost)
        before = {camera.serial for camera in self._take_cameras}
        self.close()
        try:
            now = {camera.serial for camera in self.open()}
        except DeviceError as error:
            self._lost = gone
            raise DeviceError(f"{'; '.join(gone.values())}; now: {error.message}", hint=error.hint) from error
        if now != before:
            self._lost = {serial: f"camera {serial} is missing" for serial in before - now} or gone
            raise DeviceError(
                f"the rig has changed: it was {', '.join(sorted(before))}, now it is {', '.join(sorted(now))}",
                hint="connect the same cameras, or end and begin the recording again",
            )

    def status(self) -> dict[str, str]:
        """A word on each camera: what was lost, or "ok"."""
        return {camera.serial: self._lost.get(camera.serial, "ok") for camera in self._take_cameras}

    def close(self) -> None:
        """Stops all cameras and gives them back."""
        if self._rig is not None:
            self._rig.close()
            self._rig = None

    def _fault(self, serial: str, error: DeviceError) -> None:
        self._lost[serial] = error.message
        self._tell(error.message)

    def _check_number(self, cameras: list[Camera]) -> None:
        serials = ", ".join(camera.info.serial for camera in cameras) or "none"
        if not cameras or (self.expected is not None and len(cameras) != self.expected):
            wanted = f"{self.expected} expected" if self.expected is not None else "at least one is needed"
            raise DeviceError(
                f"{len(cameras)} cameras found ({serials}), {wanted}",
                hint="check cables and power with: mmface4d doctor",
            )
