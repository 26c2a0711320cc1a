"""The vertex stage: Gauss-Newton on per-vertex offsets, by preconditioned conjugate gradients on one device.

E(d) = 1/2 sum w (r + g . dX)^2 + 1/2 d^T (R x I3) d, with
R = membrane C + bending C^T M^-1 C + (zero + temporal) M: cotangent stiffness C and vertex areas M of the model's mean
mesh. All weights are per area of skin, so they mean the same on a finer mesh. J^T W J is never formed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
import warp as wp
from jaxtyping import Float, Int
from scipy import sparse
from torch import Tensor

from mmface4d.errors import UsageError
from reconstruct.cholesky import CholeskyFactor, cached_factor
from reconstruct.offset_kernels import (
    add_blocks,
    add_product,
    add_pull,
    apply_blocks,
    descend,
    invert_blocks,
    regularise,
    turn,
)
from reconstruct.raster.warp_device import launch, upload
from reconstruct.rows import Rows
from reconstruct.threads import one_thread
from reconstruct.topology import Topology

PER_M2 = 1e6  # in 1/mm^2
PER_M4 = 1e12
JACOBI_STEPS = 40  # that do what one step with the Cholesky factor does, about
LOOK_EVERY = 20  # iterations on a GPU
SUM_THREADS = 4096  # on a GPU
DENSE_UNTIL = 12_000  # vertices, whose inverse takes 0.6 GB

OffsetsTensor = Float[Tensor, "n_verts 3"]  # metres, head frame, before scale
Preconditioner = Literal["auto", "cholesky", "dense", "jacobi"]
Precondition = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class OffsetPrior:
    """Weights of the offset prior, per area of skin."""

    membrane: float  # of the squared gradient of the offsets, 1/mm^2
    bending: float  # of their squared Laplacian, no unit
    zero: float  # of their square, 1/mm^2 on each mm^2 of skin
    temporal: float  # of their squared distance to those of the frame before, 1/mm^2 on each mm^2 of skin
    # what data typically weigh, 1/mm^2 on each mm^2 of skin; only the speed of convergence depends on it
    expected_data: float

    def __post_init__(self) -> None:
        """Raises UsageError for weights that leave the offsets undetermined."""
        weights = [getattr(self, field.name) for field in fields(self)]
        if not all(np.isfinite(weights)) or min(weights) < 0 or self.zero + self.temporal + self.expected_data <= 0:
            raise UsageError(
                f"{self} has weights that are negative or not finite, or that determine nothing",
                hint="give weights of zero or more, and one of zero, temporal and expected_data above it",
            )


@dataclass(frozen=True)
class OffsetSystem:
    """The linearised data of one frame, chained to offsets: residual + gradient . sum_k barycentric_k x_corner_k."""

    corners: Int[Tensor, "n_rows 3"]  # int32
    barycentric: Float[Tensor, "n_rows 3"]
    gradient_in_head: Float[Tensor, "n_rows 3"]
    weight: Float[Tensor, "n_rows"]  # a row of weight 0 does not count, whatever stands in it
    residual: Float[Tensor, "n_rows"]


def offset_system(rows: Rows, rotation: Tensor | np.ndarray, scale: float) -> OffsetSystem:
    """Rows chained to offsets by the frame's rotation (world_from_head) and the actor's scale."""
    turn = torch.as_tensor(rotation, dtype=rows.gradient.dtype, device=rows.gradient.device) * scale
    return OffsetSystem(rows.corners, rows.barycentric, rows.gradient @ turn, rows.weight, rows.residual)


class OffsetSolver:
    """Solves for offsets in the head frame, before scale.

    `preconditioner`: "cholesky", a factor made once and cached, solved on the CPU; "dense", the inverse of the same
    matrix, one product on a GPU; "jacobi", 3x3 blocks of the data's matrix too, for a GPU and a mesh too large for
    that; "auto" takes the one that suits device and mesh.
    """

    def __init__(
        self, topology: Topology, prior: OffsetPrior, *, device: str = "cpu", preconditioner: Preconditioner = "auto"
    ) -> None:
        self.topology, self.prior, self.device = topology, prior, device
        self.preconditioner = _suited(device, topology.vertex_count) if preconditioner == "auto" else preconditioner
        self._areas = torch.from_numpy(topology.areas * PER_M4).to(device, torch.float32)  # times 1/mm^2 per mm^2

    @cached_property
    def regulariser(self) -> sparse.csr_matrix:
        """R [N,N], 1/m^2."""
        prior, topology = self.prior, self.topology
        areas = sparse.diags((prior.zero + prior.temporal) * PER_M4 * topology.areas)
        return (prior.membrane * PER_M2 * topology.stiffness + prior.bending * topology.bending + areas).tocsr()

    def solve(
        self,
        systems: Sequence[OffsetSystem],
        offsets: OffsetsTensor,
        *,
        before: OffsetsTensor,
        iterations: int,
        tolerance: float = 1e-4,
    ) -> OffsetsTensor:
        """New offsets from the data of one or several frames, linearised at `offsets`.

        `before` are the offsets of the frame before, to which the temporal term draws. At most so many `iterations`
        with the Cholesky factor, or JACOBI_STEPS times as many with blocks; fewer where the error, in the
        preconditioner's norm, falls below `tolerance` of the start.
        """
        with one_thread():
            systems = [_joined(systems)] if len(systems) > 1 else systems
            right = -self.gradient(systems, offsets, before=before)
            linear = [replace(system, residual=torch.zeros_like(system.residual)) for system in systems]

            def hessian_times(x: Tensor) -> Tensor:
                out = self._regularised(x)
                for system in linear:
                    _add_pull(system, x, out)
                return out

            steps = iterations * (JACOBI_STEPS if self.preconditioner == "jacobi" else 1)
            precondition = self._precondition(linear)
            step = conjugate_gradients(hessian_times, right, precondition, iterations=steps, tolerance=tolerance)
            return offsets + step

    def gradient(
        self, systems: Sequence[OffsetSystem], offsets: OffsetsTensor, *, before: OffsetsTensor
    ) -> OffsetsTensor:
        """Of prior and data at the offsets at which the data are linearised, 1/m."""
        out = self._regularised(offsets) - self.prior.temporal * self._areas[:, None] * before
        for system in systems:
            _add_pull(system, torch.zeros_like(out), out)
        return out

    def energy(self, offsets: OffsetsTensor, before: OffsetsTensor) -> float:
        """Of the prior alone: 1/2 d^T R d, where the temporal part is 1/2 temporal (d - before)^T M (d - before)."""
        drawn = self.prior.temporal * self._areas[:, None]
        forces = self._regularised(offsets) - drawn * offsets
        apart = offsets - before
        return 0.5 * float((offsets * forces).double().sum() + (drawn * apart * apart).double().sum())

    def _regularised(self, x: OffsetsTensor) -> OffsetsTensor:
        """R x."""
        out = torch.empty_like(x)
        launch(regularise, dim=len(x), inputs=[*self._warp_arrays, _vec3(x), _vec3(out)], device=self.device)
        return out

    @cached_property
    def _warp_arrays(self) -> list[wp.array]:
        """R without its diagonal, and its rows' sums: constants are in the null space of all but the areas' part."""
        coo = sparse.coo_matrix(self.regulariser)
        off = coo.row != coo.col
        rest = sparse.csr_matrix((coo.data[off], (coo.row[off], coo.col[off])), shape=coo.shape)
        sums = (self.prior.zero + self.prior.temporal) * PER_M4 * self.topology.areas
        arrays = [(rest.indptr, wp.int32), (rest.indices, wp.int32), (rest.data, wp.float32), (sums, wp.float32)]
        return [upload(array, kind, self.device) for array, kind in arrays]

    def _precondition(self, systems: Sequence[OffsetSystem]) -> Precondition:
        if self.preconditioner == "jacobi":
            return self._block_inverse(systems)
        return self._factor.solve if self.preconditioner == "cholesky" else self._inverse.matmul

    @cached_property
    def _expected(self) -> sparse.csr_matrix:
        """The matrix that a frame's usual data leave, [N,N], 1/m^2."""
        data = sparse.diags(self.prior.expected_data * PER_M4 * self.topology.areas)
        return sparse.csr_matrix(self.regulariser + data)

    @cached_property
    def _factor(self) -> CholeskyFactor:
        return cached_factor(self._expected)

    @cached_property
    def _inverse(self) -> Float[Tensor, "n_verts n_verts"]:
        matrix = torch.from_numpy(self._expected.toarray()).to(self.device)
        return torch.cholesky_inverse(torch.linalg.cholesky(matrix)).float()

    @cached_property
    def _diagonal(self) -> wp.array:
        diagonal = self.regulariser.diagonal()
        # a vertex that nothing holds keeps a little, to have an inverse
        return upload(np.maximum(diagonal, 1e-9 * diagonal.mean()), wp.float32, self.device)

    def _block_inverse(self, systems: Sequence[OffsetSystem]) -> Precondition:
        """Multiplication by the inverse of the 3x3 diagonal blocks of R + J^T W J."""
        count = self.topology.vertex_count
        blocks = torch.zeros((count, 3, 3), device=self.device)
        on_device = wp.from_torch(blocks, dtype=wp.mat33)
        for system in systems:
            inputs = [*_row_arrays(system), on_device]
            launch(add_blocks, dim=len(system.weight), inputs=inputs, device=self.device)
        launch(invert_blocks, dim=count, inputs=[self._diagonal, on_device], device=self.device)

        def apply(right: Tensor) -> Tensor:
            out = torch.empty_like(right)
            launch(apply_blocks, dim=count, inputs=[on_device, _vec3(right), _vec3(out)], device=self.device)
            return out

        return apply


def conjugate_gradients(
    apply: Callable[[Tensor], Tensor],
    right: Tensor,
    precondition: Precondition,
    *,
    iterations: int,
    tolerance: float,
) -> Tensor:
    """Preconditioned conjugate gradients from zero, `iterations` steps or until `tolerance` of the start.

    The scalars stay on the device; on a GPU the tolerance is looked at now and then only, because a look waits.
    """
    device = str(right.device)
    look_every = 1 if right.device.type == "cpu" else LOOK_EVERY
    x, residual = torch.zeros_like(right), right.clone()
    z = precondition(residual)
    direction, rho = z.clone(), _product(residual, z)
    least = float(rho) * tolerance**2 if iterations else 0.0
    for iteration in range(iterations):
        if iteration % look_every == 0 and not float(rho) > least:
            break
        image = apply(direction)
        curvature = wp.from_torch(_product(direction, image))
        vectors = [_vec3(vector) for vector in (direction, image, x, residual)]
        launch(descend, dim=len(x), inputs=[wp.from_torch(rho), curvature, *vectors], device=device)
        z = precondition(residual)
        rho, before = _product(residual, z), rho
        inputs = [wp.from_torch(rho), wp.from_torch(before), _vec3(z), _vec3(direction)]
        launch(turn, dim=len(x), inputs=inputs, device=device)
    return x


def _product(a: Tensor, b: Tensor) -> Float[Tensor, "1"]:
    """a . b on the device, in double precision."""
    out = torch.zeros(1, dtype=torch.float64, device=a.device)
    threads = 1 if a.device.type == "cpu" else SUM_THREADS
    launch(add_product, dim=threads, inputs=[_vec3(a), _vec3(b), threads, wp.from_torch(out)], device=str(a.device))
    return out


def _suited(device: str, vertex_count: int) -> Preconditioner:
    if not device.startswith("cuda"):
        return "cholesky"
    return "dense" if vertex_count <= DENSE_UNTIL else "jacobi"


def _joined(systems: Sequence[OffsetSystem]) -> OffsetSystem:
    return OffsetSystem(**{f.name: torch.cat([getattr(s, f.name) for s in systems]) for f in fields(OffsetSystem)})


def _add_pull(system: OffsetSystem, x: Tensor, out: Tensor) -> None:
    """out += J^T W (r + J x)."""
    inputs = [*_row_arrays(system), wp.from_torch(system.residual), _vec3(x), _vec3(out)]
    launch(add_pull, dim=len(system.weight), inputs=inputs, device=str(x.device))


def _row_arrays(system: OffsetSystem) -> list[wp.array]:
    vectors = [_vec3(system.barycentric), _vec3(system.gradient_in_head)]
    return [wp.from_torch(system.corners, dtype=wp.vec3i), *vectors, wp.from_torch(system.weight)]


def _vec3(tensor: Tensor) -> wp.array:
    return wp.from_torch(tensor, dtype=wp.vec3)
