"""`SHA256SUMS`, as `sha256sum -c` reads it, and what a release is against it."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from corpus.release.layout import SUMS
from mmface4d.errors import InputError
from mmface4d.files import file_sha256

LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
MAX_BYTES = 256 << 20


@dataclass
class Differences:
    """What a release lacks, has too much, and has otherwise than it says; names of files."""

    missing: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)  # contradictions, in words
    files: int = 0

    @property
    def good(self) -> bool:
        """Whether there are none."""
        return not (self.missing or self.extra or self.changed or self.wrong)

    def lines(self) -> list[str]:
        """Each in a line."""
        named = [f"{kind} {name}" for kind in ("missing", "extra", "changed") for name in getattr(self, kind)]
        return named + [f"wrong   {text}" for text in self.wrong]


def write_sums(folder: Path) -> None:
    """Writes the hash of every file, in the order of their names."""
    names = sorted(name for name in files_in(folder) if name != SUMS)
    text = "".join(f"{file_sha256(folder / name)}  {name}\n" for name in names)
    (folder / SUMS).write_text(text, encoding="utf-8")


def files_in(folder: Path) -> Iterator[str]:
    """Every file, link, or whatever else is no folder, by its name in the release."""
    for name, folders, files in os.walk(folder):
        here = Path(name)
        links = [each for each in folders if (here / each).is_symlink()]
        for each in (*files, *links):
            yield (here / each).relative_to(folder).as_posix()


def read_sums(folder: Path) -> dict[str, str]:
    """Hash by name; raises InputError where the file is missing or holds a line that is none of `sha256sum`'s."""
    path = folder / SUMS
    if not path.is_file():
        raise InputError(f"{folder} is no release: it has no {SUMS}", hint="name the folder that holds SHA256SUMS")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path} is too large", hint="get it again from where the release came from")
    sums: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        found = LINE.fullmatch(line)
        if not found or not is_inside(found[2]) or found[2] in sums:
            raise InputError(f"{path}, line {number} is damaged", hint="get it again from where the release came from")
        sums[found[2]] = found[1]
    return sums


def is_inside(name: str) -> bool:
    """Whether a name can only mean a file below the release's folder."""
    parts = name.split("/")
    return not any(part in ("", ".", "..") for part in parts) and "\\" not in name and "\0" not in name


def differences(folder: Path) -> Differences:
    """Hashes everything; raises InputError where there is no readable SHA256SUMS."""
    sums = read_sums(folder)
    there = set(files_in(folder)) - {SUMS}
    found = Differences(files=len(sums), missing=sorted(sums.keys() - there), extra=sorted(there - sums.keys()))
    for name in sorted(sums.keys() & there):
        if not _is_plain(folder, name) or file_sha256(folder / name) != sums[name]:
            found.changed.append(name)
    return found


def changed_tables(folder: Path) -> list[str]:
    """The files of the index that are missing or not as they were written, without a look at the shards."""
    return [
        name
        for name, digest in read_sums(folder).items()
        if name.startswith("index/") and not (_is_plain(folder, name) and file_sha256(folder / name) == digest)
    ]


def _is_plain(folder: Path, name: str) -> bool:
    """Whether it is a file itself: a link may lead anywhere, and a pipe never ends."""
    path = folder / name
    return path.is_file() and not path.is_symlink()
