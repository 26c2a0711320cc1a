"""Pose and expression of a sequence, smoothed by what each frame knows of them.

Poses are charted as the rotation vector from the sequence's mean rotation (world axes) and the pivot's place in the
world; expressions are in standard deviations.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mmface4d.arrays import Points, Rotation, TimestampsUsec
from mmface4d.transforms import cross_matrix, rotation_from_rotvec, rotvec_from_rotation
from reconstruct.motion_noise import MotionModel, NoiseEstimate, smooth_robustly
from reconstruct.smoother import Chain, Start
from reconstruct.state import POSE, FrameFit

# rotation, translation, expression; densities in rad^2/s^3, m^2/s^3, std^2/s^3. The lowest averages over about 0.2 s,
# which quiets a still face nearly a hundredfold; 0.001 instead of 30 would damp a lid that rarely blinks (measured).
# The highest lets a head turn 6 degrees and shift 3 cm, and an expression change by 3 standard deviations, from one
# frame to the next without notice
LOWEST = (1e-5, 1e-6, 30.0)
HIGHEST = (1e3, 1e2, 1e6)
START_STD = (1.0, 1.0, 10.0)
START_SPEED = (3.0, 1.0, 30.0)


@dataclass(frozen=True)
class FrameInformation:
    """A frame's fit and the slope and curvature there of its energy: data and expression prior, no temporal term.

    Coordinates: turn (rotation vector, world axes) about the pivot, shift of the pivot (metres), change of expression.
    """

    timestamp_usec: int
    fit: FrameFit
    hessian: Float[np.ndarray, "n n"]
    gradient: Float[np.ndarray, "n"]


@dataclass(frozen=True)
class SmoothedTrack:
    """Pose and expression of every frame, and the noises they were smoothed by."""

    rotation: Float[np.ndarray, "n_frames 3 3"]  # world_from_head
    translation: Float[np.ndarray, "n_frames 3"]
    expression: Float[np.ndarray, "n_frames n_expression"]
    noise: NoiseEstimate

    def __len__(self) -> int:
        return len(self.rotation)

    def fit(self, frame: int, before: FrameFit) -> FrameFit:
        """The smoothed fit of a frame, with the offsets of the fit before."""
        return replace(
            before,
            rotation=self.rotation[frame],
            translation=self.translation[frame],
            expression=self.expression[frame],
        )


def smoothed(
    frames: Sequence[FrameInformation], *, pivot_in_head: Points, expression_std: np.ndarray, scratch: Path
) -> list[FrameFit]:
    """Smoothed fits of frames at hand; see `smoothed_track` for sequences that memory cannot hold."""
    track = smoothed_track(
        len(frames), frames.__getitem__, pivot_in_head=pivot_in_head, expression_std=expression_std, scratch=scratch
    )
    return [track.fit(index, frame.fit) for index, frame in enumerate(frames)]


def smoothed_track(
    count: int,
    read: Callable[[int], FrameInformation],
    *,
    pivot_in_head: Points,
    expression_std: np.ndarray,
    scratch: Path,
    noise: NoiseEstimate | None = None,
) -> SmoothedTrack:
    """Smooths frames 0..count-1, which are read several times and never held together.

    `pivot_in_head` [3] has the scale in it: pivot_in_world = rotation @ pivot_in_head + translation. `expression_std`
    [E] are the prior's standard deviations that the hessians contain.
    """
    timestamps_usec, reference = _survey(count, read)
    chart = Chart(reference, np.asarray(pivot_in_head, dtype=float), np.asarray(expression_std, dtype=float))
    chain = Chain(
        timestamps_usec, lambda frame: chart.information(read(frame)), _start(chart.width), _prior(chart.width)
    )
    result, noise = smooth_robustly(chain, motion_model(chart.width), scratch=scratch, estimate=noise)
    poses = [chart.pose(coordinates) for coordinates in result.mean]
    return SmoothedTrack(
        np.stack([rotation for rotation, _ in poses]),
        np.stack([translation for _, translation in poses]),
        result.mean[:, POSE:] * chart.expression_std,
        noise,
    )


def motion_model(width: int) -> MotionModel:
    """Motion of a head and its face, for `width` = 6 + n_expression coordinates."""
    sizes = [3, 3, width - POSE]
    return MotionModel(
        group=np.repeat(np.arange(3), sizes), lowest=np.repeat(LOWEST, sizes), highest=np.repeat(HIGHEST, sizes)
    )


def _start(width: int) -> Start:
    sizes = [3, 3, width - POSE]
    return Start(np.repeat(START_STD, sizes), np.repeat(START_SPEED, sizes))


def _prior(width: int) -> np.ndarray:
    return np.repeat([0.0, 1.0], [POSE, width - POSE])


def _survey(count: int, read: Callable[[int], FrameInformation]) -> tuple[TimestampsUsec, Rotation]:
    """Times, and the mean rotation (the rotation nearest to the sum)."""
    timestamps_usec, total = np.empty(count, dtype=np.int64), np.zeros((3, 3))
    for index, frame in enumerate(_all(count, read)):
        timestamps_usec[index] = frame.timestamp_usec
        total += frame.fit.rotation
    return timestamps_usec, _nearest_rotation(total)


def _all(count: int, read: Callable[[int], FrameInformation]) -> Iterator[FrameInformation]:
    for index in range(count):
        yield read(index)


def _nearest_rotation(matrix: np.ndarray) -> Rotation:
    left, _, right = np.linalg.svd(matrix)
    return left @ np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))]) @ right


@dataclass(frozen=True)
class Chart:
    """Coordinates [6+E] of a fit: rotation vector from `reference`, pivot in the world (metres), expression / std."""

    reference: Rotation
    pivot_in_head: Points
    expression_std: Float[np.ndarray, "n_expression"]

    @property
    def width(self) -> int:
        """Number of coordinates."""
        return POSE + len(self.expression_std)

    def coordinates(self, fit: FrameFit) -> Float[np.ndarray, "n"]:
        """Of a fit."""
        turn = rotvec_from_rotation(fit.rotation @ self.reference.T)
        pivot = fit.rotation @ self.pivot_in_head + fit.translation
        return np.r_[turn, pivot, fit.expression / self.expression_std]

    def pose(self, coordinates: Float[np.ndarray, "n"]) -> tuple[Rotation, Points]:
        """Rotation and translation, world_from_head."""
        rotation = _nearest_rotation(rotation_from_rotvec(coordinates[:3]) @ self.reference)
        return rotation, coordinates[3:POSE] - rotation @ self.pivot_in_head

    def information(self, frame: FrameInformation) -> tuple[np.ndarray, np.ndarray]:
        """A frame's data (without the expression prior) as information [P,P] and pull [P] in these coordinates."""
        at = self.coordinates(frame.fit)
        local_from_chart = np.eye(self.width)
        # exp(turn) exp(phi) = exp(phi + J^-1 turn) to first order: J the left Jacobian at phi
        local_from_chart[:3, :3] = left_jacobian(at[:3])
        local_from_chart[POSE:, POSE:] = np.diag(self.expression_std)
        information = local_from_chart.T @ frame.hessian @ local_from_chart
        # the prior holds expressions to zero and so pulls nowhere
        pull = information @ at - local_from_chart.T @ frame.gradient
        return information - np.diag(_prior(self.width)), pull


def about_pivot(
    hessian: Float[np.ndarray, "n n"], gradient: Float[np.ndarray, "n"], *, pivot_before: Points, pivot: Points
) -> tuple[np.ndarray, np.ndarray]:
    """The same energy for turns about `pivot` and its shift, from those about `pivot_before` (world, metres)."""
    before_from_after = np.eye(len(gradient))
    before_from_after[3:POSE, :3] = cross_matrix(pivot - pivot_before)
    return before_from_after.T @ hessian @ before_from_after, before_from_after.T @ gradient


def left_jacobian(rotvec: Points) -> Float[np.ndarray, "3 3"]:
    """J with exp(rotvec + d) = exp(J d) exp(rotvec) to first order (Sola 2018, equation 145)."""
    angle, cross = float(np.linalg.norm(rotvec)), cross_matrix(rotvec)
    if angle < 1e-4:
        return np.eye(3) + cross / 2 + cross @ cross / 6
    return np.eye(3) + (1 - np.cos(angle)) / angle**2 * cross + (angle - np.sin(angle)) / angle**3 * cross @ cross
