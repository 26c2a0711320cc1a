"""Depth and colour of an item: one Matroska file with a video stream for each camera, in the order of `cameras.json`.

Depth is FFV1 (16 bit, millimetres, 0 = invalid), exactly as recorded. Colour is the cameras' own JPEG, without what
cameras write beside the picture; a preview is the mosaic of one picture a second, made before it is encoded.
A frame that a camera missed is black, and listed in `cameras.json`.
"""

import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from mmface4d.arrays import ColorImage
from mmface4d.errors import InputError, TakeError
from mmface4d.quiet import native_stderr_hidden
from mmface4d.take import Take

MOSAIC_BLOCKS = 16  # along the shorter side of the picture: a face is a few of them
JPEG_QUALITY = 90
# markers whose content is not the picture: those of APP1 to APP13 and APP15, and comments; APP14 tells the colours
DROPPED = frozenset((*range(0xE1, 0xEE), 0xEF, 0xFE))
START_OF_IMAGE, END_OF_IMAGE, START_OF_SCAN, APP0 = b"\xff\xd8", 0xD9, 0xDA, 0xE0
PLAIN_APP0_BYTES = 18  # with its marker; a longer one holds a thumbnail
# what ends the coded pixels of a scan; stuffed zeros, restarts and fillers do not
MARKER = re.compile(rb"\xff(?=[^\x00\xd0-\xd7\xff])")
Frames = Int[np.ndarray, "n_frames"]


@contextmanager
def _matroska(path: Path) -> Iterator[Any]:
    import av

    # without "bitexact" each file would get a random number and the library's version
    with av.open(str(path), "w", format="matroska", options={"fflags": "+bitexact"}) as container:
        yield container


def _stream(container: Any, codec: str, size: tuple[int, int], *, fps: float, pixels: str) -> Any:
    stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
    stream.width, stream.height = size
    stream.pix_fmt = pixels
    return stream


def write_depth(path: Path, take: Take, frames: Frames, *, fps: float) -> None:
    """Writes the depth pictures of some frames of a take; raises TakeError where one is damaged."""
    with _matroska(path) as container:
        streams = []
        for camera in take.cameras.values():
            stream = _stream(container, "ffv1", camera.rgbd.depth.size, fps=fps, pixels="gray16le")
            stream.codec_context.thread_count = 1  # their number would change the bytes
            stream.options = {"level": "3", "slices": "4", "slicecrc": "1", "g": "1"}
            streams.append(stream)
        for number, frame in enumerate(frames):
            for stream, serial in zip(streams, take.cameras, strict=True):
                _encode(container, stream, _depth(take, int(frame), serial), number)
        for stream in streams:
            container.mux(stream.encode(None))


def _depth(take: Take, frame: int, serial: str) -> np.ndarray:
    depth_mm = take.depth_mm(frame, serial)
    width, height = take.cameras[serial].rgbd.depth.size
    return np.zeros((height, width), np.uint16) if depth_mm is None else depth_mm


def _encode(container: Any, stream: Any, picture: np.ndarray, number: int) -> None:
    import av

    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="gray16le")
    frame.pts = number
    frame.time_base = Fraction(1) / stream.codec_context.framerate
    container.mux(stream.encode(frame))


def write_color(path: Path, take: Take, frames: Frames, *, fps: float) -> None:
    """Writes the colour pictures of some frames of a take as recorded; raises TakeError where one is damaged."""

    def jpeg(frame: int, serial: str) -> bytes | None:
        recorded = take.color_jpeg(frame, serial)
        if recorded is not None:
            take.color(frame, serial)  # what cannot be decoded is not passed on
        return None if recorded is None else bare_jpeg(recorded)

    _write_jpegs(path, take, frames, fps=fps, jpeg=jpeg)


def write_preview(path: Path, take: Take, frames: Frames, *, fps: float) -> None:
    """Writes mosaics of one picture a second."""

    def jpeg(frame: int, serial: str) -> bytes | None:
        color = take.color(frame, serial)
        return None if color is None else _encoded(mosaic(color))

    _write_jpegs(path, take, frames[:: max(round(fps), 1)], fps=1.0, jpeg=jpeg)


def _write_jpegs(
    path: Path, take: Take, frames: Frames, *, fps: float, jpeg: Callable[[int, str], bytes | None]
) -> None:
    import av

    with _matroska(path) as container:
        streams = [
            _stream(container, "mjpeg", camera.rgbd.color.size, fps=fps, pixels="yuvj420p")
            for camera in take.cameras.values()
        ]
        for number, frame in enumerate(frames):
            for stream, (serial, camera) in zip(streams, take.cameras.items(), strict=True):
                width, height = camera.rgbd.color.size
                data = jpeg(int(frame), serial) or _encoded(np.zeros((height, width, 3), np.uint8))
                packet = av.Packet(data)
                packet.stream, packet.time_base = stream, Fraction(1) / Fraction(fps).limit_denominator(1001)
                packet.pts = packet.dts = number
                packet.is_keyframe = True
                container.mux(packet)


def mosaic(color: ColorImage) -> ColorImage:
    """The picture in squares of one colour each, their mean: 16 along the shorter side."""
    height, width = color.shape[:2]
    side = max(-(-min(height, width) // MOSAIC_BLOCKS), 1)
    rows, columns = np.arange(0, height, side), np.arange(0, width, side)
    sums = np.add.reduceat(np.add.reduceat(color.astype(np.int64), rows, axis=0), columns, axis=1)
    counts = np.outer(np.diff(np.append(rows, height)), np.diff(np.append(columns, width)))
    blocks = (sums // counts[..., None]).astype(np.uint8)
    return blocks.repeat(side, axis=0).repeat(side, axis=1)[:height, :width]


def _encoded(color: ColorImage) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(color).save(out, "JPEG", quality=JPEG_QUALITY)
    return out.getvalue()


def bare_jpeg(data: bytes) -> bytes:
    """A JPEG without the segments that hold device, place, time or comments; raises TakeError where damaged."""
    if data[:2] != START_OF_IMAGE:
        raise TakeError("a colour picture is no JPEG", hint="see: mmface4d take check TAKE")
    kept, at = [data[:2]], 2
    while data[at : at + 1] == b"\xff" and at + 2 <= len(data):
        marker, end = data[at + 1], at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == END_OF_IMAGE:  # nothing that hides behind it goes along, such as another picture
            return b"".join([*kept, data[at : at + 2]])
        if marker == START_OF_SCAN:
            following = MARKER.search(data, end)
            end = following.start() if following else len(data)
        if marker not in DROPPED and (marker != APP0 or end - at <= PLAIN_APP0_BYTES):
            kept.append(data[at:end])
        at = end
    raise TakeError("a colour picture is damaged", hint="see: mmface4d take check TAKE")


def read_videos(data: bytes, *, name: str) -> list[np.ndarray]:
    """The frames of each stream of such a file: uint16 [T,H,W], or uint8 [T,H,W,3] of colour."""
    import av
    from av.error import FFmpegError

    try:
        with native_stderr_hidden(), av.open(io.BytesIO(data), "r", format="matroska") as container:
            found: list[list[np.ndarray]] = [[] for _ in container.streams]
            for packet in container.demux():
                for frame in packet.decode():
                    kind = "gray16le" if packet.stream.codec_context.name == "ffv1" else "rgb24"
                    found[packet.stream.index].append(frame.to_ndarray(format=kind))  # type: ignore[union-attr]
    except (FFmpegError, ValueError) as error:
        raise InputError(f"{name} is damaged: {error}", hint="see what else is: mmface4d release verify") from error
    return [np.stack(frames) for frames in found if frames]


def missed(take: Take, frames: Sequence[int] | Frames, kind: str) -> list[list[int]]:
    """For each camera the frames (counted in the item) that it missed; `kind` is color or depth."""
    table = take.info.frames.color_usec if kind == "color" else take.info.frames.depth_usec
    return [[n for n, frame in enumerate(frames) if table[serial][int(frame)] is None] for serial in take.cameras]
