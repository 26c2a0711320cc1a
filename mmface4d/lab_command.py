"""`mmface4d lab init|show|check`."""

import json
import shlex
import tomllib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from mmface4d.errors import InputError, UsageError
from mmface4d.files import user_cache_folder
from mmface4d.lab import BUILT_IN, Lab, Setting, create_lab, effective, find_lab
from mmface4d.lab_mistakes import find_mistakes, shown

PATH = click.Path(path_type=Path)
INIT_EPILOG = """\b
Examples:
  mmface4d lab init /data/lab
  mmface4d lab init /data/lab --from-rig
"""
SHOW_EPILOG = """\b
Examples:
  mmface4d lab show
  mmface4d lab show /data/lab --set rig.fps=15
"""
CHECK_EPILOG = """\b
Examples:
  mmface4d lab check
  mmface4d lab check /data/lab --json
"""


@click.group(epilog=INIT_EPILOG)
def lab() -> None:
    """Make a lab's folder, show its settings and check them."""


@lab.command("init", epilog=INIT_EPILOG)
@click.argument("folder", type=PATH)
@click.option("--from-rig", is_flag=True, help="Name the cameras that are connected now.")
@click.option("--virtual", is_flag=True, help="With --from-rig: those of the virtual rig.")
def lab_init(folder: Path, from_rig: bool, virtual: bool) -> None:
    """Make a lab: a folder with a commented lab.toml and folders for what is recorded."""
    if virtual and not from_rig:
        raise UsageError("--virtual is for --from-rig", hint="give both, or none")
    chosen: dict[str, Any] = {}
    if from_rig:
        from mmface4d.lab_rig import named_cameras

        chosen = named_cameras(virtual=virtual)
    made = create_lab(folder, chosen)
    click.echo(
        f"{made.file}: set there what is special to your lab; then: mmface4d lab check {shlex.quote(str(folder))}"
    )
    if len(made.settings.cameras.positions) > 1 and not virtual:
        click.echo(
            "left and right are guesses: cover one camera, and see in the operator's page whether it is the named"
        )


@lab.command("show", epilog=SHOW_EPILOG)
@click.argument("path", type=PATH, default=Path(), required=False)
@click.option("--set", "typed", metavar="NAME=VALUE", multiple=True, help="As if a command's option had set it.")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def lab_show(path: Path, typed: tuple[str, ...], as_json: bool) -> None:
    """Print every setting in force in PATH's lab, and where it comes from."""
    found = _find(path)
    settings = [*effective(found, read_typed(typed)), *_folders_of_the_user()]
    if as_json:
        click.echo(json.dumps({"lab": str(found.path), "settings": [asdict(s) for s in settings]}, indent=1))
    else:
        click.echo("\n".join([str(found.file), *settings_lines(settings)]))


def settings_lines(settings: Sequence[Setting]) -> list[str]:
    """Settings as aligned text."""
    rows = [(s.name, shown(s.value), s.source) for s in settings]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    return [f"{name:{widths[0]}}  {value:{widths[1]}}  {source}" for name, value, source in rows]


def read_typed(typed: Sequence[str]) -> dict[str, Any]:
    """Values by name from NAME=VALUE; raises UsageError with every mistake."""
    found: dict[str, Any] = {}
    tables: dict[str, Any] = {}
    for text in typed:
        name, equals, value = text.partition("=")
        table, dot, key = name.strip().partition(".")
        if not (equals and dot and key):
            raise UsageError(f"--set {text!r} is no setting", hint="write TABLE.NAME=VALUE, for example rig.fps=15")
        found[name.strip()] = tables.setdefault(table, {})[key] = _value(value.strip())
    mistakes = find_mistakes(tables, {})
    if mistakes:
        raise UsageError("; ".join(mistake.text for mistake in mistakes), hint="see the names with: mmface4d lab show")
    return found


def _value(text: str) -> Any:
    """A value as TOML writes it, or text without quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except ValueError:
        return text


def _folders_of_the_user() -> list[Setting]:
    """What only the environment sets."""
    import os

    from reconstruct.models.library import models_folder

    rows = (("models", models_folder(), "MMFACE4D_MODELS"), ("cache", user_cache_folder(), "MMFACE4D_CACHE"))
    return [
        Setting(name, str(folder), f"environment {variable}" if os.environ.get(variable) else BUILT_IN)
        for name, folder, variable in rows
    ]


@lab.command("check", epilog=CHECK_EPILOG)
@click.argument("path", type=PATH, default=Path(), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def lab_check(path: Path, as_json: bool) -> None:
    """Check PATH's lab: settings, folders, subjects, sessions; exit code 5 where something is wrong."""
    from mmface4d.doctor import report_findings
    from mmface4d.lab_check import lab_findings

    report_findings(lab_findings(_find(path)), as_json=as_json)


def _find(path: Path) -> Lab:
    found = find_lab(path)
    if found is None:
        raise InputError(f"{path} is in no lab", hint="make one with: mmface4d lab init FOLDER")
    return found
