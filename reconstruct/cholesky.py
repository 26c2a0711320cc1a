"""Sparse Cholesky factors for preconditioning, made once per matrix and kept in the user's cache folder.

The ordering and the numbers come from SuperLU (scipy) in its symmetric mode; the triangular solves are ours, in single
precision and without the factor's tiny entries, which doubles their speed and a preconditioner does not miss.
"""

import hashlib
import json
import os
import zipfile
import zlib
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import warp as wp
from jaxtyping import Float, Int
from scipy import sparse
from scipy.sparse.linalg import splu
from torch import Tensor

from mmface4d.errors import DiskFullError
from mmface4d.files import atomic_path, user_cache_folder
from reconstruct.offset_kernels import solve_triangular
from reconstruct.raster.warp_device import launch, upload

FORMAT = 1
LEAST_ENTRY = (
    1e-5  # of the factor, relative to its row's diagonal; costs 3e-6 of accuracy and saves half of the entries
)
MOST_RESIDUAL = 1e-4  # of the factor's product against the matrix
CACHED_FROM = 5000  # unknowns; a smaller matrix is factored as quickly as a file is read
MOST_FILES = 16
MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class CholeskyFactor:
    """A[i, j] = (G G^T)[place[i], place[j]], G lower triangular."""

    starts: Int[np.ndarray, "n_starts"]  # CSC of G without its diagonal
    rows: Int[np.ndarray, "n_entries"]
    values: Float[np.ndarray, "n_entries"]
    diagonal: Float[np.ndarray, "n"]
    place: Int[np.ndarray, "n"]

    def solve(self, right: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """A^-1 right, nearly: relative error about 1e-3. Runs on the CPU whatever the device of `right`."""
        source = right.detach().to("cpu", torch.float32).contiguous()
        scratch, out = torch.empty_like(source), torch.empty_like(source)
        vectors = [wp.from_torch(array, dtype=wp.vec3) for array in (source, scratch, out)]
        launch(solve_triangular, dim=1, inputs=[*self._warp_arrays, *vectors], device="cpu")
        return out.to(right.device)

    def times(self, x: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
        """A x, as the factor has it."""
        count = len(self.diagonal)
        lower = sparse.csc_matrix((self.values.astype(np.float64), self.rows, self.starts), shape=(count, count))
        lower = lower + sparse.diags(self.diagonal.astype(np.float64))
        placed = np.empty(count)
        placed[self.place] = x
        return (lower @ (lower.T @ placed))[self.place]

    @cached_property
    def _warp_arrays(self) -> list[wp.array]:
        arrays = [self.starts, self.rows, self.values, 1 / self.diagonal, self.place]
        kinds = [wp.int32, wp.int32, wp.float32, wp.float32, wp.int32]
        return [upload(array, kind, "cpu") for array, kind in zip(arrays, kinds, strict=True)]


def factorise(matrix: sparse.spmatrix) -> CholeskyFactor:
    """The factor of a sparse symmetric matrix; raises ValueError where it is not positive definite."""
    try:
        lu = splu(
            sparse.csc_matrix(matrix, dtype=np.float64),
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )
    except RuntimeError as error:  # "Factor is exactly singular"
        raise ValueError("the matrix is singular") from error
    pivots = lu.U.diagonal()
    if not (np.array_equal(lu.perm_r, lu.perm_c) and (pivots > 0).all()):
        raise ValueError("the matrix is not symmetric positive definite")
    diagonal = np.sqrt(pivots)
    lower = sparse.coo_matrix(sparse.tril(lu.L, -1))
    values = lower.data * diagonal[lower.col]
    keep = np.abs(values) > LEAST_ENTRY * diagonal[lower.row]
    lower = sparse.csc_matrix((values[keep], (lower.row[keep], lower.col[keep])), shape=lower.shape)
    lower.sort_indices()
    return CholeskyFactor(
        lower.indptr.astype(np.int32),
        lower.indices.astype(np.int32),
        lower.data.astype(np.float32),
        diagonal.astype(np.float32),
        lu.perm_c.astype(np.int32),
    )


def cached_factor(matrix: sparse.spmatrix, *, folder: Path | None = None) -> CholeskyFactor:
    """The factor of a matrix, from the cache folder where it lies there, else made and left there.

    A damaged or foreign file is made again; a folder that cannot be read or written is done without.
    """
    compressed = sparse.csc_matrix(matrix, dtype=np.float64)
    if len(compressed.indptr) <= CACHED_FROM:
        return factorise(compressed)
    try:
        folder = folder or user_cache_folder() / "factors"
    except RuntimeError:  # a user without a home
        return factorise(compressed)
    key = _key(compressed)
    path = folder / f"{key}.npz"
    factor = _load(path, compressed, key)
    if factor is None:
        factor = factorise(compressed)
        _store(path, factor, key)
    return factor


def _key(matrix: sparse.csc_matrix) -> str:
    matrix.sort_indices()
    digest = hashlib.sha256(f"{FORMAT} {LEAST_ENTRY} {matrix.shape}".encode())
    for array, kind in ((matrix.indptr, np.int64), (matrix.indices, np.int64), (matrix.data, np.float64)):
        digest.update(np.ascontiguousarray(array, dtype=kind).data)
    return digest.hexdigest()


def _load(path: Path, matrix: sparse.csc_matrix, key: str) -> CholeskyFactor | None:
    """None where there is no such file, or not one that fits the matrix."""
    names = [field.name for field in fields(CholeskyFactor)]
    try:
        if path.stat().st_size > MOST_BYTES:
            return None
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            header = json.loads(archive["header"].tobytes())
            factor = CholeskyFactor(**{name: archive[name] for name in names})
        os.utime(path)  # the longest unused go first
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error, EOFError):
        return None
    return factor if header == _header(factor, key) and _fits(factor, matrix) else None


def _fits(factor: CholeskyFactor, matrix: sparse.csc_matrix) -> bool:
    """Whether a factor from a file is one of this matrix; also whether its indices stay within bounds."""
    count = len(matrix.indptr) - 1
    starts, rows, place = factor.starts, factor.rows, factor.place
    kinds = all(array.dtype == np.int32 and array.ndim == 1 for array in (starts, rows, place))
    kinds &= all(array.dtype == np.float32 and array.ndim == 1 for array in (factor.values, factor.diagonal))
    if not kinds or len(starts) != count + 1 or len(factor.diagonal) != count or len(rows) != len(factor.values):
        return False
    if starts[0] != 0 or starts[-1] != len(rows) or (np.diff(starts) < 0).any():
        return False
    columns = np.repeat(np.arange(count), np.diff(starts))
    if (rows <= columns).any() or (rows >= count).any() or not np.array_equal(np.sort(place), np.arange(count)):
        return False
    probe = np.random.default_rng(0).normal(size=count)
    image = matrix @ probe
    error = np.linalg.norm(factor.times(probe) - image)
    return bool(error <= MOST_RESIDUAL * np.linalg.norm(image)) and bool((factor.diagonal > 0).all())


def _store(path: Path, factor: CholeskyFactor, key: str) -> None:
    """Keeps a factor where there is room; a run goes on without."""
    arrays = {field.name: getattr(factor, field.name) for field in fields(factor)}
    header = np.frombuffer(json.dumps(_header(factor, key)).encode(), dtype=np.uint8)
    try:
        with atomic_path(path) as partial, partial.open("wb") as out:
            np.savez(out, header=header, **arrays)  # pyright: ignore[reportArgumentType]
        _forget_old(path.parent)
    except (OSError, DiskFullError):
        return


def _header(factor: CholeskyFactor, key: str) -> dict[str, str | int]:
    digest = hashlib.sha256()
    for field in fields(factor):
        array = getattr(factor, field.name)
        digest.update(f"{field.name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return {"format": FORMAT, "key": key, "sha256": digest.hexdigest()}


def _forget_old(folder: Path) -> None:
    """Deletes all but the newest files, left-overs of killed writers among them."""
    ages = sorted(((path.stat().st_mtime, path) for path in folder.glob("*.npz")), reverse=True)
    for _, path in ages[MOST_FILES:]:
        path.unlink(missing_ok=True)
