"""How much a face moves and how noisy its measurements are, from the sequence itself by maximum likelihood.

Every factor of a noise is multiplied by sqrt(seen / expected), which never lowers the likelihood (the MM algorithm for
variance components, Zhou, Hu, Qiao and Lange 2019) and, unlike EM, is quick where a noise is close to nothing.
The density of a step is (coordinate) x (group and step) x (coordinate and step); the last two are drawn to one as the
variances of a Student-t are, so that a pause is smooth and a plosive or a blink is not damped.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from reconstruct.smoother import Chain, Evidence, Noise, Smoothed, smooth, spread_windows

ESTIMATION_FRAMES = 600
ESTIMATION_WINDOWS = 6
ESTIMATION_ROUNDS = 12
ROUNDS = 5
ABSURD = 30.0  # squared misfit of a frame, over its expectation, under the liveliest motion allowed
RANGE = 1e5  # a step's noise against the coordinate's usual one


@dataclass(frozen=True)
class MotionModel:
    """What motion is possible: of each coordinate its group and the range of its density, units^2 / s^3."""

    group: Int[np.ndarray, "n"]  # 0, 1, ...
    lowest: Float[np.ndarray, "n"]
    highest: Float[np.ndarray, "n"]
    degrees_of_freedom: float = 2.0  # of the tails
    # noise that lasts for frames looks like motion between better measurements than there are; 0.25 would follow it
    measurement_range: tuple[float, float] = (0.5, 64.0)


@dataclass(frozen=True)
class NoiseEstimate:
    """Of a sequence: each coordinate's usual density, and the variance of measurements over what they claim."""

    density: Float[np.ndarray, "n"]
    measurement_scale: float


@dataclass
class _Factors:
    """Densities as products, and the measurement's scale of each frame."""

    usual: np.ndarray  # [P]
    of_group: np.ndarray  # [T,G]
    of_coordinate: np.ndarray  # [T,P]
    doubt: np.ndarray  # [T], at least one; large for a frame that cannot be
    measurement: float

    def noise(self, model: MotionModel) -> Noise:
        density = self.usual * self.of_group[:, model.group] * self.of_coordinate
        return Noise(np.clip(density, model.lowest, model.highest), self.measurement * self.doubt)

    def update_steps(self, model: MotionModel, evidence: Evidence) -> None:
        freedom, groups = model.degrees_of_freedom, self.of_group.shape[1]
        member = np.eye(groups)[model.group]  # [P,G]
        seen, expected = _pooled(evidence.motion_seen), _pooled(evidence.motion_expected)
        self.of_group *= _ratio(seen @ member + freedom / self.of_group, expected @ member + freedom)
        self.of_coordinate *= _ratio(seen + freedom / self.of_coordinate, expected + freedom)
        np.clip(self.of_group, 1 / RANGE, RANGE, out=self.of_group)
        np.clip(self.of_coordinate, 1 / RANGE, RANGE, out=self.of_coordinate)


def _pooled(per_step: np.ndarray) -> np.ndarray:
    """Summed with the steps before and after: what sets a lip or a lid going is not over within one frame."""
    padded = np.pad(per_step, ((1, 1), (0, 0)))
    return padded[:-2] + padded[1:-1] + padded[2:]


def _ratio(seen: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return np.sqrt(np.maximum(seen, 1e-300) / np.maximum(expected, 1e-300))


def smooth_robustly(
    chain: Chain, model: MotionModel, *, scratch: Path, estimate: NoiseEstimate | None = None
) -> tuple[Smoothed, NoiseEstimate]:
    """Smooths a chain by noises estimated from it; a frame that no possible motion explains counts little."""
    estimate = estimate or estimate_noise(chain, model)
    factors = _start(len(chain), model, estimate)
    factors.doubt = _doubts(chain, model, estimate.measurement_scale, scratch)
    for _ in range(ROUNDS):
        result = smooth(chain, factors.noise(model), scratch=scratch, with_evidence=True)
        assert result.evidence is not None
        factors.update_steps(model, result.evidence)
    return smooth(chain, factors.noise(model), scratch=scratch), estimate


def _start(count: int, model: MotionModel, estimate: NoiseEstimate) -> _Factors:
    return _Factors(
        estimate.density.copy(),
        np.ones((count, int(model.group.max()) + 1)),
        np.ones((count, len(model.group))),
        np.ones(count),
        estimate.measurement_scale,
    )


def _doubts(chain: Chain, model: MotionModel, measurement: float, scratch: Path | None) -> np.ndarray:
    """By how much to raise the measurement noise of frames that even the liveliest motion cannot explain."""
    liveliest = Noise(np.tile(model.highest, (len(chain), 1)), np.full(len(chain), measurement))
    evidence = smooth(chain, liveliest, scratch=scratch, with_evidence=True).evidence
    assert evidence is not None
    ratio = evidence.measurement_seen / evidence.measurement_expected
    # neighbours of an absurd frame look odd too: only the worst of three is doubted
    around = np.maximum(np.r_[0.0, ratio[:-1]], np.r_[ratio[1:], 0.0])
    return np.where((ratio > ABSURD) & (ratio >= around), np.maximum(ratio, 1.0) ** 2, 1.0)


def estimate_noise(
    chain: Chain, model: MotionModel, *, rounds: int = ESTIMATION_ROUNDS, with_measurement: bool = True
) -> NoiseEstimate:
    """Densities and the measurement's scale of a sequence, from spread windows of it."""
    ends = spread_windows(len(chain), frames=ESTIMATION_FRAMES, windows=ESTIMATION_WINDOWS)
    windows = [chain.window(first, end) for first, end in ends]
    usual = np.sqrt(model.lowest * model.highest)
    parts = [_start(len(window), model, NoiseEstimate(usual, 1.0)) for window in windows]
    for window, part in zip(windows, parts, strict=True):
        part.doubt = _doubts(window, model, 1.0, None)
    for _ in range(rounds):
        evidences = []
        for window, part in zip(windows, parts, strict=True):
            evidence = smooth(window, part.noise(model), with_evidence=True).evidence
            assert evidence is not None
            evidences.append(evidence)
            part.update_steps(model, evidence)
        usual, scale = _updated(parts[0], model, evidences, with_measurement=with_measurement)
        for part in parts:
            part.usual, part.measurement = usual, scale
    return NoiseEstimate(parts[0].usual, parts[0].measurement)


def _updated(
    now: _Factors, model: MotionModel, evidences: list[Evidence], *, with_measurement: bool
) -> tuple[np.ndarray, float]:
    seen = np.sum([evidence.motion_seen.sum(0) for evidence in evidences], 0)
    expected = np.sum([evidence.motion_expected.sum(0) for evidence in evidences], 0)
    usual = np.clip(now.usual * _ratio(seen, expected), model.lowest, model.highest)
    if not with_measurement:
        return usual, now.measurement
    # the median, because motion that is not yet believed looks like noise in the frames where it happens
    frames = [evidence.measurement_seen / evidence.measurement_expected for evidence in evidences]
    scale = now.measurement * float(np.sqrt(np.median(np.concatenate(frames))))
    return usual, float(np.clip(scale, *model.measurement_range))
