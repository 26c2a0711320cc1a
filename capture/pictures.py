"""Reading single pictures from outside: the header first, then every pixel, so that damage is found while importing."""

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from mmface4d.arrays import DepthImage
from mmface4d.errors import RecordingError

MAX_FILE_BYTES = 128 << 20
JPEG_QUALITY = 95
COLOR_MODES = ("L", "P", "RGB", "RGBA")
MODE_NAMES = {
    "1": "1-bit", "L": "8-bit grey", "LA": "grey with alpha", "P": "palette", "RGB": "colour", "RGBA": "colour",
    "CMYK": "CMYK", "F": "floating-point", "I;16": "16-bit grey", "I": "16-bit grey",
}  # fmt: skip
# what Pillow raises on bytes that are no picture, or one that is damaged
DAMAGE = (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError, Image.DecompressionBombWarning)


def color_jpeg(path: Path, *, size: tuple[int, int]) -> tuple[bytes, bool]:
    """A colour picture as JPEG, and whether it is the file itself; a PNG is encoded at quality 95 without subsampling.

    Raises RecordingError where it is damaged, not of `size` (width, height), or no 8-bit picture.
    """
    data = _read(path)
    with _header(path, data, size=size) as image:
        if image.mode not in COLOR_MODES:
            raise RecordingError(f"{path} is a {_mode(image)} picture", hint="save colour as 8-bit RGB")
        if image.format != "PNG":  # Pillow calls a JPEG that holds several pictures MPO
            # an eighth of the size is decoded quickly and needs all the bytes
            image.draft("L", (max(size[0] // 8, 1), max(size[1] // 8, 1)))
            _load(path, image)
            return data, True
        _load(path, image)
        encoded = io.BytesIO()
        image.convert("RGB").save(encoded, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return encoded.getvalue(), False


def raw_depth(path: Path, *, size: tuple[int, int]) -> DepthImage:
    """A depth picture in its own units; raises RecordingError where it is damaged, not of `size`, or not 16-bit."""
    data = _read(path)
    with _header(path, data, size=size) as image:
        if image.format != "PNG" or image.mode not in ("I;16", "I"):
            raise RecordingError(
                f"{path} is no 16-bit grey PNG, it is {_mode(image)} {image.format}",
                hint="save depth as 16-bit PNG in millimetres, not as a picture made for looking at",
            )
        _load(path, image)
        return np.asarray(image).astype(np.uint16)


def millimetres(raw: DepthImage, unit_m: float) -> DepthImage:
    """Depth in millimetres, rounded; what does not fit 16 bits becomes 0 (invalid). Millimetres stay as they are."""
    if unit_m == 0.001:
        return raw
    depth_mm = np.rint(raw.astype(np.float64) * (unit_m * 1000.0))
    return np.where(depth_mm > np.iinfo(np.uint16).max, 0, depth_mm).astype(np.uint16)


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise RecordingError(f"{path} is larger than {MAX_FILE_BYTES >> 20} MiB", hint="this is no picture of ours")
        return path.read_bytes()
    except OSError as error:
        raise RecordingError(f"{path} cannot be read: {error.strerror}", hint="check the file") from error


def _header(path: Path, data: bytes, *, size: tuple[int, int]) -> Image.Image:
    """The picture with only its header read, so that no memory is spent on one of another size."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
                if image.size == size:
                    image.verify()  # the checksums of a PNG; the picture must be opened anew after it
            image = Image.open(io.BytesIO(data), formats=("JPEG", "PNG"))
    except DAMAGE as error:
        raise _damaged(path, error) from error
    if image.size != size:
        image.close()
        raise RecordingError(
            f"{path} is {image.width}x{image.height}, its intrinsics are for {size[0]}x{size[1]}",
            hint="give cameras.json the intrinsics of these very pictures; a resized or cropped picture needs others",
        )
    return image


def _load(path: Path, image: Image.Image) -> None:
    try:
        image.load()
    except DAMAGE as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: BaseException) -> RecordingError:
    return RecordingError(f"{path} is no readable picture: {error}", hint="copy it again, or take it out")


def _mode(image: Image.Image) -> str:
    return MODE_NAMES.get(image.mode) or str(image.mode)
