"""The virtual devices against geometry and against their own specification."""

import numpy as np
import pytest

from capture.virtual.lens import factory_calibration, parse
from capture.virtual.scene import Hits, Mesh, Surface, camera_rays, room_lighting
from capture.virtual.sensor import (
    CORRELATION_PX,
    ColorSensor,
    SensorSettings,
    correlated_noise,
    depth_image,
    depth_sigma_mm,
)
from mmface4d.transforms import rigid


def flat(depth_m: float, cosine: float = 1.0, shape: tuple[int, int] = (400, 400), *, weak: bool = False) -> Hits:
    return Hits(
        np.full(shape, depth_m, np.float32),
        np.full((*shape, 3), 0.3, np.float32),
        np.full(shape, cosine, np.float32),
        np.full(shape, weak),
    )


@pytest.fixture(scope="module")
def camera():
    return parse(factory_calibration("000000000007", np.random.default_rng(3)))


def sphere(center: np.ndarray, radius: float) -> Mesh:
    import open3d as o3d

    ball = o3d.t.geometry.TriangleMesh.create_sphere(radius, 120)
    vertices = ball.vertex.positions.numpy().astype(float) + center
    faces = ball.triangle.indices.numpy().astype(np.int64)
    return Mesh(vertices, faces, np.full_like(vertices, 0.5), np.zeros(len(vertices), bool))


def test_factory_calibration_is_read_as_a_plausible_kinect(camera):
    assert camera.serial == "000000000007"
    assert camera.depth.size == (640, 576)
    assert camera.color.size == (1920, 1080)
    assert abs(camera.depth.fx - 504) < 5
    assert abs(camera.color.fx - 911) < 8
    assert np.allclose(camera.color_from_depth[:3, 3] * 1000, [-32, -2, 4], atol=2)
    # the lens model must reach every pixel that a face can be on
    assert np.isfinite(camera.color.ray_grid).all()
    assert np.isfinite(camera.depth.ray_grid).all()


def test_devices_differ():
    first, second = (parse(factory_calibration("1", np.random.default_rng(seed))) for seed in (1, 2))
    assert first.color.fx != second.color.fx
    assert not np.array_equal(first.color_from_depth, second.color_from_depth)


def test_depth_of_a_sphere_is_its_geometry(camera):
    center, radius = np.array([0.03, -0.02, 0.75]), 0.09
    surface = Surface(sphere(center, radius), room_lighting(np.eye(4)))
    hits = surface.cast(camera_rays(camera.depth.ray_grid, np.eye(4)))
    assert hits.depth_m.flags.owndata  # Open3D ends a program with exit code 1 that still holds some of its memory
    depth_mm = depth_image(hits, SensorSettings(noise=False), np.random.default_rng(0)).astype(float)
    seen = depth_mm > 0
    assert 3000 < seen.sum() < 20000
    # ray against sphere; near the rim the facets of the mesh show
    rays = camera.depth.ray_grid.astype(float)
    a, b = (rays**2).sum(-1), rays @ center
    inside = b * b - a * (center @ center - radius**2)
    exact_mm = 1000 * (b - np.sqrt(inside.clip(0))) / a
    facing = seen & (hits.cosine > 0.3)
    assert np.abs(depth_mm - exact_mm)[facing].max() < 0.6


def test_depth_of_a_plane_is_its_geometry(camera):
    size = np.array([[-2, -2, 0.9], [2, -2, 0.9], [2, 2, 0.9], [-2, 2, 0.9]], float)
    mesh = Mesh(size, np.array([[0, 2, 1], [0, 3, 2]]), np.full((4, 3), 0.5), np.zeros(4, bool))
    hits = Surface(mesh, room_lighting(np.eye(4)), shadows=False).cast(camera_rays(camera.depth.ray_grid, np.eye(4)))
    depth_mm = depth_image(hits, SensorSettings(noise=False), np.random.default_rng(0))
    assert (depth_mm == 900).all()


def test_depth_respects_the_pose(camera):
    turn = np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    pose = rigid(turn, np.array([0.2, 0.0, 0.1]))
    center = pose[:3, 3] + 0.8 * turn[:, 2]
    hits = Surface(sphere(center, 0.1), room_lighting(np.eye(4))).cast(camera_rays(camera.depth.ray_grid, pose))
    assert abs(np.nanmin(hits.depth_m) - 0.7) < 1e-3


@pytest.mark.parametrize(("degrees", "factor"), [(0, 1.0), (30, 1.5), (50, 3.0)])
@pytest.mark.parametrize(("depth_m", "sigma_mm"), [(0.6, 0.5), (0.9, 0.5), (1.1, 0.75)])
def test_noise_has_the_specified_spread(degrees, factor, depth_m, sigma_mm):
    rng = np.random.default_rng(5)
    hits = flat(depth_m, float(np.cos(np.radians(degrees))))
    frames = np.stack([depth_image(hits, SensorSettings(), rng) for _ in range(12)]).astype(float)
    # rounding to whole millimetres adds a twelfth
    spread = np.sqrt(frames.std() ** 2 - 1 / 12)
    assert spread == pytest.approx(sigma_mm * factor, rel=0.06)
    assert frames.mean() == pytest.approx(depth_m * 1000, abs=0.1)


def test_noise_is_alike_over_neighbouring_pixels():
    noise = correlated_noise((600, 600), np.random.default_rng(1))
    assert noise.std() == pytest.approx(1, rel=0.03)
    for apart in (1, 2, 4):
        expected = np.exp(-(apart**2) / (4 * CORRELATION_PX**2))
        assert np.mean(noise[:, apart:] * noise[:, :-apart]) == pytest.approx(expected, abs=0.05)


def test_sigma_grows_with_distance_and_incidence():
    near, far, grazing = depth_sigma_mm(np.array([700.0, 1500.0, 700.0]), np.array([1.0, 1.0, 0.4]))
    assert near < far
    assert near < grazing


def test_silhouettes_fly_or_are_lost():
    hits = flat(0.7)
    hits.depth_m[:, 200:] = 1.6
    depth_mm = depth_image(hits, SensorSettings(), np.random.default_rng(2)).astype(float)
    rim = depth_mm[:, 199:201]
    flying = (rim > 710) & (rim < 1590)
    assert 0.3 < (rim == 0).mean() < 0.7
    assert flying.mean() > 0.2
    away = np.delete(depth_mm, np.arange(197, 203), axis=1)
    assert (away > 0).all()
    assert np.abs(away[:, :190] - 700).max() < 5


def test_eyes_have_holes_and_the_range_is_limited():
    rng = np.random.default_rng(3)
    holes = (depth_image(flat(0.7, weak=True), SensorSettings(), rng) == 0).mean()
    assert 0.25 < holes < 0.45
    for depth_m in (0.4, 4.2, np.inf):
        assert not depth_image(flat(depth_m), SensorSettings(), rng).any()


def test_grazing_surfaces_are_lost():
    depth_mm = depth_image(flat(0.7, float(np.cos(np.radians(85)))), SensorSettings(), np.random.default_rng(0))
    assert (depth_mm == 0).mean() > 0.99


def test_color_noise_is_that_of_the_settings():
    light = np.full((200, 300, 3), 0.21, np.float32)
    sensor = ColorSensor(SensorSettings(white_balance=(1.1, 1.0, 0.9)), np.random.default_rng(0))
    values = sensor.expose(light)
    red, green, blue = values[100, 100]
    assert red > green > blue
    first, second = (sensor.grainy(values).astype(float) for _ in range(2))
    assert first.mean() == pytest.approx(values.mean(), abs=0.2)
    assert (first - second).std() / np.sqrt(2) == pytest.approx(1.2 + 1.3 * np.sqrt(values.mean() / 255), rel=0.1)
