"""`.npz` files whose bytes depend on nothing but the arrays, written piece by piece; read without pickles."""

import io
import math
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmface4d.errors import InputError

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say
FRAMES_AT_ONCE = 16
DAMAGED = "see what else is: mmface4d release verify"


@dataclass(frozen=True)
class Streamed:
    """An array that comes in blocks along its first axis."""

    shape: tuple[int, ...]
    dtype: str
    blocks: Iterable[np.ndarray]


def write_npz(path: Path, arrays: dict[str, Any]) -> None:
    """Writes arrays, and such as are streamed, uncompressed and in the order given."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, value in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy", EPOCH)
            info.create_system = 3  # the same on every system
            with archive.open(info, "w", force_zip64=True) as member:
                if isinstance(value, Streamed):
                    _write_streamed(member, value)
                else:
                    np.lib.format.write_array(member, np.asarray(value, order="C"), version=(1, 0), allow_pickle=False)


def _write_streamed(member: Any, value: Streamed) -> None:
    header = {"descr": value.dtype, "fortran_order": False, "shape": value.shape}
    np.lib.format.write_array_header_1_0(member, header)
    for block in value.blocks:
        member.write(np.ascontiguousarray(block, dtype=value.dtype).tobytes())


def in_blocks(array: np.ndarray) -> Iterator[np.ndarray]:
    """An array, perhaps one on the disk, a few frames at a time."""
    for start in range(0, len(array), FRAMES_AT_ONCE):
        yield np.asarray(array[start : start + FRAMES_AT_ONCE])


def read_npz(data: bytes, *, name: str, hint: str = DAMAGED) -> dict[str, np.ndarray]:
    """The arrays of an npz in memory; raises InputError where it is none, or would grow when unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            infos = archive.infolist()
            if sum(info.file_size for info in infos) > len(data):  # as where several names mean the same bytes
                raise ValueError("it would grow when unpacked")
            return {info.filename.removesuffix(".npy"): _array(archive, info) for info in infos}
    except Exception as error:  # numpy and zipfile raise a dozen kinds on damaged and hostile files
        raise InputError(f"{name} is damaged: {error}", hint=hint) from error


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    if info.compress_type != zipfile.ZIP_STORED or not info.filename.endswith(".npy"):
        raise ValueError(f"{info.filename} is no array as we store them")
    with archive.open(info) as member:
        raw = io.BytesIO(member.read())
    version = np.lib.format.read_magic(raw)
    if version != (1, 0):
        raise ValueError(f"{info.filename} has another version of npy")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(raw)
    if dtype.hasobject or fortran or raw.tell() + dtype.itemsize * math.prod(shape) != info.file_size:
        raise ValueError(f"{info.filename} is no plain array of its size")
    return np.frombuffer(raw.getbuffer(), dtype, offset=raw.tell()).reshape(shape)
