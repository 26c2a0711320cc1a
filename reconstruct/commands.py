"""`mmface4d reconstruct`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mmface4d.errors import UsageError
from mmface4d.lab_defaults import in_force, lab_of_all
from reconstruct.batch_commands import BatchOptions, batch_options, is_batch, reconstruct_batch

if TYPE_CHECKING:
    from reconstruct.settings import ReconstructSettings

EPILOG = """\b
Examples:
  mmface4d reconstruct takes/001 --calibration calibration.json -o sequence.npz
  mmface4d reconstruct takes/* --calibration calibration.json --model ict -o sequences/
  mmface4d reconstruct takes/* --calibration calibration.json --one-actor -o sequences/
  mmface4d reconstruct takes/009 --calibration calibration.json --actor sequences/actor.npz -o 009.npz
  mmface4d reconstruct lab/ --one-actor --workers 2
"""
# options whose defaults a lab gives
OPTIONS = {
    "model_name": "reconstruction.model", "solver": "reconstruction.solver",
    "rasterizer": "reconstruction.rasterizer", "device": "reconstruction.device",
}  # fmt: skip


@click.command(epilog=EPILOG)
@click.argument("takes", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--calibration", type=click.Path(path_type=Path),
    help="From mmface4d calibrate. Default: calibration.json in the session, or above it in its lab.",
)  # fmt: skip
@click.option("--model", "model_name", default="canonical", show_default=True, help="See mmface4d model list.")
@click.option("--solver", type=click.Choice(["fast", "paper"]), default="fast", show_default=True)
@click.option("--rasterizer", type=click.Choice(["warp", "nvdiffrast", "pytorch3d"]), default="warp", show_default=True)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--one-actor", is_flag=True, help="Solve shape and skin once: for all TAKES, or for each session.")
@click.option("--actor", type=click.Path(path_type=Path), help="Use the actor.npz that --one-actor wrote.")
@click.option(
    "--smooth/--no-smooth", default=True, show_default=True,
    help="Smooth the whole sequence by what each frame says (solver fast).",
)  # fmt: skip
@click.option(
    "--refine-rig", is_flag=True,
    help="Solve camera poses and each camera's constant depth error with the actor: for a rig that is known to be off.",
)  # fmt: skip
@click.option("--frames", metavar="FIRST:END", help="Only these frames, for a try.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path),
    help="A .npz file for one take, a folder for several. Default: sequences/ in the takes' session.",
)  # fmt: skip
@batch_options
@click.option("--json", "as_json", is_flag=True, help="Print paths and figures as JSON.")
def reconstruct(
    takes: tuple[Path, ...],
    calibration: Path | None,
    model_name: str,
    solver: str,
    rasterizer: str,
    device: str,
    one_actor: bool,
    actor: Path | None,
    smooth: bool,
    refine_rig: bool,
    frames: str | None,
    output: Path | None,
    as_json: bool,
    **of_batch: Any,
) -> None:
    """Turn TAKES into mesh sequences: takes, sessions, or a whole lab. A run that was stopped goes on where it was.

    In a lab, its lab.toml gives the defaults of model, solver, rasterizer and device.
    """
    if one_actor and actor is not None:
        raise UsageError("--one-actor and --actor contradict each other", hint="leave one of them out")
    given = in_force(lab_of_all(takes), OPTIONS)
    from reconstruct.batches.plan import Choice
    from reconstruct.settings import ReconstructSettings

    settings = ReconstructSettings(
        solver=given["solver"],
        rasterizer=given["rasterizer"],
        device=given["device"],
        smooth=smooth,
        refine_rig=refine_rig,
        frames=_parse_frames(frames),
    )
    options = BatchOptions(**of_batch)
    if output is None or is_batch(takes, options):
        choice = Choice(settings, given["model_name"], calibration, output=output, actor=actor, one_actor=one_actor)
        reconstruct_batch(takes, choice, options, as_json=as_json)
    elif calibration is None:
        raise UsageError("nothing says how the cameras stand", hint="give --calibration, or leave out -o in a session")
    else:
        _reconstruct_takes(
            _outputs(takes, output), settings, given["model_name"], calibration=calibration, actor=actor,
            one_actor=one_actor, as_json=as_json,
        )  # fmt: skip


def _reconstruct_takes(
    outputs: dict[Path, Path], settings: "ReconstructSettings", model_name: str, *, calibration: Path,
    actor: Path | None, one_actor: bool, as_json: bool,
) -> None:  # fmt: skip
    """One after the other, in this process."""
    from mmface4d.rig_calibration import load_calibration
    from reconstruct.batch import reconstruct_takes, summary_text
    from reconstruct.models.library import load_model

    summaries = reconstruct_takes(
        outputs, calibration=load_calibration(calibration), model=load_model(model_name), settings=settings,
        actor=actor, one_actor=_actor_output(outputs) if one_actor else None,
    )  # fmt: skip
    click.echo(json.dumps(summaries, indent=1) if as_json else "\n".join(summary_text(s) for s in summaries))


def _parse_frames(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    first, _, end = text.partition(":")
    if not (first.isdecimal() and end.isdecimal() and int(first) < int(end)):
        raise UsageError(f"--frames {text!r} is no range", hint="write FIRST:END, for example 0:30")
    return int(first), int(end)


def _actor_output(outputs: dict[Path, Path]) -> Path:
    """Where the actor of all takes goes."""
    path = next(iter(outputs.values())).parent / "actor.npz"
    if path in outputs.values():
        raise UsageError(f"a sequence and the actor would both be {path}", hint="give the sequence another name")
    return path


def _outputs(takes: tuple[Path, ...], output: Path) -> dict[Path, Path]:
    """Where the sequence of each take goes."""
    if output.suffix == ".npz":
        if len(takes) > 1:
            raise UsageError(f"{len(takes)} takes cannot go into one file", hint="give a folder: -o sequences/")
        return dict.fromkeys(takes, output)
    names = [take.resolve().name for take in takes]
    if len(set(names)) < len(names):
        raise UsageError("two takes have the same name", hint="reconstruct them into different folders")
    return {take: output / f"{name}.npz" for take, name in zip(takes, names, strict=True)}
