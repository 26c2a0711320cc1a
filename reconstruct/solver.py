"""What a solver of frames must do, and which there are."""

from typing import Protocol, runtime_checkable

from mmface4d.errors import UsageError
from reconstruct.observation import Observation
from reconstruct.parameters import Problem
from reconstruct.settings import ReconstructSettings
from reconstruct.state import FrameFit
from reconstruct.tracks import ActorFit, Track


@runtime_checkable
class Solver(Protocol):
    """Fits one actor, then frame after frame."""

    def fit_actor(self, keyframes: list[Observation]) -> ActorFit:
        """What is constant over the sequence."""
        ...

    def start(self, observation: Observation, actor_fit: ActorFit) -> FrameFit | None:
        """A frame without one before it; None where it has no face."""
        ...

    def track(self, observation: Observation, actor_fit: ActorFit, before: list[Track]) -> FrameFit:
        """A frame after others (the last one first)."""
        ...


def make_solver(settings: ReconstructSettings, problem: Problem) -> Solver:
    """The solver that the operator chose."""
    if settings.solver == "paper":
        from reconstruct.paper_solver import PaperSolver

        if settings.refine_rig:
            raise UsageError("the published schedule refines no rig", hint="leave out --refine-rig or --solver paper")
        return PaperSolver(problem)
    from reconstruct.fast_solver import FastSettings, FastSolver

    return FastSolver(problem, FastSettings(refine_rig=settings.refine_rig))
