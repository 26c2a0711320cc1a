"""16-bit grey pictures as FFV1 in NUT: written picture by picture, read back so that no damage goes unseen."""

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import UInt16

from mmface4d.errors import InputError

PIXELS = "gray16le"
LEVEL_3 = {"level": "3", "coder": "range_def", "context": "0", "slices": "4", "slicecrc": "1"}
LEVEL_1 = {"level": "1", "coder": "range_def"}  # for pictures too small to be cut into slices
LEAST_SLICED = 32  # pixels
MOST_SIDE = 4096  # pixels; a larger picture is no mesh and no depth camera's
INDEX_START = bytes.fromhex("4e58dd672f23e64e")  # "NX" and the number that NUT begins its index with


class GrayVideoWriter:
    """A new NUT file: `write` each picture; the file is whole when the block ends."""

    def __init__(self, path: Path, *, width: int, height: int, fps: float) -> None:
        import av

        self._size, self._count = (height, width), 0
        self._container: Any = av.open(str(path), "w", format="nut")
        options = LEVEL_3 if min(width, height) >= LEAST_SLICED else LEVEL_1
        rate = Fraction(fps).limit_denominator(1001)
        self._stream: Any = self._container.add_stream("ffv1", rate=rate, options=dict(options))
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, PIXELS
        self._stream.codec_context.gop_size = self._stream.codec_context.thread_count = 1

    def write(self, picture: UInt16[np.ndarray, "height width"]) -> None:
        """Appends a picture."""
        import av

        if picture.shape != self._size:
            raise ValueError(f"a picture is {picture.shape}, the file's are {self._size}")
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format=PIXELS)
        frame.pts = self._count
        frame.time_base = 1 / self._stream.codec_context.framerate
        self._count += 1
        self._container.mux(self._stream.encode(frame))

    def __enter__(self) -> "GrayVideoWriter":
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self._container.mux(self._stream.encode(None))
        self._container.close()


def read_gray_video(path: Path) -> Iterator[UInt16[np.ndarray, "height width"]]:
    """The pictures in their order, one in memory; raises InputError where the file is cut, damaged or of another kind.

    FFmpeg tells of a damaged slice in its log only, and goes on with another picture's pixels; so its log is read.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist", hint="check the path")
    _check_end(path)
    with _opened(path) as (container, stream):
        frames = container.decode(stream)
        while (picture := _next(path, frames)) is not None:
            if picture.shape != (stream.height, stream.width):
                raise InputError(f"{path}: its pictures have several sizes", hint=_DAMAGED)
            yield picture


def count_pictures(path: Path) -> int:
    """How many pictures a whole file has, without looking into them; raises InputError as reading does."""
    from av.error import FFmpegError

    if not path.is_file():
        raise InputError(f"{path} does not exist", hint="check the path")
    _check_end(path)
    with _opened(path) as (container, stream):
        try:
            return sum(packet.size > 0 for packet in container.demux(stream))
        except FFmpegError as error:
            raise InputError(f"{path} is damaged: {error}", hint=_DAMAGED) from error


def video_rate(path: Path) -> float:
    """Pictures a second, as the file says."""
    with _opened(path) as (_, stream):
        rate = stream.average_rate or stream.guessed_rate or Fraction(30)
        return float(rate)


def _check_end(path: Path) -> None:
    """A NUT file ends with its index, whose length stands at the very end; one that was cut off has none."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(size - 12, 0))
        length = int.from_bytes(file.read(8), "big")
        if 20 <= length <= size:
            file.seek(size - length)
            if file.read(8) == INDEX_START:
                return
    raise InputError(f"{path} is no whole NUT file: it does not end with an index", hint=_DAMAGED)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    import av
    from av.error import FFmpegError

    try:
        container = av.open(str(path), format="nut")
    except FFmpegError as error:
        raise InputError(f"{path} is no NUT file: {error.strerror}", hint=_DAMAGED) from error
    with container:
        stream = container.streams.video[0] if len(container.streams.video) == 1 else None
        context = stream.codec_context if stream else None
        if stream is None or context is None or (context.name, context.pix_fmt) != ("ffv1", PIXELS):
            raise InputError(f"{path} holds no 16-bit grey FFV1 video", hint="it is not a file of this kind")
        if not (0 < context.width <= MOST_SIDE and 0 < context.height <= MOST_SIDE):
            raise InputError(f"{path} has pictures of {context.width}x{context.height}", hint=_DAMAGED)
        context.thread_count = 1  # what it logs is caught in this thread only
        yield container, stream


def _next(path: Path, frames: Iterator[Any]) -> UInt16[np.ndarray, "height width"] | None:
    import av.logging
    from av.error import FFmpegError

    level = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture() as logged:
            frame = next(frames, None)
            picture = None if frame is None else frame.to_ndarray()
    except (FFmpegError, ValueError) as error:
        raise InputError(f"{path} is damaged: {error}", hint=_DAMAGED) from error
    finally:
        av.logging.set_level(level)
    if logged:
        raise InputError(f"{path} is damaged: {logged[0][2].strip()}", hint=_DAMAGED)
    if picture is not None and (picture.ndim != 2 or picture.dtype != np.uint16):
        raise InputError(f"{path} changes its kind of pictures", hint=_DAMAGED)
    return picture


_DAMAGED = "copy or download the file again"
