from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mmface4d.cameras import Intrinsics, IntrinsicsRecord, RgbdCamera
from mmface4d.transforms import invert, rigid, rotation_from_rotvec, transform

# numbers of the size that Kinects have: a colour imager of the usual lens model, and both imagers of the older one
COLOR = Intrinsics(
    1920, 1080, 914.2, 912.7, 958.1, 551.3,
    distortion=(0.35, -2.51, -1.5e-4, -1.2e-4, 1.46, 0.22, -2.32, 1.38),
)  # fmt: skip
DEPTH = Intrinsics(
    640, 576, 504.6, 504.4, 332.5, 340.1,
    distortion=(0.55, -0.021, 2.1e-5, -7.2e-5, -2.7e-3, 0.89, 0.086, -0.0139), max_radius=1.74,
)  # fmt: skip
OLDER_COLOR = replace(
    COLOR, distortion=(0.67, -2.75, 8.3e-4, -8.6e-5, 1.53, 0.545, -2.58, 1.46),
    tangential_cross=1.0, distortion_center=(1.1e-3, 1.0e-3),
)  # fmt: skip
OLDER_DEPTH = replace(
    DEPTH, distortion=(0.436, 0.068, -9.0e-5, 6.4e-5, 4.4e-3, 0.773, 0.148, 0.0201),
    tangential_cross=1.0, distortion_center=(-4.8e-4, -5.5e-5),
)  # fmt: skip
LENSES = {"color": COLOR, "depth": DEPTH, "older color": OLDER_COLOR, "older depth": OLDER_DEPTH}
every_lens = pytest.mark.parametrize("lens", LENSES.values(), ids=LENSES.keys())
some_lens = st.sampled_from(list(LENSES.values()))


def pixel_grid(lens: Intrinsics) -> np.ndarray:
    u, v = np.meshgrid(np.arange(lens.width, dtype=float), np.arange(lens.height, dtype=float))
    return np.stack([u, v], -1)


def points_in_view(count: int = 500) -> np.ndarray:
    rng = np.random.default_rng(5)
    depth_m = rng.uniform(0.3, 2.0, (count, 1))
    return np.concatenate([rng.uniform(-0.5, 0.5, (count, 2)) * depth_m, depth_m], -1)


@every_lens
def test_every_pixel_of_the_image_comes_back(lens: Intrinsics) -> None:
    pixels = pixel_grid(lens)
    back = lens.project(lens.unproject(pixels, np.full(pixels.shape[:-1], 0.8)))
    assert np.abs(back - pixels).max() < 1e-3


@pytest.mark.parametrize("lens", [DEPTH, OLDER_DEPTH], ids=["depth", "older depth"])
def test_the_ray_grid_is_the_same_in_single_precision(lens: Intrinsics) -> None:
    assert lens.ray_grid.dtype == np.float32
    assert np.abs(lens.project(lens.ray_grid.astype(float)) - pixel_grid(lens)).max() < 1e-3
    assert lens.ray_grid is replace(lens).ray_grid  # equal cameras share one grid


@given(some_lens, st.floats(-0.49, 0.49), st.floats(-0.49, 0.49), st.floats(0.1, 8))
def test_a_point_at_any_depth_is_found_again(lens: Intrinsics, right: float, down: float, depth_m: float) -> None:
    pixel = np.array([(right + 0.5) * lens.width, (down + 0.5) * lens.height])
    point = lens.unproject(pixel, np.array(depth_m))
    assert point[2] == depth_m
    np.testing.assert_allclose(lens.project(point), pixel, atol=1e-3)


@pytest.mark.parametrize("lens", [COLOR, DEPTH], ids=["color", "depth"])
def test_projection_is_opencvs(lens: Intrinsics) -> None:
    points = points_in_view()
    expected, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), lens.matrix, np.array(lens.distortion))
    np.testing.assert_allclose(lens.project(points), expected[:, 0], atol=1e-9)


@every_lens
def test_torch_and_numpy_project_alike(lens: Intrinsics) -> None:
    points = points_in_view()
    np.testing.assert_allclose(lens.project(torch.tensor(points)).numpy(), lens.project(points), rtol=1e-14)


def test_projection_can_be_differentiated() -> None:
    points = torch.tensor(points_in_view(4), requires_grad=True)
    assert torch.autograd.gradcheck(COLOR.project, points, eps=1e-6, atol=1e-3)


def test_pixels_that_no_ray_reaches_are_nan() -> None:
    far_outside = np.array([[-4000.0, 300.0], [320.0, 9000.0], [332.5, 340.1]])
    rays = DEPTH.undistort(far_outside)
    assert np.isnan(rays[:2]).all()
    np.testing.assert_allclose(rays[2], 0, atol=1e-9)


@every_lens
@pytest.mark.parametrize("factor", [0.5, 2.0, 1 / 3])
def test_scaling_moves_pixels_with_the_image(lens: Intrinsics, factor: float) -> None:
    points = points_in_view()
    expected = (lens.project(points) + 0.5) * factor - 0.5
    np.testing.assert_allclose(lens.scaled(factor).project(points), expected, atol=1e-9)
    assert lens.scaled(factor).size == (round(lens.width * factor), round(lens.height * factor))


@every_lens
def test_cropping_shifts_pixels(lens: Intrinsics) -> None:
    points = points_in_view()
    cropped = lens.cropped(100, 50, 320, 240)
    np.testing.assert_allclose(cropped.project(points), lens.project(points) - [100, 50], atol=1e-9)
    assert cropped.size == (320, 240)


@every_lens
def test_json_gives_the_same_camera_back(lens: Intrinsics) -> None:
    assert IntrinsicsRecord.model_validate(lens.to_json()).to_intrinsics() == lens


@pytest.mark.parametrize("count", [0, 4, 5, 8])
def test_shorter_distortion_is_filled_with_zeros(count: int) -> None:
    record = IntrinsicsRecord.model_validate({**COLOR.to_json(), "distortion": list(COLOR.distortion[:count])})
    assert record.to_intrinsics().distortion == COLOR.distortion[:count] + (0.0,) * (8 - count)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("fx", 0.0), ("height", -1), ("cx", float("nan")), ("cy", float("inf")), ("width", "wide"), ("fy", None),
        ("distortion", [0.1] * 6), ("distortion", [float("nan")] * 8), ("focal", 900.0),
    ],
)  # fmt: skip
def test_wrong_intrinsics_are_refused(key: str, value: object) -> None:
    with pytest.raises(ValidationError):
        IntrinsicsRecord.model_validate({**COLOR.to_json(), key: value})


def rgbd() -> RgbdCamera:
    color_from_depth = rigid(rotation_from_rotvec(np.array([0.1, 0.002, -0.001])), np.array([-0.032, -0.002, 0.004]))
    return RgbdCamera("000000000001", color=COLOR, depth=DEPTH, color_from_depth=color_from_depth)


def test_depth_pixels_become_points_that_project_back_onto_them() -> None:
    camera = rgbd()
    depth_mm = np.random.default_rng(1).integers(500, 1500, (576, 640)).astype(np.uint16)
    depth_mm[::3] = 0
    points_in_color, flat = camera.points_in_color(depth_mm)
    assert np.array_equal(flat, np.flatnonzero(depth_mm))
    points_in_depth = transform(invert(camera.color_from_depth), points_in_color)
    np.testing.assert_allclose(points_in_depth[:, 2] * 1e3, depth_mm.ravel()[flat], rtol=1e-6)
    rows, columns = np.divmod(flat, 640)
    assert np.abs(camera.depth.project(points_in_depth) - np.stack([columns, rows], -1)).max() < 1e-3


def test_a_camera_whose_imagers_are_mirrored_is_refused() -> None:
    with pytest.raises(ValueError, match="camera 7: color_from_depth is not a rigid transform"):
        RgbdCamera("7", color=COLOR, depth=DEPTH, color_from_depth=np.diag([1.0, 1.0, -1.0, 1.0]))


@pytest.mark.parametrize("lens", [{}, {"tangential_cross": 1.0, "distortion_center": (0.01, -0.02)}])
def test_slope_of_the_projection_against_central_differences(lens):
    bend = (0.5, -2.5, 1e-3, -2e-3, 1.4, 0.4, -2.3, 1.3)
    camera = Intrinsics(640, 576, 504.0, 505.0, 320.0, 288.0, distortion=bend, **lens)
    points = np.random.default_rng(0).normal(size=(50, 3)) * 0.1 + [0, 0, 0.8]
    step = 1e-6
    measured = [(camera.project(points + d) - camera.project(points - d)) / (2 * step) for d in np.eye(3) * step]
    assert np.allclose(camera.projection_slope(points), np.stack(measured, -1), rtol=1e-6, atol=1e-4)
