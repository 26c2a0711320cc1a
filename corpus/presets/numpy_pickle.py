"""A pickled dict of float arrays as old loaders want it: protocol 2, names that numpy 1.x and 2.x both know.

Written by hand, because numpy 2 pickles name modules that numpy 1 does not have. We never read pickles.
Opcodes: https://docs.python.org/3/library/pickletools.html
"""

import struct
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

_START, _END = b"\x80\x02}(", b"u."  # protocol 2, an empty dict, a mark ... set the items since the mark, stop
_RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
_NDARRAY, _DTYPE, _ENCODE = b"cnumpy\nndarray\n", b"cnumpy\ndtype\n", b"c_codecs\nencode\n"
_TUPLE_1, _TUPLE_2, _TUPLE_3, _MARK, _TUPLE = b"\x85", b"\x86", b"\x87", b"(", b"t"
_CALL, _SET_STATE, _NONE, _TRUE, _FALSE = b"R", b"b", b"N", b"\x88", b"\x89"


def pickle_arrays(arrays: Mapping[str, Float[np.ndarray, "..."]]) -> bytes:
    """The bytes of {name: float32 array}."""
    return _START + b"".join(_text(name) + _array(values) for name, values in arrays.items()) + _END


def _array(values: Float[np.ndarray, "..."]) -> bytes:
    """numpy's own way: an empty array is made, and then given (version, shape, type, Fortran order, content)."""
    plain = np.ascontiguousarray(values, dtype="<f4")
    made = _RECONSTRUCT + _NDARRAY + _integer(0) + _TUPLE_1 + _bytes(b"b") + _TUPLE_3 + _CALL
    shape = _MARK + b"".join(_integer(size) for size in plain.shape) + _TUPLE
    state = _MARK + _integer(1) + shape + _float32() + _FALSE + _bytes(plain.tobytes()) + _TUPLE
    return made + state + _SET_STATE


def _float32() -> bytes:
    made = _DTYPE + _text("f4") + _FALSE + _TRUE + _TUPLE_3 + _CALL
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
