"""audio2face, its rivals and its ablations on the synthetic corpus, side by side, by the real command line.

    python benchmarks/animation_models.py WORK [--seeds 3] [--updates 600] [--jobs 2]

Everybody trains with the same data, features, batches, optimiser and number of updates; then each model once more with
as many updates as fit into the processor time that the slowest took. Test subjects are in no training, and their
sentences are said by no training subject; their style is shown by another of their clips. A folder WORK that has some
of the runs goes on with the others, and is refused where these had other settings. Prints JSON; `--figure` draws what
the components of audio2face move, `--tables` writes Markdown.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import click
from animation_regions import draw_regions, overlap
from animation_table import markdown
from common import PROGRAM, print_json, run, same_settings, say

from animation.data.synthetic.corpus import Cast
from animation.metrics.report import STILL
from animation.metrics.report_text import FAIR, STRANGER
from mmface4d.files import write_json

ORACLE = "self"
METRICS = ("lip_max", "lip_mean", "upper_max", "face_max")
OURS, RIVALS = "audio2face", ("faceformer", "meshtalk")
# MMFace4D, table II: by how much audio2face is below its rivals
PAPER = {
    "faceformer": {"lip_max": 0.183, "lip_mean": 0.260, "upper_max": 0.213, "face_max": 0.188},
    "meshtalk": {"lip_max": 0.269, "lip_mean": 0.379, "upper_max": 0.344, "face_max": 0.307},
}
COMPOSITE_WORSE, OVERLAP_TIMES = 0.40, 2.0  # without composite: of lip_max, at least; without regional: the overlap
SMALL = {"options.channels": 128, "options.driver_channels": 128}  # of audio2face, so that it takes minutes
SHOWN = (OURS, "without regional")  # whose components are drawn
SAME_TIME = 1.1  # who takes up to so much less than the slowest is not trained again


@dataclass(frozen=True)
class Contestant:
    """A model with options, by the name that the tables give it."""

    name: str
    model: str
    settings: dict[str, Any]


CONTESTANTS = (
    Contestant(OURS, "audio2face", SMALL),
    Contestant("faceformer", "faceformer", {}),
    Contestant("meshtalk", "meshtalk", {}),
    Contestant("without composite", "audio2face", {**SMALL, "options.composite": False}),
    Contestant("without regional", "audio2face", {**SMALL, "options.regional": False}),
)


@dataclass(frozen=True)
class Bench:
    """Where it happens, and what is the same for all."""

    work: Path
    common: dict[str, Any]

    @property
    def clips(self) -> Path:
        return self.work / "clips"

    def train(self, who: Contestant, *, seed: int, updates: int, kind: str) -> dict[str, Any]:
        """Trains and measures, unless it was done; processor seconds are of the updates alone."""
        folder = self.work / kind / who.name.replace(" ", "-") / f"seed{seed}-{updates}"
        record = folder.with_suffix(".json")
        if not record.is_file():
            shutil.rmtree(folder, ignore_errors=True)
            settings = {**self.common, **who.settings, "budget.updates": updates, "seed": seed, "model": who.model}
            told = _json("train", "--data", self.clips, *_set(settings), "-o", folder, "--json")
            report = _json("evaluate", folder, "--data", self.clips, "--draws", 1, "--json")
            found = {
                "of": who.name, "seed": seed, "updates": told["updates"], "cpu_seconds": round(told["seconds"], 1),
                "folder": str(folder.relative_to(self.work)), "errors": _errors(report), "overlap": overlap(folder),
            }  # fmt: skip
            write_json(record, found)
        found = json.loads(record.read_text())
        say({name: found[name] for name in ("of", "seed", "updates", "cpu_seconds")} | found["errors"][FAIR])
        return found


def _set(settings: dict[str, Any]) -> Iterable[str]:
    for name, value in settings.items():
        yield "--set"
        yield f"{name}={json.dumps(value)}"


def _json(*arguments: object) -> dict[str, Any]:
    command = [*PROGRAM, *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )  # fmt: skip
    if done.returncode:
        raise click.ClickException(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def _errors(report: dict[str, Any]) -> dict[str, dict[str, float]]:
    """By protocol and metric, in millimetres."""
    out: dict[str, dict[str, float]] = {}
    for number in report["numbers"]:
        if number["metric"] in METRICS:
            out.setdefault(number["protocol"], {})[number["metric"]] = round(number["value"], 4)
    return out


def _spread(values: Sequence[float]) -> dict[str, Any]:
    """`sd` is None where one value tells nothing of it."""
    return {"mean": round(mean(values), 4), "sd": round(stdev(values), 4) if len(values) > 1 else None}


def table(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation over the seeds, by contestant, protocol and metric."""
    out: dict[str, Any] = {}
    for name in dict.fromkeys(each["of"] for each in runs):
        ours = [each for each in runs if each["of"] == name]
        out[name] = {
            "updates": [each["updates"] for each in ours],
            "cpu_seconds": [each["cpu_seconds"] for each in ours],
            **{
                protocol: {
                    metric: _spread([each["errors"][protocol][metric] for each in ours]) for metric in METRICS
                }
                for protocol in (FAIR, ORACLE, STRANGER)
            },
        }  # fmt: skip
    return out


def margins(runs: list[dict[str, Any]], rivals: Iterable[str]) -> dict[str, Any]:
    """By how much audio2face's error is below each rival's, seed by seed, and whether it is the paper's margin."""
    out: dict[str, Any] = {}
    for rival in rivals:
        both = [{each["of"]: each["errors"][FAIR] for each in runs if each["seed"] == seed} for seed in _seeds(runs)]
        out[rival] = {}
        for metric, paper in PAPER[rival].items():
            below = _spread([1 - one[OURS][metric] / one[rival][metric] for one in both])
            out[rival][metric] = {**below, "paper": paper, "reached": below["mean"] >= paper}
    return out


def _seeds(runs: list[dict[str, Any]]) -> list[int]:
    return sorted({each["seed"] for each in runs})


def ablations(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """How much worse the lips are without the composite part, and how much the components overlap without regions."""
    one = {(each["of"], each["seed"]): each for each in runs}
    seeds = _seeds(runs)

    def worse(name: str, metric: str) -> dict[str, Any]:
        pairs = [(one[name, seed]["errors"][FAIR], one[OURS, seed]["errors"][FAIR]) for seed in seeds]
        return _spread([theirs[metric] / ours[metric] - 1 for theirs, ours in pairs])

    times = _spread([one["without regional", seed]["overlap"] / one[OURS, seed]["overlap"] for seed in seeds])
    composite = {metric: worse("without composite", metric) for metric in METRICS}
    return {
        "without composite is worse by": composite,
        "without composite, lip_max reached": composite["lip_max"]["mean"] >= COMPOSITE_WORSE,
        "without regional is worse by": {metric: worse("without regional", metric) for metric in METRICS},
        "overlap with the regulariser": _spread([one[OURS, seed]["overlap"] for seed in seeds]),
        "overlap without, times": times,
        "overlap reached": times["mean"] >= OVERLAP_TIMES,
    }  # fmt: skip


def references(cast: Cast) -> dict[str, dict[str, float]]:
    """What can be known without a model: how wrong the best guess is that cannot tell people apart, but hears all.

    `average person` moves the true sentence in the training subjects' mean manner; `own manner` in the very manner of
    the subject, so that what is left is by chance.
    """
    import numpy as np

    from animation.metrics.errors import distances, mean_of_maxima

    average, masks = cast.average_manner(), cast.face.topology.masks
    found: dict[str, list[list[float]]] = {"average person": [], "own manner": []}
    for (name, _), (_, performance) in cast.performances.items():
        if cast.splits[name] != "test":
            continue
        truth = performance.frames(0, performance.n_frames)
        for which, manner in (("average person", average), ("own manner", performance.speaker.manner)):
            distance = distances(performance.frames_as(manner, 0, performance.n_frames, chance=False), truth)
            largest = [
                mean_of_maxima(distance, masks[mask].vertices, squared=False) for mask in ("lips", "upper_face", "face")
            ]
            found[which].append([largest[0], float(distance[:, masks["lips"].vertices].mean()), *largest[1:]])
    return {
        which: dict(zip(METRICS, (round(1e3 * float(each), 4) for each in np.mean(values, axis=0)), strict=True))
        for which, values in found.items()
    }


def equal_time(runs: list[dict[str, Any]], *, updates: int) -> list[tuple[Contestant, int, int]]:
    """Who is to be trained again with which seed for how many updates: as many as the slowest's time allows."""
    again = []
    for seed in _seeds(runs):
        seconds = {each["of"]: each["cpu_seconds"] for each in runs if each["seed"] == seed}
        slowest = max(seconds[name] for name in (OURS, *RIVALS))
        for who in CONTESTANTS[: 1 + len(RIVALS)]:
            if seconds[who.name] * SAME_TIME < slowest:
                again.append((who, seed, round(updates * slowest / seconds[who.name])))
    return again


def with_longer(runs: list[dict[str, Any]], longer: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs of the race against time: the longer ones, and those that needed none."""
    replaced = {(each["of"], each["seed"]) for each in longer}
    names = (OURS, *RIVALS)
    return longer + [each for each in runs if each["of"] in names and (each["of"], each["seed"]) not in replaced]


@click.command()
@click.argument("work", type=click.Path(path_type=Path))
@click.option("--seeds", default=3, show_default=True)
@click.option("--updates", default=600, show_default=True)
@click.option("--crop-frames", default=60, show_default=True)
@click.option("--rate", default=2e-3, show_default=True, help="Of Adam, down to 0 over the updates.")
@click.option("--vertices", default=400, show_default=True)
@click.option("--jobs", default=2, show_default=True, help="Trainings at a time, on one core each.")
@click.option("--tables", type=click.Path(path_type=Path), help="The results as Markdown tables.")
@click.option("--figure", type=click.Path(path_type=Path), help="An SVG of the learned regions.")
def main(
    work: Path, seeds: int, updates: int, crop_frames: int, rate: float, vertices: int, jobs: int,
    tables: Path | None, figure: Path | None,
) -> None:  # fmt: skip
    """Race the models in WORK."""
    cast = Cast(n_verts=vertices)
    common = {
        "batches.crop_frames": crop_frames, "batches.size": 8, "optimiser.rate": rate, "optimiser.schedule": "cosine",
        "budget.clock": "cpu", "validation.every_updates": max(updates // 4, 1), "validation.patience": 0,
    }  # fmt: skip
    bench = Bench(work, common)
    # how often it validates follows from the updates, which are in the names of the runs
    kept = {name: value for name, value in common.items() if name != "validation.every_updates"}
    same_settings(work, kept | SMALL | {"vertices": vertices})
    if not bench.clips.exists():
        run("clips", "synth", bench.clips, "--vertices", vertices)
    with ThreadPoolExecutor(jobs) as pool:
        plan = [(who, seed) for seed in range(seeds) for who in CONTESTANTS]
        runs = list(pool.map(lambda job: bench.train(job[0], seed=job[1], updates=updates, kind="updates"), plan))
        again = equal_time(runs, updates=updates)
        longer = list(pool.map(lambda job: bench.train(job[0], seed=job[1], updates=job[2], kind="time"), again))
    raced = with_longer(runs, longer)
    if figure is not None:
        shown = {name: work / next(each["folder"] for each in runs if each["of"] == name) for name in SHOWN}
        draw_regions(figure, shown, face=cast.face)
    found = {
        "corpus": {"subjects": cast.subjects, "sentences": cast.sentences, "vertices": vertices},
        "settings": common | SMALL, "seeds": seeds, "updates": updates, "load": os.getloadavg()[1],
        "still": runs[0]["errors"][STILL], "references": references(cast),
        "equal updates": table(runs), "margins at equal updates": margins(runs, RIVALS),
        "equal time": table(raced), "margins at equal time": margins(raced, RIVALS),
        "ablations": ablations(runs),
    }  # fmt: skip
    if tables is not None:
        tables.write_text(markdown(found) + "\n", encoding="utf-8")
    print_json(found)


if __name__ == "__main__":
    main()
