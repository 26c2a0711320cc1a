"""The lab: a folder with `lab.toml`, which says what holds for all its sessions, and the folders of what it makes."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmface4d.errors import InputError
from mmface4d.files import atomic_path, disk_full_is_an_error
from mmface4d.lab_file import read_settings
from mmface4d.lab_settings import TABLES, Key, LabSettings
from mmface4d.lab_template import lab_toml
from mmface4d.locks import locked

LAB_FILE = "lab.toml"
BUILT_IN, COMMAND_LINE = "built-in", "command line"
LANDMARKER = "reconstruction.landmarker"
# what the environment sets comes before the file
ENVIRONMENT = {LANDMARKER: "MMFACE4D_LANDMARKER"}


@dataclass(frozen=True)
class Lab:
    """A lab that was read. `lines` tell where in `lab.toml` a setting stands."""

    path: Path
    settings: LabSettings = field(default_factory=LabSettings)
    lines: Mapping[Key, int] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        """Its `lab.toml`."""
        return self.path / LAB_FILE

    @property
    def subjects(self) -> Path:
        """The folder of the subjects' records."""
        return self.path / self.settings.paths.subjects

    @property
    def sessions(self) -> Path:
        """The folder of the sessions."""
        return self.path / self.settings.paths.sessions

    @property
    def corpus(self) -> Path:
        """The folder of sentences and scripts."""
        return self.path / self.settings.paths.corpus

    @property
    def releases(self) -> Path:
        """The folder of the releases."""
        return self.path / self.settings.paths.releases

    @property
    def folders(self) -> tuple[Path, ...]:
        """All of these."""
        return self.subjects, self.sessions, self.corpus, self.releases


@dataclass(frozen=True)
class Setting:
    """A setting in force. `source` is built-in, lab.toml:LINE, environment NAME, or command line."""

    name: str  # with its table: rig.fps
    value: Any
    source: str

    @property
    def from_lab(self) -> bool:
        """Whether the lab's file says so."""
        return self.source.startswith(f"{LAB_FILE}:")


def find_lab(path: Path) -> Lab | None:
    """The lab that a path lies in, or is; None where there is none. The path need not exist.

    Raises InputError where its `lab.toml` cannot be read.
    """
    folder = lab_folder(path)
    return None if folder is None else open_lab(folder)


def lab_folder(path: Path) -> Path | None:
    """The folder with `lab.toml` at or above a path; links are followed only where the path as written has none."""
    # Path.resolve follows links at once, and raises where they lead in a circle
    for start in (Path(os.path.abspath(path)), Path(os.path.realpath(path))):  # noqa: PTH100
        for folder in (start, *start.parents):
            if (folder / LAB_FILE).is_file():
                return folder
    return None


def open_lab(path: Path) -> Lab:
    """Reads a lab; raises InputError with every mistake of its `lab.toml`."""
    if not (path / LAB_FILE).is_file():
        raise InputError(f"{path} is no lab: it has no {LAB_FILE}", hint=f"make one with: mmface4d lab init {path}")
    settings, lines = read_settings(path / LAB_FILE)
    return Lab(path, settings, lines)


def create_lab(path: Path, chosen: Mapping[str, Any] | None = None) -> Lab:
    """Makes a lab of a folder, new or not: its own folders and, last, `lab.toml`, in which what is `chosen` is set.

    Raises InputError where the folder is in a lab already.
    """
    _refuse_lab(path)
    lab = Lab(path)
    with disk_full_is_an_error(path), locked(path / ".lock", what=f"lab {path}"):
        _refuse_lab(path)  # somebody else may have been quicker
        for folder in lab.folders:
            folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(lab.file) as partial:
            partial.write_text(lab_toml(chosen), encoding="utf-8")
    return open_lab(path)


def _refuse_lab(path: Path) -> None:
    there = lab_folder(path)
    if there is not None:
        what = "already holds a lab" if (path / LAB_FILE).is_file() else f"lies in the lab {there}"
        raise InputError(f"{path} {what}", hint=f"change its settings in {there / LAB_FILE}, or choose another folder")


def effective(lab: Lab | None, overrides: Mapping[str, Any] | None = None) -> list[Setting]:
    """Every setting in force, with its source; `overrides` are the command line's, by names as `rig.fps`.

    A landmarker that the lab names lies where the lab is, unless its path is whole.
    """
    return [_setting(lab, table, key, overrides or {}) for table in TABLES for key in TABLES[table].model_fields]


def _setting(lab: Lab | None, table: str, key: str, overrides: Mapping[str, Any]) -> Setting:
    name = f"{table}.{key}"
    if name in overrides:
        return Setting(name, overrides[name], COMMAND_LINE)
    variable = ENVIRONMENT.get(name)
    if variable and os.environ.get(variable):
        return Setting(name, os.environ[variable], f"environment {variable}")
    value = getattr(getattr((lab.settings if lab else LabSettings()), table), key)
    if lab is None or (table, key) not in lab.lines:
        return Setting(name, value, BUILT_IN)
    if name == LANDMARKER and value:
        value = str(lab.path / value)
    return Setting(name, value, f"{LAB_FILE}:{lab.lines[table, key]}")
