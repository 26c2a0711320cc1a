"""Scores of sequences whose errors are known."""

from dataclasses import replace

import numpy as np
import pytest

from mmface4d.errors import InputError
from mmface4d.evaluation import Truth, score_poses, score_sequence
from mmface4d.rig_calibration import RigCalibration
from mmface4d.transforms import rigid, rotation_from_rotvec, transform

FRAMES = 6


@pytest.fixture(scope="module")
def truth():
    """A bumpy sheet of the size of a face that turns and bulges."""
    x, y = np.meshgrid(np.linspace(-0.08, 0.08, 41), np.linspace(-0.1, 0.1, 51))
    rest = np.stack([x, y, 0.7 + 4 * (x**2 + y**2) + 0.004 * np.sin(90 * x) * np.cos(70 * y)], -1).reshape(-1, 3)
    cells = (np.arange(50)[:, None] * 41 + np.arange(40)).ravel()
    faces = np.concatenate([np.stack([cells, cells + 1, cells + 42], 1), np.stack([cells, cells + 42, cells + 41], 1)])
    frames = []
    for frame in range(FRAMES):
        moved = rest + [0, 0, 0.002 * frame] * np.exp(-((rest[:, :1] / 0.03) ** 2))
        pose = rigid(rotation_from_rotvec(np.array([0, 0.01 * frame, 0])), np.array([0.001 * frame, 0, 0]))
        frames.append(transform(pose, moved))
    times = np.arange(FRAMES) * 33_333 + 1_000_000
    return Truth(np.stack(frames), faces, np.abs(rest[:, 0]) < 0.06, times)


def score(truth, vertices, **changes):
    return score_sequence(truth, vertices, truth.faces, **{"timestamps_usec": truth.timestamps_usec, **changes})


def test_the_truth_scores_nothing(truth):
    result = score(truth, truth.vertices)
    assert result.frames == FRAMES
    assert result.surface_mm.p95 < 1e-3
    assert result.tracking_mm.p95 < 1e-3
    assert result.alignment_mm < 1e-3


def test_a_rigid_error_is_measured_and_aligned_away(truth):
    shift = rigid(rotation_from_rotvec(np.radians([0.4, -0.3, 0.5])), np.array([0.002, -0.001, 0.0015]))
    moved = transform(shift, truth.vertices)
    result = score(truth, moved)
    assert result.surface_mm.mean < 0.02
    assert result.tracking_mm.mean < 0.1
    assert result.alignment_deg == pytest.approx(np.degrees(np.linalg.norm(np.radians([0.4, -0.3, 0.5]))), rel=0.05)
    displaced = np.linalg.norm((moved - truth.vertices)[0][truth.scored].mean(0)) * 1000
    assert result.alignment_mm == pytest.approx(displaced, rel=0.1)


def test_an_error_that_changes_over_time_is_not_aligned_away(truth):
    shaken = truth.vertices + np.array([0, 0, 0.001]) * np.where(np.arange(FRAMES) % 2, 1, -1)[:, None, None]
    assert score(truth, shaken).surface_mm.mean == pytest.approx(0.9, abs=0.15)


def test_frozen_motion_shows_in_tracking(truth):
    frozen = np.repeat(truth.vertices[:1], FRAMES, axis=0)
    true_motion = np.linalg.norm(truth.vertices - truth.vertices[:1], axis=-1)[:, truth.scored].mean() * 1000
    result = score(truth, frozen)
    assert result.tracking_mm.mean > 0.4 * true_motion
    assert result.tracking_mm.mean > result.surface_mm.mean


def test_sliding_shows_in_tracking_alone(truth):
    """Vertices that slide within the surface leave it where it is."""
    x, y, z = np.moveaxis(truth.vertices[0], -1, 0)
    flat = replace(truth, vertices=np.stack([np.stack([x, y, 0 * z + 0.7], -1)] * FRAMES))
    slid = flat.vertices + np.array([0.001, 0, 0]) * np.arange(FRAMES)[:, None, None]
    result = score(flat, slid)
    assert result.surface_mm.p95 < 0.01
    assert result.tracking_mm.mean == pytest.approx(2.5, abs=0.2)


def test_frames_are_matched_by_time(truth):
    kept = np.array([0, 2, 3, 5])
    result = score(truth, truth.vertices[kept], timestamps_usec=truth.timestamps_usec[kept] + 500)
    assert result.frames == 4
    assert result.surface_mm.p95 < 1e-3
    with pytest.raises(InputError, match="no frame"):
        score(truth, truth.vertices, timestamps_usec=truth.timestamps_usec + 10**9)


def test_pose_errors():
    pose = rigid(rotation_from_rotvec(np.array([0, 0.8, 0])), np.array([0.5, 0, 0.2]))
    truth = RigCalibration(master="a", cameras={}, world_from_camera={"a": np.eye(4), "b": pose})
    wrong = rigid(rotation_from_rotvec(np.array([0, 0, np.radians(0.5)])), np.array([0.001, 0, 0])) @ pose
    found = replace(truth, world_from_camera={"a": np.eye(4), "b": wrong})
    errors = score_poses(found, truth, point_in_world=np.array([0.0, 0.0, 0.7]))
    assert errors["a"].rotation_deg == errors["a"].face_mm == 0
    assert errors["b"].rotation_deg == pytest.approx(0.5)
    assert errors["b"].face_mm == pytest.approx(1.0)
    with pytest.raises(InputError, match="lacks camera b"):
        score_poses(replace(truth, world_from_camera={"a": np.eye(4)}), truth, point_in_world=np.zeros(3))
