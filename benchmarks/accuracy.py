"""Accuracy on recordings the project did not make: every rig take, model and solver through the command line.

    python benchmarks/accuracy.py --rig ../shared/rig --takes TAKES --work WORK [--solver fast --solver paper]

TAKES holds folders made by the rig's make_takes.py; its evaluate.py scores (surface and same-vertex error after one
rigid alignment per sequence, camera poses). Models other than canonical must have been added. With `ict` there, the
opening of the mouth is compared as well (`lips.py`). Prints JSON; lengths in mm.
"""

import shutil
from pathlib import Path
from typing import Any

import click
from common import print_json, run, say, score
from lips import aperture


def measure(rig: Path, source: Path, work: Path, *, model: str, solver: str, frames: str | None) -> dict[str, Any]:
    """One line of the table."""
    name = source.name
    calibration, sequence = work / f"{name}.json", work / f"{name}-{model}-{solver}.npz"
    sequence.unlink(missing_ok=True)
    options = ["--frames", frames] if frames else []
    seconds = run(
        "reconstruct", work / name, "--calibration", calibration, "--model", model, "--solver", solver,
        "-o", sequence, *options,
    )  # fmt: skip
    result = score(rig, source / "truth.npz", "--recon", sequence)
    surface, tracking = result["surface_aligned_mm"], result["tracking_mm"]
    return {
        "take": name,
        "model": model,
        "solver": solver,
        "frames": result["frames"],
        "surface_mean": surface["inner_face"]["mean"],
        "surface_p95": surface["inner_face"]["p95"],
        "tracking_mean": tracking["inner_face"]["mean"],
        "lips_surface": surface["lips"]["mean"],
        "lips_tracking": tracking["lips"]["mean"],
        "jitter_excess": result.get("jitter_mm", {}).get("excess"),
        **aperture(source / "truth.npz", sequence, model),
        "seconds_a_frame": round(seconds / result["frames"], 2),
    }


@click.command()
@click.option("--rig", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--takes", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--work", type=click.Path(path_type=Path), required=True, help="Imported takes and results; reused.")
@click.option("--take", "names", multiple=True, help="Only these takes.")
@click.option("--model", "models", multiple=True, default=("canonical",), show_default=True)
@click.option("--solver", "solvers", multiple=True, default=("fast",), show_default=True)
@click.option("--frames", help="Only these frames, FIRST:END.")
def main(
    rig: Path,
    takes: Path,
    work: Path,
    names: tuple[str, ...],
    models: tuple[str, ...],
    solvers: tuple[str, ...],
    frames: str | None,
) -> None:
    """Print the table as JSON."""
    work.mkdir(parents=True, exist_ok=True)
    rows, poses = [], {}
    for source in sorted(path.parent for path in takes.glob("*/truth.npz")):
        if names and source.name not in names:
            continue
        if not (work / source.name / "take.json").is_file():
            shutil.rmtree(work / source.name, ignore_errors=True)
            run("take", "import", source, "-o", work / source.name)
        run("calibrate", work / source.name, "-o", work / f"{source.name}.json")
        poses[source.name] = score(
            rig, source / "truth.npz", "--calibration", work / f"{source.name}.json"
        )["extrinsics"]  # fmt: skip
        for model in models:
            for solver in solvers:
                try:
                    rows.append(measure(rig, source, work, model=model, solver=solver, frames=frames))
                except click.ClickException as error:
                    rows.append({"take": source.name, "model": model, "solver": solver, "failed": error.message})
                say(rows[-1])
    print_json({"cameras": poses, "reconstructions": rows})


if __name__ == "__main__":
    main()
