"""Factors for preconditioning: what they solve, and what becomes of them in the cache folder."""

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse

from reconstruct import cholesky
from reconstruct.cholesky import MOST_FILES, CholeskyFactor, cached_factor, factorise


def grid_matrix(side: int = 72, stiff: float = 30.0) -> sparse.csc_matrix:
    """A bending plate on springs, symmetric positive definite."""
    line = sparse.diags([-1.0, 2.0, -1.0], [-1, 0, 1], shape=(side, side))  # type: ignore[arg-type]
    laplacian = sparse.kronsum(line, line)
    return sparse.csc_matrix(stiff * laplacian @ laplacian + sparse.identity(side * side))


def right_side(count: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).normal(size=(count, 3)).astype(np.float32))


def residual(matrix: sparse.csc_matrix, factor: CholeskyFactor) -> float:
    right = right_side(len(factor.diagonal))
    error = matrix @ factor.solve(right).double().numpy() - right.numpy()
    return float(np.linalg.norm(error) / np.linalg.norm(right.numpy()))


@pytest.fixture
def never_factorise(monkeypatch: pytest.MonkeyPatch):
    def refuse(matrix: sparse.spmatrix) -> CholeskyFactor:
        raise AssertionError("factored again")

    return lambda: monkeypatch.setattr(cholesky, "factorise", refuse)


def test_the_factor_solves_and_multiplies():
    matrix = grid_matrix(20)
    factor = factorise(matrix)
    assert residual(matrix, factor) < 1e-2
    x = np.random.default_rng(0).normal(size=400)
    assert np.linalg.norm(factor.times(x) - matrix @ x) < 1e-5 * np.linalg.norm(matrix @ x)


@pytest.mark.parametrize("matrix", [sparse.diags([1.0, 0.0, 2.0]), sparse.csc_matrix([[1.0, 2.0], [2.0, 1.0]])])
def test_what_is_not_positive_definite_is_refused(matrix: sparse.spmatrix):
    with pytest.raises(ValueError, match=r"singular|positive definite"):
        factorise(matrix)


def test_a_kept_factor_is_the_same_and_quicker(tmp_path: Path, never_factorise):
    matrix = grid_matrix(100)
    start = time.perf_counter()
    made = cached_factor(matrix, folder=tmp_path)
    made_s = time.perf_counter() - start
    never_factorise()
    kept_s = []
    for _ in range(3):  # the best of three, because the machine may be busy
        start = time.perf_counter()
        kept = cached_factor(matrix, folder=tmp_path)
        kept_s.append(time.perf_counter() - start)
    assert min(kept_s) < made_s
    right = right_side(len(made.diagonal))
    assert torch.equal(made.solve(right), kept.solve(right))


def test_the_cache_lies_in_the_users_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MMFACE4D_CACHE", str(tmp_path))
    cached_factor(grid_matrix())
    assert len(list((tmp_path / "factors").glob("*.npz"))) == 1


def test_another_matrix_is_not_answered_from_the_cache(tmp_path: Path):
    cached_factor(grid_matrix(), folder=tmp_path)
    other = grid_matrix(stiff=31.0)
    assert residual(other, cached_factor(other, folder=tmp_path)) < 1e-2
    assert len(list(tmp_path.iterdir())) == 2


def damages(path: Path) -> list[bytes]:
    """Cut off, one bit changed in the middle, empty, and no archive at all."""
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(flipped) // 2] ^= 0x40
    return [whole[: len(whole) // 2], bytes(flipped), b"", b"not an archive"]


def test_a_damaged_file_is_made_again(tmp_path: Path, never_factorise):
    matrix = grid_matrix()
    good = cached_factor(matrix, folder=tmp_path)
    (path,) = tmp_path.iterdir()
    for damaged in damages(path):
        path.write_bytes(damaged)
        again = cached_factor(matrix, folder=tmp_path)
        assert np.array_equal(again.values, good.values)
    never_factorise()
    cached_factor(matrix, folder=tmp_path)


def test_a_foreign_file_is_made_again(tmp_path: Path):
    """A right hash does not tell whose factor it is, nor that its indices stay within bounds."""
    matrix, other = grid_matrix(), grid_matrix(stiff=60.0)
    good = cached_factor(matrix, folder=tmp_path)
    (path,) = tmp_path.iterdir()
    outside = good.rows.copy()
    outside[0] = 1 << 30
    twice = good.place.copy()
    twice[0] = twice[1]
    strangers = [
        factorise(other),
        replace(good, rows=outside),
        replace(good, place=twice),
        replace(good, diagonal=good.diagonal * np.float32(1.01)),
    ]
    for stranger in strangers:
        cholesky._store(path, stranger, path.stem)
        assert np.array_equal(cached_factor(matrix, folder=tmp_path).values, good.values)
        assert residual(matrix, cached_factor(matrix, folder=tmp_path)) < 1e-2


def test_a_pickle_is_never_opened(tmp_path: Path):
    matrix = grid_matrix()
    cached_factor(matrix, folder=tmp_path)
    (path,) = tmp_path.iterdir()
    with path.open("wb") as out:
        np.savez(out, header=np.array([{"format": 1}], dtype=object))
    assert residual(matrix, cached_factor(matrix, folder=tmp_path)) < 1e-2


def test_a_run_goes_on_where_nothing_can_be_kept(tmp_path: Path):
    in_the_way = tmp_path / "file"
    in_the_way.write_text("no folder")
    matrix = grid_matrix()
    assert residual(matrix, cached_factor(matrix, folder=in_the_way)) < 1e-2
    assert in_the_way.read_text() == "no folder"


def test_a_run_goes_on_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    matrix = grid_matrix()
    assert residual(matrix, cached_factor(matrix, folder=tmp_path)) < 1e-2
    assert not list(tmp_path.iterdir())


def test_the_longest_unused_go_first(tmp_path: Path):
    matrix = grid_matrix()
    cached_factor(matrix, folder=tmp_path)
    (ours,) = tmp_path.iterdir()
    for age in range(MOST_FILES + 4):
        old = tmp_path / f"{age}.npz"
        old.write_bytes(b"")
        os.utime(old, (1000 + age, 1000 + age))
    os.utime(ours, (1, 1))
    cached_factor(matrix, folder=tmp_path)  # a use makes it young again
    cached_factor(grid_matrix(stiff=2.0), folder=tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert len(left) == MOST_FILES
    assert ours.name in left
    assert "0.npz" not in left
    assert f"{MOST_FILES + 3}.npz" in left
