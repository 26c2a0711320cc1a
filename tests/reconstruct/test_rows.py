"""Residual rows against the differentiable energy and against finite differences."""

import numpy as np
import pytest
import torch

from mmface4d.transforms import transform
from reconstruct.energy import depth_energy, hits_of, intersect, landmark_energy
from reconstruct.parameters import make_problem
from reconstruct.raster import make_rasterizer
from reconstruct.rows import DepthTerm, LandmarkTerm, depth_rows, landmark_rows, surface_hits
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
    np.add.at(out, rows.corners, pulled)
    return out


def test_robust_weight_is_the_derivative_over_x():
    x = np.linspace(-10, 10, 41)
    slope = (geman_mcclure(x + 1e-6, 3.0) - geman_mcclure(x - 1e-6, 3.0)) / 2e-6
    assert np.allclose(geman_mcclure_weight(x, 3.0) * x, slope, atol=1e-8)


def test_hits_lie_on_the_ray_and_on_the_mesh(problem, posed_mean):
    observation = observe(problem.model, posed_mean)
    for view in observation.depth_views:
        hits = surface_hits(view, posed_mean, problem.model.faces, problem.rasterizer)
        assert len(hits.pixel) > 0.95 * len(view)
        # Open3D cast the depth, our rasteriser and intersection must find it again
        gap = np.abs(hits.depth_m - view.depth_m[hits.pixel])
        assert np.quantile(gap, 0.99) < 20e-6
        points = transform(view.depth_from_world, posed_mean)[problem.model.faces[hits.triangle]]
        on_mesh = np.einsum("nk,nkc->nc", hits.barycentric, points)
        assert np.abs(on_mesh - view.ray[hits.pixel] * hits.depth_m[:, None]).max() < 1e-6


def test_depth_rows_have_the_gradient_of_the_energy(problem, posed_mean):
    shifted = posed_mean + [0.0005, -0.0008, 0.001]
    view = observe(problem.model, posed_mean, noise_m=0.0005).depth_views[0]
    options = {"compared": problem.compared, "rasterizer": problem.rasterizer}
    rows = depth_rows(view, shifted, problem.model.faces, term=DepthTerm(), **options)
    vertices = torch.tensor(shifted, dtype=torch.float64, requires_grad=True)
    hits = hits_of(view, shifted, problem.model.faces, sensor_sigma=True, **options)
    pose = torch.from_numpy(view.depth_from_world)
    depth, _ = intersect(vertices[hits.corners] @ pose[:3, :3].T + pose[:3, 3], hits.ray.double())
    depth_energy([hits], [depth], PHYSICAL).backward()
    assert vertices.grad is not None
    expected = vertices.grad.numpy()
    assert np.abs(scattered(rows, len(shifted)) - expected).max() < 1e-3 * np.abs(expected).max()


def test_landmark_rows_have_the_gradient_of_the_energy(problem, posed_mean):
    shifted = posed_mean + [0.002, 0.001, 0.003]
    view = observe(problem.model, posed_mean).color_views[1]
    rows = landmark_rows(
        view, shifted, problem.model.faces, table=problem.table, term=LandmarkTerm(sigma_px=2.0, weight=0.3)
    )
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
    view = observe(problem.model, posed_mean).color_views[1]
    turned = (posed_mean - posed_mean.mean(0)) @ np.diag([-1.0, 1.0, -1.0]) + posed_mean.mean(0)
    assert len(landmark_rows(view, turned, problem.model.faces, table=problem.table, term=LandmarkTerm())) == 0


def test_thinned_rows_weigh_the_same(problem, posed_mean):
    view = observe(problem.model, posed_mean, noise_m=0.0005).depth_views[1]
    rows = depth_rows(
        view, posed_mean, problem.model.faces, compared=problem.compared, rasterizer=problem.rasterizer,
        term=DepthTerm(),
    )  # fmt: skip
    few = rows.thinned(500)
    assert len(few) <= 500
    assert few.weight.sum() == pytest.approx(rows.weight.sum(), rel=0.05)
