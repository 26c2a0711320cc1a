"""Landmarks lifted from synthetic depth land where they were put."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.lift import lift_landmarks
from mmface4d.transforms import invert, transform
from tests.calibration.virtual_head import kinect_like

CAMERA = kinect_like("cam")
PIXELS = np.stack(np.meshgrid(np.linspace(380, 590, 8), np.linspace(180, 370, 8)), -1).reshape(-1, 2)


def plane_depth_mm(normal: np.ndarray, distance_m: float) -> np.ndarray:
    """Exact depth of a plane n·p = d given in the colour frame, seen by the depth camera."""
    origin = CAMERA.color_from_depth[:3, 3]
    rays = CAMERA.depth.ray_grid.astype(float) @ CAMERA.color_from_depth[:3, :3].T
    return np.nan_to_num((distance_m - normal @ origin) / (rays @ normal) * 1e3)


@settings(max_examples=20, deadline=None)
@given(st.floats(-0.7, 0.7), st.floats(-0.7, 0.7), st.floats(0.5, 1.2))
def test_tilted_planes_are_met_within_the_depths_steps(a: float, b: float, distance_m: float) -> None:
    normal = np.array([a, b, 1.0])
    depth_mm = np.rint(plane_depth_mm(normal, distance_m)).clip(0, 60000).astype(np.uint16)
    lifted = lift_landmarks(CAMERA, depth_mm, PIXELS)
    assert np.isfinite(lifted).all(axis=1).mean() > 0.9
    known = lifted[np.isfinite(lifted).all(axis=1)]
    away_m = (known @ normal - distance_m) / np.linalg.norm(normal)
    assert np.abs(away_m).max() < 0.001
    at = CAMERA.color.project(lifted)
    np.testing.assert_allclose(at[np.isfinite(at).all(1)], PIXELS[np.isfinite(at).all(1)], atol=1e-3)


def test_a_landmark_past_an_edge_is_not_put_on_the_background() -> None:
    near = plane_depth_mm(np.array([0.0, 0.0, 1.0]), 0.7)
    far = plane_depth_mm(np.array([0.0, 0.0, 1.0]), 1.5)
    column = np.arange(CAMERA.depth.width)
    depth_mm = np.where(column < 160, near, far).astype(np.uint16)
    lifted = lift_landmarks(CAMERA, depth_mm, PIXELS)
    depth_m = lifted[np.isfinite(lifted).all(axis=1), 2]
    assert set(np.round(depth_m, 2)) == {0.7, 1.5}  # never in between


def test_holes_and_unknown_pixels_stay_unknown() -> None:
    depth_mm = np.zeros((CAMERA.depth.height, CAMERA.depth.width), dtype=np.uint16)
    assert np.isnan(lift_landmarks(CAMERA, depth_mm, PIXELS)).all()
    assert np.isnan(lift_landmarks(CAMERA, depth_mm + np.uint16(700), np.full((3, 2), np.nan))).all()
    assert lift_landmarks(CAMERA, depth_mm, np.zeros((0, 2))).shape == (0, 3)


@pytest.mark.parametrize("left", [100, 140])
def test_a_single_flying_pixel_does_not_move_a_landmark(left: int) -> None:
    depth_mm = np.rint(plane_depth_mm(np.array([0.0, 0.0, 1.0]), 0.8)).astype(np.uint16)
    point = np.array([[0.02, 0.01, 0.8]])
    pixel = CAMERA.color.project(point)
    column, row = np.rint(CAMERA.depth.project(transform(invert(CAMERA.color_from_depth), point)))[0].astype(int)
    depth_mm[row, column + 1] += left
    lifted = lift_landmarks(CAMERA, depth_mm, pixel)
    assert np.linalg.norm(lifted - point) < 0.001
