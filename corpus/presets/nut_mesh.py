"""The mesh codec of the MMFace4D data set: one 16-bit grey picture an axis and frame, FFV1 in NUT.

A picture has the side ceil(sqrt(N + 4)). Row by row its first two pixels are the halves of the float32 minimum, low
half first, the next two the maximum's, then come N values q = round((x - min) / (max - min) 65536), read back as
x = q / 65536 (max - min) + min. The range is wider than the values by PAD_M on both sides: a value at its upper end
would be 65536, which is 0 in 16 bits.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt16

from corpus.presets.gray_video import GrayVideoWriter, read_gray_video
from mmface4d.errors import InputError
from mmface4d.files import atomic_path

AXES = ("x", "y", "z")
HEAD_PIXELS = 4
STEPS = 1 << 16
PAD_M = 0.05
MOST_RANGE_M = 100.0  # a head is 0.3; beyond it the file, or its unit, is wrong


def side_of(n_verts: int) -> int:
    """Pixels along a picture's side."""
    return math.isqrt(n_verts + HEAD_PIXELS - 1) + 1


def encode_axis(values_m: Float[np.ndarray, "n_verts"]) -> UInt16[np.ndarray, "side side"]:
    """One axis of one frame as a picture; raises InputError where the values are no numbers or no face's."""
    lowest, highest = float(np.min(values_m)) - PAD_M, float(np.max(values_m)) + PAD_M
    if not highest - lowest <= MOST_RANGE_M:  # nor where either is no number
        raise InputError(
            f"vertices reach from {lowest:g} to {highest:g} m, which no face does", hint="check the sequence's unit"
        )
    ends = np.array([lowest, highest], "<f4")  # what the reader will know of them
    low, high = ends.astype(np.float64)
    picture = np.zeros(side_of(len(values_m)) ** 2, np.uint16)
    picture[:HEAD_PIXELS] = ends.view("<u2")
    steps = np.round((values_m.astype(np.float64) - low) / (high - low) * STEPS)
    picture[HEAD_PIXELS : HEAD_PIXELS + len(values_m)] = steps.astype(np.uint16)
    side = side_of(len(values_m))
    return picture.reshape(side, side)


def decode_axis(picture: UInt16[np.ndarray, "side side"], n_verts: int) -> Float[np.ndarray, "n_verts"]:
    """The float32 values in metres; raises InputError where the range in the picture's head cannot be."""
    flat = picture.reshape(-1)
    low, high = flat[:HEAD_PIXELS].astype("<u2").view("<f4").astype(np.float64)
    if not 0.0 < high - low <= MOST_RANGE_M or not abs(low) <= 1e6:
        raise InputError(f"a picture says that its values reach from {low:g} to {high:g} m", hint=_NOT_OURS)
    steps = flat[HEAD_PIXELS : HEAD_PIXELS + n_verts].astype(np.float64)
    return (steps / STEPS * (high - low) + low).astype(np.float32)


def axis_path(path_stem: Path, axis: str) -> Path:
    """`STEM_x.nut` and so on."""
    return path_stem.with_name(f"{path_stem.name}_{axis}.nut")


def write_nut_mesh(path_stem: Path, vertices_m: Iterable[Float[np.ndarray, "n_verts 3"]], fps: float) -> float:
    """Writes STEM_x.nut, STEM_y.nut and STEM_z.nut frame by frame; returns the largest error of a coordinate in metres.

    Raises InputError where there is no frame, or one that cannot be coded.
    """
    frames = iter(vertices_m)
    first = next(frames, None)
    if first is None:
        raise InputError(f"{path_stem.name} has no frame", hint="check the sequence")
    side, worst_m = side_of(len(first)), 0.0
    with ExitStack() as files:
        partials = [files.enter_context(atomic_path(axis_path(path_stem, axis))) for axis in AXES]
        with ExitStack() as videos:
            writers = [
                videos.enter_context(GrayVideoWriter(partial, width=side, height=side, fps=fps)) for partial in partials
            ]
            worst_m = _write_frame(writers, first)
            for frame in frames:
                if frame.shape != first.shape:
                    raise InputError(f"{path_stem.name}: its frames have several sizes", hint="check the sequence")
                worst_m = max(worst_m, _write_frame(writers, frame))
    return worst_m


def _write_frame(writers: list[GrayVideoWriter], vertices_m: Float[np.ndarray, "n_verts 3"]) -> float:
    worst_m = 0.0
    for axis, writer in enumerate(writers):
        picture = encode_axis(vertices_m[:, axis])
        read_back = decode_axis(picture, len(vertices_m)).astype(np.float64)
        worst_m = max(worst_m, float(np.abs(read_back - vertices_m[:, axis]).max()))
        writer.write(picture)
    return worst_m


def read_nut_mesh(path_stem: Path, n_verts: int) -> Iterator[Float[np.ndarray, "n_verts 3"]]:
    """The frames (float32, metres) one by one; the files do not tell how many of their pixels are vertices.

    Raises InputError where a file is missing, cut, damaged, shorter than another, or of a side that does not fit.
    """
    paths = [axis_path(path_stem, axis) for axis in AXES]
    side = side_of(n_verts)
    for number, pictures in enumerate(zip_longest(*(read_gray_video(path) for path in paths))):
        out = np.empty((n_verts, 3), np.float32)
        for axis, picture in enumerate(pictures):
            if picture is None:
                raise InputError(f"{paths[axis]} has only {number} frames, the others have more", hint=_NOT_OURS)
            if picture.shape != (side, side):
                raise InputError(
                    f"{paths[axis]} has pictures of {picture.shape[1]}x{picture.shape[0]}, {n_verts} vertices need "
                    f"{side}x{side}",
                    hint="give the topology that belongs to the files",
                )
            try:
                out[:, axis] = decode_axis(picture, n_verts)
            except InputError as error:
                raise InputError(f"{paths[axis]}, frame {number}: {error.message}", hint=error.hint) from error
        yield out


_NOT_OURS = "copy or download the files again"
