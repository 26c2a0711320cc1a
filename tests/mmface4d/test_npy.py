"""Arrays larger than memory: written in blocks, mapped, refused where they are damaged."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmface4d.errors import InputError
from mmface4d.npy import map_npy, write_npy


def test_blocks_become_one_array(tmp_path: Path) -> None:
    values = np.arange(60, dtype=np.float32).reshape(10, 2, 3)
    write_npy(tmp_path / "a.npy", (values[at : at + 4] for at in range(0, 10, 4)), shape=values.shape)
    assert np.array_equal(np.load(tmp_path / "a.npy"), values)
    assert np.array_equal(map_npy(tmp_path / "a.npy", hint=""), values)


@pytest.mark.parametrize("shape", [(9, 2, 3), (11, 2, 3), (10, 3, 2)])
def test_blocks_of_another_shape_leave_no_file(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"(rows|shape)"):
        write_npy(tmp_path / "a.npy", [np.zeros((10, 2, 3))], shape=shape)
    assert list(tmp_path.iterdir()) == []


@given(at=st.integers(0, 200), byte=st.integers(0, 255), cut=st.booleans())
@settings(max_examples=200, deadline=None)
def test_damaged_files_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, at: int, byte: int, cut: bool
) -> None:
    path = tmp_path_factory.mktemp("npy") / "a.npy"
    write_npy(path, [np.zeros((4, 3))], shape=(4, 3))
    whole = bytearray(path.read_bytes())
    at %= len(whole)
    if cut:
        whole = whole[:at]
    else:
        whole[at] = byte
    path.write_bytes(whole)
    try:
        found = map_npy(path, hint="")
    except InputError:
        return
    assert not found.dtype.hasobject


def test_an_archive_under_an_arrays_name_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        np.savez(file, a=np.zeros(3))
    with pytest.raises(InputError, match="an archive"):
        map_npy(tmp_path / "a.npy", hint="")
