"""Pickles of arrays as other people's loaders want them: names that numpy 1.x and 2.x both know.

Written by hand, because numpy 2 pickles name modules that numpy 1 does not have; and in pieces, so that a large one
needs little memory. We read pickles by safe_pickle.py only.
Opcodes: https://docs.python.org/3/library/pickletools.html
"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmface4d.files import atomic_path
from mmface4d.npz import Streamed

_DICT, _MARK, _SET_ITEMS, _STOP = b"}", b"(", b"u", b"."
_RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
_NDARRAY, _DTYPE, _ENCODE = b"cnumpy\nndarray\n", b"cnumpy\ndtype\n", b"c_codecs\nencode\n"
_FROM_NUMPY = b"ctorch\nfrom_numpy\n"
_TUPLE_1, _TUPLE_2, _TUPLE_3, _TUPLE = b"\x85", b"\x86", b"\x87", b"t"
_CALL, _SET_STATE, _NONE, _TRUE, _FALSE = b"R", b"b", b"N", b"\x88", b"\x89"
_LONG_BYTES = b"\x8e"  # protocol 4: the length as 64 bits, then the bytes themselves
DTYPES = ("<f4", "<f8", "<i2", "<i4", "<i8")
STREAMS_FROM = 4  # the first protocol that has bytes


@dataclass(frozen=True)
class Tensor:
    """An array that is to be read as a torch tensor."""

    array: "np.ndarray | Streamed"


@dataclass(frozen=True)
class Items:
    """A dict whose items come one after the other."""

    pairs: Iterable[tuple[str, Any]]


def write_pickle(path: Path, value: Any, *, protocol: int = 2) -> None:
    """Writes what `pickled` takes; raises what it raises. Python 2 reads protocol 2 too."""
    with atomic_path(path) as partial, partial.open("wb") as file:
        file.writelines(pickled(value, protocol=protocol))


def pickled(value: Any, *, protocol: int = 2) -> Iterator[bytes]:
    """The bytes of texts, whole numbers, arrays, tensors, and dicts of them, piece by piece.

    What is streamed needs protocol 4. Raises TypeError for other values.
    """
    yield b"\x80" + bytes([protocol])
    yield from _value(value, protocol)
    yield _STOP


def _value(value: Any, protocol: int) -> Iterator[bytes]:
    if isinstance(value, str):
        yield _text(value)
    elif isinstance(value, int):
        yield _integer(value)
    elif isinstance(value, Mapping):
        yield from _dict(value.items(), protocol)
    elif isinstance(value, Items):
        yield from _dict(value.pairs, protocol)
    elif isinstance(value, Tensor):
        yield _FROM_NUMPY
        yield from _array(value.array, protocol)
        yield _TUPLE_1 + _CALL
    elif isinstance(value, np.ndarray | Streamed):
        yield from _array(value, protocol)
    else:
        raise TypeError(f"{type(value).__name__} is not pickled here")


def _dict(pairs: Iterable[tuple[Any, Any]], protocol: int) -> Iterator[bytes]:
    yield _DICT + _MARK
    for key, value in pairs:
        yield from _value(key, protocol)
        yield from _value(value, protocol)
    yield _SET_ITEMS


def _array(values: "np.ndarray | Streamed", protocol: int) -> Iterator[bytes]:
    """numpy's own way: an empty array is made, and then given (version, shape, type, Fortran order, content)."""
    kind = np.dtype(values.dtype).newbyteorder("<").str
    if kind not in DTYPES:
        raise TypeError(f"arrays of {values.dtype} are not pickled here")
    made = _RECONSTRUCT + _NDARRAY + _integer(0) + _TUPLE_1 + _bytes(b"b") + _TUPLE_3 + _CALL
    shape = _MARK + b"".join(_integer(size) for size in values.shape) + _TUPLE
    yield made + _MARK + _integer(1) + shape + _dtype(kind) + _FALSE
    if isinstance(values, Streamed):
        yield from _streamed(values, kind, protocol)
    else:
        yield _bytes(np.ascontiguousarray(values, kind).tobytes())
    yield _TUPLE + _SET_STATE


def _streamed(values: Streamed, kind: str, protocol: int) -> Iterator[bytes]:
    if protocol < STREAMS_FROM:
        raise TypeError(f"protocol {protocol} has no bytes to stream")
    left = int(np.prod(values.shape)) * np.dtype(kind).itemsize
    yield _LONG_BYTES + struct.pack("<Q", left)
    for block in values.blocks:
        data = np.ascontiguousarray(block, kind).tobytes()
        left -= len(data)
        yield data
    if left:
        raise ValueError(f"an array of the shape {values.shape} came with {left} bytes too few")


def _dtype(kind: str) -> bytes:
    made = _DTYPE + _text(kind[1:]) + _FALSE + _TRUE + _TUPLE_3 + _CALL
    rest = _integer(3) + _text("<") + 3 * _NONE + _integer(-1) + _integer(-1) + _integer(0)
    return made + _MARK + rest + _TUPLE + _SET_STATE


def _integer(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def _text(value: str) -> bytes:
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def _bytes(value: bytes) -> bytes:
    """Bytes as protocol 2 knows them: letters of the first 256, encoded when read."""
    return _ENCODE + _text(value.decode("latin1")) + _text("latin1") + _TUPLE_2 + _CALL
