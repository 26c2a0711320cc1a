"""The vertex stage: Gauss-Newton on per-vertex offsets, by conjugate gradients with a prefactored preconditioner.

E(d) = 1/2 sum w (r + g . dX)^2 + 1/2 d^T (R x I3) d with R = edge L + laplacian U^T U + offset I, all in 1/m^2.
The preconditioner (R + expected data) x I3 is factored once per topology and weights.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import sparse

from mmface4d.arrays import Vertices
from reconstruct.rows import Rows
from reconstruct.topology import Topology


@dataclass(frozen=True)
class OffsetPrior:
    """Weights of the offset prior, 1/mm^2."""

    edge: float
    laplacian: float
    offset: float
    temporal: float  # towards the offsets of the frame before
    expected_data: float  # what data typically weigh at a vertex; only the speed of convergence depends on it


@dataclass(frozen=True)
class OffsetSystem:
    """The linearised data of one frame: residual + jacobian . offsets (head frame, before scale)."""

    jacobian: sparse.csr_matrix  # [n_rows, 3N]
    weight: Float[np.ndarray, "n_rows"]
    residual: Float[np.ndarray, "n_rows"]

    def pull(self, x: Vertices) -> Vertices:
        """J^T W J x."""
        image = self.jacobian @ x.ravel().astype(np.float32)
        return (self.jacobian.T @ (self.weight * image).astype(np.float32)).reshape(-1, 3)

    def gradient(self) -> Vertices:
        """J^T W r."""
        return (self.jacobian.T @ (self.weight * self.residual).astype(np.float32)).reshape(-1, 3)


def offset_system(rows: Rows, rotation: np.ndarray, scale: float, *, vertex_count: int) -> OffsetSystem:
    """Rows chained to offsets by the frame's rotation (world_from_head) and the actor's scale."""
    gradient = scale * rows.gradient.cpu().numpy() @ rotation
    corners, barycentric = rows.corners.cpu().numpy(), rows.barycentric.cpu().numpy()
    columns = (corners[:, :, None] * 3 + np.arange(3)).reshape(len(rows), 9)
    values = (barycentric[:, :, None] * gradient[:, None, :]).reshape(len(rows), 9)
    starts = np.arange(len(rows) + 1, dtype=np.int32) * 9
    data = values.astype(np.float32).ravel()
    shape = (len(rows), 3 * vertex_count)
    jacobian = sparse.csr_matrix((data, columns.astype(np.int32).ravel(), starts), shape=shape)
    return OffsetSystem(jacobian, rows.weight.cpu().numpy(), rows.residual.cpu().numpy())


class OffsetSolver:
    """Solves for offsets in the head frame, before scale."""

    def __init__(self, topology: Topology, prior: OffsetPrior) -> None:
        self.topology, self.prior = topology, prior
        per_m2 = 1e6
        identity = sparse.identity(topology.vertex_count, format="csr")
        umbrella = topology.umbrella
        self.regulariser = (
            prior.edge * topology.laplacian
            + prior.laplacian * (umbrella.T @ umbrella)
            + (prior.offset + prior.temporal) * identity
        ).tocsr() * per_m2

    @cached_property
    def _preconditioner(self) -> "CholeskyFactor":
        expected = self.prior.expected_data * 1e6
        return CholeskyFactor(self.regulariser + expected * sparse.identity(self.topology.vertex_count, format="csr"))

    def solve(self, systems: list[OffsetSystem], offsets: Vertices, *, before: Vertices, iterations: int) -> Vertices:
        """New offsets from the data of one or several frames, linearised at `offsets`.

        `before` are the offsets of the frame before, to which the temporal term draws.
        """
        gradient = self.regulariser @ offsets - self.prior.temporal * 1e6 * before
        for system in systems:
            gradient = gradient + system.gradient()

        def hessian_times(x: Vertices) -> Vertices:
            out = self.regulariser @ x
            for system in systems:
                out = out + system.pull(x)
            return out

        return offsets + conjugate_gradients(hessian_times, -gradient, self._preconditioner.solve, iterations)


def conjugate_gradients(
    apply: Callable[[Vertices], Vertices],
    right: Vertices,
    precondition: Callable[[Vertices], Vertices],
    iterations: int,
) -> Vertices:
    """Preconditioned conjugate gradients from zero, a fixed number of steps or until 1e-4 of the start."""
    x = np.zeros_like(right)
    residual = right.copy()
    z = precondition(residual)
    direction, rho = z.copy(), float((residual * z).sum())
    start = rho
    for _ in range(iterations):
        if rho <= 1e-8 * start:
            break
        image = apply(direction)
        step = rho / float((direction * image).sum())
        x += step * direction
        residual -= step * image
        z = precondition(residual)
        rho, before = float((residual * z).sum()), rho
        direction = z + rho / before * direction
    return x


class CholeskyFactor:
    """Factor of a sparse symmetric positive definite matrix: CHOLMOD by cholespy."""

    def __init__(self, matrix: sparse.spmatrix) -> None:
        import cholespy

        coo = sparse.coo_matrix(matrix)
        rows, columns = coo.row.astype(np.int32), coo.col.astype(np.int32)
        self._size = coo.shape[0]  # type: ignore[index]  (never None, whatever scipy says)
        self._solver: Any = cholespy.CholeskySolverD(  # type: ignore[attr-defined]  (a compiled module without stubs)
            self._size,
            rows,
            columns,
            coo.data.astype(np.float64),
            cholespy.MatrixType.COO,  # type: ignore[attr-defined]
        )

    def solve(self, right: Vertices) -> Vertices:
        """The solution for every column of `right`."""
        out = np.zeros_like(right, dtype=np.float64)
        self._solver.solve(np.ascontiguousarray(right, dtype=np.float64), out)
        return out
