"""Options of commands whose defaults a lab gives: what is typed comes first, then the environment, then `lab.toml`."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from mmface4d.errors import UsageError
from mmface4d.lab import Lab, Setting, effective, lab_folder, open_lab


def choose(context: click.Context, lab: Lab | None, options: Mapping[str, str]) -> dict[str, Setting]:
    """The settings in force by name; `options` maps a command's parameters to settings, as `fps` to `rig.fps`."""
    typed = {
        name: context.params[parameter]
        for parameter, name in options.items()
        if context.get_parameter_source(parameter) is ParameterSource.COMMANDLINE
    }
    return {setting.name: setting for setting in effective(lab, typed)}


def values(settings: Mapping[str, Setting], options: Mapping[str, str]) -> dict[str, Any]:
    """The values of a command's parameters."""
    return {parameter: settings[name].value for parameter, name in options.items()}


def in_force(lab: Lab | None, options: Mapping[str, str]) -> dict[str, Any]:
    """What the running command goes by, for each of its parameters in `options`; says what of it is the lab's."""
    settings = choose(click.get_current_context(), lab, options)
    tell(lab, settings, list(options.values()))
    return values(settings, options)


def tell(lab: Lab | None, settings: Mapping[str, Setting], names: Sequence[str]) -> None:
    """Says on stderr which of some settings are the lab's."""
    mine = [settings[name] for name in names if settings[name].from_lab]
    if lab is not None and mine:
        listed = ", ".join(f"{s.name} {s.value} (line {s.source.rpartition(':')[2]})" for s in mine)
        click.echo(f"from {lab.file}: {listed}", err=True)


def lab_of_all(paths: Sequence[Path]) -> Lab | None:
    """The lab that several paths lie in; raises UsageError where they lie in different ones."""
    folders = {Path(os.path.realpath(folder)) if (folder := lab_folder(path)) else None for path in paths}
    if len(folders) > 1:
        listed = ", ".join(sorted(str(folder) if folder else "none" for folder in folders))
        raise UsageError(f"these takes are of different labs: {listed}", hint="give those of one lab at a time")
    folder = lab_folder(paths[0])
    return None if folder is None else open_lab(folder)
