"""Both solvers on the same frames of one take, in one run: seconds a frame and the depth residual each leaves.

    python benchmarks/solvers.py TAKE --calibration calibration.json [--model canonical] [--frames 3]

Prints JSON. Times are of the fit alone (landmarks are cached, the first frame's actor is counted apart).
"""

import json
import time
from pathlib import Path

import click
import numpy as np
import torch

from mmface4d.rig_calibration import load_calibration
from mmface4d.take import open_take
from reconstruct.fast_solver import FastSolver
from reconstruct.models.library import load_model
from reconstruct.observe import TakeObserver
from reconstruct.paper_solver import PaperSolver
from reconstruct.parameters import Problem, make_problem
from reconstruct.quality import frame_quality
from reconstruct.raster import make_rasterizer
from reconstruct.state import posed
from reconstruct.tracks import Track


def follow(solver: FastSolver | PaperSolver, problem: Problem, observations: list) -> dict[str, object]:
    """Fits the actor on all frames (or the first), then frame after frame."""
    started = time.monotonic()
    actor_fit = solver.fit_actor(observations)
    actor_s = time.monotonic() - started
    before = [Track(actor_fit.fits[0], observations[0].timestamp_usec)]
    seconds, residuals = [], []
    for observation in observations[1:]:
        started = time.monotonic()
        fit = solver.track(observation, actor_fit, before)
        seconds.append(time.monotonic() - started)
        before = [Track(fit, observation.timestamp_usec), *before[:1]]
        residuals.append(
            frame_quality(problem, observation, posed(problem.model, actor_fit.actor, fit)).depth_residual_mm
        )
    return {
        "actor_s": round(actor_s, 2),
        "seconds_a_frame": round(float(np.median(seconds)), 3),
        "depth_residual_mm": round(float(np.median(residuals)), 4),
    }


@click.command()
@click.argument("take_path", type=click.Path(path_type=Path, exists=True))
@click.option("--calibration", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--model", "model_name", default="canonical", show_default=True)
@click.option("--frames", default=3, show_default=True)
def main(take_path: Path, calibration: Path, model_name: str, frames: int) -> None:
    """Compare the solvers on the first frames of TAKE_PATH."""
    from calibration.landmarks import take_landmarks

    problem = make_problem(load_model(model_name), make_rasterizer("warp"))
    with open_take(take_path) as take:
        observer = TakeObserver(take, load_calibration(calibration), take_landmarks(take))
        observations = [observer.read(frame) for frame in range(frames)]
    fast = follow(FastSolver(problem), problem, observations)
    paper = follow(PaperSolver(problem), problem, observations)
    ratio = float(str(paper["seconds_a_frame"])) / float(str(fast["seconds_a_frame"]))
    click.echo(
        json.dumps(
            {
                "take": take_path.name, "model": model_name, "frames": frames, "threads": torch.get_num_threads(),
                "fast": fast, "paper": paper, "paper_over_fast": round(ratio, 1),
            },
            indent=1,
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
