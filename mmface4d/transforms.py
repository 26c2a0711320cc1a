"""Rigid transforms as 4x4 matrices named `target_from_source`: names cancel along a chain."""

import numpy as np
from jaxtyping import Float

from mmface4d.arrays import Points, Quaternion, Rotation, Transform


def transform(target_from_source: Transform, points_in_source: Points) -> Points:
    """Points [..., 3] moved from the source frame into the target frame."""
    return points_in_source @ target_from_source[:3, :3].T + target_from_source[:3, 3]


def rotate(target_from_source: Transform, vectors_in_source: Points) -> Points:
    """Directions [..., 3] turned from the source frame into the target frame."""
    return vectors_in_source @ target_from_source[:3, :3].T


def invert(target_from_source: Transform) -> Transform:
    """The rigid inverse, `source_from_target`."""
    return rigid(target_from_source[:3, :3].T, -target_from_source[:3, :3].T @ target_from_source[:3, 3])


def rigid(rotation: Rotation, translation: Points) -> Transform:
    """A 4x4 matrix of a rotation and a translation in metres."""
    out = np.eye(4)
    out[:3, :3], out[:3, 3] = rotation, translation
    return out


def is_rigid(matrix: np.ndarray, *, tolerance: float = 1e-4) -> bool:
    """Whether a matrix is a proper rigid transform: orthonormal, det +1, last row 0 0 0 1."""
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        return False
    turn = matrix[:3, :3]
    proper = np.abs(turn @ turn.T - np.eye(3)).max() < tolerance and np.linalg.det(turn) > 0
    return bool(proper and np.abs(matrix[3] - [0, 0, 0, 1]).max() < tolerance)


def rotation_angle_deg(rotation: Rotation) -> float:
    """The angle of a rotation matrix, in degrees."""
    # atan2 keeps its precision near zero, where arccos of the trace loses it
    sine = np.linalg.norm(
        [
            rotation[2, 1] - rotation[1, 2],
            rotation[0, 2] - rotation[2, 0],
            rotation[1, 0] - rotation[0, 1],
        ]
    )
    return float(np.degrees(np.arctan2(sine, np.trace(rotation) - 1)))


def cross_matrix(vector: Points) -> Float[np.ndarray, "3 3"]:
    """The matrix [3,3] with cross_matrix(a) @ b = a x b."""
    x, y, z = vector
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=float)


def rotation_from_rotvec(rotvec: Points) -> Rotation:
    """Rodrigues' formula: axis times angle in radians [3] to a rotation matrix."""
    angle, cross = float(np.linalg.norm(rotvec)), cross_matrix(rotvec)
    if angle < 1e-8:
        return np.eye(3) + cross
    return np.eye(3) + np.sin(angle) / angle * cross + (1 - np.cos(angle)) / angle**2 * cross @ cross


def rotvec_from_rotation(rotation: Rotation) -> Points:
    """Axis times angle [3], radians, angle <= pi."""
    from scipy.spatial.transform import Rotation as ScipyRotation

    return ScipyRotation.from_matrix(rotation).as_rotvec()


def quaternion_from_rotation(rotation: Rotation) -> Quaternion:
    """Unit quaternion (w, x, y, z), w >= 0, of a rotation matrix."""
    from scipy.spatial.transform import Rotation as ScipyRotation

    x, y, z, w = ScipyRotation.from_matrix(rotation).as_quat()
    quaternion = np.array([w, x, y, z])
    return quaternion if w >= 0 else -quaternion


def rotation_from_quaternion(quaternion: Quaternion) -> Rotation:
    """Rotation matrix of a quaternion (w, x, y, z), which is normalised first."""
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
