"""How fast vertices move: the MMFace4D paper's statistic (section V), for predictions and truths."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

AXES = ("x", "y", "z", "length")


@dataclass(frozen=True)
class Velocity:
    """Of the vertices of a mask in one sequence, mean over steps and vertices; axes are the head's.

    `step_m` are mean |displacements| from a frame to the next along x, y and z, and the mean length of them.
    """

    step_m: Float[np.ndarray, "4"]
    steps: int
    fps: float

    @property
    def speed_mm_s(self) -> Float[np.ndarray, "4"]:
        """`step_m` as a speed, which does not depend on the frame rate."""
        return self.step_m * self.fps * 1000


def velocity(
    motion: Float[np.ndarray, "n_frames n_verts 3"], *, vertices: Int[np.ndarray, "n_in_mask"], fps: float
) -> Velocity:
    """Of one sequence in metres; NaN where it has one frame."""
    steps = np.diff(motion[:, vertices].astype(np.float64), axis=0)
    if not len(steps):
        return Velocity(np.full(4, np.nan), 0, fps)
    length = float(np.sqrt(np.square(steps).sum(axis=2)).mean())
    return Velocity(np.append(np.abs(steps).mean(axis=(0, 1)), length), len(steps), fps)
