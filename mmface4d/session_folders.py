"""Finding sessions below a folder, and whose they are, even where a session's own file is damaged."""

import os
from pathlib import Path

from mmface4d.errors import InputError
from mmface4d.files import read_json

RECORD, COPY = "session.json", "session.copy.json"  # the copy is written once, for when the other one is damaged
VIRTUAL_ACTOR = "virtual"  # in the place of a pseudonym
DEEPEST = 8
MAX_RECORD_BYTES = 1 << 20


def find_sessions(folder: Path) -> tuple[list[Path], list[str]]:
    """The sessions at or below a folder, and in words what could not be looked into."""
    found: list[Path] = []
    closed: list[str] = []
    depth = len(folder.parts)
    for name, folders, files in os.walk(folder, onerror=lambda error: closed.append(str(error)), followlinks=True):
        here = Path(name)
        if {RECORD, COPY} & set(files) and ("takes" in folders or "script.jsonl" in files):
            found.append(here)
            folders.clear()
        elif len(here.parts) - depth >= DEEPEST:
            folders.clear()
        folders[:] = sorted(each for each in folders if not each.startswith("."))
    return found, closed


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
