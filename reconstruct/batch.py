"""Several takes after each other: one that fails does not stop the others."""

import os
import traceback
from pathlib import Path
from typing import Any

import click
import numpy as np

from mmface4d.errors import DiskFullError, Mmface4dError, SomeItemsFailedError
from mmface4d.rig_calibration import RigCalibration
from mmface4d.sequence import FIT, GATE, STATUS, load_sequence
from mmface4d.take import open_take
from reconstruct.models.model import MorphableModel
from reconstruct.reconstruct import reconstruct_take
from reconstruct.settings import ReconstructSettings


def reconstruct_takes(
    outputs: dict[Path, Path],
    *,
    calibration: RigCalibration,
    model: MorphableModel,
    settings: ReconstructSettings,
    actor: Path | None = None,
    one_actor: Path | None = None,
) -> list[dict[str, Any]]:
    """Summaries of the sequences; raises SomeItemsFailedError after the last take where some failed.

    `actor` is an actor's file to use for all takes; `one_actor` is where to write one that is solved from all takes.
    """
    if one_actor is not None:
        from reconstruct.session import solve_session_actor

        actor = solve_session_actor(list(outputs), calibration, model, output=one_actor, settings=settings)
    elif actor is not None:
        _check_actor(actor, model, settings)
    summaries, failed = [], []
    for take_path, output in outputs.items():
        try:
            with open_take(take_path) as take:
                reconstruct_take(take, calibration, model, output=output, settings=settings, actor=actor)
            summaries.append(summarize(output))
        except DiskFullError:
            raise
        except Exception as error:  # whatever one take's data lead to, the others are still done
            if len(outputs) == 1:
                raise
            _tell(take_path, error)
            failed.append(take_path)
    if failed:
        raise SomeItemsFailedError(
            f"{len(failed)} of {len(outputs)} takes failed: {', '.join(str(path) for path in failed)}",
            hint="mend what is said above and run the same command again; finished takes are done anew",
        )
    return summaries


def _check_actor(actor: Path, model: MorphableModel, settings: ReconstructSettings) -> None:
    """Raises what is wrong with the file before the first take."""
    from reconstruct.actor_file import load_actor
    from reconstruct.parameters import make_problem
    from reconstruct.raster import make_rasterizer

    load_actor(actor, make_problem(model, make_rasterizer(settings.rasterizer, settings.device)))


def _tell(take_path: Path, error: Exception) -> None:
    """Says why a take failed; of a bug also where, if that is asked for."""
    if isinstance(error, Mmface4dError):
        click.echo(f"{take_path}: {error.message}", err=True)
        if error.hint:
            click.echo(f"  do: {error.hint}", err=True)
        return
    click.echo(f"{take_path}: bug: {type(error).__name__}: {error}", err=True)
    if os.environ.get("MMFACE4D_TRACEBACK"):
        click.echo("".join(traceback.format_exception(error)), err=True)
    else:
        click.echo("  do: please report this; set MMFACE4D_TRACEBACK=1 and run again for the details", err=True)


def summarize(path: Path) -> dict[str, Any]:
    """Figures of a written sequence."""
    sequence = load_sequence(path)
    status = np.bincount(sequence["status"], minlength=len(STATUS))
    how = np.bincount(sequence["fit"], minlength=len(FIT))
    fitted = sequence["status"] <= 1
    figures = {
        name: float(np.nanmedian(sequence[name][fitted])) if np.isfinite(sequence[name][fitted]).any() else None
        for name in ("depth_residual_mm", "coverage", "landmark_residual_px")
    }
    return {
        "sequence": str(path),
        "frames": len(sequence),
        "vertices": int(sequence.vertices.shape[1]),
        "model": str(sequence["model"]),
        "solver": str(sequence["solver"]),
        "status": {STATUS[code]: int(count) for code, count in enumerate(status) if count},
        "fit": {name: int(how[code]) for code, name in FIT.items()},
        "gate": {name: int((sequence["gate"] & bit > 0).sum()) for bit, name in GATE.items()},
        **figures,
    }


def summary_text(summary: dict[str, Any]) -> str:
    """The summary in words."""
    states = ", ".join(f"{count} {name}" for name, count in summary["status"].items())
    fits = ", ".join(f"{count} {name}" for name, count in summary["fit"].items() if count or name != "started")
    doubts = ", ".join(f"{count} for {name}" for name, count in summary["gate"].items() if count)
    figures = (("depth residual", "depth_residual_mm", ".2f", "mm"), ("landmarks", "landmark_residual_px", ".1f", "px"))
    medians = ", ".join(
        f"{name} {summary[key]:{form}} {unit}" for name, key, form, unit in figures if summary[key] is not None
    )
    return (
        f"{summary['sequence']}: {summary['frames']} frames ({states}); {fits}"
        + (f"; doubted: {doubts}" if doubts else "")
        + (f"; {medians} (medians)" if medians else "")
    )
