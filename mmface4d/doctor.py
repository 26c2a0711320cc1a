"""`mmface4d doctor`: whether this machine can record, line by line.

This is the front door's own composition, so it may know every room; it imports them when it runs.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmface4d.errors import VerificationError
from mmface4d.lab import Lab, find_lab, open_lab

if TYPE_CHECKING:
    from capture.doctor.finding import Finding

EPILOG = """\b
Examples:
  mmface4d doctor /data/lab
  mmface4d doctor --folder /data/takes --json
"""
NAME_WIDTH = 16
COLORS = {"ok": "green", "warning": "yellow", "problem": "bold red"}


@click.command(epilog=EPILOG)
@click.argument("path", metavar="[LAB]", type=click.Path(path_type=Path), required=False)
@click.option(
    "--folder", type=click.Path(path_type=Path), show_default="the lab's sessions, or the current one",
    help="Where takes will go: its disk is measured.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(path: Path | None, folder: Path | None, as_json: bool) -> None:
    """Check cameras, cables, USB, microphone, disk and machine before a recording; exit code 5 where one fails.

    Each line is ok, a warning or a problem, with what to do about it. Cameras are opened, but neither started nor set.
    In a lab, or with one given, cameras and microphone are compared with what its lab.toml names.
    """
    lab = open_lab(path) if path is not None else find_lab(folder or Path())
    report_findings(_findings(folder or (lab.sessions if lab is not None else Path()), lab), as_json=as_json)


def report_findings(findings: Iterable["Finding"], *, as_json: bool) -> None:
    """Prints findings; raises VerificationError where one is a problem."""
    if as_json:
        seen = list(findings)
        click.echo(json.dumps([asdict(finding) for finding in seen], indent=1))
    else:
        seen = show_findings(findings)
    problems = [finding.name for finding in seen if finding.verdict == "problem"]
    if problems:
        raise VerificationError(
            f"{len(problems)} of {len(seen)} checks found a problem: {', '.join(problems)}",
            hint="mend what is said above, then run again",
        )


def _findings(folder: Path, lab: Lab | None) -> Iterator["Finding"]:
    from capture.doctor.examination import recording_checks
    from capture.doctor.finding import run_checks

    positions = lab.settings.cameras.positions if lab is not None else {}
    microphone = lab.settings.sound.microphone if lab is not None else ""
    checks = recording_checks(folder, positions=positions, microphone=microphone)
    return run_checks([*checks, ("models", check_models)])


def check_models() -> "Finding":
    """The face models that `--model` can name."""
    from capture.doctor.finding import ok, warning
    from reconstruct.models.library import list_models

    cards = list_models()
    damaged = [f"{card.name}: {card.problem}" for card in cards if card.problem]
    if damaged:
        return warning("models", "; ".join(damaged), remedy="add them again: mmface4d model add KIND PATH")
    return ok("models", ", ".join(card.name for card in cards))


def show_findings(findings: Iterable["Finding"]) -> list["Finding"]:
    """Prints each finding as it comes: in colours on a terminal, plainly elsewhere."""
    seen = []
    for finding in findings:
        seen.append(finding)
        if sys.stdout.isatty():
            _print_in_color(finding)
        else:
            click.echo("\n".join(finding_lines(finding)))
    return seen


def finding_lines(finding: "Finding") -> list[str]:
    """A finding as aligned text, with its remedy below."""
    lines = [f"{finding.verdict:8} {finding.name:{NAME_WIDTH}} {finding.found}"]
    return lines + ([f"{'':8} {'':{NAME_WIDTH}} do: {finding.remedy}"] if finding.remedy else [])


def _print_in_color(finding: "Finding") -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)
    first, *remedy = finding_lines(finding)
    line = Text(first)
    line.stylize(COLORS[finding.verdict], 0, len(finding.verdict))
    console.print(line)
    for text in remedy:
        console.print(Text(text, style="dim"))
