"""`mmface4d take import|export|show|check|recover|pack|clap`."""

import json
import math
from pathlib import Path

import click

from mmface4d.errors import Mmface4dError, SomeItemsFailedError, UsageError, VerificationError

PATH = click.Path(path_type=Path)
TAKE_EPILOG = """\b
Examples:
  mmface4d take import recordings/001 -o takes/001
  mmface4d take check takes/*
"""
IMPORT_EPILOG = """\b
Examples:
  mmface4d take import recordings/001 -o takes/001
  mmface4d take import cam0.mkv cam1.mkv cam2.mkv --audio voice.wav --audio-start-s -0.35 -o takes/001
"""
EXPORT_EPILOG = """\b
Examples:
  mmface4d take export takes/001 -o recordings/001
  mmface4d take export takes/001 -o recordings/001-start --frames 0:60
"""
SHOW_EPILOG = """\b
Examples:
  mmface4d take show takes/001
  mmface4d take show takes/001 --json
"""
CHECK_EPILOG = """\b
Examples:
  mmface4d take check takes/001
  mmface4d take check takes/* --json
"""
RECOVER_EPILOG = """\b
Examples:
  mmface4d take recover takes/001
  mmface4d take recover takes/001 --json
"""
PACK_EPILOG = """\b
Examples:
  mmface4d take pack takes/001
  mmface4d take pack sessions/P07/takes/* --json
"""
CLAP_EPILOG = """\b
Examples:
  mmface4d take clap takes/clap
  mmface4d take clap takes/clap --json
"""


@click.group(epilog=TAKE_EPILOG)
def take() -> None:
    """Import, export, show, check, recover and pack takes; measure sound against picture."""


@take.command("import", epilog=IMPORT_EPILOG)
@click.argument("sources", nargs=-1, required=True, type=PATH)
@click.option("-o", "--output", required=True, type=PATH, help="The take's folder; it must not exist.")
@click.option(
    "--layout", type=click.Choice(["mkv", "images"]), default="mkv", show_default=True,
    help="Azure Kinect recordings, or a folder of pictures with cameras.json.",
)  # fmt: skip
@click.option("--audio", type=PATH, help="Sound; without it audio.wav beside the recordings is taken.")
@click.option("--audio-start-s", type=float, help="First sample, seconds after the master's first frame.")
@click.option("--cameras", type=int, help="Refuse to import another number of cameras.")
@click.option("--allow-truncated", is_flag=True, help="Import what can be read of recordings that end too early.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def import_command(
    sources: tuple[Path, ...],
    output: Path,
    layout: str,
    audio: Path | None,
    audio_start_s: float | None,
    cameras: int | None,
    allow_truncated: bool,
    as_json: bool,
) -> None:
    """Make a take from SOURCES: MKV files or folders that hold them, or one folder of pictures.

    Colour is kept byte by byte, depth without loss; infrared is left out. Captures are paired by device time.
    """
    if audio_start_s is not None and not math.isfinite(audio_start_s):
        raise UsageError(f"--audio-start-s {audio_start_s} is no time", hint="give seconds, for example -0.35")
    if layout == "images":
        from capture.import_images import import_images

        if len(sources) != 1:
            raise UsageError("--layout images takes one folder", hint="give the folder that holds cameras.json")
        if allow_truncated or cameras is not None or audio_start_s is not None:
            raise UsageError(
                "--cameras, --audio-start-s and --allow-truncated are for MKV files", hint="leave them out"
            )
        imported = import_images(sources[0], output, audio=audio)
    else:
        from capture.import_mkv import import_recordings

        imported = import_recordings(
            list(sources), output, audio=audio, audio_start_s=audio_start_s, expected_cameras=cameras,
            allow_truncated=allow_truncated,
        )  # fmt: skip
    with imported:
        _show(imported.path, as_json)


@take.command(epilog=EXPORT_EPILOG)
@click.argument("path", metavar="TAKE", type=PATH)
@click.option("-o", "--output", required=True, type=PATH, help="A folder for the recordings; it must not exist.")
@click.option("--frames", metavar="START:END", help="Only these frames, counted from 0, END left out.")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON.")
def export(path: Path, output: Path, frames: str | None, as_json: bool) -> None:
    """Write a take as Azure Kinect recordings, one MKV a camera, with its sound and host clock.

    Colour, depth, times, delays and factory calibration are the take's own: `take import` makes the same of them.
    """
    chosen = _parse_frames(frames)
    from capture.export_mkv import export_json, export_take, export_text

    done = export_take(path, output, frames=chosen)
    click.echo(json.dumps(export_json(done), indent=1) if as_json else export_text(done))


def _parse_frames(text: str | None) -> tuple[int | None, int | None] | None:
    """The ends of START:END, None where one is left out."""
    if text is None:
        return None
    first, colon, end = text.partition(":")
    if not colon or not all(part.isdecimal() or not part for part in (first, end)):
        raise UsageError(f"--frames {text!r} is no range", hint="write START:END, for example 0:60")
    return int(first) if first else None, int(end) if end else None


@take.command(epilog=SHOW_EPILOG)
@click.argument("path", metavar="TAKE", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def show(path: Path, as_json: bool) -> None:
    """Print a take's cameras, frames, gaps, sync error and sound."""
    _show(path, as_json)


def _show(path: Path, as_json: bool) -> None:
    from capture.show import summarize_take, summary_text
    from mmface4d.take import open_take

    with open_take(path) as opened:
        summary = summarize_take(opened)
    click.echo(json.dumps(summary, indent=1) if as_json else summary_text(summary))


@take.command(epilog=CHECK_EPILOG)
@click.argument("paths", metavar="TAKE...", nargs=-1, required=True, type=PATH)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def check(paths: tuple[Path, ...], as_json: bool) -> None:
    """Give a verdict on takes, with reasons; exit code 5 when one is bad."""
    from capture.check import CheckReport, check_take, report_json, report_text

    reports: list[CheckReport] = []
    unread: list[Path] = []
    for path in paths:
        try:
            reports.append(check_take(path))
        except Mmface4dError as error:
            if len(paths) == 1:
                raise
            click.echo(f"{path}: {error.message}", err=True)
            unread.append(path)
    if as_json:
        click.echo(json.dumps([report_json(report) for report in reports], indent=1))
    else:
        click.echo("\n".join(report_text(report) for report in reports))
    bad = [str(report.path) for report in reports if not report.good]
    if bad:
        raise VerificationError(
            f"{len(bad)} of {len(paths)} takes are bad: {', '.join(bad)}", hint="see the reasons above"
        )
    if unread:
        raise SomeItemsFailedError(
            f"{len(unread)} of {len(paths)} cannot be checked", hint="see above; the others are good"
        )


@take.command(epilog=RECOVER_EPILOG)
@click.argument("path", metavar="TAKE", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def recover(path: Path, as_json: bool) -> None:
    """Save what was recorded of an unfinished or damaged take, up to its last whole chunk."""
    from capture.recover import recover_take, report_json, report_text

    report = recover_take(path)
    click.echo(json.dumps(report_json(report), indent=1) if as_json else report_text(report))


@take.command(epilog=PACK_EPILOG)
@click.argument("paths", metavar="TAKE...", nargs=-1, required=True, type=PATH)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def pack(paths: tuple[Path, ...], as_json: bool) -> None:
    """Make finished takes smaller without any loss; every picture is compared before the old streams go."""
    from capture.pack import PackReport, pack_take, report_json, report_text

    reports: list[PackReport] = []
    failed: list[Path] = []
    for path in dict.fromkeys(paths):
        try:
            reports.append(pack_take(path))
        except (Mmface4dError, OSError) as error:
            if len(paths) == 1:
                raise
            click.echo(f"{path}: {error.message if isinstance(error, Mmface4dError) else error}", err=True)
            failed.append(path)
            continue
        if not as_json:
            click.echo(report_text(reports[-1]))
    if as_json:
        click.echo(json.dumps([report_json(report) for report in reports], indent=1))
    if failed:
        raise SomeItemsFailedError(
            f"{len(failed)} of {len(paths)} takes were not packed", hint="see above; they were not touched"
        )


@take.command("clap", epilog=CLAP_EPILOG)
@click.argument("path", metavar="TAKE", type=PATH)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def take_clap(path: Path, as_json: bool) -> None:
    """Measure from claps, or flashes with a beep, how much later pictures are placed than sound."""
    from capture.clap import measure_offset
    from mmface4d.take import open_take

    with open_take(path) as opened:
        found = measure_offset(opened)
    if as_json:
        click.echo(json.dumps(found.json(), indent=1))
        return
    click.echo(
        f"{path}: pictures come {found.offset_usec / 1000:+.1f} ms after the sound says, within "
        f"{found.spread_usec / 1000:.1f} ms ({found.kind}, {found.agreeing} of {found.events} agree)"
    )
    click.echo(f"record with: --av-offset-ms {found.av_offset_usec / 1000:.1f}")
