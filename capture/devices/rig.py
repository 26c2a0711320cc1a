"""Several cameras as one rig: set alike, started in the right order, watched, and always stoppable."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from capture.devices.azure_kinect import factory_camera
from capture.devices.camera import Camera, CameraSettings, Capture
from capture.devices.owner import DeviceCounters, Owner, result
from mmface4d.errors import DeviceError
from mmface4d.take import TakeCamera

STALL_S = 3.0
ANSWER_S = 15.0  # a Kinect takes seconds to start
STOP_S = 5.0
WATCH_S = 0.1


class CameraRig:
    """Cameras that record together. `on_capture` and `on_fault` are called from other threads than the caller's.

    `on_fault(serial, error)` is called once when a camera is gone, once each time it has delivered nothing for
    `stall_s`, and once when `on_capture` has raised an error. Neither may stop the rig itself.
    """

    def __init__(
        self, cameras: Sequence[Camera], settings: Mapping[str, CameraSettings], *,
        on_capture: Callable[[Capture], None], on_fault: Callable[[str, DeviceError], None], stall_s: float = STALL_S,
        answer_s: float = ANSWER_S,
    ) -> None:  # fmt: skip
        """Takes opened cameras and the settings of each by serial; raises DeviceError where they do not fit."""
        check_alike(cameras, settings)
        self.settings = {camera.info.serial: settings[camera.info.serial] for camera in cameras}
        self.infos = {camera.info.serial: camera.info for camera in cameras}
        self.reports: dict[str, dict[str, str]] = {}  # what each device said of its settings
        self._on_capture, self._on_fault = on_capture, on_fault
        self._stall_s, self._answer_s = stall_s, answer_s
        self._owners = {camera.info.serial: self._own(camera) for camera in cameras}
        self._stalled: set[str] = set()
        self._started_s: dict[str, float] = {}  # since when captures are due
        self._watch: threading.Thread | None = None
        self._ended = threading.Event()

    @property
    def master(self) -> str:
        """The camera whose clock counts."""
        return next(serial for serial, settings in self.settings.items() if settings.role != "subordinate")

    @property
    def counters(self) -> dict[str, DeviceCounters]:
        """What each camera has delivered since it was started."""
        return {serial: owner.counters for serial, owner in self._owners.items()}

    def take_cameras(self) -> list[TakeCamera]:
        """The cameras as a take records them; after `configure`."""
        return [
            TakeCamera(
                serial=serial,
                role=settings.role,
                rgbd=factory_camera(self.infos[serial], settings),
                depth_delay_usec=settings.depth_delay_usec,
                subordinate_delay_usec=settings.subordinate_delay_usec,
                settings=dict(self.reports.get(serial, {})),
                factory_calibration=self.infos[serial].factory_calibration,
            )
            for serial, settings in self.settings.items()
        ]

    def configure(self) -> dict[str, dict[str, str]]:
        """Sets every camera and reads it back; raises DeviceError of the first that refuses."""
        jobs = {
            serial: owner.submit(lambda owner=owner: owner.camera.configure(self.settings[owner.serial]))
            for serial, owner in self._owners.items()
        }
        end_s = time.monotonic() + self._answer_s
        for serial, job in jobs.items():
            self.reports[serial] = result(job, serial=serial, doing="is set", timeout_s=end_s - time.monotonic())
        return self.reports

    def start(self) -> None:
        """Sets all, starts the subordinates and, last, the master; raises DeviceError, and then none is running."""
        started = False
        try:
            self.configure()
            leader = self.master
            self._start([serial for serial in self._owners if serial != leader])
            self._start([leader])
            started = True
        finally:
            if not started:
                self.stop(timeout_s=min(STOP_S, self._answer_s))
        now_s = time.monotonic()
        self._started_s = dict.fromkeys(self._owners, now_s)
        self._stalled.clear()
        self._ended.clear()
        self._watch = threading.Thread(target=self._look, name="camera watch", daemon=True)
        self._watch.start()

    def restart(self, camera: Camera) -> None:
        """Takes back a camera that was gone and has been opened again; the others go on. Raises DeviceError.

        Its clock begins anew, so from then on its device times meet the others' by their arrival on the host only,
        until all are stopped and started.
        """
        serial = camera.info.serial
        if serial not in self._owners:
            raise DeviceError(f"camera {serial} is not of this rig", hint=f"its cameras: {', '.join(self._owners)}")
        before = self._owners[serial]
        owner = self._own(camera)
        try:
            check_alike(
                [camera, *(other.camera for name, other in self._owners.items() if name != serial)], self.settings
            )
            job = owner.submit(lambda: camera.configure(self.settings[serial]))
            self.reports[serial] = result(job, serial=serial, doing="is set", timeout_s=self._answer_s)
            self._await_start(owner)
        except DeviceError:
            owner.abandon()
            raise
        before.abandon()
        self._owners[serial], self.infos[serial] = owner, camera.info
        self._started_s[serial] = time.monotonic()
        self._stalled.discard(serial)

    def stop(self, *, timeout_s: float = STOP_S) -> None:
        """Stops all cameras within a time; one that does not answer is left alone, and reported as a fault."""
        self._end_watch()
        self._all(lambda owner: owner.stop(), doing="is stopped", timeout_s=timeout_s)

    def close(self, *, timeout_s: float = STOP_S) -> None:
        """Stops all cameras and gives them back, within a time."""
        self._end_watch()
        self._all(lambda owner: owner.close(), doing="is closed", timeout_s=timeout_s)

    def _own(self, camera: Camera) -> Owner:
        return Owner(camera, on_capture=self._on_capture, on_fault=self._on_fault)

    def _start(self, serials: list[str]) -> None:
        jobs = {serial: self._owners[serial].start(fps=self.settings[serial].fps) for serial in serials}
        end_s = time.monotonic() + self._answer_s
        for serial, job in jobs.items():
            result(job, serial=serial, doing="starts", timeout_s=end_s - time.monotonic())

    def _await_start(self, owner: Owner) -> None:
        job = owner.start(fps=self.settings[owner.serial].fps)
        result(job, serial=owner.serial, doing="starts", timeout_s=self._answer_s)

    def _all(self, job: Callable[[Owner], object], *, doing: str, timeout_s: float) -> None:
        """Has something done by every thread at once; who does not answer in time is reported."""
        end_s = time.monotonic() + timeout_s
        jobs = {serial: job(owner) for serial, owner in self._owners.items()}
        for serial, future in jobs.items():
            try:
                result(future, serial=serial, doing=doing, timeout_s=end_s - time.monotonic())  # type: ignore[arg-type]
            except DeviceError as error:
                self._owners[serial].gone = True
                self._on_fault(serial, error)

    def _look(self) -> None:
        """Watches for cameras that deliver nothing; a device that hangs cannot say so itself."""
        while not self._ended.wait(WATCH_S):
            for serial, owner in list(self._owners.items()):
                last_nsec = owner.counters.last_nsec
                since_s = max(self._started_s[serial], (last_nsec or 0) / 1e9)
                silent = not owner.gone and time.monotonic() - since_s > self._stall_s
                if not silent:
                    self._stalled.discard(serial)
                elif serial not in self._stalled:
                    self._stalled.add(serial)
                    self._on_fault(serial, self._stall(serial, delivered=last_nsec is not None))

    def _stall(self, serial: str, *, delivered: bool) -> DeviceError:
        if delivered:
            return DeviceError(
                f"camera {serial} has delivered nothing for {self._stall_s:g} s",
                hint="check its USB cable; stop and start the cameras",
            )
        hint = "check its USB cable and power supply"
        if self.settings[serial].role == "subordinate":
            hint = f"check the sync cable from camera {self.master} to its SYNC IN jack"
        return DeviceError(f"camera {serial} has delivered nothing since it was started", hint=hint)

    def _end_watch(self) -> None:
        self._ended.set()
        if self._watch is not None and self._watch is not threading.current_thread():
            self._watch.join(STOP_S)
        self._watch = None


def check_alike(cameras: Sequence[Camera], settings: Mapping[str, CameraSettings]) -> None:
    """Raises DeviceError where cameras differ in model, firmware or settings, or have not exactly one leader."""
    infos = [camera.info for camera in cameras]
    serials = [info.serial for info in infos]
    without = [serial for serial in serials if serial not in settings]
    if not serials or without:
        what = f"camera {', '.join(without)} has no settings" if without else "no camera is connected"
        raise DeviceError(what, hint="check the cables, and which cameras the rig should have")
    _refuse_different("model", {info.serial: info.model for info in infos}, hint="use cameras of one kind")
    known = {info.serial: info.firmware for info in infos if info.firmware}
    _refuse_different("firmware", known, hint="give all cameras the same firmware, with AzureKinectFirmwareTool")
    # role and delays are each camera's own
    common = {s: replace(settings[s], role="standalone", depth_delay_usec=0, subordinate_delay_usec=0) for s in serials}
    _refuse_different("settings", {s: str(value) for s, value in common.items()}, hint="set all cameras alike")
    leaders = [serial for serial in serials if settings[serial].role != "subordinate"]
    if len(leaders) != 1 or (len(serials) > 1 and settings[leaders[0]].role != "master"):
        raise DeviceError(
            "a rig needs one master, all others subordinate: "
            + ", ".join(f"{serial} {settings[serial].role}" for serial in serials),
            hint="derive the roles from the sync jacks, or name the master",
        )


def _refuse_different(what: str, values: Mapping[str, str], *, hint: str) -> None:
    if len(set(values.values())) > 1:
        raise DeviceError(
            f"the cameras differ in {what}: " + ", ".join(f"{serial}: {value}" for serial, value in values.items()),
            hint=hint,
        )
