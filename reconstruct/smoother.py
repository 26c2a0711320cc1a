"""A fixed-interval smoother of measurements in information form: white-noise acceleration between frames.

Forward: a Kalman filter on covariances that never subtracts them (Cholesky factors). Backward: the modified
Bryson-Frazier recursion, which needs no inverse of a covariance and therefore bears motion noise close to nothing; it
also gives the likelihood's slope with respect to each noise. Maths: Bierman 1977, Factorization Methods; Koopman 1993.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.linalg.lapack import dpotrf, dtrtrs  # pyright: ignore[reportAttributeAccessIssue]

from mmface4d.arrays import TimestampsUsec
from reconstruct.threads import one_blas_thread

Read = Callable[[int], tuple[np.ndarray, np.ndarray]]
LONGEST_GAP_SEC = 0.5  # beyond, the next frame starts anew
TINY = 1e-12


@dataclass(frozen=True)
class Start:
    """What is known of coordinates [P] before the first frame: zero, give or take this."""

    position_std: Float[np.ndarray, "n"]
    velocity_std: Float[np.ndarray, "n"]  # a second


@dataclass(frozen=True)
class Chain:
    """Frames in time, what each measured, and what is known without measuring.

    `read(frame)` gives information [P,P] (may be singular) and pull [P]: the data energy is
    1/2 x' information x - pull' x. `prior_precision` [P] holds each frame's coordinates to zero; unlike the
    information it is not in doubt when measurement noise is estimated.
    """

    timestamps_usec: TimestampsUsec
    read: Read
    start: Start
    prior_precision: Float[np.ndarray, "n"]

    def __len__(self) -> int:
        return len(self.timestamps_usec)

    @property
    def width(self) -> int:
        """Number of coordinates P."""
        return len(self.prior_precision)

    def steps_sec(self) -> Float[np.ndarray, "n_frames"]:
        """Time since the frame before; zero where a frame starts anew."""
        steps = np.diff(self.timestamps_usec, prepend=self.timestamps_usec[:1]) * 1e-6
        return np.where(steps > LONGEST_GAP_SEC, 0.0, steps)

    def window(self, first: int, end: int) -> "Chain":
        """Frames first..end-1 on their own."""
        return Chain(
            self.timestamps_usec[first:end], lambda frame: self.read(first + frame), self.start, self.prior_precision
        )


@dataclass(frozen=True)
class Noise:
    """Spectral density of the acceleration of the step into each frame, units^2 / s^3, and how much the
    measurement's variance exceeds what its information says."""

    density: Float[np.ndarray, "n_frames n"]
    measurement: Float[np.ndarray, "n_frames"]


@dataclass(frozen=True)
class Evidence:
    """How much the data speak for more noise (`seen` > `expected`) of each step's coordinates and each measurement.

    seen - expected is twice the slope of the log likelihood by the log of that noise.
    """

    motion_seen: Float[np.ndarray, "n_frames n"]
    motion_expected: Float[np.ndarray, "n_frames n"]
    measurement_seen: Float[np.ndarray, "n_frames"]
    measurement_expected: Float[np.ndarray, "n_frames"]


@dataclass(frozen=True)
class Smoothed:
    """Means [T,P] given all frames, the log likelihood (but for a constant), and the evidence where asked for."""

    mean: Float[np.ndarray, "n_frames n"]
    log_likelihood: float
    evidence: Evidence | None


def smooth(chain: Chain, noise: Noise, *, scratch: Path | None = None, with_evidence: bool = False) -> Smoothed:
    """The most probable course of the coordinates given all frames.

    What the way back needs of each frame (two P x P blocks more) lies in an unnamed file in `scratch`, or in memory
    where None, so a killed process leaves nothing behind.
    """
    steps = chain.steps_sec()
    with one_blas_thread(), _store(len(chain), chain.width, scratch) as store:
        mean, log_likelihood = _forward(chain, noise, steps, store)
        if not with_evidence:
            return Smoothed(_backward_means(mean, steps, store), log_likelihood, None)
        mean, evidence = _backward(chain, noise, steps, mean, store)
    return Smoothed(mean, log_likelihood, evidence)


class _store:  # noqa: N801  (a context manager, used like a function)
    """Per frame: rows of the filtered covariance [P,2P], information [P,P], pull [P]."""

    def __init__(self, count: int, width: int, scratch: Path | None) -> None:
        self.shape = (count, width, 3 * width + 1)
        self.scratch = scratch
        self.file = None

    def __enter__(self) -> "_store":
        if self.scratch is None:
            self.blocks = np.empty(self.shape)
        else:
            self.scratch.mkdir(parents=True, exist_ok=True)
            self.file = tempfile.TemporaryFile(dir=self.scratch)
            self.blocks = np.memmap(self.file, np.float64, "w+", shape=self.shape)
        return self

    def __exit__(self, *_: object) -> None:
        del self.blocks
        if self.file is not None:
            self.file.close()

    def put(self, frame: int, covariance_rows: np.ndarray, information: np.ndarray, pull: np.ndarray) -> None:
        width = self.shape[1]
        block = self.blocks[frame]
        block[:, : 2 * width] = covariance_rows
        block[:, 2 * width : 3 * width] = information
        block[:, 3 * width] = pull

    def get(self, frame: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        width = self.shape[1]
        block = np.array(self.blocks[frame])
        return block[:, : 2 * width], block[:, 2 * width : 3 * width], block[:, 3 * width]


def _weighed(chain: Chain, noise: Noise, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """Information and pull of a frame, its noise and the prior counted in."""
    information, pull = chain.read(frame)
    information = 0.5 / noise.measurement[frame] * (information + information.T)
    information[np.diag_indices(chain.width)] += chain.prior_precision
    return information, pull / noise.measurement[frame]


def _forward(chain: Chain, noise: Noise, steps: np.ndarray, store: _store) -> tuple[np.ndarray, float]:
    """Filtered means [T,2P] and the log likelihood."""
    n, total = chain.width, 0.0
    means = np.empty((len(chain), 2 * n))
    mean, covariance = np.zeros(2 * n), np.zeros((2 * n, 2 * n))
    for frame, step in enumerate(steps):
        if step == 0.0:
            mean = np.zeros(2 * n)
            covariance = np.diag(np.r_[chain.start.position_std, chain.start.velocity_std] ** 2)
        else:
            mean = _moved(mean, step)
            covariance = _spread(covariance, step, noise.density[frame])
        information, pull = _weighed(chain, noise, frame)
        mean, covariance, gain = _updated(mean, covariance, information, pull)
        total += gain
        means[frame] = mean
        store.put(frame, covariance[:n], information, pull)
    return means, total


def _moved(mean: np.ndarray, step_sec: float) -> np.ndarray:
    n = len(mean) // 2
    return np.r_[mean[:n] + step_sec * mean[n:], mean[n:]]


def unit_noise(step_sec: float) -> tuple[float, float, float]:
    """Covariance of position, of both, of velocity after a step of white acceleration of density one."""
    return step_sec**3 / 3, step_sec**2 / 2, step_sec


def _spread(covariance: np.ndarray, step_sec: float, density: np.ndarray) -> np.ndarray:
    n = len(covariance) // 2
    out, here = covariance.copy(), np.arange(n)
    # F C F' with F = [1 step; 0 1]: rows, then columns
    out[:n] += step_sec * out[n:]
    out[:, :n] += step_sec * out[:, n:]
    position, both, velocity = unit_noise(step_sec)
    out[here, here] += position * density
    out[here, here + n] += both * density
    out[here + n, here] += both * density
    out[here + n, here + n] += velocity * density
    return out


def cholesky(matrix: np.ndarray) -> np.ndarray:
    """Lower factor of a symmetric matrix; the diagonal is raised a little where rounding made it indefinite."""
    for raised in (0.0, 1e-14, 1e-12, 1e-10, 1e-8):
        # the transpose of a symmetric C array is what LAPACK wants, without a copy
        factor, failed = dpotrf((matrix + np.diag(raised * np.diag(matrix)) if raised else matrix).T, lower=1)
        if not failed:
            return factor
    raise np.linalg.LinAlgError("a covariance of the smoother is not positive: its measurements hold no finite numbers")


def _updated(
    mean: np.ndarray, covariance: np.ndarray, information: np.ndarray, pull: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean, covariance and log likelihood after a measurement.

    With C = S S', S = [L 0; X E], the position's factor becomes L M, M M' = (1 + L' information L)^-1: nothing is
    subtracted, so C stays positive, and the information may be singular.
    """
    n = len(pull)
    root = cholesky(covariance)
    position, rest = root[:n, :n], root[n:, n:]
    inner = position.T @ information @ position
    inner[np.diag_indices(n)] += 1.0
    inner_root = cholesky(inner)
    shrunk = dtrtrs(inner_root, root[:, :n].T, lower=1)[0]  # [P,2P]
    after = shrunk.T @ shrunk
    after[n:, n:] += rest @ rest.T
    surprise = pull - information @ mean[:n]
    moved = shrunk @ np.r_[surprise, np.zeros(n)]
    # the energy at the prediction, and what the step to the new mean gains
    gain = 0.5 * moved @ moved + mean[:n] @ (pull - 0.5 * information @ mean[:n])
    return mean + shrunk.T @ moved, after, float(gain - np.log(np.diag(inner_root)).sum())


def _backward_means(means: np.ndarray, steps: np.ndarray, store: _store) -> np.ndarray:
    """Smoothed positions [T,P] from filtered means, at matrix-vector cost."""
    count, n = len(means), means.shape[1] // 2
    out, adjoint = np.empty((count, n)), np.zeros(2 * n)
    for frame in reversed(range(count)):
        rows, information, pull = store.get(frame)
        shift = rows @ adjoint
        out[frame] = means[frame, :n] - shift
        adjoint[:n] -= information @ shift + pull - information @ means[frame, :n]
        adjoint = _carried_back(adjoint, steps[frame])
    return out


def _carried_back(adjoint: np.ndarray, step_sec: float) -> np.ndarray:
    n = len(adjoint) // 2
    return np.r_[adjoint[:n], adjoint[n:] + step_sec * adjoint[:n]] if step_sec else np.zeros(2 * n)


def _backward(
    chain: Chain, noise: Noise, steps: np.ndarray, means: np.ndarray, store: _store
) -> tuple[np.ndarray, Evidence]:
    """Smoothed positions and the evidence; `adjoint` and `curvature` are the likelihood's by the state."""
    count, n = len(means), chain.width
    out = np.empty((count, n))
    motion, measurement = np.zeros((2, count, n)), np.zeros((2, count))
    adjoint, curvature = np.zeros(2 * n), np.zeros((2 * n, 2 * n))
    for frame in reversed(range(count)):
        rows, information, pull = store.get(frame)
        shift, future = rows @ adjoint, rows @ curvature
        position = means[frame, :n] - shift
        out[frame] = position
        covariance = rows[:, :n] - future @ rows.T
        data = information - np.diag(chain.prior_precision)
        measurement[:, frame] = _misfit(data, pull - data @ position, covariance, chain.prior_precision)
        adjoint[:n] -= information @ shift + pull - information @ means[frame, :n]
        _absorb(curvature, rows, information, future)
        motion[:, frame] = _motion(adjoint, curvature, steps[frame]) * noise.density[frame]
        adjoint = _carried_back(adjoint, steps[frame])
        _carry_curvature_back(curvature, steps[frame])
    return out, Evidence(motion[0], motion[1], measurement[0], measurement[1])


def _absorb(curvature: np.ndarray, rows: np.ndarray, information: np.ndarray, future: np.ndarray) -> None:
    """Before the measurement, in place: H'SH + (1-KH)' curvature (1-KH), S = H - H C H of the information H."""
    n = len(information)
    gained = information @ future  # [P,2P]
    seen = information @ rows[:, :n] @ information
    both = information @ (future @ rows.T) @ information
    curvature[:n] -= gained
    curvature[:, :n] -= gained.T
    curvature[:n, :n] += information - seen + both
    curvature += curvature.T
    curvature *= 0.5


def _carry_curvature_back(curvature: np.ndarray, step_sec: float) -> None:
    n = len(curvature) // 2
    if step_sec == 0.0:
        curvature[:] = 0.0
        return
    curvature[n:] += step_sec * curvature[:n]
    curvature[:, n:] += step_sec * curvature[:, :n]


def _motion(adjoint: np.ndarray, curvature: np.ndarray, step_sec: float) -> np.ndarray:
    """For a step's noise of density one: adjoint' Q adjoint and trace(Q curvature), of each coordinate [2,P]."""
    n = len(adjoint) // 2
    position, both, velocity = unit_noise(step_sec)
    a, b = adjoint[:n], adjoint[n:]
    seen = position * a * a + 2 * both * a * b + velocity * b * b
    diagonal, cross = np.diag(curvature), np.diag(curvature, n)
    return np.stack([seen, np.maximum(position * diagonal[:n] + 2 * both * cross + velocity * diagonal[n:], 0.0)])


def _misfit(data: np.ndarray, residual: np.ndarray, covariance: np.ndarray, prior: np.ndarray) -> tuple[float, float]:
    """Squared residual of a frame's measurement after smoothing and its expectation, weighed by the inverse of
    the information, made regular where the data say nothing."""
    weigher = data + np.diag(prior + 1e-6 * max(np.trace(data) / len(data), TINY) + TINY)
    root = cholesky(weigher)
    seen = dtrtrs(root, residual, lower=1)[0]
    left = dtrtrs(root, data, lower=1)[0]
    expected = np.sum(dtrtrs(root, left.T, lower=1)[0].diagonal()) - np.sum((left @ covariance) * left)
    return float(seen @ seen), float(max(expected, TINY))


def spread_windows(count: int, *, frames: int, windows: int) -> Iterator[tuple[int, int]]:
    """Up to `windows` equal ranges of frames, spread over `count`, of at most `frames` together."""
    if count <= frames:
        yield 0, count
        return
    length = frames // windows
    for first in np.linspace(0, count - length, windows).astype(int):
        yield int(first), int(first) + length
