"""The virtual rig: where things land in its pictures, when they are taken, and that a seed decides everything."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from capture.virtual.body import boundary_loops
from capture.virtual.recording import DROP_EVERY, Sound, frame_table, record_take
from capture.virtual.rig import Studio, VirtualHead, virtual_rig
from capture.virtual.scene import vertex_normals
from mmface4d.take import MISSING, open_take
from mmface4d.transforms import invert, is_rigid, rotation_angle_deg, transform

FRAMES = 2
DOT = 40 * 33 + 20  # a vertex near the middle of the face below


def dome(rows: int = 60, columns: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """A face-sized piece of an ellipsoid, open behind, in the head frame."""
    up = np.linspace(-1.1, 1.1, rows)[:, None]
    side = np.linspace(-1.2, 1.2, columns)
    x, y = 0.08 * np.sin(side) * np.cos(up), 0.11 * np.sin(up) + 0 * side
    z = 0.09 * np.cos(side) * np.cos(up)
    vertices = np.stack([x, y, z], -1).reshape(-1, 3)
    cells = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    faces = np.concatenate(
        [
            np.stack([cells, cells + 1, cells + columns + 1], 1),
            np.stack([cells, cells + columns + 1, cells + columns], 1),
        ]
    )
    return vertices - [0, 0, 0.05], faces


@pytest.fixture(scope="module")
def rig():
    return virtual_rig(seed=4)


@pytest.fixture(scope="module")
def head(rig):
    vertices, faces = dome()
    colors = np.tile([0.75, 0.58, 0.48], (len(vertices), 1))
    near = np.linalg.norm(vertices - vertices[DOT], axis=1) < 0.006
    colors[near] = [0.05, 0.1, 0.8]
    poses = np.stack([rig.world_from_actor] * FRAMES)
    poses[1, :3, 3] += [0.004, 0.0, 0.002]
    moved = np.stack([transform(pose, vertices) for pose in poses])
    nothing = np.zeros(len(vertices), bool)
    return VirtualHead(moved, faces, colors, poses, eyes=nothing, mouth_inside=nothing)


@pytest.fixture(scope="module")
def shots(rig, head):
    return list(Studio(rig, head).frames())


def picture(jpeg: bytes) -> np.ndarray:
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def test_devices_stand_where_the_paper_puts_them(rig):
    assert [device.role for device in rig.devices] == ["subordinate", "master", "subordinate"]
    assert len({device.serial for device in rig.devices}) == 3
    assert np.array_equal(rig.master.world_from_camera, np.eye(4))
    left, _, right = rig.devices
    for device, side in ((left, -1), (right, 1)):
        pose = device.world_from_camera
        assert is_rigid(pose)
        assert rotation_angle_deg(pose[:3, :3]) == pytest.approx(45, abs=6)
        assert np.sign(pose[0, 3]) == side
    actor = rig.world_from_actor[:3, 3]
    for device in rig.devices:
        assert np.linalg.norm(device.world_from_camera[:3, 3] - actor) == pytest.approx(0.76, abs=0.04)


def test_the_face_looks_at_the_master(rig, head):
    normals = vertex_normals(head.vertices[0], head.faces)
    assert normals[DOT, 2] < -0.8


def test_the_head_is_closed_with_its_outside_out(head):
    whole = head.mesh(0)
    assert np.array_equal(whole.vertices[: head.vertices.shape[1]], head.vertices[0])
    volume = np.einsum("ij,ij->i", *_corner_products(whole.vertices[whole.faces])).sum() / 6
    assert 1e-3 < volume < 6e-3  # a head holds three or four litres


def _corner_products(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    corners = corners - corners.mean((0, 1))
    return corners[:, 0], np.cross(corners[:, 1], corners[:, 2])


def test_boundary_loops_of_a_sheet_with_a_hole():
    columns = 6
    cells = [row * columns + column for row in range(5) for column in range(5) if (row, column) != (2, 2)]
    faces = np.array([f for c in cells for f in ((c, c + 1, c + 7), (c, c + 7, c + 6))])
    outer, hole = boundary_loops(faces)
    assert (len(outer), len(hole)) == (20, 4)
    assert set(hole.tolist()) == {14, 15, 20, 21}


def test_a_dot_on_the_face_lands_on_its_pixel(rig, head, shots):
    for frame in range(FRAMES):
        for device in rig.devices:
            image = picture(shots[frame][device.serial].color_jpeg).astype(float)
            blue = image[..., 2] - image[..., 0]
            in_camera = transform(invert(device.world_from_camera), head.vertices[frame])
            u, v = device.camera.color.project(in_camera[DOT])
            window = blue[round(v) - 25 : round(v) + 26, round(u) - 25 : round(u) + 26].clip(30) - 30
            assert window.sum() > 0
            rows, columns = np.mgrid[-25:26, -25:26]
            middle = np.array([(window * columns).sum(), (window * rows).sum()]) / window.sum()
            expected = np.array([u - round(u), v - round(v)])
            assert np.linalg.norm(middle - expected) < 1.5


def test_depth_of_the_face_is_that_of_its_mesh(rig, head, shots):
    for device in rig.devices:
        depth_mm = shots[0][device.serial].depth_mm
        in_depth = transform(invert(device.world_from_depth), head.vertices[0])
        normals = vertex_normals(head.vertices[0], head.faces) @ device.world_from_depth[:3, :3]
        facing = normals[:, 2] < -0.85
        u, v = np.rint(device.camera.depth.project(in_depth[facing])).astype(int).T
        errors = depth_mm[v, u] - 1000 * in_depth[facing, 2]
        assert abs(np.median(errors)) < 0.3
        assert 0.3 < np.median(np.abs(errors)) < 1.2


def test_the_seed_decides_everything(head, shots):
    again = next(Studio(virtual_rig(seed=4), head).frames())
    for serial, shot in again.items():
        assert shot.color_jpeg == shots[0][serial].color_jpeg
        assert np.array_equal(shot.depth_mm, shots[0][serial].depth_mm)
    assert {device.serial for device in virtual_rig(seed=5).devices}.isdisjoint(again)


def test_times_are_those_of_a_wired_rig(rig):
    count = 3 * DROP_EVERY
    table = frame_table(rig, count, fps=30.0)
    assert np.abs(np.diff(table.timestamps_usec) - 33333).max() <= 12
    for device, delay_usec in zip(rig.devices, (-156, 0, 156), strict=True):
        color, depth = table.color_usec[device.serial], table.depth_usec[device.serial]
        taken = color != MISSING
        assert np.abs((depth - color)[taken] - delay_usec).max() <= 1
        assert np.abs((color - table.timestamps_usec)[taken]).max() <= 110
    lost = [(table.color_usec[device.serial] == MISSING).sum() for device in rig.devices]
    assert lost == [0, 0, 3]


def test_a_take_is_written_whole(rig, head, shots, tmp_path):
    sound = Sound(0.1 * np.sin(np.arange(4800) * 0.05), start_s=-0.05)
    take = record_take(tmp_path / "take", rig, head, fps=30.0, sound=sound, source={"note": "test"})
    again = open_take(tmp_path / "take")
    assert len(again) == FRAMES
    assert again.master == rig.master.serial
    assert again.info.source == {"kind": "virtual", "seed": 4, "note": "test"}
    assert again.audio_start_usec == take.timestamps_usec[0] - 50_000
    serial = rig.master.serial
    assert again.color_jpeg(1, serial) == shots[1][serial].color_jpeg
    depth_mm = again.depth_mm(1, serial)
    assert depth_mm is not None
    assert np.array_equal(depth_mm, shots[1][serial].depth_mm)


def test_an_interrupted_rendering_leaves_nothing(rig, head, tmp_path, monkeypatch):
    def interrupted(studio):
        yield next(studio_frames(studio))
        raise KeyboardInterrupt

    studio_frames = Studio.frames
    monkeypatch.setattr(Studio, "frames", interrupted)
    with pytest.raises(KeyboardInterrupt):
        record_take(tmp_path / "take", rig, replace(head), fps=30.0)
    assert not (tmp_path / "take").exists()
