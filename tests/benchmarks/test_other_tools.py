"""The other tools are used rightly: on a scan of the model itself they find the model."""

import numpy as np
import pytest

from benchmarks.other_tools import Scan, arap, landmark_pose, rigid_icp
from mmface4d.transforms import rigid, rotation_from_rotvec, transform
from reconstruct.models.library import load_model
from reconstruct.models.model import MorphableModel
from reconstruct.topology import vertex_normals

POSE = rigid(rotation_from_rotvec(np.array([0.1, -0.2, 0.05])), np.array([0.02, -0.01, 0.7]))


@pytest.fixture(scope="module")
def model() -> MorphableModel:
    return load_model("canonical")


@pytest.fixture(scope="module")
def scan(model: MorphableModel) -> Scan:
    """The posed mean: its triangles' middles with normals, and its landmarks."""
    vertices = transform(POSE, model.mean.astype(np.float64))
    corners = vertices[model.faces]
    normals = vertex_normals(vertices, model.faces)[model.faces].mean(1)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    known = np.arange(0, len(model.landmarks), 3)
    return Scan(corners.mean(1), normals, known, model.landmarks.positions(vertices)[known])


def test_the_landmarks_pose_the_mean(model: MorphableModel, scan: Scan) -> None:
    np.testing.assert_allclose(landmark_pose(model, scan), transform(POSE, model.mean), atol=1e-9)


def test_icp_takes_back_a_small_move(model: MorphableModel, scan: Scan) -> None:
    skin = np.flatnonzero(model.regions["face"])
    move = rigid(rotation_from_rotvec(np.array([0.01, 0.0, -0.01])), np.array([0.001, 0.001, -0.001]))
    found = rigid_icp(transform(POSE @ move, model.mean), skin, scan)
    assert np.linalg.norm(found - transform(POSE, model.mean), axis=1).mean() < 1e-4


def test_as_rigid_as_possible_stays_where_it_is_right(model: MorphableModel, scan: Scan) -> None:
    skin = np.flatnonzero(model.regions["face"])
    there = transform(POSE, model.mean.astype(np.float64))
    moved = arap(there, skin, scan, model=model)
    assert np.linalg.norm(moved - there, axis=1).mean() < 3e-4
