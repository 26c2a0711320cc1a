"""Residual rows against the differentiable energy and against finite differences."""

import numpy as np
import pytest
import torch

from mmface4d.transforms import transform
from reconstruct.energy import depth_energy, hits_of, intersect, landmark_energy
from reconstruct.hits import hits_in_memory
from reconstruct.model_tensors import tensor
from reconstruct.parameters import make_problem
from reconstruct.raster import make_rasterizer
from reconstruct.rows import DepthTerm, LandmarkTerm, depth_rows, landmark_rows
from reconstruct.seen import SeenColor, SeenDepth
from reconstruct.weights import EnergyWeights, geman_mcclure, geman_mcclure_weight
from tests.reconstruct.scene import bumpy_model, observe, pose_in_front

PHYSICAL = EnergyWeights(
    depth=9.0 / 28, depth_cut=3.0, sensor_sigma=True, mean_over_pixels=False,
    landmark=0.3 * 9.0, landmark_px=2.0, landmark_cut=3.0, landmark_3d=0.0, color=0.0, color_cut=0.1,
    identity=0.5, expression=0.5, lighting=0.0, texture=0.0, edge=0.0, laplacian=0.0, offset=0.0,
)  # fmt: skip


@pytest.fixture(scope="module")
def problem():
    return make_problem(bumpy_model(), make_rasterizer("warp"))


@pytest.fixture(scope="module")
def posed_mean(problem):
    rotation, translation = pose_in_front()
    return problem.model.mean @ rotation.T + translation


def scattered(rows, count):
    """Gradient of the rows' energy with respect to every vertex."""
    pulled = (rows.weight * rows.residual)[:, None, None] * rows.gradient[:, None] * rows.barycentric[..., None]
    out = np.zeros((count, 3))
    np.add.at(out, rows.corners.numpy(), pulled.double().numpy())
    return out


def on_device(array):
    return tensor(array, "cpu")


def test_robust_weight_is_the_derivative_over_x():
    x = np.linspace(-10, 10, 41)
    slope = (geman_mcclure(x + 1e-6, 3.0) - geman_mcclure(x - 1e-6, 3.0)) / 2e-6
    assert np.allclose(geman_mcclure_weight(x, 3.0) * x, slope, atol=1e-8)


def test_hits_lie_on_the_ray_and_on_the_mesh(problem, posed_mean):
    observation = observe(problem.model, posed_mean)
    for view in observation.depth_views:
        hits = hits_in_memory(problem, view, posed_mean)
        hit = hits.triangle >= 0
        assert hit.sum() > 0.95 * len(view)
        # Open3D cast the depth, our rasteriser and intersection must find it again
        gap = np.abs(hits.depth_m - view.depth_m)[hit]
        assert np.quantile(gap, 0.99) < 20e-6
        points = transform(view.depth_from_world, posed_mean)[problem.model.faces[hits.triangle[hit]]]
        on_mesh = np.einsum("nk,nkc->nc", hits.barycentric[hit], points)
        assert np.abs(on_mesh - view.ray[hit] * hits.depth_m[hit, None]).max() < 3e-6


def test_depth_rows_have_the_gradient_of_the_energy(problem, posed_mean):
    shifted = posed_mean + [0.0005, -0.0008, 0.001]
    view = observe(problem.model, posed_mean, noise_m=0.0005).depth_views[0]
    faces, options = problem.tensors.faces, {"compared": problem.compared_there, "rasterizer": problem.rasterizer}
    rows = depth_rows(SeenDepth.of(view, "cpu"), on_device(shifted), faces, term=DepthTerm(), **options)
    vertices = torch.tensor(shifted, dtype=torch.float64, requires_grad=True)
    hits = hits_of(view, on_device(shifted), faces, sensor_sigma=True, **options)
    pose = torch.from_numpy(view.depth_from_world)
    depth, _ = intersect(vertices[hits.corners] @ pose[:3, :3].T + pose[:3, 3], hits.ray.double())
    depth_energy([hits], [depth], PHYSICAL).backward()
    assert vertices.grad is not None
    expected = vertices.grad.numpy()
    assert np.abs(scattered(rows, len(shifted)) - expected).max() < 2e-3 * np.abs(expected).max()


def test_depth_cost_is_the_energy(problem, posed_mean):
    """Up to the pixels that have no row, which cost all that a pixel can."""
    view = observe(problem.model, posed_mean, noise_m=0.0005).depth_views[1]
    faces, options = problem.tensors.faces, {"compared": problem.compared_there, "rasterizer": problem.rasterizer}
    rows = depth_rows(SeenDepth.of(view, "cpu"), on_device(posed_mean), faces, term=DepthTerm(), **options)
    hits = hits_of(view, on_device(posed_mean), faces, sensor_sigma=True, **options)
    pose = torch.from_numpy(view.depth_from_world)
    depth, _ = intersect(torch.tensor(posed_mean)[hits.corners] @ pose[:3, :3].T + pose[:3, 3], hits.ray.double())
    energy = float(depth_energy([hits], [depth], PHYSICAL))
    assert rows.cost == pytest.approx(energy + (len(view) - len(rows)) * 2 * 9.0 / 28, rel=1e-4)


def test_landmark_rows_have_the_gradient_of_the_energy(problem, posed_mean):
    shifted = posed_mean + [0.002, 0.001, 0.003]
    view = observe(problem.model, posed_mean).color_views[1]
    rows = landmark_rows(
        SeenColor.of(view, "cpu"), on_device(shifted), problem.tensors.faces, landmarks=problem.landmarks,
        term=LandmarkTerm(sigma_px=2.0, weight=0.3),
    )  # fmt: skip
    vertices = torch.tensor(shifted, dtype=torch.float64, requires_grad=True)
    table = problem.table
    corners = vertices[torch.from_numpy(table.corners)]
    placed = (torch.from_numpy(table.barycentric)[:, :, None] * corners).sum(1)
    landmark_energy(view, placed, torch.from_numpy(view.landmarks_px[table.mediapipe]), PHYSICAL).backward()
    assert vertices.grad is not None
    expected = vertices.grad.numpy()
    assert len(rows) == 2 * len(table)
    assert np.abs(scattered(rows, len(shifted)) - expected).max() < 1e-3 * np.abs(expected).max()


def test_landmarks_that_face_away_are_left_out(problem, posed_mean):
    view = SeenColor.of(observe(problem.model, posed_mean).color_views[1], "cpu")
    turned = (posed_mean - posed_mean.mean(0)) @ np.diag([-1.0, 1.0, -1.0]) + posed_mean.mean(0)
    rows = landmark_rows(
        view, on_device(turned), problem.tensors.faces, landmarks=problem.landmarks, term=LandmarkTerm()
    )
    assert len(rows) == 0


def test_thinned_rows_weigh_the_same(problem, posed_mean):
    view = SeenDepth.of(observe(problem.model, posed_mean, noise_m=0.0005).depth_views[1], "cpu")
    rows = depth_rows(
        view, on_device(posed_mean), problem.tensors.faces, compared=problem.compared_there,
        rasterizer=problem.rasterizer, term=DepthTerm(),
    )  # fmt: skip
    few = rows.thinned(500)
    assert len(few) <= 500
    assert float(few.weight.sum()) == pytest.approx(float(rows.weight.sum()), rel=0.05)
