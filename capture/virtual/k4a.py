"""A virtual `k4a_module`: pyk4a, and any driver above it, cannot tell virtual Kinects from real ones.

`installed(bench)` replaces the functions of the real extension module that talk to devices and to their captures, and
puts them back at the end. What works on files (playback, recording, calibrations) stays real; handles that are not
virtual are passed on to the real functions, which in turn take a virtual handle for a device that is gone. Argument
orders and return values: pyk4a 1.5.0, pyk4a.cpp.

A `thread_safe` call holds the GIL while it waits, as a real one does.
"""

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from capture.virtual.bench import FAILED, SUCCEEDED, Bench, Device, StreamSettings, VirtualCapture
from capture.virtual.controls import CONTROLS
from capture.virtual.handles import CAPTURE_NAME, DEVICE_NAME, Marks, empty_capsule
from mmface4d.errors import MissingBackendError

LONGEST_WAIT_S = 1e9  # of a call without a timeout
ISO_SPEED = 100
NOTHING = (None, 0, 0)  # where a capture has no such picture


@dataclass(eq=False)
class DeviceHandle:
    """What stands for an opened device; it is dead once the device was unplugged, or opened anew."""

    device: Device
    session: int

    @property
    def current(self) -> bool:
        """Whether the device is still the one that was opened."""
        return self.session == self.device.session


DEVICES: Marks[DeviceHandle] = Marks(DEVICE_NAME, most=100_000)
CAPTURES: Marks[VirtualCapture] = Marks(CAPTURE_NAME, most=1000)


@contextmanager
def installed(bench: Bench) -> Iterator[Bench]:
    """Puts the virtual devices in place of the real ones; raises MissingBackendError where pyk4a is absent."""
    module = load_k4a_module()
    functions = VirtualModule(bench, module).functions()
    kept = {name: getattr(module, name) for name in functions if hasattr(module, name)}
    for name, function in functions.items():
        setattr(module, name, function)
    try:
        yield bench
    finally:
        for name in functions:
            if name in kept:
                setattr(module, name, kept[name])
            else:
                delattr(module, name)


def load_k4a_module() -> Any:
    """The extension module under pyk4a."""
    os.environ.setdefault("K4A_LOG_LEVEL", "c")  # the SDK tells the terminal about every call that fails
    os.environ.setdefault("K4A_ENABLE_LOG_TO_STDOUT", "0")  # stdout is for data
    try:
        import pyk4a
    except ImportError as error:
        raise MissingBackendError(
            f"pyk4a cannot be loaded: {error}", hint='install it with: pip install "mmface4d[capture]"'
        ) from error
    package: Any = pyk4a
    return package.module.k4a_module


class VirtualModule:
    """The functions, by the names they have in the real module."""

    def __init__(self, bench: Bench, real: Any) -> None:
        self.bench = bench
        # the module's own attributes are about to be replaced
        self._real = {name: getattr(real, name) for name in dir(real) if callable(getattr(real, name))}
        self._sleep_usec = ctypes.PyDLL(None).usleep  # PyDLL keeps the GIL

    def functions(self) -> dict[str, Callable[..., Any]]:
        """Everything that is replaced; `device_get_version` is not in pyk4a 1.5.0, which has no name for it."""
        device = {
            "device_get_serialnum": self._serial,
            "device_close": self._close,
            "device_get_sync_jack": self._sync_jack,
            "device_get_color_control": self._get_control,
            "device_set_color_control": self._set_control,
            "device_get_color_control_capabilities": self._control_range,
            "device_start_cameras": self._start,
            "device_stop_cameras": self._stop,
            "device_start_imu": self._start_imu,
            "device_stop_imu": self._stop_imu,
            "device_get_capture": self._get_capture,
            "device_get_imu_sample": self._imu_sample,
            "device_get_calibration": self._calibration,
            "device_get_raw_calibration": self._raw_calibration,
        }
        capture = {
            "capture_get_color_image": self._color,
            "capture_get_depth_image": self._depth,
            "capture_get_ir_image": self._infrared,
            "color_image_get_exposure_usec": self._exposure,
            "color_image_get_iso_speed": self._iso_speed,
            "color_image_get_white_balance": self._white_balance,
        }
        return {
            "device_get_installed_count": lambda: len(self.bench.present()),
            "device_open": self._open,
            "device_get_version": lambda capsule, thread_safe: self._version(capsule),
            **{name: self._for_devices(name, function) for name, function in device.items()},
            **{name: self._for_captures(name, function) for name, function in capture.items()},
        }

    def _for_devices(self, name: str, virtual: Callable[..., Any]) -> Callable[..., Any]:
        """The virtual function for handles of virtual devices, the real one for others."""
        real = self._real[name]

        def function(capsule: Any, *arguments: Any) -> Any:
            handle = DEVICES.find(capsule)
            if handle is None:
                return real(capsule, *arguments)
            if virtual != self._get_capture:
                handle.device.wait_while_hanging()
            return virtual(handle, *arguments)

        return function

    def _for_captures(self, name: str, virtual: Callable[..., Any]) -> Callable[..., Any]:
        real = self._real[name]

        def function(capsule: Any, *arguments: Any) -> Any:
            capture = CAPTURES.find(capsule)
            return real(capsule, *arguments) if capture is None else virtual(capture, *arguments)

        return function

    def _open(self, index: int, thread_safe: bool) -> tuple[int, Any]:
        present = self.bench.present()
        if not 0 <= index < len(present) or not present[index].open():
            return FAILED, None
        return SUCCEEDED, DEVICES.mark(empty_capsule(DEVICE_NAME), DeviceHandle(present[index], present[index].session))

    def _close(self, handle: DeviceHandle, thread_safe: bool) -> int:
        if handle.current:
            handle.device.close()
        return SUCCEEDED

    def _serial(self, handle: DeviceHandle, thread_safe: bool) -> str:
        device = _alive(handle)
        return device.serial if device else ""

    def _version(self, capsule: Any) -> str | None:
        handle = DEVICES.find(capsule)
        device = _alive(handle) if handle else None
        settings = self.bench.settings
        return settings.firmware.get(device.serial, settings.usual_firmware) if device else None

    def _sync_jack(self, handle: DeviceHandle, thread_safe: bool) -> tuple[int, int, int]:
        device = _alive(handle)
        if device is None:
            return FAILED, 0, 0
        jack_in, jack_out = self.bench.jacks(device.serial)
        return SUCCEEDED, int(jack_in), int(jack_out)

    def _get_control(self, handle: DeviceHandle, thread_safe: bool, command: int) -> tuple[int, int, int]:
        device = _alive(handle)
        # a read that failed returns success, mode 0 and value 0
        if device is None or command not in CONTROLS or self._has_fault("unread", device, command):
            return 0, 0, 0
        return SUCCEEDED, *device.controls.get(command)

    def _set_control(self, handle: DeviceHandle, thread_safe: bool, command: int, mode: int, value: int) -> int:
        device = _alive(handle)
        if device is None or self._has_fault("refuse", device, command):
            return FAILED
        return SUCCEEDED if device.controls.set(command, mode, value) else FAILED

    def _has_fault(self, kind: str, device: Device, command: int) -> bool:
        control = CONTROLS.get(command)
        now_s = self.bench.stage.now_s()
        return control is not None and self.bench.faults.of_setting(kind, device.serial, control.name, now_s=now_s)

    def _control_range(
        self, handle: DeviceHandle, thread_safe: bool, command: int
    ) -> tuple[int, dict[str, Any] | None]:
        control = CONTROLS.get(command)
        if _alive(handle) is None or control is None:
            return FAILED, None
        return SUCCEEDED, {
            "color_control_command": int(command),
            "supports_auto": control.has_auto,
            "min_value": control.least,
            "max_value": control.most,
            "step_value": control.step,
            "default_value": control.default,
            "default_mode": 0 if control.has_auto else 1,
        }

    def _start(self, handle: DeviceHandle, thread_safe: bool, *config: int) -> int:
        device = _alive(handle)
        color_format, resolution, depth_mode, fps, synchronized, depth_delay, sync_mode, late, _led = map(int, config)
        settings = StreamSettings(
            color_format=color_format,
            color_resolution=resolution,
            depth_mode=depth_mode,
            fps=fps,
            synchronized_only=bool(synchronized),
            depth_delay_usec=depth_delay,
            sync_mode=sync_mode,
            subordinate_delay_usec=late,
        )
        return SUCCEEDED if device is not None and device.start(settings) else FAILED

    def _stop(self, handle: DeviceHandle, thread_safe: bool) -> int:
        if handle.current:
            handle.device.stop()
        return SUCCEEDED

    def _start_imu(self, handle: DeviceHandle, thread_safe: bool) -> int:
        return SUCCEEDED if _alive(handle) else FAILED

    def _stop_imu(self, handle: DeviceHandle, thread_safe: bool) -> int:
        return SUCCEEDED

    def _imu_sample(self, handle: DeviceHandle, thread_safe: bool, timeout_ms: int) -> tuple[int, None]:
        return FAILED, None  # there is no motion sensor

    def _get_capture(self, handle: DeviceHandle, thread_safe: bool, timeout_ms: int) -> tuple[int, Any]:
        """A capsule comes back whatever the result, as from the real function."""
        empty = empty_capsule(CAPTURE_NAME)
        if not handle.current:
            return FAILED, empty
        timeout_s = timeout_ms / 1000 if timeout_ms >= 0 else LONGEST_WAIT_S
        wait = self._wait_holding_gil if thread_safe else self.bench.changed.wait
        result, capture = handle.device.capture(timeout_s, wait)
        return result, empty if capture is None else CAPTURES.mark(empty, capture)

    def _wait_holding_gil(self, seconds: float) -> None:
        self._sleep_usec(round(seconds * 1e6))

    def _calibration(self, handle: DeviceHandle, thread_safe: bool, depth_mode: int, color: int) -> tuple[int, Any]:
        """A real calibration handle, made by the SDK from the device's blob."""
        raw = self._raw_calibration(handle, thread_safe)
        parse = self._real["calibration_get_from_raw"]
        return parse(thread_safe, raw, depth_mode, color) if raw else (FAILED, None)

    def _raw_calibration(self, handle: DeviceHandle, thread_safe: bool) -> str:
        device = _alive(handle)
        return device.kinect.factory_blob.rstrip(b"\0").decode() if device else ""

    def _color(self, capture: VirtualCapture, thread_safe: bool) -> tuple[np.ndarray | None, int, int]:
        if capture.color_jpeg is None:
            return NOTHING
        return np.frombuffer(capture.color_jpeg, np.uint8).copy(), capture.color_usec, capture.host_nsec

    def _depth(self, capture: VirtualCapture, thread_safe: bool) -> tuple[np.ndarray | None, int, int]:
        if capture.depth_mm is None:
            return NOTHING
        return capture.depth_mm.copy(), capture.depth_usec, capture.host_nsec

    def _infrared(self, capture: VirtualCapture, thread_safe: bool) -> tuple[np.ndarray | None, int, int]:
        return NOTHING  # the stage has none

    def _exposure(self, capture: VirtualCapture) -> int:
        return capture.exposure_usec if capture.color_jpeg else 0

    def _iso_speed(self, capture: VirtualCapture) -> int:
        return ISO_SPEED if capture.color_jpeg else 0

    def _white_balance(self, capture: VirtualCapture) -> int:
        return capture.white_balance_k if capture.color_jpeg else 0


def _alive(handle: DeviceHandle) -> Device | None:
    return handle.device if handle.current and handle.device.alive else None
