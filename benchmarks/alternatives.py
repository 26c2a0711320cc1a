"""This project's solver against what a user would pick instead, on the same points of the same frames, in one run.

    python benchmarks/alternatives.py --rig ../shared/rig --takes TAKES --work WORK --take speech --take still

TAKES holds folders made by the rig's make_takes.py, whose evaluate.py scores every result after one rigid alignment
per sequence. Every tool is given the same trusted depth points and the same landmarks; see other_tools.py for what it
makes of them. Those that move the model's vertices are tried from the mean in every frame, and from the frame before:
neither is better everywhere. Same-vertex errors are null where a tool keeps no topology. Prints JSON; lengths in mm.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click
import numpy as np
import other_tools as tools
from common import prepare, print_json, say, score

from mmface4d.arrays import Vertices
from mmface4d.errors import Mmface4dError
from reconstruct.models.library import load_model
from reconstruct.models.model import MorphableModel
from reconstruct.observation import Observation

FAR_M = 100.0
STARTS = ("mean", "frame before")  # of every frame but the first, for tools that move the model's vertices
GIVEN = {
    "mmface4d fast": "depth pixels, landmark pixels and pictures of all views; the morphable model",
    "trimesh nricp_amberg": "Poisson mesh of the fused points, lifted landmarks; the model's mean",
    "trimesh nricp_sumner": "Poisson mesh of the fused points, lifted landmarks; the model's mean",
    "open3d poisson": "fused points with normals",
    "open3d tsdf": "depth pictures of all views, lens distortion taken out",
    "open3d icp": "fused points with normals, lifted landmarks; the model's mean",
    "open3d generalized_icp": "fused points with normals, lifted landmarks; the model's mean",
    "open3d arap": "fused points with normals, lifted landmarks; the model's mean",
}
SURFACES: dict[str, Callable[[Observation], Any]] = {
    "open3d poisson": lambda observation: tools.poisson(tools.Scan.of(observation)),
    "open3d tsdf": tools.tsdf,
}
# trimesh asks it for the closest triangle
NEEDS = {"trimesh nricp_amberg": ("trimesh", "rtree"), "trimesh nricp_sumner": ("trimesh", "rtree")}


@dataclass(frozen=True)
class Meshes:
    """What a tool made of the frames, and how long each took."""

    vertices: list[Vertices]
    faces: list[np.ndarray]
    seconds: list[float]
    actor_s: float = 0.0  # before the first frame
    same_vertices: bool = True  # a vertex is the same point of the skin in every frame


Follow = Callable[[list[Observation]], Meshes]


def follow_fast(model: MorphableModel, observations: list[Observation]) -> Meshes:
    """The actor from all frames, then frame after frame."""
    from reconstruct.fast_solver import FastSolver
    from reconstruct.parameters import make_problem
    from reconstruct.raster import make_rasterizer
    from reconstruct.state import posed
    from reconstruct.tracks import Track

    solver = FastSolver(make_problem(model, make_rasterizer("warp")))
    started = time.monotonic()
    actor_fit = solver.fit_actor(observations)
    actor_s, before = time.monotonic() - started, []
    made, seconds = [], []
    for observation in observations:
        started = time.monotonic()
        fit = solver.track(observation, actor_fit, before) if before else solver.start(observation, actor_fit)
        if fit is None:
            raise ValueError(f"frame {observation.frame} shows no face")
        seconds.append(time.monotonic() - started)
        before = [Track(fit, observation.timestamp_usec), *before[:1]]
        made.append(posed(model, actor_fit.actor, fit))
    return Meshes(made, [model.faces] * len(made), seconds, actor_s)


def follow_template(
    observations: list[Observation],
    *,
    model: MorphableModel,
    move: Callable[[Vertices, tools.Scan], Vertices],
    start: str,
) -> Meshes:
    """The model's mean, laid on the landmarks of every frame, or of the first alone and then moved on."""
    made, seconds, at = [], [], None
    for observation in observations:
        started = time.monotonic()
        scan = tools.Scan.of(observation, model.landmarks)
        at = move(tools.landmark_pose(model, scan) if at is None or start == "mean" else at, scan)
        seconds.append(time.monotonic() - started)
        made.append(at)
    return Meshes(made, [model.faces] * len(made), seconds)


def follow_surface(observations: list[Observation], fuse: Callable[[Observation], Any]) -> Meshes:
    """Each frame's own mesh."""
    made, seconds = [], []
    for observation in observations:
        started = time.monotonic()
        made.append(fuse(observation))
        seconds.append(time.monotonic() - started)
    vertices, faces = [np.asarray(mesh.vertices) for mesh in made], [np.asarray(mesh.triangles) for mesh in made]
    return Meshes(vertices, faces, seconds, same_vertices=False)


def template_tools(model: MorphableModel) -> dict[str, Callable[[Vertices, tools.Scan], Vertices]]:
    """Tools that move the model's vertices onto a scan; all of them first as a whole."""
    skin = np.flatnonzero(model.regions["face"] & ~model.regions["mouth_interior"] & ~model.regions["nostrils"])

    def rigid(at: Vertices, scan: tools.Scan) -> Vertices:
        return tools.rigid_icp(at, skin, scan)

    def nricp(at: Vertices, scan: tools.Scan, kind: str) -> Vertices:
        return tools.nricp(rigid(at, scan), scan, tools.poisson(scan), model=model, kind=kind)

    return {
        "trimesh nricp_amberg": partial(nricp, kind="amberg"),
        "trimesh nricp_sumner": partial(nricp, kind="sumner"),
        "open3d icp": rigid,
        "open3d generalized_icp": lambda at, scan: tools.generalized_icp(at, model.faces, skin, scan),
        "open3d arap": lambda at, scan: tools.arap(rigid(at, scan), skin, scan, model=model),
    }


def write(path: Path, meshes: Meshes, observations: list[Observation]) -> None:
    """A file that evaluate.py reads.

    It wants the same faces in every frame. Where they differ, a frame holds all frames' faces, those of the others
    shrunk to a point far away.
    """
    if meshes.same_vertices:
        vertices, faces = np.stack(meshes.vertices), meshes.faces[0]
    else:
        first = np.concatenate([[0], np.cumsum([len(part) for part in meshes.vertices])])
        vertices = np.full((len(meshes.vertices), first[-1], 3), FAR_M)
        for frame, part in enumerate(meshes.vertices):
            vertices[frame, first[frame] : first[frame + 1]] = part
        faces = np.concatenate([part + start for part, start in zip(meshes.faces, first, strict=False)])
    times_usec = np.array([observation.timestamp_usec for observation in observations])
    np.savez(path, vertices=vertices.astype(np.float32), faces=faces.astype(np.int32), timestamps_usec=times_usec)


def measure(follow: Follow, observations: list[Observation], *, rig: Path, truth: Path) -> dict[str, Any]:
    """A tool's figures; says why where it fails."""
    try:
        meshes = follow(observations)
    except (ValueError, RuntimeError, Mmface4dError) as error:
        return {"failed": str(error)}
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "meshes.npz", meshes, observations)
        result = score(rig, truth, "--recon", Path(folder) / "meshes.npz")
    surface, tracking = result["surface_aligned_mm"], result["tracking_mm"]
    followed = meshes.same_vertices and len(observations) > 1
    return {
        "actor_s": round(meshes.actor_s, 2),
        "first_frame_s": round(meshes.seconds[0], 2),
        "seconds_a_frame": round(float(np.median(meshes.seconds[1:] or meshes.seconds)), 3),
        "surface_mean": surface["inner_face"]["mean"],
        "surface_p95": surface["inner_face"]["p95"],
        "lips_surface": surface["lips"]["mean"],
        "tracking_mean": tracking["inner_face"]["mean"] if followed else None,
        "lips_tracking": tracking["lips"]["mean"] if followed else None,
    }


def surface_runs(names: tuple[str, ...]) -> Iterator[tuple[dict[str, Any], Follow]]:
    """How the tools that need no model are run, under the columns that tell them apart."""
    for name in (name for name in names if name in SURFACES):
        yield {"model": None, "tool": name}, partial(follow_surface, fuse=SURFACES[name])


def model_runs(
    model: MorphableModel, names: tuple[str, ...], starts: tuple[str, ...]
) -> Iterator[tuple[dict[str, Any], Follow]]:
    """The same of those that move a model."""
    templates = template_tools(model)
    for name in (name for name in names if name not in SURFACES):
        columns = {"model": model.name, "tool": name}
        if name not in templates:
            yield columns, partial(follow_fast, model)
        for start in starts if name in templates else ():
            follow = partial(follow_template, model=model, move=templates[name], start=start)
            yield {**columns, "start": start}, follow


def measure_take(
    observations: list[Observation],
    *,
    models: tuple[str, ...],
    names: tuple[str, ...],
    starts: tuple[str, ...],
    rig: Path,
    truth: Path,
) -> Iterator[dict[str, Any]]:
    """Lines of all models and tools on one take."""
    missing = {name: absent for name in names if (absent := [m for m in NEEDS.get(name, ()) if not find_spec(m)])}
    for name, absent in missing.items():
        yield {"tool": name, "skipped": f"not installed: {', '.join(absent)}"}
    names = tuple(name for name in names if name not in missing)
    for columns, follow in surface_runs(names):
        yield {**columns, **measure(follow, observations, rig=rig, truth=truth)}
    for model_name in models:
        try:
            model = load_model(model_name)
        except Mmface4dError as error:
            yield {"model": model_name, "skipped": error.message}
            continue
        for columns, follow in model_runs(model, names, starts):
            yield {**columns, **measure(follow, observations, rig=rig, truth=truth)}


@click.command()
@click.option("--rig", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--takes", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--work", type=click.Path(path_type=Path), required=True, help="Imported takes; used again.")
@click.option("--take", "names", multiple=True, default=("speech", "still"), show_default=True)
@click.option("--model", "models", multiple=True, default=("ict", "canonical"), show_default=True)
@click.option("--tool", "tool_names", multiple=True, type=click.Choice(list(GIVEN)), help="Only these; default: all.")
@click.option("--start", "starts", multiple=True, type=click.Choice(STARTS), default=STARTS, show_default=True)
@click.option("--frames", default=4, show_default=True, help="How many.")
@click.option("--step", default=1, show_default=True, help="From one to the next; no fallback where tracking is lost.")
def main(
    rig: Path,
    takes: Path,
    work: Path,
    names: tuple[str, ...],
    models: tuple[str, ...],
    tool_names: tuple[str, ...],
    starts: tuple[str, ...],
    frames: int,
    step: int,
) -> None:
    """Print the table as JSON."""
    rows = []
    for name in names:
        truth = takes / name / "truth.npz"
        if not truth.is_file():
            rows.append({"take": name, "skipped": f"no {truth}"})
            continue
        observations = prepare(takes / name, work).observations(range(0, frames * step, step))
        lines = measure_take(
            observations, models=models, names=tool_names or tuple(GIVEN), starts=starts, rig=rig, truth=truth
        )
        for line in lines:
            rows.append({"take": name, **line})
            say(rows[-1])
    print_json({"frames": frames, "step": step, "given": GIVEN, "results": rows})


if __name__ == "__main__":
    main()
