"""Azure Kinects, and what is a drop-in for them, by pyk4a.

Every call gives up the GIL (`thread_safe=False`) and has a timeout. The motion sensor and infrared stay off: pyk4a's
own `start` would start the first. Pictures are copied out of the SDK's buffers, for which its `stop` waits.
"""

import os
import time
from typing import Any

from capture.devices.camera import Camera, CameraInfo, CameraSettings, Capture
from capture.devices.exposure import flicker_free_exposures
from capture.devices.k4a_version import firmware
from mmface4d.azure_kinect import parse_factory_calibration
from mmface4d.cameras import RgbdCamera
from mmface4d.errors import DeviceError, MissingBackendError, RecordingError

MODEL = "Azure Kinect"
READS = 3  # of a setting; a read that failed returns 0
POWERLINE = {50: 1, 60: 2}
STALE_NSEC = 5_000_000_000
CABLE_HINT = "check its USB cable and power supply; plug it in again"
SETTING_HINT = "close other programs that use the camera; unplug it and plug it in again"


def load_pyk4a() -> Any:
    """The package pyk4a; raises MissingBackendError."""
    # the SDK tells the terminal about every call that fails; K4A_LOG_LEVEL=i in the environment brings that back
    os.environ.setdefault("K4A_LOG_LEVEL", "c")
    os.environ.setdefault("K4A_ENABLE_LOG_TO_STDOUT", "0")  # stdout is for data
    try:
        import pyk4a
    except ImportError as error:
        raise MissingBackendError(
            f"Azure Kinects need pyk4a, which cannot be loaded: {error}",
            hint='install it with: pip install "mmface4d[capture]"',
        ) from error
    return pyk4a


class AzureKinect:
    """One opened device."""

    def __init__(self, device: Any) -> None:
        """`device` is an opened `pyk4a.PyK4A(thread_safe=False)`; raises DeviceError."""
        self._k4a = load_pyk4a()
        self._device = device
        self._settings: CameraSettings | None = None
        self._running = False
        try:
            self._info = self._read_info()
        except self._k4a.K4AException as error:
            raise DeviceError("a camera was opened but does not answer", hint=CABLE_HINT) from error

    @property
    def info(self) -> CameraInfo:
        """Who it is."""
        return self._info

    def configure(self, settings: CameraSettings) -> dict[str, str]:
        """Sets everything and reads it back; returns what the device reports. Raises DeviceError naming the setting."""
        if self._running:
            raise DeviceError(f"camera {self._info.serial} is running", hint="stop it before it is set")
        self._check(settings)
        config = self._config(settings)
        # the exposure's table depends on the mains' frequency, so that comes first
        self._set("powerline_frequency", POWERLINE[settings.powerline_hz], name="powerline frequency")
        self._set("exposure", settings.exposure_usec, name="exposure")
        self._set("whitebalance", settings.white_balance_k, name="white balance")
        self._settings = settings
        self._device._config, self._device._calibration = config, None
        return self._report(settings)

    def start(self) -> None:
        """Begins to deliver; a subordinate waits for its master. Raises DeviceError."""
        settings = self._settings
        if settings is None:
            raise DeviceError(f"camera {self._info.serial} is not set", hint="configure it before it is started")
        if self._running:
            return
        try:
            self._device._start_cameras()
        except self._k4a.K4AException as error:
            raise DeviceError(
                f"camera {self._info.serial} does not start as {settings.role}", hint=_start_hint(settings)
            ) from error
        self._running = True

    def read(self, timeout_s: float) -> Capture | None:
        """The next capture; None where none came in time. Raises DeviceError where the device is gone."""
        if not self._running:
            raise DeviceError(f"camera {self._info.serial} is not running", hint="start it before it is read")
        try:
            capture = self._device.get_capture(timeout=max(0, round(timeout_s * 1000)))
        except self._k4a.K4ATimeoutException:
            return None
        except self._k4a.K4AException as error:
            raise DeviceError(f"camera {self._info.serial} is gone", hint=CABLE_HINT) from error
        return self._captured(capture, time.monotonic_ns())

    def stop(self) -> None:
        """Ends delivering; may be called twice."""
        if self._running:
            self._running = False
            self._device._stop_cameras()

    def close(self) -> None:
        """Gives the device back; may be called twice."""
        self.stop()
        if self._device.opened:
            self._device.close()

    def calibration(self, settings: CameraSettings) -> RgbdCamera:
        """Its two imagers in the modes of some settings, from its factory calibration; raises DeviceError."""
        return factory_camera(self._info, settings)

    def _read_info(self) -> CameraInfo:
        device = self._device
        try:
            sync_in, sync_out = device.sync_jack_status
        except self._k4a.K4AException:
            sync_in = sync_out = None
        raw = device.calibration_raw
        return CameraInfo(
            serial=device.serial,
            model=MODEL,
            firmware=firmware(self._k4a.module.k4a_module, device._device_handle),
            sync_in=sync_in,
            sync_out=sync_out,
            factory_calibration=raw.encode(),
        )

    def _check(self, settings: CameraSettings) -> None:
        """Refuses what would be ignored silently, or would flicker."""
        serial = self._info.serial
        if settings.ir:
            raise DeviceError(f"camera {serial}: infrared is not recorded", hint="leave ir off")
        possible = flicker_free_exposures(settings.powerline_hz, fps=settings.fps)
        if settings.exposure_usec not in possible:
            raise DeviceError(
                f"camera {serial}: an exposure of {settings.exposure_usec} µs is not possible without flicker "
                f"at {settings.powerline_hz} Hz",
                hint=f"choose one of {', '.join(map(str, possible))} µs",
            )
        factory_camera(self._info, settings)

    def _config(self, settings: CameraSettings) -> Any:
        k4a, serial = self._k4a, self._info.serial
        try:
            return k4a.Config(
                color_resolution=k4a.ColorResolution[f"RES_{settings.color_resolution}"],
                color_format=k4a.ImageFormat.COLOR_MJPG,
                depth_mode=k4a.DepthMode[settings.depth_mode],
                camera_fps=k4a.FPS[f"FPS_{settings.fps}"],
                synchronized_images_only=False,  # half a capture is better than none
                depth_delay_off_color_usec=settings.depth_delay_usec,
                wired_sync_mode=k4a.WiredSyncMode[settings.role.upper()],
                subordinate_delay_off_master_usec=settings.subordinate_delay_usec,
            )
        except KeyError as error:
            raise DeviceError(
                f"camera {serial} has no mode {error}", hint="for example 1080P, NFOV_UNBINNED, 30"
            ) from error

    def _set(self, attribute: str, value: int, *, name: str) -> None:
        """Sets a value, which makes the control manual, and reads it back."""
        serial = self._info.serial
        try:
            setattr(self._device, attribute, value)
        except self._k4a.K4AException as error:
            raise DeviceError(f"camera {serial} refuses {name} {value}", hint=SETTING_HINT) from error
        found = self._get(attribute, name)
        if found != value:
            raise DeviceError(f"camera {serial}: {name} is {found} after it was set to {value}", hint=SETTING_HINT)

    def _get(self, attribute: str, name: str) -> int:
        for _ in range(READS):
            try:
                value = getattr(self._device, attribute)
            except self._k4a.K4AException:
                value = 0
            if value:
                return value
        raise DeviceError(f"camera {self._info.serial}: {name} cannot be read back", hint=SETTING_HINT)

    def _report(self, settings: CameraSettings) -> dict[str, str]:
        return {
            "model": self._info.model,
            "firmware": self._info.firmware or "",
            **_firmware_parts(self._info.firmware),
            "color_mode": f"MJPG_{settings.color_resolution}",
            "depth_mode": settings.depth_mode,
            "fps": str(settings.fps),
            "exposure_usec": str(self._get("exposure", "exposure")),
            "white_balance_k": str(self._get("whitebalance", "white balance")),
            "powerline_hz": str(settings.powerline_hz),
        }

    def _captured(self, capture: Any, now_nsec: int) -> Capture:
        color, depth = capture.color, capture.depth
        stamped = capture.color_system_timestamp_nsec if color is not None else capture.depth_system_timestamp_nsec
        # some wrappers stamp by another clock
        host_nsec = stamped if 0 <= now_nsec - stamped < STALE_NSEC else now_nsec
        return Capture(
            serial=self._info.serial,
            host_nsec=host_nsec,
            color_jpeg=None if color is None else color.tobytes(),
            color_usec=None if color is None else int(capture.color_timestamp_usec),
            depth_mm=None if depth is None else depth.copy(),
            depth_usec=None if depth is None else int(capture.depth_timestamp_usec),
        )


def factory_camera(info: CameraInfo, settings: CameraSettings) -> RgbdCamera:
    """A camera's two imagers from its factory calibration; raises DeviceError where it has none that can be read."""
    try:
        return parse_factory_calibration(
            info.factory_calibration, depth_mode=settings.depth_mode, color_mode=settings.color_resolution,
            serial=info.serial,
        )  # fmt: skip
    except RecordingError as error:
        raise DeviceError(f"camera {info.serial}: {error.message}", hint=error.hint) from error


def _firmware_parts(version: str | None) -> dict[str, str]:
    """Colour and depth firmware, as recordings name them, of a release ("1.6.110079014")."""
    major, _, rest = (version or "").partition(".")
    minor, _, builds = rest.partition(".")
    if not (builds.isdigit() and len(builds) > 6):
        return {}
    return {
        "color_firmware": f"{major}.{minor}.{int(builds[:-6])}",
        "depth_firmware": f"{major}.{minor}.{int(builds[-6:-3])}",
    }


def _start_hint(settings: CameraSettings) -> str:
    jacks = {"master": "SYNC OUT", "subordinate": "SYNC IN"}
    if settings.role in jacks:
        return f"check the cable in its {jacks[settings.role]} jack, and that it has a USB controller of its own"
    return "check its USB cable; give it a USB controller of its own"


class AzureKinects:
    """Every Azure Kinect that is connected."""

    def open_all(self) -> list[Camera]:
        """All of them, opened; none is no error. Raises DeviceError where one cannot be opened."""
        cameras, broken = self._open_each()
        if broken:
            for camera in cameras:
                camera.close()
            count = len(cameras) + len(broken)
            numbers = ", ".join(str(index + 1) for index in broken)
            opened = ", ".join(camera.info.serial for camera in cameras) or "none"
            raise DeviceError(
                f"camera {numbers} of {count} cannot be opened (opened: {opened})",
                hint="close other programs that use it; each camera needs power and a USB 3 port of its own",
            )
        return list(cameras)

    def open(self, serial: str) -> Camera:
        """One that was plugged in again; the others may be in use. Raises DeviceError where it is not there."""
        found: AzureKinect | None = None
        for camera in self._open_each()[0]:
            if camera.info.serial == serial:
                found = camera
            else:
                camera.close()
        if found is None:
            raise DeviceError(f"camera {serial} is not connected", hint=CABLE_HINT)
        return found

    def _open_each(self) -> tuple[list[AzureKinect], list[int]]:
        """Those that open, and the numbers of those that do not."""
        k4a = load_pyk4a()
        cameras, broken = [], []
        for index in range(k4a.connected_device_count()):
            device = k4a.PyK4A(device_id=index, thread_safe=False)
            try:
                device.open()
                cameras.append(AzureKinect(device))
            except (k4a.K4AException, DeviceError):
                broken.append(index)
                if device.opened:
                    device.close()
        return cameras, broken
