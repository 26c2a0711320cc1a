"""Finding sessions below a folder, and whose they are, even where a session's own file is damaged."""

import os
from pathlib import Path

from mmface4d.errors import InputError
from mmface4d.files import read_json

RECORD, COPY = "session.json", "session.copy.json"  # the copy is written once, for when the other one is damaged
VIRTUAL_ACTOR = "virtual"  # in the place of a pseudonym
MAX_RECORD_BYTES = 1 << 20


def find_sessions(folder: Path) -> tuple[list[Path], list[str]]:
    """The sessions at or below a folder, through links too, and in words what could not be looked into."""
    found: list[Path] = []
    closed: list[str] = []
    seen: set[str] = set()
    for name, folders, files in os.walk(folder, onerror=lambda error: closed.append(str(error)), followlinks=True):
        here = Path(name)
        real = os.path.realpath(name)
        session = real not in seen and _is_session(here, folders, files)
        found += [here] if session else []
        if session or real in seen:  # links may lead in circles
            folders.clear()
        seen.add(real)
        folders[:] = sorted(each for each in folders if not each.startswith("."))
    return found, closed


def sessions_around(path: Path) -> list[Path]:
    """The sessions that a path lies in, as it is written and where links lead to; the path need not exist."""
    starts = (Path(os.path.abspath(path)), Path(os.path.realpath(path)))  # noqa: PTH100  (a link belongs to both)
    found = {folder.resolve(): folder for start in starts for folder in start.parents if _looks_like_session(folder)}
    return list(found.values())


def _looks_like_session(folder: Path) -> bool:
    files = [name for name in (RECORD, COPY, "script.jsonl") if (folder / name).is_file()]
    return _is_session(folder, ["takes"] if (folder / "takes").is_dir() else [], files)


def _is_session(here: Path, folders: list[str], files: list[str]) -> bool:
    """Whether it has a session's record, or lost it and has takes; what a killed `session new` leaves has neither."""
    script, takes = "script.jsonl" in files, "takes" in folders
    if {RECORD, COPY} & set(files):
        return script or takes
    return script and takes and any((here / "takes").glob("*"))


def subject_of(session: Path) -> str:
    """The pseudonym in a session's file, or in its copy; raises InputError where neither can be read."""
    for name in (RECORD, COPY):
        try:
            value = read_json(session / name, max_bytes=MAX_RECORD_BYTES)
        except InputError:
            continue
        if isinstance(value, dict) and isinstance(value.get("subject"), str):
            return value["subject"]
    raise InputError(f"whose session {session} is cannot be read", hint=f"mend {session / RECORD}")
