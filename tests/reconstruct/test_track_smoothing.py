"""Smoothed poses and expressions against truth: still faces grow quiet, speech stays."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from mmface4d.transforms import rotation_angle_deg, rotation_from_rotvec, rotvec_from_rotation
from reconstruct.smoother import Chain, Noise, Start, smooth
from reconstruct.state import POSE, FrameFit
from reconstruct.track_smoothing import (
    Chart,
    FrameInformation,
    about_pivot,
    left_jacobian,
    smoothed,
    smoothed_track,
)

E = 20
P = POSE + E
PIVOT = np.array([0.01, -0.02, 0.05])
STD = np.linspace(0.5, 2.0, E)
CLOSING, BLINKING = 1, 12  # expressions


@dataclass(frozen=True)
class Performance:
    """Truth in the chart around the identity, what was fitted, and where lips close and lids blink."""

    truth: list[FrameFit]
    frames: list[FrameInformation]
    closures: list[int]
    blinks: list[int]

    def smoothed(self, scratch: Path) -> list[FrameFit]:
        return smoothed(self.frames, pivot_in_head=PIVOT, expression_std=STD, scratch=scratch)

    @property
    def fitted(self) -> list[FrameFit]:
        return [frame.fit for frame in self.frames]


def band(highest_hz: float, width: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Noise of unit variance between 0.2 Hz and `highest_hz`."""
    frequency = np.fft.rfftfreq(count, 1 / 30)
    spectrum = rng.normal(size=(2, width, len(frequency))) * ((frequency > 0.2) & (frequency < highest_hz))
    signal = np.fft.irfft(spectrum[0] + 1j * spectrum[1], count).T
    return signal / signal.std(0)


def fit_at(coordinates: np.ndarray) -> FrameFit:
    """Of turn, pivot and expression in standard deviations."""
    rotation = rotation_from_rotvec(coordinates[:3])
    return FrameFit(rotation, coordinates[3:POSE] - rotation @ PIVOT, coordinates[POSE:] * STD, np.zeros((1, 3)))


def performance(
    *,
    speaking: bool,
    count: int = 240,
    seed: int = 0,
    noise_variance: float = 1.0,
    middle: tuple[float, ...] = (0.2, 0.4, 0.0),
) -> Performance:
    """A still or a speaking face (8 Hz, closures of two frames, a rare blink), fitted with anisotropic noise."""
    rng = np.random.default_rng(seed)
    course = np.zeros((count, P))
    course[:, :POSE] = [*middle, 0.0, 0.0, 0.8]
    closures, blinks = (list(range(20, count - 8, 40)), list(range(35, count - 8, 80))) if speaking else ([], [])
    if speaking:
        course[:, :3] += band(1.5, 3, count, rng) * 0.05
        course[:, 3:POSE] += band(1.5, 3, count, rng) * 0.005
        course[:, POSE:] = band(8, E, count, rng) * np.exp(-np.arange(E) / 8)
    for first in closures:
        course[first : first + 2, POSE + CLOSING] -= 2.5
    for first in blinks:
        course[first : first + 5, POSE + BLINKING] += [0.8, 2.0, 2.0, 1.2, 0.4]
    truth = [fit_at(coordinates) for coordinates in course]
    timestamps_usec = np.arange(count) * 33_333
    frames = [measured(*pair, noise_variance, rng) for pair in zip(truth, timestamps_usec.tolist(), strict=True)]
    return Performance(truth, frames, closures, blinks)


NOISE_STD = np.r_[[3e-4] * 3, [2e-4] * 3, 0.08 * np.exp(np.arange(E) / 10) * STD]


def measured(truth: FrameFit, timestamp_usec: int, variance: float, rng: np.random.Generator) -> FrameInformation:
    """The minimum of data (noisy, information claims variance one) and expression prior around the truth."""
    jacobian = (np.eye(P) + 0.3 * rng.normal(size=(P, P)) / np.sqrt(P)) / NOISE_STD
    information = jacobian.T @ jacobian
    prior = np.r_[np.zeros(POSE), STD**-2.0]
    hessian = information + np.diag(prior)
    pull = jacobian.T @ rng.normal(size=P) * np.sqrt(variance) - prior * np.r_[np.zeros(POSE), truth.expression]
    delta = np.linalg.solve(hessian, pull)
    fit = replace(
        truth.moved(delta, truth.rotation @ PIVOT + truth.translation), expression=truth.expression + delta[POSE:]
    )
    return FrameInformation(int(timestamp_usec), fit, hessian, np.zeros(P))


def errors(fits: list[FrameFit], truth: list[FrameFit]) -> dict[str, float]:
    """RMS of turn (degrees), pivot (mm) and expression (std)."""
    turn = [rotation_angle_deg(a.rotation @ b.rotation.T) for a, b in zip(fits, truth, strict=True)]
    return {
        "turn": float(np.sqrt(np.mean(np.square(turn)))),
        "pivot": float(np.sqrt(np.mean((pivots(fits) - pivots(truth)) ** 2)) * 1e3),
        "expression": float(np.sqrt(np.mean((expressions(fits) - expressions(truth)) ** 2))),
    }


def pivots(fits: list[FrameFit]) -> np.ndarray:
    return np.stack([fit.rotation @ PIVOT + fit.translation for fit in fits])


def expressions(fits: list[FrameFit]) -> np.ndarray:
    return np.stack([fit.expression / STD for fit in fits])


def jitter(values: np.ndarray) -> float:
    """Mean norm of second differences."""
    return float(np.linalg.norm(np.diff(values, 2, axis=0), axis=1).mean())


@pytest.mark.parametrize("variance", [1.0, 4.0])
def test_a_still_face_grows_quiet(variance: float, tmp_path: Path) -> None:
    still = performance(speaking=False, noise_variance=variance)
    after = still.smoothed(tmp_path)
    for values in (pivots, expressions):
        assert jitter(values(after)) < jitter(values(still.fitted)) / 20
    before_error, after_error = errors(still.fitted, still.truth), errors(after, still.truth)
    for name, error in after_error.items():
        assert error < 0.5 * before_error[name], name


@pytest.mark.parametrize("variance", [0.25, 1.0, 4.0])
def test_speech_is_not_damped(variance: float, tmp_path: Path) -> None:
    speech = performance(speaking=True, noise_variance=variance)
    after = speech.smoothed(tmp_path)
    before_error = errors(speech.fitted, speech.truth)
    for name, error in errors(after, speech.truth).items():
        assert error < before_error[name], name
    true, fitted, now = (depth(expressions(fits), speech.closures) for fits in (speech.truth, speech.fitted, after))
    assert now > 0.95 * min(true, fitted)
    lids = np.concatenate([np.arange(first, first + 5) for first in speech.blinks])
    wrong = [
        np.abs(expressions(fits) - expressions(speech.truth))[lids, BLINKING].mean() for fits in (speech.fitted, after)
    ]
    # a lone blink of less than four times the noise is not told from noise in full
    assert wrong[1] < (1.2 if variance <= 1.0 else 1.5) * wrong[0]


def depth(expression: np.ndarray, closures: list[int]) -> float:
    """How far the closing goes beyond what is around it."""
    course = expression[:, CLOSING]
    return float(np.mean([course[[k - 3, k - 2, k + 3, k + 4]].mean() - course[k : k + 2].mean() for k in closures]))


def test_dropped_frames_and_gaps(tmp_path: Path) -> None:
    speech = performance(speaking=True, count=270)
    gone = np.random.default_rng(5).random(270) < 0.2
    gone[100:125] = True  # 0.8 s
    kept = [index for index in range(270) if not gone[index]]
    fewer = Performance([speech.truth[index] for index in kept], [speech.frames[index] for index in kept], [], [])
    after = errors(fewer.smoothed(tmp_path), fewer.truth)
    before = errors(fewer.fitted, fewer.truth)
    assert all(after[name] < before[name] for name in after)


def test_what_is_not_seen_rests_at_the_prior(tmp_path: Path) -> None:
    """No frame knows the last expression, and some know nothing of the pose."""
    still = performance(speaking=False, count=90)

    def blinded(index: int, frame: FrameInformation) -> FrameInformation:
        hessian = frame.hessian.copy()
        unseen = [P - 1] if index % 3 else [0, 1, 2, 3, 4, 5, P - 1]
        hessian[unseen], hessian[:, unseen] = 0.0, 0.0
        hessian[P - 1, P - 1] = STD[-1] ** -2.0
        fit = replace(frame.fit, expression=np.r_[frame.fit.expression[:-1], 0.0])
        return replace(frame, fit=fit, hessian=hessian)

    frames = [blinded(*pair) for pair in enumerate(still.frames)]
    after = smoothed(frames, pivot_in_head=PIVOT, expression_std=STD, scratch=tmp_path)
    assert np.abs(expressions(after)[:, -1]).max() < 1e-6
    assert jitter(pivots(after)) < jitter(pivots(still.fitted)) / 20
    assert errors(after, still.truth)["turn"] < errors(still.fitted, still.truth)["turn"]


def test_large_turns_come_back(tmp_path: Path) -> None:
    """A head that turns from -60 to 60 degrees while speaking."""
    rng = np.random.default_rng(6)
    course = np.zeros((120, P))
    course[:, 1] = np.radians(60) * np.sin(np.linspace(-np.pi / 2, np.pi / 2, 120))
    course[:, 0] = 0.3
    course[:, 5] = 0.8
    truth = [fit_at(coordinates) for coordinates in course]
    frames = [measured(fit, 33_333 * index, 1.0, rng) for index, fit in enumerate(truth)]
    after = smoothed(frames, pivot_in_head=PIVOT, expression_std=STD, scratch=tmp_path)
    before_error, after_error = errors([frame.fit for frame in frames], truth), errors(after, truth)
    assert all(after_error[name] < before_error[name] for name in after_error)
    assert all(np.allclose(fit.rotation @ fit.rotation.T, np.eye(3), atol=1e-12) for fit in after)


def test_the_chart_is_undone() -> None:
    chart = Chart(rotation_from_rotvec(np.array([0.1, -0.3, 0.2])), PIVOT, STD)
    for seed in range(20):
        turn = np.random.default_rng(seed).normal(size=3)
        fit = fit_at(np.r_[turn / np.linalg.norm(turn) * np.radians(60), 0.1, 0.2, 0.8, np.ones(E)])
        rotation, translation = chart.pose(chart.coordinates(fit))
        np.testing.assert_allclose(rotation, fit.rotation, atol=1e-12)
        np.testing.assert_allclose(translation, fit.translation, atol=1e-12)


def test_the_left_jacobian_is_the_derivative_of_the_rotation() -> None:
    for rotvec in (np.array([0.8, -0.5, 0.4]), np.zeros(3), np.array([1e-5, 0, 0])):
        for axis in np.eye(3):
            ahead, back = (rotation_from_rotvec(rotvec + side * axis) for side in (1e-6, -1e-6))
            turn = rotvec_from_rotation(ahead @ back.T) / 2e-6
            np.testing.assert_allclose(turn, left_jacobian(rotvec) @ axis, atol=1e-6)


def test_an_energy_keeps_its_value_about_another_pivot() -> None:
    """The same small motion of the head, told about two pivots."""
    rng = np.random.default_rng(7)
    root = rng.normal(size=(P, P))
    hessian, gradient = root @ root.T, rng.normal(size=P)
    before, after = rng.normal(size=3), rng.normal(size=3)
    delta = rng.normal(size=P)
    told_before = delta.copy()
    # the old pivot moves as the head does: with the new one, and turning about it
    told_before[3:POSE] += np.cross(delta[:3], before - after)
    moved_hessian, moved_gradient = about_pivot(hessian, gradient, pivot_before=before, pivot=after)
    assert delta @ moved_hessian @ delta == pytest.approx(told_before @ hessian @ told_before)
    assert delta @ moved_gradient == pytest.approx(told_before @ gradient)


def test_frames_are_read_one_at_a_time_and_offsets_stay(tmp_path: Path) -> None:
    still = performance(speaking=False, count=40)
    track = smoothed_track(
        40, still.frames.__getitem__, pivot_in_head=PIVOT, expression_std=STD, scratch=tmp_path / "new"
    )
    offsets = np.ones((7, 3))
    assert track.fit(3, replace(still.fitted[3], offsets=offsets)).offsets is offsets
    assert len(track) == 40
    assert not list((tmp_path / "new").iterdir())


@pytest.mark.slow
def test_time_grows_with_frames_alone(tmp_path: Path) -> None:
    """Sixty coordinates, 5000 frames that repeat fifty measurements: a pass takes seconds."""
    frames = performance(speaking=True, count=50).frames
    chart = Chart(np.eye(3), PIVOT, STD)
    wide = [np.kron(np.eye(3), part) for part, _ in map(chart.information, frames)]
    width, count = len(wide[0]), 5000
    start = Start(np.ones(width), np.ones(width))
    chain = Chain(np.arange(count) * 33_333, lambda frame: (wide[frame % 50], np.zeros(width)), start, np.zeros(width))
    begun = time.perf_counter()
    result = smooth(chain, Noise(np.ones((count, width)), np.ones(count)), scratch=tmp_path, with_evidence=True)
    assert np.abs(result.mean).max() == 0
    assert time.perf_counter() - begun < 120
