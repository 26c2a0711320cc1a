"""Coarse-to-fine point-to-plane alignment of one camera to another, over several frames at once.

All frames pull on one transform, because the cameras stand still while the head moves: that holds directions in
which a single head slides. A point's partner is the one that the other camera sees in its direction, because the
nearest of noisy neighbours is biased towards whatever pose the search begins from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from calibration.surface import Surface
from mmface4d.arrays import Transform
from mmface4d.transforms import invert, rigid, rotate, rotation_from_rotvec, transform

MAX_NORMAL_ANGLE_DEG = 40.0
STEP_TOLERANCE = 1e-6  # radians and metres
# depth noise is correlated over about 28 pixels (measured), and both directions use the same ones
NOISE_PIXELS = 28.0


@dataclass(frozen=True)
class Level:
    """One pass: how far partners may lie apart, which pixels are used, and Tukey's width in the sensor's sigmas."""

    reach_m: float
    stride: int
    width_sigmas: float
    iterations: int = 30


# the last level's reach is that of the noise at grazing angles; its robustness comes from Tukey's width
LEVELS = (Level(0.030, 8, 30.0), Level(0.012, 5, 10.0), Level(0.008, 3, 4.0))


@dataclass(frozen=True)
class Alignment:
    """`target_from_source`, its information (6x6: turn, then shift, in the target frame), and how well it fits.

    `residual_mm` is the inliers' RMS distance to the planes; `overlap` the part of the smaller surface that is matched.
    """

    target_from_source: Transform
    information: Float[np.ndarray, "6 6"]
    residual_mm: float
    overlap: float
    inliers: int


@dataclass
class _Equations:
    information: np.ndarray
    gradient: np.ndarray
    squares: float = 0.0
    weight: float = 0.0
    inliers: int = 0


def align(
    source: Sequence[Surface], target: Sequence[Surface], guess: Transform, *, levels: Sequence[Level] = LEVELS
) -> Alignment:
    """Refines a guess of `target_from_source`; the sequences hold the same frames, empty surfaces do nothing."""
    pose = guess
    for level in levels:
        for _ in range(level.iterations):
            equations = _linearise(source, target, pose, level)
            step = np.linalg.lstsq(equations.information, equations.gradient, rcond=1e-9)[0]
            pose = rigid(rotation_from_rotvec(step[:3]), step[3:]) @ pose
            if np.abs(step).max() < STEP_TOLERANCE:
                break
    finest = levels[-1]
    equations = _linearise(source, target, pose, finest)
    asked = sum(
        min(len(a.thinned(finest.stride)), len(b.thinned(finest.stride))) for a, b in zip(source, target, strict=True)
    )
    return Alignment(
        target_from_source=pose,
        information=equations.information * finest.stride**2 / (2 * NOISE_PIXELS),
        residual_mm=float(np.sqrt(equations.squares / max(equations.weight, 1e-12)) * 1e3),
        overlap=equations.inliers / 2 / max(asked, 1),
        inliers=equations.inliers,
    )


def _linearise(source: Sequence[Surface], target: Sequence[Surface], pose: Transform, level: Level) -> _Equations:
    """Normal equations of a small motion (turn, shift) after `pose`, in the target frame."""
    total, back = _Equations(np.zeros((6, 6)), np.zeros(6)), invert(pose)
    for a, b in zip(source, target, strict=True):
        for moving, fixed, fixed_from_moving in ((a, b, pose), (b, a, back)):
            points, partners = _match(moving, fixed, fixed_from_moving, level)
            moved = transform(fixed_from_moving, moving.points[points])
            gap_m = np.einsum("ni,ni->n", fixed.normals[partners], fixed.points[partners] - moved)
            noise_m = np.hypot(moving.noise_m[points], fixed.noise_m[partners])
            if fixed is b:
                at, normals = moved, fixed.normals[partners]
            else:  # planes of the source: the same motion seen from the other side
                at, normals = moving.points[points], -rotate(pose, fixed.normals[partners])
            _add(total, at, normals, gap_m=gap_m, noise_m=noise_m, level=level)
    return total


def _match(
    moving: Surface, fixed: Surface, fixed_from_moving: Transform, level: Level
) -> tuple[np.ndarray, np.ndarray]:
    """Indices of points of `moving` and of their partners in `fixed`."""
    points = moving.thinned(level.stride)
    moved = transform(fixed_from_moving, moving.points[points])
    partners = fixed.under(moved)
    seen = partners >= 0
    points, moved, partners = points[seen], moved[seen], partners[seen]
    facing = np.einsum("ni,ni->n", rotate(fixed_from_moving, moving.normals[points]), fixed.normals[partners])
    near = np.linalg.norm(moved - fixed.points[partners], axis=1) < level.reach_m
    good = near & (facing > np.cos(np.radians(MAX_NORMAL_ANGLE_DEG)))
    return points[good], partners[good]


def _add(
    total: _Equations, at: np.ndarray, normals: np.ndarray, *, gap_m: np.ndarray, noise_m: np.ndarray, level: Level
) -> None:
    """Adds one direction's rows with Tukey's weights over the noise's variance."""
    weight = np.maximum(1 - (gap_m / (level.width_sigmas * noise_m)) ** 2, 0) ** 2 / noise_m**2
    rows = np.concatenate([np.cross(at, normals), normals], axis=1)
    total.information += rows.T @ (rows * weight[:, None])
    total.gradient += rows.T @ (weight * gap_m)
    total.squares += float(weight @ gap_m**2)
    total.weight += float(weight.sum())
    total.inliers += int((weight > 0).sum())
