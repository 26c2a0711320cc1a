"""Reading other people's pickles of arrays without running what is in them.

A pickle is a program. This reader admits only what SMPL-like model files and data sets need: numpy arrays, and
stand-ins that merely hold the state of SciPy sparse matrices and chumpy arrays. Any other name in the file is refused
before it is called.
"""

import io
import pickle  # noqa: TID251  (the one place; find_class below refuses everything it does not know)
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from mmface4d.errors import ModelError

MAX_FILE_BYTES = 1 << 30
MOST_NESTED = 10_000  # tuples in tuples; an array needs one, and Python follows them to any depth when it hashes a key
_NUMBERS = re.compile(r"[<>|=]?(?:[fiu][1248]|b1|\?)")
_AGAIN = "fetch the file from its makers again"


class Held:
    """State of an object whose class is not loaded."""

    state: Any = None

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __hash__(self) -> int:
        return id(self)


class HeldSparse(Held):
    """A SciPy sparse matrix, compressed by columns unless its subclass says otherwise."""

    by_column = True


class HeldSparseRows(HeldSparse):
    """The same compressed by rows."""

    by_column = False


class HeldChumpy(Held):
    """A chumpy array."""


def read_pickle(path: Path, *, after: int = 0) -> Any:
    """The object in a pickle of protocol 0 to 5 (Python 2 strings as latin-1); `dense` turns its parts into arrays.

    `after` skips that many bytes, such as the header of an npy file.
    Raises ModelError, with the refused name, where the file asks for anything but arrays.
    """
    if not path.is_file():
        raise ModelError(f"{path} does not exist or is a folder", hint="give the file itself")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ModelError(f"{path} is larger than {MAX_FILE_BYTES >> 30} GiB", hint="this is no model and no template")
    try:
        return _ArraysOnly(io.BytesIO(path.read_bytes()[after:]), encoding="latin1").load()
    except ModelError as error:
        raise ModelError(f"{path}: {error.message}", hint=error.hint) from error
    except Exception as error:  # a damaged pickle raises nearly anything
        raise ModelError(
            f"{path} is no readable pickle: {error}", hint="the file is damaged or something else"
        ) from error


def dense(value: Any) -> np.ndarray:
    """A number array from what `read_pickle` gives for one entry; raises ModelError where it is none."""
    if isinstance(value, HeldChumpy) and isinstance(value.state, dict):
        value = value.state.get("x")
    if isinstance(value, HeldSparse):
        value = _sparse_to_dense(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return np.asarray(value)
    raise ModelError("an entry is no array of numbers", hint="the file is damaged or of another kind")


def _sparse_to_dense(held: HeldSparse) -> np.ndarray:
    from scipy import sparse

    state = held.state if isinstance(held.state, dict) else {}
    try:
        parts = tuple(np.asarray(state[key]) for key in ("data", "indices", "indptr"))
        rows, columns = (int(n) for n in state.get("_shape") or state["shape"])
        if rows * columns > 1 << 27:
            raise ValueError("too large")
        kind = sparse.csc_matrix if held.by_column else sparse.csr_matrix
        matrix = kind(parts, shape=(rows, columns))
        matrix.check_format(full_check=True)
        return matrix.toarray()
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ModelError("a sparse matrix is damaged", hint="fetch the file again") from error


class _ArraysOnly(pickle._Unpickler):
    """In Python, whose memo is a dict: the one in C makes room for as many entries as ten bytes of a file ask for."""

    stack: list[Any]
    nested = 0  # tuples that hold others
    dispatch: ClassVar[dict[int, Any]] = {**pickle._Unpickler.dispatch}

    def count_tuple(self) -> None:
        if any(isinstance(part, tuple) for part in self.stack[-1]):
            self.nested += 1
            if self.nested > MOST_NESTED:
                raise ModelError("it nests tuples in tuples as no arrays do", hint=_AGAIN)

    def find_class(self, module_name: str, global_name: str) -> Any:
        if (module_name, global_name) in _ADMITTED:
            return _ADMITTED[module_name, global_name]
        if module_name.split(".")[:2] == ["scipy", "sparse"] and global_name in ("csc_matrix", "csr_matrix"):
            return HeldSparse if global_name == "csc_matrix" else HeldSparseRows
        if module_name.split(".")[0] == "chumpy" and global_name == "Ch":
            return HeldChumpy
        raise ModelError(
            f"it asks for {module_name}.{global_name}, which arrays do not need; nothing of it was run",
            hint="do not trust this file; fetch the file from its makers again",
        )

    def persistent_load(self, pid: Any) -> Any:
        raise ModelError("it refers to objects outside of it", hint=_AGAIN)


def _counted(load: Callable[[_ArraysOnly], None]) -> Callable[[_ArraysOnly], None]:
    def load_tuple(unpickler: _ArraysOnly) -> None:
        load(unpickler)
        unpickler.count_tuple()

    return load_tuple


def _load_bytearray(unpickler: _ArraysOnly) -> None:
    """Python's own makes room for as many bytes as the file says before it looks for them."""
    _ArraysOnly.dispatch[pickle.BINBYTES8[0]](unpickler)
    unpickler.stack[-1] = bytearray(unpickler.stack[-1])


for _code in (pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3):
    _ArraysOnly.dispatch[_code[0]] = _counted(_ArraysOnly.dispatch[_code[0]])
_ArraysOnly.dispatch[pickle.BYTEARRAY8[0]] = _load_bytearray


class _Kind:
    """A type of numbers. numpy's own would believe a pickle that its numbers are references, and follow them."""

    def __init__(self, code: Any, *_: Any) -> None:
        if not isinstance(code, str) or not _NUMBERS.fullmatch(code):
            raise ModelError("it holds something that is not of numbers", hint=_AGAIN)
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        """Of numpy's state only the byte order is taken."""
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else "="
        self.dtype = self.dtype.newbyteorder(order if order in ("<", ">") else "=")


class _CheckedArray(np.ndarray):
    """An array whose state is looked at before numpy takes it over."""

    def __setstate__(self, state: Any) -> None:
        version, shape, kind, fortran, content = state
        raw = content.encode("latin1") if isinstance(content, str) else content
        if version not in (0, 1) or not isinstance(kind, _Kind) or not isinstance(raw, bytes):
            raise ModelError("it holds an array that is not of numbers", hint=_AGAIN)
        super().__setstate__((1, shape, kind.dtype, bool(fortran), raw))


def _empty_array(*_: Any) -> np.ndarray:
    """To be filled by its __setstate__."""
    return np.ndarray.__new__(_CheckedArray, (0,), dtype="b")


def _number(kind: Any, data: bytes) -> Any:
    """One number; its kind is checked because an object scalar could hold anything."""
    raw = data.encode("latin1") if isinstance(data, str) else data
    if not isinstance(kind, _Kind) or len(raw) != kind.dtype.itemsize:
        raise ModelError("it holds a scalar that is no number", hint=_AGAIN)
    return np.frombuffer(raw, kind.dtype)[0]


def _from_buffer(buffer: Any, kind: Any, shape: tuple[int, ...], order: str) -> np.ndarray:
    """An array as protocol 5 writes it."""
    if not isinstance(kind, _Kind):
        raise ModelError("it holds an array that is not of numbers", hint=_AGAIN)
    return np.frombuffer(buffer, kind.dtype).reshape(shape, order="F" if order == "F" else "C")


def _encode(text: str, encoding: str = "latin1", *_: Any) -> bytes:
    """Bytes that Python 3 wrote with an old protocol."""
    if encoding not in ("latin1", "latin-1"):
        raise ModelError(f"it asks for the encoding {encoding!r}", hint=_AGAIN)
    return text.encode("latin1")


def _new_held(kind: type, *_: Any) -> Held:
    if not (isinstance(kind, type) and issubclass(kind, Held)):
        raise ModelError(f"it makes an object of {kind!r}", hint=_AGAIN)
    return kind()


_NUMPY = ("numpy.core", "numpy._core")
_ADMITTED: dict[tuple[str, str], Any] = {
    **{(f"{core}.multiarray", "_reconstruct"): _empty_array for core in _NUMPY},
    **{(f"{core}.multiarray", "scalar"): _number for core in _NUMPY},
    **{(f"{core}.numeric", "_frombuffer"): _from_buffer for core in _NUMPY},
    ("numpy", "ndarray"): Held,  # only ever handed to `_empty_array`
    ("numpy", "dtype"): _Kind,
    ("_codecs", "encode"): _encode,
    ("copy_reg", "_reconstructor"): _new_held,
    ("copyreg", "_reconstructor"): _new_held,
    ("__builtin__", "object"): Held,
    ("builtins", "object"): Held,
    ("__builtin__", "set"): set,
    ("builtins", "set"): set,
    ("collections", "OrderedDict"): dict,
}
