import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from mmface4d.transforms import (
    invert,
    is_rigid,
    quaternion_from_rotation,
    rigid,
    rotate,
    rotation_angle_deg,
    rotation_from_quaternion,
    rotation_from_rotvec,
    transform,
)

coordinate = st.floats(-3, 3, allow_nan=False)
vector = st.tuples(coordinate, coordinate, coordinate).map(np.array)
pose = st.builds(lambda rotvec, translation: rigid(rotation_from_rotvec(rotvec), translation), vector, vector)


@given(vector)
def test_a_rotation_vector_gives_scipys_rotation(rotvec: np.ndarray) -> None:
    rotation = rotation_from_rotvec(rotvec)
    np.testing.assert_allclose(rotation, Rotation.from_rotvec(rotvec).as_matrix(), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)


@given(vector)
def test_the_angle_of_a_rotation_is_the_length_of_its_vector(rotvec: np.ndarray) -> None:
    turns = np.degrees(np.linalg.norm(rotvec)) % 360
    assert rotation_angle_deg(rotation_from_rotvec(rotvec)) == pytest.approx(min(turns, 360 - turns), abs=1e-6)


@pytest.mark.parametrize("angle_deg", [1e-7, 1e-4, 0.3, 90, 179.9999])
def test_small_and_large_angles_keep_their_precision(angle_deg: float) -> None:
    rotation = rotation_from_rotvec(np.radians(angle_deg) * np.array([0.6, 0.0, -0.8]))
    assert rotation_angle_deg(rotation) == pytest.approx(angle_deg, rel=1e-6)


@given(vector)
def test_quaternions_and_rotations_are_two_names_of_one_thing(rotvec: np.ndarray) -> None:
    rotation = rotation_from_rotvec(rotvec)
    quaternion = quaternion_from_rotation(rotation)
    assert quaternion[0] >= 0
    assert np.linalg.norm(quaternion) == pytest.approx(1)
    np.testing.assert_allclose(rotation_from_quaternion(quaternion), rotation, atol=1e-9)
    np.testing.assert_allclose(rotation_from_quaternion(-3 * quaternion), rotation, atol=1e-9)


@given(pose, vector)
def test_the_inverse_takes_points_back(world_from_camera: np.ndarray, point_in_camera: np.ndarray) -> None:
    camera_from_world = invert(world_from_camera)
    back = transform(camera_from_world, transform(world_from_camera, point_in_camera))
    np.testing.assert_allclose(back, point_in_camera, atol=1e-12)
    np.testing.assert_allclose(camera_from_world @ world_from_camera, np.eye(4), atol=1e-12)


@given(pose, pose, vector)
def test_names_cancel_along_a_chain(
    world_from_camera: np.ndarray, camera_from_depth: np.ndarray, point: np.ndarray
) -> None:
    stepwise = transform(world_from_camera, transform(camera_from_depth, point))
    np.testing.assert_allclose(transform(world_from_camera @ camera_from_depth, point), stepwise, atol=1e-12)


@given(pose, vector, vector)
def test_directions_are_differences_of_points(target_from_source: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    moved = transform(target_from_source, a) - transform(target_from_source, b)
    np.testing.assert_allclose(rotate(target_from_source, a - b), moved, atol=1e-12)


def test_any_number_of_leading_axes_is_kept() -> None:
    points = np.random.default_rng(0).normal(size=(4, 5, 3))
    moved = transform(rigid(rotation_from_rotvec(np.array([0.1, 0.2, 0.3])), np.ones(3)), points)
    assert moved.shape == points.shape


@given(pose)
def test_every_pose_is_rigid(world_from_camera: np.ndarray) -> None:
    assert is_rigid(world_from_camera)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda pose: pose @ np.diag([1.0, 1.0, -1.0, 1.0]),  # a mirror
        lambda pose: pose @ np.diag([1.001, 1.001, 1.001, 1.0]),  # a scale
        lambda pose: pose + 0.01 * (np.arange(16).reshape(4, 4) == 1),  # a shear
        lambda pose: pose + np.eye(4)[3],  # a last row that is none
        lambda pose: np.where(np.eye(4) == 1, np.nan, pose),
        lambda pose: pose[:3],
        lambda pose: np.zeros((4, 4)),
    ],
)
def test_what_is_not_rigid_is_told_apart(spoil) -> None:
    assert not is_rigid(spoil(rigid(rotation_from_rotvec(np.array([0.3, -0.2, 0.1])), np.ones(3))))
