"""Lossless compression of depth pictures: differences along the rows, split into low and high bytes, zstd.

Measured on one core, mean of real and simulated 640x576 frames: 5.3x in 1.9 ms; blosc's bitshuffle + zstd on the same
differences 5.2x in 3.6 ms, blosc without differences 3.2x in 1.7 ms, zstd alone 2.5x in 1.8 ms.
What need not be written while cameras run is smaller as FFV1: see depth_ffv1.py.
"""

import numpy as np
import zstandard

from mmface4d import depth_ffv1 as ffv1
from mmface4d.arrays import DepthImage
from mmface4d.errors import TakeError

ENCODING = "depth16-delta-zstd"
LEVEL = 3


def encode_depth(depth_mm: DepthImage) -> bytes:
    """A depth picture (uint16, millimetres) as bytes with a checksum; the picture's size is not stored."""
    difference = depth_mm.astype(np.uint16)
    difference[:, 1:] -= depth_mm[:, :-1]  # wraps, and wraps back when decoded
    signed = difference.view(np.int16)
    zigzag = ((signed << 1) ^ (signed >> 15)).astype("<u2")  # small differences of both signs become small numbers
    planes = np.ascontiguousarray(zigzag.reshape(-1).view(np.uint8).reshape(-1, 2).T)
    return zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress(planes.data)


def decode_depth(data: bytes, *, width: int, height: int) -> DepthImage:
    """The depth picture of `encode_depth` or `encode_ffv1`; raises TakeError where the bytes are damaged or of another
    size.
    """
    if data[: len(ffv1.MAGIC)] == ffv1.MAGIC:  # a zstd frame begins otherwise
        return ffv1.decode_ffv1(data, width=width, height=height)
    size = width * height * 2
    try:
        # a frame that claims another size than the camera's is not unpacked at all
        claimed = zstandard.frame_content_size(data)
        if claimed != size:
            raise TakeError(f"a depth picture has {claimed} bytes, {width}x{height} needs {size}", hint=_HINT)
        planes = np.frombuffer(zstandard.ZstdDecompressor().decompress(data), np.uint8)
    except zstandard.ZstdError as error:
        raise TakeError(f"a depth picture is damaged: {error}", hint=_HINT) from error
    zigzag = np.ascontiguousarray(planes.reshape(2, -1).T).view("<u2").reshape(height, width).astype(np.uint16)
    difference = (zigzag >> 1) ^ (-(zigzag & 1).astype(np.int16)).view(np.uint16)
    return np.cumsum(difference, axis=1, dtype=np.uint16)


_HINT = "find the damage with: mmface4d take check TAKE"
