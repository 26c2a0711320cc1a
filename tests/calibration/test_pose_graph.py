"""The pose graph agrees with its edges, weighs them, and knows what it does not reach."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.pose_graph import Edge, loops, optimise, spanning_edges
from mmface4d.errors import CalibrationError
from mmface4d.transforms import invert, rigid, rotation_from_rotvec

SERIALS = ["a", "b", "c", "d"]


def random_poses(seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    poses = {s: rigid(rotation_from_rotvec(random.normal(0, 1, 3)), random.normal(0, 1, 3)) for s in SERIALS}
    return {serial: invert(poses["a"]) @ pose for serial, pose in poses.items()}


def edge(
    poses: dict[str, np.ndarray], source: str, target: str, *, noise: np.ndarray | None = None, weight: float = 1.0
) -> Edge:
    noise = np.zeros(6) if noise is None else noise
    motion = rigid(rotation_from_rotvec(noise[:3]), noise[3:])
    return Edge(source, target, motion @ invert(poses[target]) @ poses[source], np.eye(6) * weight)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_exact_edges_give_exact_poses_and_closed_loops(seed: int) -> None:
    truth = random_poses(seed)
    edges = [edge(truth, *pair) for pair in (("b", "a"), ("c", "b"), ("a", "c"), ("d", "c"))]
    poses, _ = optimise(SERIALS, edges, master="a")
    for serial in SERIALS:
        np.testing.assert_allclose(poses[serial], truth[serial], atol=1e-9)
    [(_, motion)] = loops(edges)
    np.testing.assert_allclose(motion, np.eye(4), atol=1e-9)


def test_a_loops_error_is_shared_by_weight() -> None:
    truth = random_poses(1)
    off = np.array([0, 0, 0, 0.01, 0, 0])
    weak = [edge(truth, "b", "a"), edge(truth, "c", "b"), edge(truth, "c", "a", noise=off, weight=1e-6)]
    poses, _ = optimise(SERIALS[:3], weak, master="a")
    np.testing.assert_allclose(poses["c"], truth["c"], atol=1e-4)
    even = [edge(truth, "b", "a"), edge(truth, "c", "b"), edge(truth, "c", "a", noise=off)]
    poses, _ = optimise(SERIALS[:3], even, master="a")
    assert 0.003 < np.linalg.norm(poses["c"][:3, 3] - truth["c"][:3, 3]) < 0.0095


def test_covariance_is_that_of_repeated_noisy_edges() -> None:
    truth, sigma, random = random_poses(2), 1e-3, np.random.default_rng(0)
    pairs = (("b", "a"), ("c", "b"), ("c", "a"))
    shifts, covariances = [], {}
    for _ in range(300):
        edges = [edge(truth, *pair, noise=random.normal(0, sigma, 6), weight=sigma**-2) for pair in pairs]
        poses, covariances = optimise(SERIALS[:3], edges, master="a")
        motion = poses["b"] @ invert(truth["b"])
        shifts.append(motion[:3, 3])
    measured, told = np.cov(np.array(shifts).T), covariances["b"][3:, 3:]
    assert 0.7 < np.trace(measured) / np.trace(told) < 1.4


def test_strongest_edges_span_the_cameras() -> None:
    truth = random_poses(3)
    edges = [edge(truth, "b", "a", weight=2), edge(truth, "c", "a", weight=1), edge(truth, "c", "b", weight=3)]
    assert [(e.source, e.target) for e in spanning_edges(edges, master="a")] == [("b", "a"), ("c", "b")]


def test_an_unconnected_camera_is_named() -> None:
    truth = random_poses(4)
    with pytest.raises(CalibrationError, match=r"camera c, d to the master a") as caught:
        optimise(SERIALS, [edge(truth, "b", "a"), edge(truth, "d", "c")], master="a")
    assert caught.value.hint


def test_one_camera_stands_at_the_origin() -> None:
    poses, _ = optimise(["a"], [], master="a")
    np.testing.assert_array_equal(poses["a"], np.eye(4))
