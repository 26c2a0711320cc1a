"""Pickles of arrays, by whoever wrote them: numbers come out as they are, anything else is refused."""

import pickle  # noqa: TID251  (what the reader must survive)
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmface4d.errors import ModelError
from mmface4d.safe_pickle import dense, read_pickle

FAR = (1 << 24).to_bytes(4, "little")
HAS_OBJECTS = 0x3F  # flags of a type whose numbers numpy takes for references


class Reduced:
    """Pickles as whatever it is told."""

    def __init__(self, *how: Any) -> None:
        self.how = how

    def __reduce__(self) -> tuple[Any, ...]:
        return self.how


def kind(code: str, *, flags: int = 0, order: str = "<") -> Reduced:
    return Reduced(np.dtype, (code, False, True), (3, order, None, None, None, -1, -1, flags))


def array(dtype: Any, content: Any, *, shape: tuple[int, ...] = (2,)) -> Reduced:
    made = np.zeros(0).__reduce__()[0]
    return Reduced(made, (np.ndarray, (0,), b"b"), (1, shape, dtype, False, content))


def read(path: Path, value: Any, protocol: int = 2) -> Any:
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return read_pickle(path)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("code", ["<f4", ">f8", "<i8", "|u1", ">i4", "|b1"])
def test_arrays_of_numbers_come_back(tmp_path: Path, protocol: int, code: str) -> None:
    values = (np.arange(12).reshape(3, 4) % 2).astype(code)
    content = read(tmp_path / "a.pkl", {"c": values, "fortran": np.asfortranarray(values), "n": values[1, 1]}, protocol)
    for name in ("c", "fortran"):
        back = dense(content[name])
        assert type(back) is np.ndarray
        assert np.array_equal(back, values)
    assert content["n"] == values[1, 1]


def test_numbers_that_claim_to_be_references_stay_numbers(tmp_path: Path) -> None:
    raw = np.array([1.5, -2.0])
    back = dense(read(tmp_path / "a.pkl", [array(kind("f8", flags=HAS_OBJECTS), raw.tobytes())])[0])
    assert back.tolist() == [1.5, -2.0]
    assert not back.dtype.hasobject
    (back * 2).astype(np.float32).copy()  # numpy would follow the numbers here


@pytest.mark.parametrize("code", ["O", "O8", "V8", "S8", "U2", "M8[s]", "c16", "f4,O", "2f8", "nonsense"])
def test_other_types_are_refused(tmp_path: Path, code: str) -> None:
    with pytest.raises(ModelError):
        read(tmp_path / "a.pkl", [array(kind(code), b"\x41" * 16)])


@pytest.mark.parametrize(
    ("content", "shape"),
    [(b"\x00" * 8, (2,)), ([1.0, 2.0], (2,)), (b"\x00" * 16, (1 << 62, 1 << 62)), (b"", (-1,)), (b"\x00" * 16, "two")],
)
def test_content_that_does_not_fit_is_refused(tmp_path: Path, content: Any, shape: Any) -> None:
    with pytest.raises(ModelError):
        read(tmp_path / "a.pkl", [array(kind("f8"), content, shape=shape)])


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02]" + b"r" + FAR + b"0" + b"j" + FAR + b".",  # remembered by a large number
        b"\x80\x05\x96" + FAR + bytes(4) + b"0].",  # so many bytes, most of them not there
    ],
)
def test_large_numbers_need_no_memory(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.pkl").write_bytes(content)
    tracemalloc.start()
    try:
        with suppress(ModelError):
            assert read_pickle(tmp_path / "a.pkl") == []
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@given(at=st.integers(0, 10_000), byte=st.integers(0, 255), cut=st.booleans())
@settings(max_examples=150, deadline=None)
def test_damaged_pickles_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int, cut: bool
) -> None:
    whole = bytearray(pickle.dumps({"a": np.arange(6.0).reshape(2, 3), "b": np.float32(2)}, protocol=2))
    at %= len(whole)
    if cut:
        whole = whole[:at]
    else:
        whole[at] = byte
    path = tmp_path_factory.mktemp("pickle") / "a.pkl"
    path.write_bytes(whole)
    try:
        content = read_pickle(path)
    except ModelError:
        return
    for value in content.values() if isinstance(content, dict) else []:
        assert not isinstance(value, np.ndarray) or not value.dtype.hasobject


def test_tuples_nested_without_end_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "nested.pkl"
    nested = b"\x80\x02}" + b")" + 1_000_000 * b"\x85"
    path.write_bytes(nested + b"K\x01s.")  # as a dictionary's key, whose hash Python takes by going into all of them
    with pytest.raises(ModelError, match="nests tuples"):
        read_pickle(path)
    path.write_bytes(b"\x80\x02})" + 9_000 * b"\x85" + b"K\x01s.")
    assert len(read_pickle(path)) == 1
