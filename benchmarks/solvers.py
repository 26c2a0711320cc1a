"""The fast solver and the published optimiser on the same energy, the same frames and from the same start, in one run.

    python benchmarks/solvers.py TAKE --calibration calibration.json [--model canonical] [--frames 3]

Prints JSON. For each frame after the first, from the same prediction:

- `fast`: the fast solver's own track;
- `adam`: 200 steps of Adam, the published rates by group and multiples of them, on the fast solver's energy. The rate
  that ends lowest counts, by the lowest of its 200 energies; its time is that of one run (the median over rates);
- `paper`: the published energy and schedule as they are (`--solver paper`).

One function gives the energy of all results. Its slope costs Adam no more than it costs the fast solver. The constant
cost of pixels that nothing explains (hair, clothes) is part of it, so the excess is also given as a part of what the
best fit gains over the start. Adam and `paper` have torch's threads or one, whatever is quicker on this machine.
Landmarks are cached and the actor's fit is not counted.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from common import Prepared, print_json, say

from reconstruct.fast_energy import FrameEnergy, Unknowns, tracked_energy
from reconstruct.fast_solver import FastSolver
from reconstruct.models.library import load_model
from reconstruct.observation import Observation
from reconstruct.paper_solver import DECIMETRE, LATER, PaperSolver
from reconstruct.parameters import Problem, make_problem
from reconstruct.quality import frame_quality
from reconstruct.raster import make_rasterizer
from reconstruct.state import FrameFit, posed
from reconstruct.tracks import ActorFit, Track

RATES = (0.03, 0.1, 0.3, 1.0, 3.0)  # times the published one
TRIAL_STEPS = 10


@dataclass(frozen=True)
class Descent:
    """What Adam reached."""

    energy: float
    seconds: float
    fit: FrameFit
    step: int  # at which the energy was lowest


def adam(energy: FrameEnergy, *, rate: float, steps: int) -> Descent:
    """The lowest of so many steps; turn in radians, lengths in decimetres, as in the published schedule."""
    begin = energy.unknowns(energy.around)
    free = [
        (part / unit).clone().requires_grad_()
        for part, unit in zip((begin.turn, begin.shift_m, begin.expression, begin.offsets), _UNITS, strict=True)
    ]
    optimiser = torch.optim.Adam(free, lr=rate)
    lowest, at_step, lowest_at = np.inf, 0, begin
    started = time.perf_counter()
    for step in range(steps + 1):
        at = Unknowns(*(part * unit for part, unit in zip(free, _UNITS, strict=True)))
        value = energy.value(at)
        if float(value.detach()) < lowest:
            lowest, at_step, lowest_at = float(value.detach()), step, at
        if step < steps:
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
    return Descent(lowest, time.perf_counter() - started, energy.fit(lowest_at), at_step)


_UNITS = (1.0, DECIMETRE, 1.0, DECIMETRE)


def quicker_threads(work: Callable[[], object], default: int) -> int:
    """Torch's own number of threads, or one, whichever does the work sooner."""
    seconds = {}
    for threads in {default, 1}:
        torch.set_num_threads(threads)
        work()
        started = time.perf_counter()
        work()
        seconds[threads] = time.perf_counter() - started
    return min(seconds, key=lambda threads: seconds[threads])


def timed(work: Callable[[], FrameFit]) -> tuple[FrameFit, float]:
    """A fit and its seconds."""
    started = time.perf_counter()
    fit = work()
    return fit, time.perf_counter() - started


class Comparison:
    """All three optimisers, frame by frame."""

    def __init__(self, problem: Problem, observations: list[Observation], rates: tuple[float, ...]) -> None:
        self.problem, self.rates, self.default_threads = problem, rates, torch.get_num_threads()
        self.fast, self.paper = FastSolver(problem), PaperSolver(problem)
        self.threads: dict[str, int] = {}
        torch.set_num_threads(1)
        self.actor = self.fast.fit_actor(observations)

    def frame(self, observation: Observation, before: list[Track]) -> tuple[FrameFit, dict[str, Any]]:
        """One frame by all; what the fast solver found, and the figures."""
        energy = tracked_energy(self.fast, observation, self.actor, before)
        self._choose_threads(energy)
        runs: dict[float, Descent] = {}
        fit, fast_s = before[0].fit, []
        for times in self.rates:  # in turn, so that a busy machine slows both
            torch.set_num_threads(1)
            fit, seconds = timed(lambda: self.fast.track(observation, self.actor, before))
            fast_s.append(seconds)
            torch.set_num_threads(self.threads["adam"])
            runs[times] = adam(energy, rate=times * LATER.rate, steps=LATER.steps)
        rate = min(runs, key=lambda rate: runs[rate].energy)
        best, start, ours = runs[rate], energy.at_fit(energy.around), energy.at_fit(fit)
        paper_fit, paper_s = self._paper(observation, before)
        return fit, {
            "frame": observation.frame,
            "start_energy": start,
            "fast": {"energy": ours, "seconds": float(np.median(fast_s)), **self._residual(observation, fit)},
            "adam": {
                "energy": best.energy, "seconds": float(np.median([run.seconds for run in runs.values()])),
                **self._residual(observation, best.fit),
                "rate": rate * LATER.rate, "lowest_at_step": best.step,
                "energies_by_rate": {str(times * LATER.rate): run.energy for times, run in runs.items()},
            },
            "paper": {"seconds": paper_s, **self._residual(observation, paper_fit)},
            "excess_percent": 100 * (ours / best.energy - 1),
            "excess_percent_of_gain": 100 * (ours - best.energy) / (start - best.energy),
        }  # fmt: skip

    def _choose_threads(self, energy: FrameEnergy) -> None:
        if "adam" not in self.threads:
            self.threads["adam"] = quicker_threads(
                lambda: adam(energy, rate=LATER.rate, steps=TRIAL_STEPS), self.default_threads
            )

    def _paper(self, observation: Observation, before: list[Track]) -> tuple[FrameFit, float]:
        """With each number of threads the first time, because its step cannot be tried alone."""
        seconds, fit = {}, before[0].fit
        for threads in {self.default_threads, 1} if "paper" not in self.threads else {self.threads["paper"]}:
            torch.set_num_threads(threads)
            fit, seconds[threads] = timed(lambda: self.paper.track(observation, self.actor, before))
        self.threads["paper"] = min(seconds, key=lambda threads: seconds[threads])
        return fit, seconds[self.threads["paper"]]

    def _residual(self, observation: Observation, fit: FrameFit) -> dict[str, float]:
        vertices = posed(self.problem.model, self.actor.actor, fit)
        return {"depth_residual_mm": float(frame_quality(self.problem, observation, vertices).depth_residual_mm)}


def summary(frames: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the frames, and the worst excess."""

    def median(*keys: str) -> float:
        values = frames
        for key in keys:
            values = [value[key] for value in values]
        return float(np.median(np.array(values, dtype=float)))

    seconds = {name: median(name, "seconds") for name in ("fast", "adam", "paper")}
    return {
        "seconds_a_frame": seconds,
        "depth_residual_mm": {name: median(name, "depth_residual_mm") for name in seconds},
        "excess_percent": {
            "median": median("excess_percent"), "most": max(frame["excess_percent"] for frame in frames),
        },
        "excess_percent_of_gain": median("excess_percent_of_gain"),
        "adam_over_fast": seconds["adam"] / seconds["fast"],
        "paper_over_fast": seconds["paper"] / seconds["fast"],
    }  # fmt: skip


@click.command()
@click.argument("take_path", type=click.Path(path_type=Path, exists=True))
@click.option("--calibration", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--model", "model_name", default="canonical", show_default=True)
@click.option("--frames", default=3, show_default=True, type=click.IntRange(min=2))
@click.option("--rate", "rates", multiple=True, type=float, default=RATES, show_default=True,
              help="Adam's, times the published one; repeat it.")  # fmt: skip
def main(take_path: Path, calibration: Path, model_name: str, frames: int, rates: tuple[float, ...]) -> None:
    """Compare the solvers on the first frames of TAKE_PATH."""
    problem = make_problem(load_model(model_name), make_rasterizer("warp"))
    observations = Prepared(take_path, calibration).observations(range(frames))
    comparison = Comparison(problem, observations, rates)
    before, found = first_track(comparison.actor, observations[0]), []
    for observation in observations[1:]:
        fit, figures = comparison.frame(observation, before)
        found.append(figures)
        say(figures)
        before = [Track(fit, observation.timestamp_usec), *before[:1]]
    print_json(
        {
            "take": take_path.name, "model": model_name, "vertices": problem.model.vertex_count,
            "threads": {"available": comparison.default_threads, "fast": 1, **comparison.threads},
            **summary(found), "frames": found,
        }
    )  # fmt: skip


def first_track(actor: ActorFit, observation: Observation) -> list[Track]:
    """The first keyframe's fit, from which the second frame is tracked."""
    return [Track(actor.fits[0], observation.timestamp_usec)]


if __name__ == "__main__":
    main()
