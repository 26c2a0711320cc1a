"""The vertex stage: its operators, its solution against a dense one, and what a finer mesh changes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.sparse.linalg import spsolve

from mmface4d.errors import UsageError
from mmface4d.transforms import rotation_from_rotvec
from reconstruct.rows import Rows
from reconstruct.topology import Topology, topology_of
from reconstruct.vertex_offsets import OffsetPrior, OffsetSolver, OffsetSystem, offset_system
from tests.reconstruct.scene import bumpy_model

PRIOR = OffsetPrior(membrane=0.5, bending=10.0, zero=0.02, temporal=0.03, expected_data=0.1)


def subdivided(topology: Topology) -> tuple[Topology, sparse.csr_matrix]:
    """The same surface with four triangles for each, and the map that gives every new vertex its place."""
    faces, count = topology.faces, topology.vertex_count
    sides = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    edges, index = np.unique(sides, axis=0, return_inverse=True)
    ab, bc, ca = index.reshape(3, -1) + count
    a, b, c = faces.T
    fine = np.concatenate([np.stack(t, 1) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
    rows = np.repeat(np.arange(len(edges)), 2)
    middle = sparse.csr_matrix((np.full(2 * len(edges), 0.5), (rows, edges.ravel())), shape=(len(edges), count))
    prolong = sparse.csr_matrix(sparse.vstack([sparse.identity(count), middle]))
    split, split_from = (np.concatenate([r, r[edges].all(1)]) for r in (topology.split, topology.split_from))
    return (
        Topology(
            fine.astype(np.int32),
            count + len(edges),
            split=split,
            split_from=split_from,
            mean=prolong @ topology.mean,
        ),
        prolong,
    )


def patch_data(topology: Topology, *, weight: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Points spread evenly by area, as triangle and barycentrics, the pull there along z, and each one's weight.

    `weight` in 1/mm^2 on each mm^2.
    """
    rng = np.random.default_rng(2)
    corners = topology.mean[topology.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    triangle = np.repeat(np.arange(len(area)), 6)
    shares = rng.dirichlet(np.ones(3), len(triangle))
    points = np.einsum("rk,rkc->rc", shares, corners[triangle])
    pull_m = 2e-3 * np.sin(points[:, 0] * 90) * np.cos(points[:, 1] * 70)
    return triangle, shares, pull_m, weight * 1e12 * area[triangle] / 6


def in_quarters(faces: np.ndarray, triangle: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same points on the subdivided mesh; its triangles come as all corners a, all b, all c, all middles."""
    part = np.where(shares.max(1) > 0.5, shares.argmax(1), 3)
    outer = 2 * shares - np.eye(4, 3)[part]
    middle = shares[:, [0, 1, 2]] + shares[:, [1, 2, 0]] - shares[:, [2, 0, 1]]
    return part * len(faces) + triangle, np.where(part[:, None] == 3, middle, outer)


def tensors(corners, barycentric, gradient, weight, residual) -> OffsetSystem:
    arrays = (torch.from_numpy(np.array(a, dtype=np.float32)) for a in (barycentric, gradient, weight, residual))
    return OffsetSystem(torch.from_numpy(np.array(corners, dtype=np.int32)), *arrays)


def random_system(topology: Topology, count: int, seed: int = 0) -> OffsetSystem:
    rng = np.random.default_rng(seed)
    return tensors(
        topology.faces[rng.integers(0, len(topology.faces), count)],
        rng.dirichlet(np.ones(3), count),
        rng.normal(size=(count, 3)),
        rng.uniform(0, 4e5, count),
        rng.normal(size=count) * 1e-3,
    )


def random_offsets(topology: Topology, seed: int = 5) -> torch.Tensor:
    return (
        torch.from_numpy(np.random.default_rng(seed).normal(size=(topology.vertex_count, 3)).astype(np.float32)) * 1e-3
    )


def dense_jacobian(system: OffsetSystem, count: int) -> np.ndarray:
    jacobian = np.zeros((len(system.weight), count, 3))
    for k in range(3):
        shares = system.barycentric[:, k, None].double() * system.gradient_in_head.double()
        jacobian[np.arange(len(jacobian)), system.corners[:, k]] += shares.numpy()
    return jacobian.reshape(len(jacobian), -1)


def dense_solution(solver: OffsetSolver, systems: list[OffsetSystem], offsets: torch.Tensor, before: torch.Tensor):
    """The same minimum by numpy in double precision."""
    count = solver.topology.vertex_count
    hessian = np.kron(solver.regulariser.toarray(), np.eye(3))
    temporal = solver.prior.temporal * 1e12 * solver.topology.areas[:, None]
    gradient = (solver.regulariser @ offsets.double().numpy() - temporal * before.double().numpy()).ravel()
    for system in systems:
        jacobian, weight = dense_jacobian(system, count), system.weight.double().numpy()
        hessian += jacobian.T @ (weight[:, None] * jacobian)
        gradient += jacobian.T @ (weight * system.residual.double().numpy())
    return offsets.double().numpy() - np.linalg.solve(hessian, gradient).reshape(-1, 3)


def total_energy(solver: OffsetSolver, systems: list[OffsetSystem], at: torch.Tensor, offsets, before) -> float:
    """Prior and data at `offsets`, the data linearised at `at`."""
    energy = solver.energy(offsets, before)
    for system in systems:
        moved = dense_jacobian(system, len(offsets)) @ (offsets - at).double().numpy().ravel()
        energy += 0.5 * float((system.weight.double().numpy() * (system.residual.double().numpy() + moved) ** 2).sum())
    return energy


def split_model(side: int = 25):
    """The patch with lips that meet along its middle, down to a margin where they are one."""
    model = bumpy_model(side)
    index = np.arange(side * side).reshape(side, side)
    upper, lower = (np.zeros(side * side, bool) for _ in range(2))
    middle = side // 2
    upper[index[middle : middle + 4, 6:-6]] = True
    lower[index[middle - 4 : middle, 6:-6]] = True
    return replace(model, regions={**model.regions, "upper_lip": upper, "lower_lip": lower})


def test_the_regulariser_is_symmetric_and_positive_definite():
    topology = topology_of(split_model(15 + 6))
    regulariser = OffsetSolver(topology, PRIOR).regulariser.toarray()
    assert np.array_equal(regulariser, regulariser.T)
    least = np.linalg.eigvalsh(regulariser).min()
    assert least > 0.5 * (PRIOR.zero + PRIOR.temporal) * 1e12 * topology.areas.min()


def test_operators_measure_the_plane():
    """On a flat sheet of known functions: areas, the integral of |grad f|^2 and of (laplace f)^2."""
    side, size = 41, 0.04
    model = bumpy_model(side)
    u = np.linspace(0, size, side)
    x, y = (a.ravel() for a in np.meshgrid(u, u))
    flat = replace(topology_of(model), mean=np.stack([x, y, 0 * x], 1))
    assert np.isclose(flat.areas.sum(), size**2)
    slope = 3 * x - 2 * y
    assert np.isclose(slope @ (flat.stiffness @ slope), 13 * size**2)
    assert np.abs(flat.bending @ slope).max() < 1e-6
    bowl = 0.5 * x**2
    inside = ((side - 2) / (side - 1) * size) ** 2
    assert np.isclose(bowl @ (flat.bending @ bowl), inside, rtol=1e-6)


def test_degenerate_triangles_keep_the_operators_finite_and_semi_definite():
    model = bumpy_model(15)
    mean = model.mean.copy()
    mean[100] = mean[101]  # two corners in one place
    mean[50] = (mean[49] + mean[51]) / 2 + 1e-9
    topology = replace(topology_of(model), mean=mean)
    for operator in (topology.stiffness, topology.bending):
        values = np.linalg.eigvalsh(operator.toarray())
        assert np.isfinite(values).all()
        assert values.min() > -1e-9 * values.max()
    assert topology.areas.min() >= 0.009 * topology.areas.mean()


@pytest.mark.parametrize("preconditioner", ["cholesky", "dense", "jacobi"])
def test_all_preconditioners_find_the_dense_solution(preconditioner):
    topology = topology_of(split_model(17 + 6))
    systems = [random_system(topology, 300, seed) for seed in (0, 1)]
    offsets, before = random_offsets(topology), random_offsets(topology, 6)
    solver = OffsetSolver(topology, PRIOR, preconditioner=preconditioner)
    found = solver.solve(systems, offsets, before=before, iterations=200, tolerance=1e-7)
    expected = dense_solution(solver, systems, offsets, before)
    assert np.abs(found.numpy() - expected).max() < 2e-6 * np.abs(expected).max() + 2e-8


def test_few_iterations_do_with_a_factor():
    topology = topology_of(split_model(17 + 6))
    systems = [random_system(topology, 300)]
    offsets = torch.zeros(topology.vertex_count, 3)
    solver = OffsetSolver(topology, PRIOR)
    exact = solver.solve(systems, offsets, before=offsets, iterations=300, tolerance=1e-7)
    after = [
        float((solver.solve(systems, offsets, before=offsets, iterations=n) - exact).norm() / exact.norm())
        for n in (1, 3, 8)
    ]
    assert after[0] > after[1] > after[2]
    assert after[2] < 0.05


def test_rows_of_weight_zero_do_not_count_whatever_stands_in_them():
    topology = topology_of(split_model())
    system = random_system(topology, 200)
    system.weight[::2] = 0.0
    spoiled = replace(system, residual=system.residual.clone(), corners=system.corners.clone())
    spoiled.residual[::2] = torch.nan
    spoiled.corners[::2] = -1
    offsets = random_offsets(topology)
    solver = OffsetSolver(topology, PRIOR)
    clean, dirty = (solver.solve([s], offsets, before=offsets, iterations=8) for s in (system, spoiled))
    assert torch.equal(clean, dirty)


def test_without_data_offsets_go_towards_those_before():
    topology = topology_of(split_model())
    solver = OffsetSolver(topology, replace(PRIOR, zero=0.0))
    before = torch.ones(topology.vertex_count, 3) * 1e-3  # constant: no membrane, no bending
    found = solver.solve([], torch.zeros_like(before), before=before, iterations=50, tolerance=1e-7)
    assert torch.allclose(found, before, atol=1e-8)


def test_the_gradient_is_that_of_the_energy():
    topology = topology_of(split_model(15 + 6))
    solver = OffsetSolver(topology, PRIOR)
    systems = [random_system(topology, 200)]
    offsets, before = random_offsets(topology), random_offsets(topology, 6)
    gradient = solver.gradient(systems, offsets, before=before)
    for seed in range(3):
        along = random_offsets(topology, 10 + seed)
        plus, minus = (total_energy(solver, systems, offsets, offsets + s * along, before) for s in (1.0, -1.0))
        # central differences of a quadratic are exact at any step
        assert np.isclose((plus - minus) / 2, float((gradient * along).double().sum()), rtol=1e-4, atol=1e-4 * plus)


def test_the_solution_has_the_least_energy():
    topology = topology_of(split_model(15 + 6))
    solver = OffsetSolver(topology, PRIOR)
    systems = [random_system(topology, 200)]
    start, before = random_offsets(topology), random_offsets(topology, 6)
    found = solver.solve(systems, start, before=before, iterations=100, tolerance=1e-7)
    least = total_energy(solver, systems, start, found, before)
    for seed in range(3):
        near = found + 0.01 * random_offsets(topology, 20 + seed)
        assert total_energy(solver, systems, start, near, before) > least


def test_rows_are_chained_by_rotation_and_scale():
    topology = topology_of(bumpy_model(15))
    system = random_system(topology, 50)
    rotation = rotation_from_rotvec(np.array([0.3, -0.2, 0.5]))

    rows = Rows(
        residual=system.residual,
        gradient=system.gradient_in_head,
        corners=system.corners,
        barycentric=system.barycentric,
        weight=system.weight,
        camera=torch.zeros_like(system.corners[:, 0]),
        cost=0.0,
    )
    in_head = offset_system(rows, rotation, 1.1)
    moved_in_head = torch.tensor([1e-3, 2e-3, -1e-3])
    moved_in_world = 1.1 * torch.from_numpy(rotation).float() @ moved_in_head
    assert torch.allclose(in_head.gradient_in_head @ moved_in_head, system.gradient_in_head @ moved_in_world, atol=1e-8)


def test_lips_do_not_pull_each_other():
    """What moves the upper lip reaches the lower one only around the corners of the mouth."""
    model = split_model(33)
    split = topology_of(model)
    nowhere = np.zeros_like(split.split)
    joined = replace(split, split=nowhere, split_from=nowhere)
    inner_upper, inner_lower = (
        _rim(split, a, b) for a, b in ((split.split, split.split_from), (split.split_from, split.split))
    )
    operator = OffsetSolver(split, PRIOR).regulariser
    assert operator[np.flatnonzero(split.split)][:, np.flatnonzero(split.split_from)].nnz == 0

    corners = np.repeat(inner_upper[:, None], 3, 1)
    count = len(corners)
    data = tensors(
        corners,
        np.tile([1.0, 0, 0], (count, 1)),
        np.tile([0, 0, 1.0], (count, 1)),
        np.full(count, 1e7),
        np.full(count, -2e-3),
    )
    zero = torch.zeros(split.vertex_count, 3)
    apart, together = (
        OffsetSolver(t, PRIOR).solve([data], zero, before=zero, iterations=200, tolerance=1e-6) for t in (split, joined)
    )
    assert apart[inner_upper, 2].mean() > 1.5e-3
    assert together[inner_lower, 2].mean() > 4e-4
    assert apart[inner_lower, 2].abs().mean() < 0.25 * together[inner_lower, 2].mean()


def _rim(topology: Topology, own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Vertices of one lip that share a triangle with the other, away from the mouth's corners."""
    touching = topology.faces[own[topology.faces].any(1) & other[topology.faces].any(1)]
    rim = np.unique(touching[own[touching]])
    across = topology.mean[rim, 0]
    return rim[np.abs(across) < 0.5 * np.abs(across).max()]


def test_a_finer_mesh_of_the_same_surface_moves_alike():
    """The same data, weights and surface: four times the triangles hardly change what comes out."""
    coarse = topology_of(bumpy_model(41))
    fine, prolong = subdivided(coarse)
    triangle, shares, pull_m, weight = patch_data(coarse, weight=0.1)
    fine_triangle, fine_shares = in_quarters(coarse.faces, triangle, shares)
    assert np.allclose(surface(coarse, triangle, shares), surface(fine, fine_triangle, fine_shares), atol=1e-12)

    along = np.tile([0.0, 0.0, 1.0], (len(triangle), 1))
    physical, combinatorial = [], []
    for topology, at, by in ((coarse, triangle, shares), (fine, fine_triangle, fine_shares)):
        data = tensors(topology.faces[at], by, along, weight, -pull_m)
        zero = torch.zeros(topology.vertex_count, 3)
        solver = OffsetSolver(topology, replace(PRIOR, bending=200.0))
        found = solver.solve([data], zero, before=zero, iterations=200, tolerance=1e-6)
        physical.append(found[:, 2].double().numpy())
        combinatorial.append(combinatorial_solution(topology, data))
    assert np.abs(physical[0]).max() > 5e-4
    assert apart(prolong @ physical[0], physical[1]) < 0.05
    assert apart(prolong @ combinatorial[0], combinatorial[1]) > 0.2


def surface(topology: Topology, triangle: np.ndarray, shares: np.ndarray) -> np.ndarray:
    return np.einsum("rk,rkc->rc", shares, topology.mean[topology.faces[triangle]])


def combinatorial_solution(topology: Topology, data: OffsetSystem) -> np.ndarray:
    """Offsets along z with weights that count edges and vertices instead of skin."""
    rows = np.repeat(np.arange(len(data.weight)), 3)
    entries = (data.barycentric.double().numpy().ravel(), (rows, data.corners.numpy().ravel()))
    jacobian = sparse.csr_matrix(entries, shape=(len(data.weight), topology.vertex_count))
    weight = sparse.diags(data.weight.double().numpy())
    umbrella = topology.umbrella
    prior = 1e6 * (topology.laplacian + 20.0 * umbrella.T @ umbrella + 0.7 * sparse.identity(topology.vertex_count))
    pulled = jacobian.T @ (weight @ data.residual.double().numpy())
    return -spsolve(sparse.csc_matrix(prior + jacobian.T @ weight @ jacobian), pulled)


def apart(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def test_the_energy_of_a_motion_does_not_depend_on_the_mesh():
    coarse = topology_of(bumpy_model(41))
    fine, _ = subdivided(coarse)
    sizes = []
    for topology in (coarse, fine, subdivided(fine)[0]):
        x, y = topology.mean[:, 0], topology.mean[:, 1]
        motion = torch.from_numpy(np.stack([np.sin(60 * x), np.cos(50 * y), x + y], 1).astype(np.float32) * 1e-3)
        sizes.append(OffsetSolver(topology, PRIOR).energy(motion, 0 * motion))
    assert np.allclose(sizes, sizes[-1], rtol=0.05)


@pytest.mark.parametrize(
    "wrong", [{"membrane": -1.0}, {"bending": np.inf}, {"zero": 0.0, "temporal": 0.0, "expected_data": 0.0}]
)
def test_weights_that_mean_nothing_are_refused(wrong: dict[str, float]):
    with pytest.raises(UsageError, match="weights"):
        replace(PRIOR, **wrong)
