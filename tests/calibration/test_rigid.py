"""Rigid fits recover the transform that was applied."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.rigid import RansacSettings, robust_rigid, umeyama
from mmface4d.errors import CalibrationError
from mmface4d.transforms import is_rigid, rigid, rotation_angle_deg, rotation_from_rotvec, transform

numbers = st.floats(-2.5, 2.5)
seeds = st.integers(0, 2**32 - 1)


@st.composite
def motions(draw: st.DrawFn) -> np.ndarray:
    turn = np.array([draw(numbers) for _ in range(3)])
    return rigid(rotation_from_rotvec(turn), np.array([draw(numbers) for _ in range(3)]))


def cloud(seed: int, count: int = 60) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.05, (count, 3))


@given(motions(), seeds)
def test_umeyama_recovers_the_motion(motion: np.ndarray, seed: int) -> None:
    points = cloud(seed)
    np.testing.assert_allclose(umeyama(points, transform(motion, points)), motion, atol=1e-9)


@given(motions(), seeds)
def test_umeyama_gives_a_proper_rotation_for_mirrored_flat_and_straight_points(motion: np.ndarray, seed: int) -> None:
    points = cloud(seed, 10)
    for squeeze in ([-1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0]):
        estimate = umeyama(points, transform(motion, points * squeeze))
        assert is_rigid(estimate)
        assert np.linalg.det(estimate[:3, :3]) == pytest.approx(1)


@settings(max_examples=25, deadline=None)
@given(motions(), seeds)
def test_ransac_recovers_the_motion_among_outliers(motion: np.ndarray, seed: int) -> None:
    random = np.random.default_rng(seed)
    source = cloud(seed, 80)
    target = transform(motion, source) + random.normal(0, 0.001, source.shape)
    target[:32] = transform(motion, cloud(seed + 1, 32) * 3)
    target[32:36] = np.nan
    estimate, agree = robust_rigid(source, target)
    left = estimate @ np.linalg.inv(motion)
    assert rotation_angle_deg(left[:3, :3]) < 1.5
    assert np.linalg.norm(transform(estimate, np.zeros(3)) - transform(motion, np.zeros(3))) < 0.002
    assert agree[36:].mean() > 0.95
    assert not agree[32:36].any()


@pytest.mark.parametrize("count", [0, 2, 40])
def test_points_without_a_common_motion_are_refused(count: int) -> None:
    random = np.random.default_rng(0)
    with pytest.raises(CalibrationError, match="agree"):
        robust_rigid(
            random.normal(size=(count, 3)), random.normal(size=(count, 3)), RansacSettings(inlier_m=0.002, trials=100)
        )
