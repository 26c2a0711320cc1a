"""What a tracked frame costs against vertices, views and picture size, all variants in turn in one run.

    python benchmarks/cost.py TAKE --calibration calibration.json [--model ict] [--frames 3] [--rounds 3]

Of every variant each frame is tracked `rounds` times from the same frame before, and its best time counts; a variant's
time is the median over its frames. `exponent` is the slope of log time over log size through all variants,
`exponent_at_largest` the one between the two largest, where what every frame costs anyway weighs least: the verdict
is about that one. Prints JSON.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from common import Prepared, print_json, say
from resized import decimated, scaled_pictures, subdivided

from mmface4d.errors import Mmface4dError
from reconstruct.fast_solver import FastSolver
from reconstruct.models.library import load_model
from reconstruct.models.model import MorphableModel
from reconstruct.observation import Observation
from reconstruct.parameters import make_problem
from reconstruct.raster import make_rasterizer
from reconstruct.tracks import ActorFit, Track

NOISE = 0.05  # of an exponent, from timing
PICTURE_FACTORS = (0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Fitted:
    """A solver that has its actor and the first frame."""

    solver: FastSolver
    actor_fit: ActorFit
    before: list[Track]

    @classmethod
    def of(cls, model: MorphableModel, first: Observation, device: str) -> "Fitted":
        """Fits the actor on one frame."""
        solver = FastSolver(make_problem(model, make_rasterizer("warp", device)))
        actor_fit = solver.fit_actor([first])
        return cls(solver, actor_fit, [Track(actor_fit.fits[0], first.timestamp_usec)])

    def seconds(self, observation: Observation) -> float:
        """Of tracking one frame."""
        started = time.perf_counter()
        self.solver.track(observation, self.actor_fit, self.before)
        return time.perf_counter() - started


@dataclass(frozen=True)
class Variant:
    """One size to be timed."""

    size: int
    fitted: Fitted
    observations: list[Observation]


def fewer_views(observation: Observation, count: int) -> Observation:
    """With the first so many cameras."""
    return replace(
        observation, depth_views=observation.depth_views[:count], color_views=observation.color_views[:count]
    )


def pixel_count(observation: Observation) -> int:
    """Trusted depth pixels of all views."""
    return sum(len(view) for view in observation.depth_views)


def by_vertices(fitted: Fitted, first: Observation, rest: list[Observation]) -> Iterator[Variant]:
    """The model with a quarter of its triangles, as it is, and with four times as many."""
    model, device = fitted.solver.problem.model, fitted.solver.problem.device
    coarse = decimated(model, part=0.25)
    yield Variant(coarse.vertex_count, Fitted.of(coarse, first, device), rest)
    yield Variant(model.vertex_count, fitted, rest)
    fine = subdivided(model)
    yield Variant(fine.vertex_count, Fitted.of(fine, first, device), rest)


def by_views(fitted: Fitted, first: Observation, rest: list[Observation]) -> Iterator[Variant]:
    """One camera, two, and so on."""
    for count in range(1, len(first.depth_views) + 1):
        yield Variant(count, fitted, [fewer_views(observation, count) for observation in rest])


def by_pixels(fitted: Fitted, first: Observation, rest: list[Observation]) -> Iterator[Variant]:
    """Depth and colour pictures of half, whole and double width and height."""
    for factor in PICTURE_FACTORS:
        scaled = [scaled_pictures(observation, factor) for observation in rest]
        yield Variant(pixel_count(scaled[0]), fitted, scaled)


AXES: dict[str, Callable[[Fitted, Observation, list[Observation]], Iterator[Variant]]] = {
    "vertices": by_vertices, "views": by_views, "depth_pixels": by_pixels,
}  # fmt: skip


def timed(variants: list[Variant], rounds: int) -> list[float]:
    """Median over the frames of each one's best; variants take turns, so that a busy moment falls on all of them."""
    best = [[np.inf] * len(variant.observations) for variant in variants]
    for round_index in range(rounds + 1):
        for variant, so_far in zip(variants, best, strict=True):
            for index, observation in enumerate(variant.observations):
                seconds = variant.fitted.seconds(observation)
                if round_index:  # the first compiles and fills caches
                    so_far[index] = min(so_far[index], seconds)
    return [float(np.median(frames)) for frames in best]


def growth(sizes: list[int], seconds: list[float]) -> dict[str, Any]:
    """Exponents and the verdict."""
    log_size, log_seconds = np.log(sizes), np.log(seconds)
    last = (log_seconds[-1] - log_seconds[-2]) / (log_size[-1] - log_size[-2])
    return {
        "exponent": round(float(np.polyfit(log_size, log_seconds, 1)[0]), 3),
        "exponent_at_largest": round(float(last), 3),
        "no_faster_than_linear": bool(last <= 1 + NOISE),
    }


def measure(variants: list[Variant], rounds: int) -> dict[str, Any]:
    """The table of one axis."""
    sizes, seconds = [variant.size for variant in variants], timed(variants, rounds)
    table = [{"size": size, "seconds": round(value, 4)} for size, value in zip(sizes, seconds, strict=True)]
    return {"table": table, **(growth(sizes, seconds) if len(sizes) > 1 else {})}


@click.command()
@click.argument("take_path", type=click.Path(path_type=Path, exists=True))
@click.option("--calibration", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--model", "model_name", default="ict", show_default=True)
@click.option("--frames", default=3, show_default=True, help="Tracked ones, after the first.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--axis", "axes", multiple=True, type=click.Choice(list(AXES)), help="Only these; default: all.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
def main(
    take_path: Path,
    calibration: Path,
    model_name: str,
    frames: int,
    rounds: int,
    axes: tuple[str, ...],
    device: str,
) -> None:
    """Time the fast solver on the first frames of TAKE_PATH."""
    head = {"take": take_path.name, "model": model_name, "device": device, "threads": torch.get_num_threads()}
    try:
        model = load_model(model_name)
    except Mmface4dError as error:
        print_json({**head, "skipped": error.message})
        return
    first, *rest = Prepared(take_path, calibration).observations(range(frames + 1))
    fitted, result = Fitted.of(model, first, device), {}
    for axis in axes or tuple(AXES):
        result[axis] = measure(list(AXES[axis](fitted, first, rest)), rounds)
        say({axis: result[axis]})
    print_json({**head, "seconds_of_a_tracked_frame": result})


if __name__ == "__main__":
    main()
