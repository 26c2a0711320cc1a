"""Pictures and distances agree with the cameras and with an exactly known surface."""

import numpy as np
import pytest

from mmface4d.transforms import rigid, rotation_from_rotvec
from reconstruct.view.cameras import crop_image, crop_view, free_view, head_axes
from reconstruct.view.heatmap import BLUE, RED, SPAN_MM, UNSEEN, depth_distance_mm, diverging
from reconstruct.view.plots import line_plot, status_plot
from reconstruct.view.render import PosedMesh, View, vertex_normals

from .view_scene import CENTER_M, COLOR, RADIUS_M, SERIALS, ball_depth_mm, ball_mesh, make_rig


@pytest.mark.parametrize("serial", SERIALS)
@pytest.mark.parametrize("size", [(280, 360), (90, 60)])
def test_a_crop_shows_a_point_where_its_view_projects_it(serial: str, size: tuple[int, int]) -> None:
    rig = make_rig()
    pose = rig.world_from_camera[serial]
    vertices, _ = ball_mesh()
    view = crop_view(COLOR, pose, vertices, size=size, margin=0.2)
    point = vertices[700:701]
    u, v = View(COLOR, pose).project(point)[0]
    y, x = np.mgrid[0 : COLOR.height, 0 : COLOR.width]
    blob = 255 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / 8)
    cropped = crop_image(np.repeat(blob[..., None], 3, -1).astype(np.uint8), camera=COLOR, view=view.intrinsics)
    weight = cropped[..., 0].astype(float)
    rows, columns = np.mgrid[0 : size[1], 0 : size[0]]
    center = [(columns * weight).sum() / weight.sum(), (rows * weight).sum() / weight.sum()]
    assert cropped.shape == (size[1], size[0], 3)
    assert np.abs(np.array(center) - view.project(point)[0]).max() < 0.3


@pytest.mark.parametrize("serial", SERIALS)
def test_a_drawn_mesh_covers_the_pixels_its_vertices_project_to(serial: str) -> None:
    rig = make_rig()
    vertices, faces = ball_mesh()
    view = crop_view(COLOR, rig.world_from_camera[serial], vertices, size=(280, 360), margin=0.2)
    hits = PosedMesh(vertices, faces).look(view)
    covered = np.argwhere(hits.mask)[:, ::-1]
    projected = view.project(vertices)
    assert np.abs(covered.min(0) - projected.min(0)).max() < 1.5
    assert np.abs(covered.max(0) - projected.max(0)).max() < 1.5
    points = np.einsum("nk,nkc->nc", hits.weights, vertices[faces[hits.triangles]])
    assert np.percentile(np.abs(view.project(points) - covered), 99) < 0.02  # each pixel's hit projects into that pixel


def test_normals_point_out_of_the_ball() -> None:
    vertices, faces = ball_mesh()
    outward = (vertices - CENTER_M) / RADIUS_M
    assert np.einsum("nc,nc->n", vertex_normals(vertices, faces), outward)[100:].min() > 0.99


@pytest.mark.parametrize("serial", SERIALS)
@pytest.mark.parametrize("outward_mm", [0.0, 1.0, -1.0])
def test_a_mesh_outside_the_measured_surface_has_positive_distances(serial: str, outward_mm: float) -> None:
    rig = make_rig()
    mesh = PosedMesh(*ball_mesh(RADIUS_M + outward_mm / 1000))
    distance = depth_distance_mm(mesh, ball_depth_mm(rig, serial), camera=rig.cameras[serial], rig=rig)
    seen = distance[np.isfinite(distance)]
    assert len(seen) > 0.3 * len(distance)
    assert np.median(seen) == pytest.approx(outward_mm, abs=0.1)
    assert np.percentile(np.abs(seen - outward_mm), 95) < 0.8  # depth comes in steps of 1 mm


def test_a_mesh_moved_towards_the_camera_has_positive_distances() -> None:
    rig = make_rig()
    vertices, faces = ball_mesh()
    moved = PosedMesh(vertices - np.array([0, 0, 0.001], dtype=np.float32), faces)
    distance = depth_distance_mm(moved, ball_depth_mm(rig, "MASTER"), camera=rig.cameras["MASTER"], rig=rig)
    assert np.nanmedian(distance[:900]) == pytest.approx(1.0, abs=0.15)  # the rings that face the camera


def test_what_no_camera_sees_has_no_distance() -> None:
    rig = make_rig()
    vertices, faces = ball_mesh()
    empty = np.zeros((rig.cameras["SIDE"].depth.height, rig.cameras["SIDE"].depth.width), np.uint16)
    assert np.isnan(depth_distance_mm(PosedMesh(vertices, faces), empty, camera=rig.cameras["SIDE"], rig=rig)).all()
    behind = PosedMesh(vertices - np.array([0, 0, 5], dtype=np.float32), faces)
    depth_mm = ball_depth_mm(rig, "MASTER")
    assert np.isnan(depth_distance_mm(behind, depth_mm, camera=rig.cameras["MASTER"], rig=rig)).all()


def test_the_scale_is_blue_inside_red_outside_grey_where_unseen() -> None:
    colors = diverging(np.array([-9.0, -SPAN_MM, 0.0, SPAN_MM, 9.0, np.nan]))
    assert np.allclose(colors[:2], BLUE)
    assert np.allclose(colors[3:5], RED)
    assert np.allclose(colors[5], UNSEEN)
    assert colors[2].min() > 0.8


def test_a_free_view_turned_to_the_left_sees_the_subjects_left() -> None:
    vertices, faces = ball_mesh()
    axes = head_axes(vertex_normals(vertices, faces), np.array([0.0, -1.0, 0.0]))
    assert np.allclose(axes, np.diag([1.0, -1.0, -1.0]), atol=0.03)  # an actor before the master, upright
    front, left = (free_view(vertices, axes, turn_deg=turn, size=(200, 240)) for turn in (0.0, 40.0))
    assert left.world_from_camera[0, 3] > front.world_from_camera[0, 3] + 0.5  # the master sees the left on its right
    assert np.linalg.det(left.world_from_camera[:3, :3]) == pytest.approx(1)
    for view in (front, left):
        pixels = view.project(vertices)
        assert pixels.min() > 0
        assert (pixels.max(0) < [200, 240]).all()


def test_rays_and_projection_of_a_view_are_inverse() -> None:
    pose = rigid(rotation_from_rotvec(np.array([0.2, -0.5, 0.1])), np.array([0.3, 0.1, -0.2]))
    view = View(COLOR, pose)
    points = pose[:3, 3] + view.directions[::20, ::20].reshape(-1, 3) * 0.7
    rows, columns = np.mgrid[0 : COLOR.height : 20, 0 : COLOR.width : 20]
    assert np.abs(view.project(points) - np.stack([columns, rows], -1).reshape(-1, 2)).max() < 0.01


def test_a_gap_in_time_and_a_missing_value_break_the_line() -> None:
    seconds = np.array([0, 1, 2, 3, 8, 9, 10, 11], dtype=float)
    values = np.array([1, 1, 1, 1, 1, np.nan, 1, 1], dtype=float)
    svg = line_plot(seconds, values, unit="mm")
    assert svg.count("<polyline") == 2
    assert svg.count("<circle") == 1
    assert "nan" not in line_plot(seconds, np.full(8, np.nan), unit="mm")
    assert "nan" not in line_plot(seconds[:1], values[:1], unit="mm")


def test_a_status_strip_has_one_bar_a_run() -> None:
    svg = status_plot(np.arange(6) / 30, np.array([0, 0, 1, 1, 0, 9]), 1 / 30)
    assert svg.count("<rect") == 4
