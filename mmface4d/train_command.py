"""`mmface4d train`."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mmface4d.errors import UsageError

if TYPE_CHECKING:
    from animation.training.config import TrainConfig
    from animation.training.run import Outcome

PATH = click.Path(path_type=Path)
EPILOG = """\b
Examples:
  mmface4d train train.toml -o runs/first
  mmface4d train --data release --model audio2face --set budget.updates=5000 -o runs/second
"""
# options of the command -> the settings that they stand for
SHORT = {
    "data": "data", "model": "model", "encoder": "encoder", "seed": "seed", "updates": "budget.updates",
    "minutes": "budget.minutes", "devices": "machine.devices",
}  # fmt: skip


@click.command(epilog=EPILOG)
@click.argument("config", metavar="[CONFIG.toml]", type=PATH, required=False)
@click.option("-o", "--output", type=PATH, required=True, help="The folder for checkpoint, curves and card.")
@click.option("--data", help="A release, a lab, a clips folder ...: what `clips show` reads.")
@click.option("--model", help="audio2face, faceformer or meshtalk.")
@click.option("--encoder", help="The speech features: mel, hubert-base ...")
@click.option("--seed", type=int, help="The same one gives the same weights.")
@click.option("--updates", type=int, help="How many at most.")
@click.option("--minutes", type=float, help="How long at most.")
@click.option("--devices", type=int, help="Processes, each with a GPU of its own or a part of the CPU.")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Any setting, e.g. optimiser.rate=3e-4.")
@click.option("--resume", is_flag=True, help="Go on with the training in the folder, if there is one.")
@click.option("--json", "as_json", is_flag=True, help="Print how it ended as JSON.")
def train(
    config: Path | None, output: Path, settings: tuple[str, ...], resume: bool, as_json: bool, **short: Any
) -> None:
    """Train a model that animates faces by speech; validation subjects decide when it ends, test subjects never."""
    chosen = _config(config, output, settings=settings, resume=resume, short=short)
    if not chosen.data:
        raise UsageError("there is nothing to train on", hint="give --data, or data = ... in the settings' file")
    # what takes long to import comes after what is quickly told
    from animation.training.devices import is_first_process
    from animation.training.record import has_run
    from animation.training.run import train as run
    from mmface4d.animation_data import open_speech_corpus

    try:
        outcome = run(open_speech_corpus(Path(chosen.data)), chosen, output, resume=resume)
    except KeyboardInterrupt:
        if not has_run(output):
            raise  # the same command begins anew
        raise KeyboardInterrupt(f"Go on with: mmface4d train --resume -o {shlex.quote(str(output))}") from None
    if is_first_process(chosen.machine):
        click.echo(_json(outcome) if as_json else _text(outcome))


def _config(
    path: Path | None, output: Path, *, settings: tuple[str, ...], resume: bool, short: dict[str, Any]
) -> "TrainConfig":
    """The file's settings, or those of the training that goes on, with what the command line changes."""
    from animation.training.config import TrainConfig, overridden, parsed_settings, read_train_config
    from animation.training.record import has_run, resumed_config

    if path is not None:
        base = read_train_config(path)
    elif resume and has_run(output):
        base = resumed_config(output)
    else:
        base = TrainConfig()
    changes = {SHORT[name]: value for name, value in short.items() if value is not None}
    return overridden(base, changes | parsed_settings(settings))


def _json(outcome: "Outcome") -> str:
    import json
    from dataclasses import asdict

    return json.dumps({**asdict(outcome), "folder": str(outcome.folder)}, indent=1)


def _text(outcome: "Outcome") -> str:
    best = "" if outcome.best is None else f", best {outcome.best:.4g} at update {outcome.best_update}"
    ended = "; ".join(outcome.ended)
    return f"{outcome.folder}: {outcome.updates} updates in {outcome.seconds / 60:.1f} min{best}\n{ended}"
