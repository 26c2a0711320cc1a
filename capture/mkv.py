"""Reading Azure Kinect recordings (k4arecorder, libk4arecord) by PyAV, without the SDK.

Colour is MJPEG, depth 16-bit big-endian; tags start with K4A_; device time = block time + K4A_START_OFFSET_NS.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmface4d.arrays import DepthImage
from mmface4d.azure_kinect import parse_factory_calibration
from mmface4d.cameras import RgbdCamera
from mmface4d.errors import RecordingError
from mmface4d.take import TakeCamera
from mmface4d.take_record import SERIAL_PATTERN, Role

MAX_JPEG_BYTES = 64 << 20
MOST_USEC = 9 * 10**15  # nanoseconds of it fit 64 bits
RECORD_AGAIN = "record it again with k4arecorder, or leave the camera out"
ROLES: dict[str, Role] = {"STANDALONE": "standalone", "MASTER": "master", "SUBORDINATE": "subordinate"}
_EBML, _SEGMENT = 0x1A45DFA3, 0x18538067


@dataclass(frozen=True)
class Picture:
    """One colour or depth picture of a recording, with its device time."""

    device_usec: int
    jpeg: bytes | None = None
    depth_mm: DepthImage | None = None


@dataclass(frozen=True)
class Recording:
    """What a recording says about itself."""

    path: Path
    camera: TakeCamera
    start_offset_usec: int
    truncated: bool  # the file ends before its own header says

    def pictures(self) -> Iterator[Picture]:
        """Colour and depth pictures in the order of the file; a truncated file gives those that are whole."""
        from av.error import FFmpegError

        with _opened(self.path) as container:
            color, depth = _streams(container, self.path)
            width, height = self.camera.rgbd.depth.size
            try:
                for packet in container.demux(color, depth):
                    if packet.pts is None or not packet.size or packet.is_corrupt:
                        continue
                    # pts counts in the container's time base, a microsecond in these files
                    device_usec = round(packet.pts * packet.time_base * 1_000_000) + self.start_offset_usec
                    if not 0 <= device_usec < MOST_USEC:
                        raise RecordingError(
                            f"{self.path}: a picture has the time {device_usec} us, which cannot be", hint=RECORD_AGAIN
                        )
                    if packet.stream_index == color.index:
                        yield Picture(device_usec, jpeg=self._jpeg(bytes(packet)))
                    elif packet.size == width * height * 2:
                        pixels = np.frombuffer(bytes(packet), ">u2").astype(np.uint16).reshape(height, width)
                        yield Picture(device_usec, depth_mm=pixels)
                    elif not self.truncated:
                        raise RecordingError(
                            f"{self.path}: a depth picture has {packet.size} bytes, {width}x{height} needs "
                            f"{width * height * 2}",
                            hint=RECORD_AGAIN,
                        )
            except FFmpegError as error:
                if not self.truncated:
                    raise RecordingError(f"{self.path} is damaged: {error}", hint=RECORD_AGAIN) from error

    def _jpeg(self, data: bytes) -> bytes:
        if len(data) > MAX_JPEG_BYTES or data[:2] != b"\xff\xd8":
            raise RecordingError(f"{self.path}: a colour picture is no JPEG", hint=RECORD_AGAIN)
        return data


def open_recording(path: Path) -> Recording:
    """Reads the header, tags and factory calibration of a recording; raises RecordingError."""
    truncated = is_truncated(path)
    with _opened(path) as container:
        color, depth = _streams(container, path)
        tags = {key.upper(): value for key, value in container.metadata.items()}
        color_format, _, color_mode = _tag(color.metadata, "K4A_COLOR_MODE", path).partition("_")
        depth_mode = _tag(depth.metadata, "K4A_DEPTH_MODE", path)
        blob = _calibration(container, path)
    if color_format != "MJPG":
        raise RecordingError(
            f"{path}: its colour is {color_format}, only MJPG is read", hint="record with k4arecorder -c 1080p (MJPG)"
        )
    serial = tags.get("K4A_DEVICE_SERIAL_NUMBER", "")
    if not serial:
        raise RecordingError(f"{path} does not name its device", hint=RECORD_AGAIN)
    if not re.fullmatch(SERIAL_PATTERN, serial):
        raise RecordingError(f"{path}: {serial!r} is no serial number of a device", hint=RECORD_AGAIN)
    sync = tags.get("K4A_WIRED_SYNC_MODE", "STANDALONE").upper()
    if sync not in ROLES:
        raise RecordingError(f"{path}: unknown sync mode {sync!r}", hint=f"known: {', '.join(ROLES)}")
    rgbd: RgbdCamera = parse_factory_calibration(blob, depth_mode=depth_mode, color_mode=color_mode, serial=serial)
    camera = TakeCamera(
        serial=serial,
        role=ROLES[sync],
        rgbd=rgbd,
        depth_delay_usec=_microseconds(tags, "K4A_DEPTH_DELAY_NS", path),
        subordinate_delay_usec=_microseconds(tags, "K4A_SUBORDINATE_DELAY_NS", path),
        settings={
            "color_mode": f"MJPG_{color_mode}",
            "depth_mode": depth_mode,
            "color_firmware": tags.get("K4A_COLOR_FIRMWARE_VERSION", ""),
            "depth_firmware": tags.get("K4A_DEPTH_FIRMWARE_VERSION", ""),
            "file": path.name,
        },
        factory_calibration=blob,
    )
    return Recording(path, camera, _microseconds(tags, "K4A_START_OFFSET_NS", path), truncated)


def is_truncated(path: Path) -> bool:
    """Whether a Matroska file is shorter than its segment says, or was never closed; raises RecordingError."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise RecordingError(f"{path} cannot be read: {error.strerror}", hint="check the path") from error
    identity, position = _element_id(head, 0)
    if identity != _EBML:
        raise RecordingError(f"{path} is no Matroska (MKV) file", hint="give recordings made by k4arecorder")
    length, position = _element_size(head, position)
    identity, position = _element_id(head, position + (length or 0))
    if identity != _SEGMENT:
        return True
    length, position = _element_size(head, position)
    return length is None or position + length > path.stat().st_size


def _element_id(data: bytes, position: int) -> tuple[int, int]:
    """An EBML id and the position behind it; 0 where there is none."""
    if position >= len(data) or data[position] < 0x10:
        return 0, position
    width = 9 - data[position].bit_length()
    return int.from_bytes(data[position : position + width], "big"), position + width


def _element_size(data: bytes, position: int) -> tuple[int | None, int]:
    """An EBML size, None where it is "unknown" (a live or killed recording), and the position behind it."""
    if position >= len(data) or data[position] == 0:
        return None, position
    width = 9 - data[position].bit_length()
    value = int.from_bytes(data[position : position + width], "big") & ((1 << 7 * width) - 1)
    return (None if value == (1 << 7 * width) - 1 else value), position + width


def _opened(path: Path) -> Any:
    import av
    import av.logging
    from av.error import FFmpegError

    av.logging.set_level(None)
    try:
        return av.open(str(path), format="matroska")
    except (FFmpegError, OSError) as error:
        raise RecordingError(
            f"{path} cannot be opened: {getattr(error, 'strerror', None) or error}",
            hint="a recording that was not closed can be lost; try: mkclean or mkvtoolnix on a copy, or record again",
        ) from error


def _streams(container: Any, path: Path) -> tuple[Any, Any]:
    """The colour and the depth stream."""
    found = {}
    for stream in container.streams.video:
        for kind in ("COLOR", "DEPTH"):
            if stream.metadata.get("title", "").upper() == kind or f"K4A_{kind}_MODE" in stream.metadata:
                found[kind] = stream
    for kind in ("COLOR", "DEPTH"):
        if kind not in found:
            raise RecordingError(f"{path} has no {kind.lower()} stream", hint=RECORD_AGAIN)
    return found["COLOR"], found["DEPTH"]


def _tag(tags: dict[str, str], name: str, path: Path) -> str:
    if name not in tags:
        raise RecordingError(f"{path} lacks the tag {name}", hint="is it an Azure Kinect recording? " + RECORD_AGAIN)
    return tags[name].upper()


def _microseconds(tags: dict[str, str], name: str, path: Path) -> int:
    try:
        return round(int(tags.get(name, "0")) / 1000)
    except ValueError as error:
        raise RecordingError(f"{path}: the tag {name} is {tags[name]!r}", hint=RECORD_AGAIN) from error


def _calibration(container: Any, path: Path) -> bytes:
    wanted = container.metadata.get("K4A_CALIBRATION_FILE", "calibration.json")
    for stream in container.streams:
        if stream.type == "attachment" and stream.name in (wanted, "calibration.json"):
            return bytes(stream.data)
    raise RecordingError(
        f"{path} holds no factory calibration", hint="without it depth and colour cannot be related; " + RECORD_AGAIN
    )
