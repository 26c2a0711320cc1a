"""`mmface4d view`: look at a take or a sequence without a screen."""

import json
from pathlib import Path

import click


@click.command(
    epilog="\b\nExamples:\n  mmface4d view sequence.npz -o look\n  mmface4d view takes/001 --frames 0:30 -o look"
)
@click.argument("path", metavar="TAKE|SEQUENCE", type=click.Path(path_type=Path))
@click.option("-o", "--output", "folder", type=click.Path(path_type=Path), required=True, help="Folder to write into.")
@click.option("--take", type=click.Path(path_type=Path), help="Take of the sequence, where it does not name it.")
@click.option(
    "--calibration", type=click.Path(path_type=Path), help="Calibration to use instead of the sequence's own."
)
@click.option("--frames", metavar="START:END", help="Only these frames, counted from 0, END left out.")
@click.option("--no-video", is_flag=True, help="Write the report only.")
@click.option("--json", "as_json", is_flag=True, help="Print paths and figures as JSON.")
def view(
    path: Path, *, folder: Path, take: Path | None, calibration: Path | None, frames: str | None, no_video: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Write a preview video and a report of a take or a sequence.

    The folder gets preview.mp4, with sound, and report.html, which holds everything it shows and can be sent on.
    """
    from reconstruct.view.scene import open_scene
    from reconstruct.view.view import look_at

    with open_scene(path, take=take, calibration=calibration, frames=frames) as scene:
        result = look_at(scene, folder, with_video=not no_video)
    if as_json:
        click.echo(json.dumps(result, indent=1, allow_nan=False))
        return
    reasons = "; ".join(result["reasons"])
    click.echo(f"verdict  {result['verdict']}{': ' + reasons if reasons else ''}")
    for name in ("report", "video"):
        if result[name]:
            click.echo(f"{name:8} {result[name]}")
