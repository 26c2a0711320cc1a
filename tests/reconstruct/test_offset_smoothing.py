"""Offsets are smoothed where they are noise, and kept where they move."""

import numpy as np
import pytest

from reconstruct.offset_smoothing import OffsetNoise, SmoothedOffsets, offset_noise
from reconstruct.topology import topology_of
from tests.reconstruct.scene import bumpy_model

FRAMES, NOISE_M = 60, 1e-4


@pytest.fixture(scope="module")
def topology():
    return topology_of(bumpy_model())


def offsets(topology, *, moving: bool, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, true and noisy offsets; the upper half of the patch moves at 4 Hz where asked for."""
    rng = np.random.default_rng(seed)
    times = np.arange(FRAMES) * 33_333
    still = rng.normal(size=(topology.vertex_count, 3)) * 1e-3
    wave = 1e-3 * np.sin(2 * np.pi * 4 * times * 1e-6)
    upper = np.arange(topology.vertex_count) > topology.vertex_count // 2
    truth = still + (wave[:, None, None] * upper[None, :, None] if moving else np.zeros((FRAMES, 1, 1)))
    return times, truth, truth + rng.normal(size=truth.shape) * NOISE_M


def smooth(topology, times, seen, tmp_path):
    noise = offset_noise(times, seen.__getitem__, topology)
    with SmoothedOffsets(times, seen.__getitem__, noise=noise, scratch=tmp_path) as smoothed:
        return np.stack([smoothed[i] for i in range(len(times))]), noise


def test_a_still_face_becomes_still(topology, tmp_path):
    times, truth, seen = offsets(topology, moving=False)
    found, _ = smooth(topology, times, seen, tmp_path)
    jerk = np.diff(found, 2, axis=0)
    assert np.sqrt((jerk**2).mean()) < np.sqrt((np.diff(seen, 2, axis=0) ** 2).mean()) / 20
    assert np.sqrt(((found - truth) ** 2).mean()) < NOISE_M / 3
    assert list(tmp_path.iterdir()) == []


def test_what_moves_is_not_damped(topology, tmp_path):
    times, truth, seen = offsets(topology, moving=True)
    found, noise = smooth(topology, times, seen, tmp_path)
    half = topology.vertex_count // 2
    assert np.median(noise.walk[half:]) > 100 * np.median(noise.walk[:half])
    swing = found[:, half + 200 :].std(0).mean() / truth[:, half + 200 :].std(0).mean()
    assert 0.97 < swing < 1.05
    assert ((found - truth) ** 2).mean() < ((seen - truth) ** 2).mean()


def test_a_longer_gap_lets_offsets_move_further(topology, tmp_path):
    count = topology.vertex_count
    noise = OffsetNoise(np.full(count, 1e-8), np.full(count, 1e-8))
    seen = np.zeros((3, count, 3))
    seen[2] = 1e-3

    def last_but_one(gap_usec: int) -> float:
        times = np.array([0, 33_333, 33_333 + gap_usec])
        with SmoothedOffsets(times, seen.__getitem__, noise=noise, scratch=tmp_path) as smoothed:
            return float(smoothed[1].mean())

    assert last_but_one(33_333) > 2 * last_but_one(333_333) > 0


def test_two_frames_suffice(topology, tmp_path):
    _, _, seen = offsets(topology, moving=False)
    found, _ = smooth(topology, np.array([0, 33_333]), seen[:2], tmp_path)
    assert np.isfinite(found).all()
