"""Whether the pictures of a take are there, whole, and show something."""

import io
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import UInt8

from capture.gaps import present_frames
from mmface4d.arrays import DepthImage
from mmface4d.errors import TakeError
from mmface4d.progress import Progress
from mmface4d.take import Take

MOST_DECODED = 300  # of each camera's colour and depth pictures; of longer takes every nth
CENTRE = 0.5  # of the picture's width and height: where the actor sits
# a picture whose brightest percent is darker, or whose darkest is brighter, than this shows nothing
BLACK, WHITE = 16, 239
THUMBNAIL = 8  # JPEG decodes quickly to an eighth of its size


@dataclass
class PicturesFound:
    """What was seen of one camera's pictures; shares and levels are medians over those decoded."""

    decoded: int = 0
    every: int = 1
    faults: list[str] = field(default_factory=list)
    valid_share: float | None = None
    dark_level: float | None = None
    bright_level: float | None = None


def check_chunks(take: Take, bar: Progress) -> list[str]:
    """Reads every chunk and verifies its CRC; returns what is wrong."""
    faults = []
    for position in range(len(take.streams.chunks)):
        try:
            take.streams.chunk(position)
        except TakeError as error:
            faults.append(error.message)
        bar.advance()
    return faults


def missing_messages(take: Take) -> list[str]:
    """Which channels lack pictures that the frames name."""
    faults = []
    for kind, columns in (("color", take.info.frames.color_usec), ("depth", take.info.frames.depth_usec)):
        for serial, column in columns.items():
            channel = take.streams.channels.get(f"/{serial}/{kind}")
            there = channel.device_usec if channel else np.empty(0, np.int64)
            named = np.array([usec for usec in column if usec is not None], dtype=np.int64)
            missing = int((~np.isin(named, there)).sum())
            if missing:
                faults.append(f"camera {serial}: {missing} {kind} pictures that frames name are not in the streams")
    return faults


def frames_to_decode(take: Take, serial: str) -> tuple[list[int], int]:
    """The camera's frames that are decoded, and the step between them; the last one is always among them."""
    frames = np.flatnonzero(present_frames(take, serial))
    every = max(-(-len(frames) // MOST_DECODED), 1)
    return sorted({*frames[::every].tolist(), *frames[-1:].tolist()}), every


def check_pictures(take: Take, serial: str, bar: Progress) -> PicturesFound:
    """Decodes the camera's colour and depth pictures, or every nth of them."""
    frames, every = frames_to_decode(take, serial)
    found = PicturesFound(decoded=len(frames), every=every)
    shares, darks, brights = [], [], []
    for frame in frames:
        try:
            depth_mm = take.depth_mm(frame, serial)
            jpeg = take.color_jpeg(frame, serial)
            if depth_mm is None or jpeg is None:
                found.faults.append(f"camera {serial}, frame {frame}: colour and depth are not both there")
                continue
            shares.append(central_valid_share(depth_mm))
            dark, bright = np.percentile(gray_thumbnail(jpeg, size=take.cameras[serial].rgbd.color.size), (1, 99))
            darks.append(dark)
            brights.append(bright)
        except TakeError as error:
            found.faults.append(f"camera {serial}, frame {frame}: {error.message}")
        finally:
            bar.advance()
    found.valid_share, found.dark_level, found.bright_level = _median(shares), _median(darks), _median(brights)
    return found


def _median(values: list[float]) -> float | None:
    return round(float(np.median(values)), 4) if values else None


def central_valid_share(depth_mm: DepthImage) -> float:
    """Share of pixels with a depth, around the picture's centre."""
    height, width = depth_mm.shape
    top, left = round(height * (1 - CENTRE) / 2), round(width * (1 - CENTRE) / 2)
    return float((depth_mm[top : height - top, left : width - left] > 0).mean())


def gray_thumbnail(jpeg: bytes, *, size: tuple[int, int]) -> UInt8[np.ndarray, "small_height small_width"]:
    """A small grey copy of a colour picture, made from all its bytes; raises TakeError where it is damaged."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(jpeg), formats=("JPEG",)) as image:
            if image.size != size:
                raise TakeError(f"the colour picture is {image.width}x{image.height}, not {size[0]}x{size[1]}")
            image.draft("L", (max(size[0] // THUMBNAIL, 1), max(size[1] // THUMBNAIL, 1)))
            return np.asarray(image.convert("L"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise TakeError(f"the colour picture does not decode: {error}") from error
