"""The smoother against dense solutions and sequences whose truth is known."""

from pathlib import Path

import numpy as np
import pytest

from reconstruct.motion_noise import MotionModel, estimate_noise, smooth_robustly
from reconstruct.smoother import Chain, Noise, Start, smooth, spread_windows, unit_noise

FRAME_USEC = 33_333


def small_chain(*, singular: bool) -> Chain:
    """Three coordinates, irregular times and one long gap; singular: two rows a frame, one coordinate never seen."""
    rng = np.random.default_rng(0)
    timestamps_usec = np.cumsum(rng.choice([33_333, 66_666, 40_000], 25))
    timestamps_usec[15:] += 800_000
    jacobians = rng.normal(size=(25, 2 if singular else 5, 3)) * [10.0, 10.0, 0.0 if singular else 10.0]
    pulls = [jacobian.T @ rng.normal(size=len(jacobian)) * 3 for jacobian in jacobians]
    prior = np.zeros(3) if singular else np.array([0.0, 0.3, 0.5])
    return Chain(
        timestamps_usec,
        lambda frame: (jacobians[frame].T @ jacobians[frame], pulls[frame]),
        Start(np.full(3, 2.0), np.full(3, 5.0)),
        prior,
    )


def some_noise(chain: Chain) -> Noise:
    rng = np.random.default_rng(1)
    return Noise(np.exp(rng.normal(size=(len(chain), chain.width))), np.exp(rng.normal(size=len(chain))))


def dense(chain: Chain, noise: Noise) -> tuple[np.ndarray, float]:
    """Mean and log likelihood by one big matrix over all positions and velocities."""
    n, count = chain.width, len(chain)
    system, right, log_det = np.zeros((2 * n * count,) * 2), np.zeros(2 * n * count), 0.0
    for frame, step in enumerate(chain.steps_sec()):
        here = slice(2 * n * frame, 2 * n * (frame + 1))
        position = slice(2 * n * frame, 2 * n * frame + n)
        information, pull = chain.read(frame)
        system[position, position] += information / noise.measurement[frame] + np.diag(chain.prior_precision)
        right[position] += pull / noise.measurement[frame]
        if step == 0.0:
            covariance = np.diag(np.r_[chain.start.position_std, chain.start.velocity_std] ** 2)
        else:
            covariance = np.kron(
                np.reshape(np.take(unit_noise(step), [0, 1, 1, 2]), (2, 2)), np.diag(noise.density[frame])
            )
            move = np.kron([[1.0, step], [0.0, 1.0]], np.eye(n))
            before, weight = slice(here.start - 2 * n, here.start), np.linalg.inv(covariance)
            system[before, before] += move.T @ weight @ move
            system[before, here] -= move.T @ weight
            system[here, before] -= weight @ move
        system[here, here] += np.linalg.inv(covariance)
        log_det -= np.linalg.slogdet(covariance)[1]
    mean = np.linalg.solve(system, right)
    return mean.reshape(count, -1)[:, :n], 0.5 * (right @ mean + log_det - np.linalg.slogdet(system)[1])


@pytest.mark.parametrize("singular", [False, True])
def test_it_equals_the_dense_solution(singular: bool, tmp_path: Path) -> None:
    chain = small_chain(singular=singular)
    noise = some_noise(chain)
    mean, log_likelihood = dense(chain, noise)
    for scratch, with_evidence in ((None, False), (tmp_path, True)):
        result = smooth(chain, noise, scratch=scratch, with_evidence=with_evidence)
        np.testing.assert_allclose(result.mean, mean, atol=1e-9)
        assert result.log_likelihood == pytest.approx(log_likelihood, abs=1e-7)
    assert not list(tmp_path.iterdir())


def test_evidence_is_the_slope_of_the_likelihood() -> None:
    chain = small_chain(singular=False)
    noise = some_noise(chain)
    evidence = smooth(chain, noise, with_evidence=True).evidence
    assert evidence is not None
    slope = 0.5 * (evidence.motion_seen - evidence.motion_expected)
    for frame, coordinate in ((3, 0), (20, 2), (16, 1)):
        sides = []
        for change in (1e-4, -1e-4):
            density = noise.density.copy()
            density[frame, coordinate] *= np.exp(change)
            sides.append(dense(chain, Noise(density, noise.measurement))[1])
        assert slope[frame, coordinate] == pytest.approx((sides[0] - sides[1]) / 2e-4, rel=1e-3, abs=1e-6)
    # a step across a long gap is none
    assert np.all(evidence.motion_seen[[0, 15]] == 0)


def test_motion_noise_close_to_nothing_gives_a_straight_line() -> None:
    rng = np.random.default_rng(2)
    times = np.arange(2000) * FRAME_USEC
    line = np.outer(times * 1e-6, [1.0, -0.5])
    measured = line + rng.normal(size=line.shape) * 0.1
    chain = Chain(
        times, lambda frame: (np.eye(2) * 100, measured[frame] * 100), Start(np.full(2, 10.0), np.ones(2)), np.zeros(2)
    )
    mean = smooth(chain, Noise(np.full((2000, 2), 1e-14), np.ones(2000))).mean
    assert np.abs(np.diff(mean, 2, axis=0)).max() < 1e-6
    assert np.abs(mean - line).max() < 0.02


def integrated(density: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """Positions of a walk with white acceleration."""
    step = FRAME_USEC * 1e-6
    position, both, velocity = unit_noise(step)
    root = np.linalg.cholesky(np.array([[position, both], [both, velocity]]) * density)
    state, out = np.zeros(2), []
    for _ in range(count):
        state = np.array([[1, step], [0, 1]]) @ state + root @ rng.normal(size=2)
        out.append(state[0])
    return np.array(out)


@pytest.mark.parametrize("factor", [1.0, 4.0])
def test_noises_are_recovered(factor: float) -> None:
    """Densities apart by a factor of a hundred, and measurements `factor` times as noisy as they claim."""
    rng = np.random.default_rng(3)
    truth = np.stack([integrated(density, 500, rng) for density in (10.0, 1000.0) * 3], 1)
    std = 0.05
    measured = truth + rng.normal(size=truth.shape) * std * np.sqrt(factor)
    chain = Chain(
        np.arange(500) * FRAME_USEC,
        lambda frame: (np.eye(6) / std**2, measured[frame] / std**2),
        Start(np.full(6, 10.0), np.full(6, 30.0)),
        np.zeros(6),
    )
    model = MotionModel(np.zeros(6, dtype=int), np.full(6, 1e-2), np.full(6, 1e6))
    estimate = estimate_noise(chain, model, rounds=20)
    assert estimate.measurement_scale == pytest.approx(factor, rel=0.25)
    assert np.all(np.abs(np.log10(estimate.density / np.tile([10.0, 1000.0], 3))) < 0.5)


def test_a_frame_that_cannot_be_is_doubted(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    truth = np.stack([integrated(1.0, 120, rng) for _ in range(6)], 1)
    measured = truth + rng.normal(size=truth.shape) * 0.01
    measured[60] += 30.0
    chain = Chain(
        np.arange(120) * FRAME_USEC,
        lambda frame: (np.eye(6) * 1e4, measured[frame] * 1e4),
        Start(np.full(6, 10.0), np.full(6, 30.0)),
        np.zeros(6),
    )
    model = MotionModel(np.zeros(6, dtype=int), np.full(6, 1e-2), np.full(6, 1e4))
    result, _ = smooth_robustly(chain, model, scratch=tmp_path)
    assert np.abs(result.mean - truth).max() < 0.05


def test_windows_are_spread_and_few() -> None:
    assert list(spread_windows(500, frames=600, windows=6)) == [(0, 500)]
    windows = list(spread_windows(5000, frames=600, windows=6))
    assert windows[0][0] == 0
    assert windows[-1][1] == 5000
    assert sum(end - first for first, end in windows) == 600
