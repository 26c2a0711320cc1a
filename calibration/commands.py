"""`mmface4d calibrate`: from takes to calibration.json and the picture beside it."""

import json
from pathlib import Path
from typing import Any

import click

from mmface4d.lab import LANDMARKER
from mmface4d.lab_defaults import in_force, lab_of_all

EPILOG = """\b
Examples:
  mmface4d calibrate takes/001 -o calibration.json
  mmface4d calibrate takes/001 takes/002 -o rig/calibration.json --frames 40 --json
"""


@click.command(epilog=EPILOG)
@click.argument("takes", metavar="TAKE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where calibration.json goes.",
)
@click.option(
    "--frames",
    default=24,
    show_default=True,
    type=click.IntRange(1, 1000),
    help="Frames to use at most; still ones win.",
)
@click.option(
    "--landmarker", type=click.Path(path_type=Path), envvar="MMFACE4D_LANDMARKER",
    help="MediaPipe's face_landmarker.task, in place of the models inside MediaPipe; the lab's by default.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def calibrate(takes: tuple[Path, ...], output: Path, frames: int, landmarker: Path | None, as_json: bool) -> None:
    """Find the cameras' poses on the actor's face.

    Takes of one rig are used together; sitting still for a second in front of the cameras is enough. A picture
    (calibration-overlay.png) is written beside the file: look at it.
    """
    task_file = in_force(lab_of_all(takes), {"landmarker": LANDMARKER})["landmarker"]
    from calibration.calibrate import CalibrationSettings, calibrate_takes
    from calibration.overlay import draw_overlay
    from calibration.views import FrameRef
    from mmface4d.take import open_take

    opened = [open_take(path) for path in takes]
    calibration = calibrate_takes(
        opened, CalibrationSettings(frames=frames, task_file=Path(task_file) if task_file else None)
    )
    first = opened[0]
    drawn = [ref["frame"] for ref in calibration.report["frames"] if ref["used"] and ref["take"] == first.name]
    refs = [FrameRef(first, frame) for frame in drawn if frame < len(first)] or [FrameRef(first, len(first) // 2)]
    picture = output.with_name(f"{output.stem}-overlay.png")
    _write_picture(picture, draw_overlay(calibration, refs))
    calibration.report["overlay"] = picture.name
    calibration.save(output)
    if as_json:
        click.echo(json.dumps({"calibration": str(output), **calibration.report}, indent=1))
        return
    _say(calibration.report, calibration.master)
    click.echo(f"wrote {output} and {picture}")


def _write_picture(path: Path, image: Any) -> None:
    import cv2

    from mmface4d.files import atomic_path

    with atomic_path(path) as partial:
        encoded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
        partial.write_bytes(encoded.tobytes())


def _say(report: dict[str, Any], master: str) -> None:
    """The report in a few lines for people."""
    used = sum(frame["used"] for frame in report["frames"])
    click.echo(f"{len(report['faces_found'])} cameras, master {master}; {used} of {len(report['frames'])} frames used")
    for pair in report["pairs"]:
        click.echo(
            f"  {pair['source']} - {pair['target']}: residual {pair['residual_mm']:.2f} mm RMS, "
            f"overlap {pair['overlap']:.0%}, single frames within {pair['repeatability_mm']:.2f} mm"
        )
    if report["loop_closure"]:
        click.echo(f"  loop closure {report['loop_closure']['deg']:.3f} deg, {report['loop_closure']['mm']:.2f} mm")
    if report["held_out_landmarks"]:
        click.echo(f"  held-out landmarks agree to {report['held_out_landmarks']['median_mm']:.1f} mm (median)")
    errors_mm = [error["mm"] for serial, error in report["standard_error"].items() if serial != master]
    if errors_mm:
        click.echo(f"  uncertainty from noise up to {max(errors_mm):.2f} mm at the head")
