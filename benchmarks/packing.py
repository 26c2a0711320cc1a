"""How small depth becomes for keeping, and in what time: what records, what `take pack` writes, and what else there is.

    python benchmarks/packing.py TAKE... [--pictures 30] [--slow]

Every codec gets the same pictures of the same takes in one run, and what it gives back is compared. Prints JSON: how
many times smaller than 16 bits a pixel, and milliseconds of processor time a picture in and out. --slow adds PNG, zstd
at level 19 (on the recorder's differences, and on those of JPEG-LS's better prediction) and JPEG 2000; blosc2 is
measured where it is installed.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import zstandard
from common import print_json, say

from mmface4d.depth_codec import decode_depth, encode_depth
from mmface4d.depth_ffv1 import encode_ffv1
from mmface4d.take import open_take

Encode = Callable[[np.ndarray], bytes]
Decode = Callable[[bytes], np.ndarray]


def pictures_of(paths: tuple[Path, ...], count: int) -> dict[str, list[np.ndarray]]:
    """About `count` of each take, evenly over its frames and cameras."""
    found: dict[str, list[np.ndarray]] = {}
    for path in paths:
        with open_take(path) as take:
            frames = np.linspace(0, len(take) - 1, max(count // len(take.cameras), 1)).round().astype(int).tolist()
            seen = [take.depth_mm(frame, serial) for frame in frames for serial in take.cameras]
            found[take.name] = [picture for picture in seen if picture is not None]
    return found


def codecs(width: int, height: int, *, slow: bool) -> dict[str, tuple[Encode, Decode]]:
    """Name -> in and out."""

    def ours(data: bytes) -> np.ndarray:
        return decode_depth(data, width=width, height=height)

    found: dict[str, tuple[Encode, Decode]] = {"recorder": (encode_depth, ours), "pack (FFV1)": (encode_ffv1, ours)}
    if slow:
        found["recorder, zstd 19"] = (zstd_19_of(left_differences), ours)
        found["JPEG-LS prediction, zstd 19"] = (median_19, median_back(height, width))
        found |= {"PNG": opencv(".png"), "JPEG 2000": opencv(".jp2")}
    try:
        import blosc2  # type: ignore[import-not-found]
    except ImportError:
        return found
    found["blosc2"] = (
        lambda picture: blosc2.pack_array2(picture, cparams={"codec": blosc2.Codec.ZSTD, "clevel": 5}),
        blosc2.unpack_array2,
    )
    return found


def left_differences(picture: np.ndarray) -> np.ndarray:
    """As the recorder's codec takes them."""
    difference = picture.copy()
    difference[:, 1:] -= picture[:, :-1]
    return difference


def median_differences(picture: np.ndarray) -> np.ndarray:
    """To the median of left, upper, and left + upper - upper left (JPEG-LS; LOCO-I, Weinberger 2000)."""
    padded = np.pad(picture.astype(np.int32), ((1, 0), (1, 0)))
    left, upper, corner = padded[1:, :-1], padded[:-1, 1:], padded[:-1, :-1]
    guess = np.clip(left + upper - corner, np.minimum(left, upper), np.maximum(left, upper))
    return (picture.astype(np.int32) - guess).astype(np.uint16)


def zstd_19_of(difference: Callable[[np.ndarray], np.ndarray]) -> Encode:
    """Zigzag, low and high bytes apart, zstd at level 19."""

    def encode(picture: np.ndarray) -> bytes:
        signed = difference(picture).view(np.int16)
        zigzag = ((signed << 1) ^ (signed >> 15)).astype("<u2")
        planes = np.ascontiguousarray(zigzag.reshape(-1).view(np.uint8).reshape(-1, 2).T)
        return zstandard.ZstdCompressor(level=19).compress(planes.tobytes())

    return encode


def median_19(picture: np.ndarray) -> bytes:
    """The better prediction at level 19."""
    return zstd_19_of(median_differences)(picture)


def median_back(height: int, width: int) -> Decode:
    """Pixel by pixel along the diagonals, on which no pixel needs another one."""

    def decode(data: bytes) -> np.ndarray:
        planes = np.frombuffer(zstandard.ZstdDecompressor().decompress(data), np.uint8)
        zigzag = np.ascontiguousarray(planes.reshape(2, -1).T).view("<u2").reshape(height, width)
        difference = (zigzag >> 1).astype(np.int32) ^ -(zigzag & 1).astype(np.int32)
        out = np.zeros((height + 1, width + 1), np.int32)
        for diagonal in range(height + width - 1):
            row = np.arange(max(0, diagonal - width + 1), min(height, diagonal + 1))
            column = diagonal - row
            left, upper, corner = out[row + 1, column], out[row, column + 1], out[row, column]
            guess = np.clip(left + upper - corner, np.minimum(left, upper), np.maximum(left, upper))
            out[row + 1, column + 1] = (guess + difference[row, column]) & 0xFFFF
        return out[1:, 1:].astype(np.uint16)

    return decode


def opencv(suffix: str) -> tuple[Encode, Decode]:
    """OpenCV's codecs, without loss."""
    import cv2

    settings = [cv2.IMWRITE_PNG_COMPRESSION, 9] if suffix == ".png" else [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000]

    def encode(picture: np.ndarray) -> bytes:
        return cv2.imencode(suffix, picture, settings)[1].tobytes()

    return encode, lambda data: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


def measure(pictures: list[np.ndarray], encode: Encode, decode: Decode) -> dict[str, Any]:
    """Of one codec on the pictures of one take."""
    decode(encode(pictures[0]))  # what is made once is not counted
    began = time.process_time()
    packed = [encode(picture) for picture in pictures]
    middle = time.process_time()
    found = [decode(data) for data in packed]
    ended = time.process_time()
    return {
        "times_smaller": round(sum(picture.nbytes for picture in pictures) / sum(map(len, packed)), 2),
        "ms_in": round(1000 * (middle - began) / len(pictures), 2),
        "ms_out": round(1000 * (ended - middle) / len(pictures), 2),
        "exact": all(np.array_equal(*pair) for pair in zip(found, pictures, strict=True)),
    }


@click.command()
@click.argument("takes", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--pictures", default=30, show_default=True, help="Of each take.")
@click.option("--slow", is_flag=True, help="Measure the slow codecs too.")
def main(takes: tuple[Path, ...], pictures: int, slow: bool) -> None:
    """Measure codecs on the depth pictures of TAKES."""
    out: dict[str, Any] = {}
    for name, seen in pictures_of(takes, pictures).items():
        height, width = seen[0].shape
        valid = float(np.mean([(picture > 0).mean() for picture in seen]))
        out[name] = {"pictures": len(seen), "size": [width, height], "valid_share": round(valid, 3), "codecs": {}}
        for codec, (encode, decode) in codecs(width, height, slow=slow).items():
            out[name]["codecs"][codec] = measure(seen, encode, decode)
            say({name: {codec: out[name]["codecs"][codec]}})
    print_json(out)


if __name__ == "__main__":
    main()
