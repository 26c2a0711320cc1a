"""Surfaces and pose graph recover the poses of virtual cameras around an analytic head."""

from dataclasses import replace

import numpy as np
import pytest

from calibration.calibrate import fit_pairs
from calibration.pairs import Views, odd_frames
from calibration.pose_graph import loops, optimise
from mmface4d.errors import CalibrationError
from mmface4d.transforms import invert, rigid, rotation_angle_deg, rotation_from_rotvec, transform
from tests.calibration.virtual_head import head_poses, kinect_like, ring_of_cameras, view_of

ANGLES_DEG = (0.0, 28.0, -27.0)


def make_views(angles_deg: tuple[float, ...], *, frames: int = 3, noise_m: float = 0.0, bias_m: float = 0.002) -> Views:
    heads = head_poses(frames)
    return {
        serial: [
            view_of(kinect_like(serial), invert(pose) @ head, noise_m=noise_m, bias_m=bias_m, seed=100 * index + i)
            for i, head in enumerate(heads)
        ]
        for index, (serial, pose) in enumerate(ring_of_cameras(angles_deg).items())
    }


@pytest.fixture(scope="module")
def views() -> Views:
    return make_views(ANGLES_DEG)


def pose_error(estimate: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    motion = estimate @ invert(truth)
    head = np.array([0.0, 0.0, 0.7])
    return rotation_angle_deg(motion[:3, :3]), float(np.linalg.norm(transform(motion, head) - head) * 1e3)


def solve(views: Views) -> dict[str, np.ndarray]:
    fits, _ = fit_pairs(views, master="cam0")
    return optimise(list(views), [fit.edge for fit in fits], master="cam0")[0]


def test_known_poses_are_recovered(views: Views) -> None:
    poses = solve(views)
    for serial, truth in ring_of_cameras(ANGLES_DEG).items():
        turn_deg, move_mm = pose_error(poses[serial], truth)
        assert turn_deg < 0.1
        assert move_mm < 0.15


def test_loop_closes_on_exact_depth(views: Views) -> None:
    fits, rejected = fit_pairs(views, master="cam0")
    assert len(fits) == 3
    assert rejected == []
    [(_, motion)] = loops([fit.edge for fit in fits])
    assert pose_error(motion, np.eye(4))[0] < 0.3


def test_noise_is_averaged_out() -> None:
    poses = solve(make_views(ANGLES_DEG[:2], frames=4, noise_m=0.001))
    turn_deg, move_mm = pose_error(poses["cam1"], ring_of_cameras(ANGLES_DEG)["cam1"])
    assert turn_deg < 0.2
    assert move_mm < 0.3


def test_one_view_may_be_missing(views: Views) -> None:
    poses = solve({**views, "cam1": [None, *views["cam1"][1:]]})
    assert pose_error(poses["cam1"], ring_of_cameras(ANGLES_DEG)["cam1"])[1] < 0.2


def test_cameras_in_a_chain_are_connected_by_their_neighbours() -> None:
    angles_deg = (0.0, 40.0, 80.0)
    poses = solve(make_views(angles_deg, frames=3))
    turn_deg, move_mm = pose_error(poses["cam2"], ring_of_cameras(angles_deg)["cam2"])
    assert turn_deg < 0.3
    assert move_mm < 0.5


def test_a_camera_behind_the_head_is_named() -> None:
    with pytest.raises(CalibrationError, match="cam1"):
        fit_pairs(make_views((0.0, 180.0), frames=2), master="cam0")


def test_a_frame_out_of_sync_is_left_out(views: Views) -> None:
    many = make_views(ANGLES_DEG[:2], frames=6)
    late = many["cam1"][2]
    assert late is not None
    shift = rigid(rotation_from_rotvec(np.array([0.0, 0.02, 0.0])), np.array([0.004, 0.003, 0.002]))
    surface = replace(late.surface, points=transform(shift, late.surface.points))
    moved: Views = {**many, "cam1": [*many["cam1"][:2], replace(late, surface=surface), *many["cam1"][3:]]}
    fits, rejected = fit_pairs(moved, master="cam0")
    assert rejected == [2]
    assert odd_frames(fits) == []
