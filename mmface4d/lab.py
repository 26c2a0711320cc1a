"""The lab: a folder with `lab.toml`, which says what holds for all its sessions, and the folders of what it makes."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mmface4d.lab_settings import LabSettings

LAB_FILE = "lab.toml"
Key = tuple[str, ...]


@dataclass(frozen=True)
class Lab:
    """A lab that was read. `lines` tell where in `lab.toml` a setting stands."""

    path: Path
    settings: LabSettings = field(default_factory=LabSettings)
    lines: Mapping[Key, int] = field(default_factory=dict)

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


def find_lab(path: Path) -> Lab | None:
    """The lab that a path lies in, or is; None where there is none. The path need not exist.

    Raises InputError where its `lab.toml` cannot be read.
    """
    folder = lab_folder(path)
    return None if folder is None else open_lab(folder)


def lab_folder(path: Path) -> Path | None:
    """The folder with `lab.toml` at or above a path; links are followed only where the path as written has none."""
    for start in (Path(os.path.abspath(path)), path.resolve()):  # noqa: PTH100  (resolve would follow links)
        for folder in (start, *start.parents):
            if (folder / LAB_FILE).is_file():
                return folder
    return None


def open_lab(path: Path) -> Lab:
    """Reads a lab; raises InputError with every mistake of its `lab.toml`."""
    from mmface4d.lab_file import read_settings

    settings, lines = read_settings(path / LAB_FILE)
    return Lab(path, settings, lines)
