"""Rigid transforms from point pairs: least squares, and with outliers."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from mmface4d.arrays import Transform
from mmface4d.errors import CalibrationError
from mmface4d.transforms import rigid, transform

Pairs = Float[np.ndarray, "n 3"]


@dataclass(frozen=True)
class RansacSettings:
    """Trials and the distance up to which a pair agrees."""

    inlier_m: float = 0.008
    trials: int = 400
    min_inliers: int = 6
    seed: int = 0


def umeyama(source: Pairs, target: Pairs, weights: Float[np.ndarray, "n"] | None = None) -> Transform:
    """The rotation (det +1) and translation that bring `source` nearest to `target`, without scale.

    Source: Umeyama, Least-squares estimation of transformation parameters, PAMI 1991. Points on a line leave the
    turn about it open; some proper rotation is returned then.
    """
    weights = np.ones(len(source)) if weights is None else weights
    total = weights.sum()
    if len(source) == 0 or total <= 0:
        raise CalibrationError("no point pairs to fit a transform to", hint="check that the cameras see the same face")
    source_mean, target_mean = weights @ source / total, weights @ target / total
    left, _, right = np.linalg.svd((target - target_mean).T @ ((source - source_mean) * weights[:, None]))
    # a reflection would fit mirrored data better, but cameras are not mirrored
    handed = np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    rotation = left @ handed @ right
    return rigid(rotation, target_mean - rotation @ source_mean)


def robust_rigid(
    source: Pairs, target: Pairs, settings: RansacSettings = RansacSettings()
) -> tuple[Transform, Bool[np.ndarray, "n"]]:
    """`target_from_source` and which pairs agree with it, by RANSAC over triples and reweighted least squares.

    Pairs with NaN never agree. Raises CalibrationError where too few pairs agree with any transform.
    """
    usable = np.flatnonzero(np.isfinite(source).all(1) & np.isfinite(target).all(1))
    best = _best_trial(source[usable], target[usable], settings) if len(usable) >= 3 else None
    if best is None or best.sum() < settings.min_inliers:
        agreeing = 0 if best is None else int(best.sum())
        raise CalibrationError(
            f"only {agreeing} of {len(usable)} point pairs agree with one transform, {settings.min_inliers} are needed",
            hint="check that both cameras see the same face, and that their recordings belong together",
        )
    estimate = _reweighted(source[usable], target[usable], best, settings.inlier_m)
    distance = np.linalg.norm(transform(estimate, source) - target, axis=1)
    return estimate, distance < settings.inlier_m


def _best_trial(source: Pairs, target: Pairs, settings: RansacSettings) -> Bool[np.ndarray, "n"]:
    """The largest set of pairs that one triple's transform explains (MSAC: near misses count less)."""
    random = np.random.default_rng(settings.seed)
    best, best_score = np.zeros(len(source), dtype=bool), -np.inf
    for _ in range(settings.trials):
        triple = random.choice(len(source), 3, replace=False)
        estimate = umeyama(source[triple], target[triple])
        distance = np.linalg.norm(transform(estimate, source) - target, axis=1)
        score = np.maximum(1 - (distance / settings.inlier_m) ** 2, 0).sum()
        if score > best_score:
            best, best_score = distance < settings.inlier_m, score
    return best


def _reweighted(source: Pairs, target: Pairs, inlier: Bool[np.ndarray, "n"], inlier_m: float) -> Transform:
    """Least squares with Tukey's weights, begun from the agreeing pairs."""
    estimate = umeyama(source[inlier], target[inlier])
    for _ in range(20):
        distance = np.linalg.norm(transform(estimate, source) - target, axis=1)
        weights = np.maximum(1 - (distance / (1.5 * inlier_m)) ** 2, 0) ** 2
        if (weights > 0).sum() < 3:
            break
        estimate = umeyama(source, target, weights)
    return estimate
