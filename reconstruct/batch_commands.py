"""`mmface4d reconstruct` of labs and sessions, and `mmface4d batch status|slurm`."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from mmface4d.errors import SomeItemsFailedError, UsageError
from mmface4d.lab import LAB_FILE
from mmface4d.session_folders import COPY, RECORD

PATH = click.Path(path_type=Path)
MOST_LISTED = 20  # failures of a reason
BATCH_EPILOG = """\b
Examples:
  mmface4d batch status lab/
  mmface4d batch slurm lab/ --shards 8 > batch.sh
"""
STATUS_EPILOG = """\b
Examples:
  mmface4d batch status lab/
  mmface4d batch status lab/sessions/P07 --json
"""
SLURM_EPILOG = """\b
Examples:
  mmface4d batch slurm lab/ --shards 8 | sbatch
  mmface4d batch slurm lab/ --shards 8 --gpus 1 --time 12:00:00 -- --device cuda --one-actor > batch.sh
"""


@dataclass(frozen=True)
class BatchOptions:
    """What `mmface4d reconstruct` is told of how a batch is to be done."""

    engine: str = "local"
    address: str | None = None
    workers: int | None = None
    shard: str | None = None
    redo: str | None = None
    dry_run: bool = False

    @property
    def any(self) -> bool:
        """Whether one of them was given: then single takes are a batch too."""
        return self != BatchOptions()


def batch_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of a batch to a command."""
    options = (
        click.option("--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True,
                     help="Worker processes on this machine, or a Ray cluster."),
        click.option("--address", metavar="HOST:PORT", help="Of the Ray cluster; else one on this machine."),
        click.option("--workers", type=click.IntRange(1, 1024), help="Default: what GPUs, or cores and memory, allow."),
        click.option("--shard", metavar="I/N", help="Only the I-th of N parts, counted from 1."),
        click.option("--redo", type=click.Choice(["failed"]), help="Try again what has failed for good, too."),
        click.option("--dry-run", is_flag=True, help="Only say what would be done, and what it would cost."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def is_batch(paths: Sequence[Path], options: BatchOptions) -> bool:
    """Whether these are more than takes, or takes that are to be done as a batch."""
    return options.any or any(_holds_takes(path) for path in paths)


def _holds_takes(path: Path) -> bool:
    return any((path / name).is_file() for name in (LAB_FILE, RECORD, COPY)) or (
        path.is_dir() and not any((path / name).is_file() for name in ("take.json", "streams.mcap"))
    )


def reconstruct_batch(paths: Sequence[Path], choice: Any, options: BatchOptions, *, as_json: bool) -> None:
    """Does the batch and says what became of it; raises SomeItemsFailedError where something failed."""
    from dataclasses import replace

    from mmface4d.rig_calibration import load_calibration
    from reconstruct.batches.plan import make_plan
    from reconstruct.batches.run import Means, dry_run, run_batch
    from reconstruct.batches.sharding import parse_shard

    if options.address is not None and options.engine != "ray":
        raise UsageError("--address is of a Ray cluster", hint="add --engine ray")
    if options.workers is not None and options.engine == "ray":
        raise UsageError(
            "--workers is of this machine alone", hint="leave it out: Ray does as much at once as its nodes have cores"
        )
    if choice.output is not None and choice.output.suffix == ".npz":
        raise UsageError(f"a batch cannot go into one file, {choice.output}", hint="give a folder: -o sequences/")
    shard = None if options.shard is None else parse_shard(options.shard)
    if choice.calibration is not None:
        load_calibration(choice.calibration)  # a mistake in what is given for all is told once
    if choice.actor is not None:
        from reconstruct.actor_file import read_actor

        read_actor(choice.actor)
    plan = make_plan(paths, replace(choice, shard=shard))
    means = Means(options.engine, options.address, options.workers)
    redo_failed = options.redo == "failed"
    if options.dry_run:
        result = dry_run(plan, means, redo_failed=redo_failed)
        click.echo(json.dumps(result, indent=1) if as_json else dry_run_text(result))
        return
    result = run_batch(plan, means, redo_failed=redo_failed)
    click.echo(json.dumps(result, indent=1) if as_json else result_text(result))
    _raise_of_failures(result)


def _raise_of_failures(result: dict[str, Any]) -> None:
    faults = sum(left["fault"] for left in result["left_out"])
    count, whole = _failed(result) + faults, result["sequences"] + faults
    if result["failed"] or faults:
        raise SomeItemsFailedError(
            f"{count} of {whole} failed, for the reasons above; the others are done",
            hint="run the same command again for what may pass by itself; after mending the rest, with --redo failed",
        )


def _failed(result: dict[str, Any]) -> int:
    """How many sequences failed; an actor that failed is listed with them, and is none."""
    return sum(item["what"] == "sequence" for item in result["failed"])


def result_text(result: dict[str, Any]) -> str:
    """What became of a batch, in words."""
    head = f"{result['done']} sequences done"
    if result["done"]:
        head += f" in {result['seconds'] / 60:.1f} min, {result['takes_an_hour']:.0f} takes an hour"
    head += f"; {result['already_done']} were done before; {_failed(result)} failed"
    return "\n".join([head, *failures_text(result["failed"]), *left_out_text(result["left_out"])])


def failures_text(failed: list[dict[str, Any]]) -> list[str]:
    """Failures by reason, those that may pass by themselves last."""
    lines = []
    groups = Counter((item["kind"], item["reason"]) for item in failed)
    for (kind, reason), count in sorted(groups.items()):
        lines.append(f"{kind}, {reason}: {count}")
        those = [item for item in failed if (item["kind"], item["reason"]) == (kind, reason)]
        lines += [f"  {item['item']}: {item['message']}" for item in those[:MOST_LISTED]]
        if count > MOST_LISTED:
            lines.append(f"  and {count - MOST_LISTED} more")
        lines += [f"  do: {hint}" for hint in dict.fromkeys(item["hint"] for item in those) if hint][:3]
    return lines


def left_out_text(left_out: list[dict[str, Any]]) -> list[str]:
    """What was left out, counted by reason; what should have been done is named."""
    counts = Counter(left["reason"] for left in left_out if not left["fault"])
    named = [f"{left['item']}: {left['reason']}" for left in left_out if left["fault"]]
    return [f"left out, {reason}: {count}" for reason, count in counts.items()] + named


def dry_run_text(result: dict[str, Any]) -> str:
    """The plan, in words."""
    from reconstruct.batches.estimate import estimate_text

    plan = result["plan"]
    lines = [f"{item['item']} -> {item['output']}" for item in plan[:MOST_LISTED]]
    if len(plan) > MOST_LISTED:
        lines.append(f"and {len(plan) - MOST_LISTED} more")
    lines.append(f"{result['already_done']} done before; {_failed(result)} failed before")
    lines += [*failures_text(result["failed"]), *left_out_text(result["left_out"])]
    return "\n".join([*lines, estimate_text(result["estimate"])])


@click.group(epilog=BATCH_EPILOG)
def batch() -> None:
    """See how far a batch is, and bring it to a Slurm cluster. It is begun by mmface4d reconstruct."""


@batch.command(epilog=STATUS_EPILOG)
@click.argument("paths", nargs=-1, required=True, type=PATH)
@click.option("--calibration", type=PATH, help="As given to mmface4d reconstruct.")
@click.option("-o", "--output", type=PATH, help="As given to mmface4d reconstruct.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def status(paths: tuple[Path, ...], calibration: Path | None, output: Path | None, as_json: bool) -> None:
    """How far the sequences of labs, sessions or takes are, whatever settings they were made with."""
    from reconstruct.batches.plan import Choice, make_plan
    from reconstruct.batches.status import status_of, status_text

    found = status_of(make_plan(paths, Choice(calibration=calibration, output=output)))
    click.echo(json.dumps(found, indent=1) if as_json else status_text(found))


@batch.command(epilog=SLURM_EPILOG, context_settings={"ignore_unknown_options": False})
@click.argument("paths", nargs=-1, required=True, type=PATH)
@click.option("--shards", type=click.IntRange(1, 100_000), required=True, help="Tasks of the array.")
@click.option("--cpus", type=click.IntRange(1, 1024), default=4, show_default=True, help="Of a task.")
@click.option("--gpus", type=click.IntRange(0, 64), default=0, show_default=True, help="Of a task.")
@click.option(
    "--memory", default="8G", show_default=True, help="Of a task, as sbatch takes it; 0 is all of the node's."
)
@click.option("--time", "time_limit", default="", help="Of a task, as sbatch takes it.")
@click.option("--partition", default="", help="Default: the cluster's.")
def slurm(
    paths: tuple[Path, ...], shards: int, cpus: int, gpus: int, memory: str, time_limit: str, partition: str
) -> None:
    """Print an sbatch script that does a batch as a job array. What follows -- goes to mmface4d reconstruct."""
    from reconstruct.batches.slurm import SlurmTask, slurm_script
    from reconstruct.commands import reconstruct

    options = _after_dashes(paths)
    folders = paths[: len(paths) - len(options)]
    reconstruct.make_context("reconstruct", [*map(str, folders), *options], resilient_parsing=False)
    task = SlurmTask(shards, cpus, gpus, memory, time_limit, partition)
    click.echo(slurm_script(folders, task, options=options), nl=False)


def _after_dashes(paths: tuple[Path, ...]) -> list[str]:
    """Of all arguments, those from the first option on: click hands over what follows -- as arguments."""
    words = [str(path) for path in paths]
    first = next((number for number, word in enumerate(words) if word.startswith("-")), len(words))
    return words[first:]
