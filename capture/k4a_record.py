"""libk4arecord, the Azure Kinect SDK's own writer of recordings, by ctypes.

pyk4a can record from an opened device only, and gives a recording neither serial number nor calibration without one.
PyAV's Matroska writer counts whole milliseconds, which device times are not.
Source of names and rules: Azure-Kinect-Sensor-SDK, k4a.h, k4atypes.h, record.h (MIT).
"""

import ctypes as ct
import ctypes.util
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from mmface4d.arrays import DepthImage
from mmface4d.azure_kinect import COLOR_MODES, DEPTH_MODES
from mmface4d.errors import MissingBackendError, RecordingError
from mmface4d.take import TakeCamera

KINECT_FPS = (5, 15, 30)
CALIBRATION_FILE = "calibration.json"
DEPTH16 = 4  # K4A_IMAGE_FORMAT_DEPTH16, which pyk4a does not name
SUCCEEDED = 0
FLUSH_IMAGES = 30  # the library keeps in memory what was not flushed
HINT_INSTALL = 'install it with: pip install "mmface4d[capture]"'


class _Configuration(ct.Structure):
    """k4a_device_configuration_t."""

    _fields_ = (
        ("color_format", ct.c_int),
        ("color_resolution", ct.c_int),
        ("depth_mode", ct.c_int),
        ("camera_fps", ct.c_int),
        ("synchronized_images_only", ct.c_bool),
        ("depth_delay_off_color_usec", ct.c_int32),
        ("wired_sync_mode", ct.c_int),
        ("subordinate_delay_off_master_usec", ct.c_uint32),
        ("disable_streaming_indicator", ct.c_bool),
    )


@dataclass(frozen=True)
class Libraries:
    """The two shared libraries, with the signatures of what is called declared."""

    k4a: ct.CDLL
    record: ct.CDLL


@cache
def load_libraries() -> Libraries:
    """The Azure Kinect SDK that pyk4a runs on; raises MissingBackendError."""
    # the SDK logs to stdout, where results go; who wants its log sets this to 1
    os.environ.setdefault("K4A_ENABLE_LOG_TO_STDOUT", "0")
    try:
        import pyk4a  # loads the libraries' own dependencies
    except ImportError as error:
        raise MissingBackendError(f"the Azure Kinect SDK cannot be loaded: {error}", hint=HINT_INSTALL) from error
    folder = Path(pyk4a.__file__).parent.parent
    libraries = Libraries(_load("k4a", folder), _load("k4arecord", folder))
    _declare(libraries)
    return libraries


def _load(name: str, folder: Path) -> ct.CDLL:
    # the wheel carries the libraries under names with a hash; plain pyk4a uses the system's
    bundled = sorted(folder.glob(f"pyk4a_bundle.libs/lib{name}-*.so*"))
    path = str(bundled[0]) if bundled else ctypes.util.find_library(name)
    try:
        if path:
            return ct.CDLL(path)
    except OSError as error:
        raise MissingBackendError(f"lib{name} cannot be loaded: {error}", hint=HINT_INSTALL) from error
    raise MissingBackendError(f"lib{name}, a part of the Azure Kinect SDK, is not installed", hint=HINT_INSTALL)


def _declare(libraries: Libraries) -> None:
    handle, size = ct.c_void_p, ct.c_size_t
    k4a, record = libraries.k4a, libraries.record
    k4a.k4a_image_create_from_buffer.argtypes = [ct.c_int] * 4 + [handle, size, handle, handle, handle]
    k4a.k4a_image_set_device_timestamp_usec.argtypes = [handle, ct.c_uint64]
    k4a.k4a_capture_create.argtypes = [handle]
    record.k4a_record_create.argtypes = [ct.c_char_p, handle, _Configuration, handle]
    record.k4a_record_add_tag.argtypes = [handle, ct.c_char_p, ct.c_char_p]
    record.k4a_record_add_attachment.argtypes = [handle, ct.c_char_p, handle, size]
    record.k4a_record_write_capture.argtypes = [handle, handle]
    for function in (k4a.k4a_image_release, k4a.k4a_capture_release, record.k4a_record_close):
        function.argtypes, function.restype = [handle], None
    for function in (k4a.k4a_capture_set_color_image, k4a.k4a_capture_set_depth_image):
        function.argtypes, function.restype = [handle, handle], None
    for function in (record.k4a_record_write_header, record.k4a_record_flush):
        function.argtypes = [handle]


def color_mode_of(camera: TakeCamera) -> str:
    """The Kinect's colour mode ("1080P") that has the camera's picture size; raises RecordingError."""
    return _mode(camera, camera.rgbd.color.size, COLOR_MODES, what="colour")


def depth_mode_of(camera: TakeCamera) -> str:
    """The Kinect's depth mode ("NFOV_UNBINNED") that has the camera's picture size; raises RecordingError."""
    return _mode(camera, camera.rgbd.depth.size, DEPTH_MODES, what="depth")


def _mode(camera: TakeCamera, size: tuple[int, int], modes: dict[str, Any], *, what: str) -> str:
    for name, (_, _, output) in modes.items():
        if output == size:
            return name
    raise RecordingError(
        f"camera {camera.serial}: no {what} mode of an Azure Kinect has {size[0]}x{size[1]} pixels",
        hint="only takes of Azure Kinects can be written as their recordings",
    )


class KinectRecording:
    """A recording in progress: `write_color` and `write_depth` in the order of time, then `close`.

    It has an infrared track without pictures, because libk4arecord makes one beside depth.
    Raises RecordingError where the library refuses.
    """

    def __init__(self, path: Path, camera: TakeCamera, *, calibration: bytes, fps: float) -> None:
        self.path, self._camera, self._images = path, camera, 0
        self._libraries = load_libraries()
        self._handle = ct.c_void_p()
        self._record("create", str(path).encode(), None, _configuration(camera, fps), ct.byref(self._handle))
        try:
            self._write_head(calibration)
        except RecordingError:
            self._release()
            raise

    def _write_head(self, calibration: bytes) -> None:
        settings = self._camera.settings
        tags = {
            "K4A_DEVICE_SERIAL_NUMBER": self._camera.serial,
            # without this tag playback does not look for the attachment
            "K4A_CALIBRATION_FILE": CALIBRATION_FILE,
            "K4A_COLOR_FIRMWARE_VERSION": settings.get("color_firmware", ""),
            "K4A_DEPTH_FIRMWARE_VERSION": settings.get("depth_firmware", ""),
        }
        for name, value in tags.items():
            if value:
                self._record("add_tag", self._handle, name.encode(), value.encode())
        self._record("add_attachment", self._handle, CALIBRATION_FILE.encode(), calibration, len(calibration))
        self._record("write_header", self._handle)

    def write_color(self, jpeg: bytes, device_usec: int) -> None:
        """Appends a colour picture as the camera compressed it."""
        from pyk4a import ImageFormat

        width, height = self._camera.rgbd.color.size
        form = (ImageFormat.COLOR_MJPG.value, width, height, 0)
        self._write("color", form, np.frombuffer(jpeg, np.uint8), device_usec)

    def write_depth(self, depth_mm: DepthImage, device_usec: int) -> None:
        """Appends a depth picture."""
        height, width = depth_mm.shape
        self._write("depth", (DEPTH16, width, height, 2 * width), np.ascontiguousarray(depth_mm), device_usec)

    def _write(self, kind: str, form: tuple[int, int, int, int], pixels: np.ndarray, device_usec: int) -> None:
        """Appends a capture of one picture; playback puts together again what is near in time."""
        k4a, image, capture = self._libraries.k4a, ct.c_void_p(), ct.c_void_p()
        buffer = (pixels.ctypes.data, pixels.nbytes, None, None)  # borrowed until the capture was written
        made = k4a.k4a_image_create_from_buffer(*form, *buffer, ct.byref(image))
        if made != SUCCEEDED or k4a.k4a_capture_create(ct.byref(capture)) != SUCCEEDED:
            raise RecordingError(
                f"camera {self._camera.serial}: a {kind} picture at {device_usec} us cannot be handed over",
                hint="find the damage with: mmface4d take check TAKE",
            )
        try:
            k4a.k4a_image_set_device_timestamp_usec(image, device_usec)
            getattr(k4a, f"k4a_capture_set_{kind}_image")(capture, image)
            self._record("write_capture", self._handle, capture)
        finally:
            k4a.k4a_image_release(image)
            k4a.k4a_capture_release(capture)
        self._images += 1
        if self._images % FLUSH_IMAGES == 0:
            self._record("flush", self._handle)

    def close(self) -> None:
        """Writes the index; the recording is whole from here on."""
        try:
            self._record("flush", self._handle)
        finally:
            self._release()

    def _release(self) -> None:
        handle, self._handle = self._handle, ct.c_void_p()
        if handle:
            self._libraries.record.k4a_record_close(handle)

    def _record(self, what: str, *arguments: Any) -> None:
        if getattr(self._libraries.record, f"k4a_record_{what}")(*arguments) != SUCCEEDED:
            raise RecordingError(
                f"libk4arecord refused to write {self.path} ({what})",
                hint="set K4A_ENABLE_LOG_TO_STDOUT=1 and run again to see what it did not like",
            )

    def __enter__(self) -> "KinectRecording":
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self._release()


def _configuration(camera: TakeCamera, fps: float) -> _Configuration:
    from pyk4a import FPS, ColorResolution, DepthMode, ImageFormat, WiredSyncMode

    return _Configuration(
        color_format=ImageFormat.COLOR_MJPG.value,
        color_resolution=ColorResolution[f"RES_{color_mode_of(camera)}"].value,
        depth_mode=DepthMode[depth_mode_of(camera)].value,
        camera_fps=FPS[f"FPS_{round(fps)}"].value,
        synchronized_images_only=False,
        depth_delay_off_color_usec=camera.depth_delay_usec,
        wired_sync_mode=WiredSyncMode[camera.role.upper()].value,
        subordinate_delay_off_master_usec=camera.subordinate_delay_usec,
        disable_streaming_indicator=False,
    )
