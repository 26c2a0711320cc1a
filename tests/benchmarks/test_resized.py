"""Finer and coarser faces and pictures are still the same face, seen the same way."""

import numpy as np
import pytest

from benchmarks.resized import decimated, scaled_pictures, subdivided
from mmface4d.cameras import Intrinsics
from reconstruct.models.library import load_model
from reconstruct.models.model import MorphableModel
from reconstruct.observation import DepthView, Observation


@pytest.fixture(scope="module")
def model() -> MorphableModel:
    return load_model("canonical")


def area(model: MorphableModel, vertices: np.ndarray) -> float:
    a, b, c = (vertices[model.faces[:, i]] for i in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def test_a_subdivided_model_is_the_same_surface_for_any_face(model: MorphableModel) -> None:
    fine = subdivided(model)
    assert len(fine.faces) == 4 * len(model.faces)
    rng = np.random.default_rng(0)
    identity = rng.normal(size=len(model.identity_std)) * model.identity_std
    expression = rng.normal(size=len(model.expression_std)) * model.expression_std
    coarse_shape, fine_shape = model.shape(identity, expression), fine.shape(identity, expression)
    assert area(fine, fine_shape) == pytest.approx(area(model, coarse_shape), rel=1e-6)
    np.testing.assert_allclose(
        fine.landmarks.positions(fine_shape), model.landmarks.positions(coarse_shape), atol=1e-9
    )  # fmt: skip


def test_a_decimated_model_keeps_its_landmarks_within_a_millimetre(model: MorphableModel) -> None:
    coarse = decimated(model, part=0.25)
    assert 0.2 < len(coarse.faces) / len(model.faces) < 0.3
    off = coarse.landmarks.positions(coarse.mean) - model.landmarks.positions(model.mean)
    assert np.linalg.norm(off, axis=1).max() < 1e-3
    assert coarse.regions["upper_lip"].any()
    assert not (coarse.regions["upper_lip"] & coarse.regions["lower_lip"]).any()


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
def test_scaled_depth_lies_on_the_same_plane(factor: float) -> None:
    imager = Intrinsics(41, 31, 100.0, 101.0, 20.0, 15.0, distortion=(0.1, -0.02, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0))
    rays = imager.ray_grid.reshape(-1, 3)
    trusted = np.flatnonzero(np.abs(rays[:, 0]) < 0.15)
    view = DepthView(
        serial="a", imager=imager, depth_from_world=np.eye(4), pixel=trusted, ray=rays[trusted],
        depth_m=np.full(len(trusted), 0.8, np.float32), color_px=np.zeros((len(trusted), 2)),
        color=np.zeros((len(trusted), 3), np.float32),
    )  # fmt: skip
    scaled = scaled_pictures(Observation(0, 0, (view,), ()), factor).depth_views[0]
    assert len(scaled) == pytest.approx(len(view) * factor**2, rel=0.2)
    np.testing.assert_allclose(scaled.depth_m, 0.8, atol=1e-6)
    np.testing.assert_allclose(scaled.ray, scaled.imager.ray_grid.reshape(-1, 3)[scaled.pixel])
    low, high = view.points_in_world.min(0), view.points_in_world.max(0)
    assert (scaled.points_in_world >= low - 1e-6).all()
    assert (scaled.points_in_world <= high + 1e-6).all()
    # where a pixel went, it sees the same direction
    middle = scaled.imager.unproject(np.array([20.0, 15.0]) * factor, np.array(1.0))
    np.testing.assert_allclose(middle, imager.unproject(np.array([20.0, 15.0]), np.array(1.0)), atol=1e-9)
