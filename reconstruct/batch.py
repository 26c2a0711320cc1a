"""Several takes after each other: one that fails does not stop the others."""

from pathlib import Path
from typing import Any

import click
import numpy as np

from mmface4d.errors import DiskFullError, Mmface4dError, SomeItemsFailedError
from mmface4d.rig_calibration import RigCalibration
from mmface4d.sequence import STATUS, load_sequence
from mmface4d.take import open_take
from reconstruct.models.model import MorphableModel
from reconstruct.reconstruct import ReconstructSettings, reconstruct_take


def reconstruct_takes(
    outputs: dict[Path, Path], *, calibration: RigCalibration, model: MorphableModel, settings: ReconstructSettings
) -> list[dict[str, Any]]:
    """Summaries of the sequences; raises SomeItemsFailedError after the last take where some failed."""
    summaries, failed = [], []
    for take_path, output in outputs.items():
        try:
            with open_take(take_path) as take:
                reconstruct_take(take, calibration, model, output=output, settings=settings)
            summaries.append(summarize(output))
        except DiskFullError:
            raise
        except Mmface4dError as error:
            if len(outputs) == 1:
                raise
            click.echo(f"{take_path}: {error.message}", err=True)
            failed.append(take_path)
    if failed:
        raise SomeItemsFailedError(
            f"{len(failed)} of {len(outputs)} takes failed: {', '.join(str(path) for path in failed)}",
            hint="mend what is said above and run the same command again; finished takes are done anew",
        )
    return summaries


def summarize(path: Path) -> dict[str, Any]:
    """Figures of a written sequence."""
    sequence = load_sequence(path)
    status = np.bincount(sequence["status"], minlength=len(STATUS))
    fitted = sequence["status"] <= 1
    figures = {
        name: float(np.nanmedian(sequence[name][fitted])) if fitted.any() else None
        for name in ("depth_residual_mm", "coverage", "landmark_residual_px")
    }
    return {
        "sequence": str(path),
        "frames": len(sequence),
        "vertices": int(sequence.vertices.shape[1]),
        "model": str(sequence["model"]),
        "solver": str(sequence["solver"]),
        "status": {STATUS[code]: int(count) for code, count in enumerate(status) if count},
        **figures,
    }


def summary_text(summary: dict[str, Any]) -> str:
    """The summary in words."""
    states = ", ".join(f"{count} {name}" for name, count in summary["status"].items())
    residual, pixels = summary["depth_residual_mm"], summary["landmark_residual_px"]
    figures = "" if residual is None else f"; depth residual {residual:.2f} mm, landmarks {pixels:.1f} px (medians)"
    return f"{summary['sequence']}: {summary['frames']} frames ({states}){figures}"
