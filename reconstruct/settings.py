"""What the operator chooses for a reconstruction."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ReconstructSettings:
    """Solver, backend, and how much of a take is looked at."""

    solver: str = "fast"
    rasterizer: str = "warp"
    device: str = "cpu"
    keyframes: int = 8
    smooth: bool = True  # the sequence as a whole; only solvers that know what each frame says can be smoothed
    refine_rig: bool = False  # camera poses and each depth imager's constant error, with the actor
    frames: tuple[int, int] | None = None  # first and one past the last
