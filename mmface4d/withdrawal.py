"""When a person takes their consent back: everything recorded of them is marked, and no command uses it any more.

    the subject's record        `withdrawn`, first of all: no take begins from here on
    LAB/withdrawn.jsonl         a line a person, for releases
    SESSION/withdrawn.json      from here on every take in the session counts as withdrawn
    SESSION/takes/*/withdrawn.json

Every step can be repeated: a withdrawal that was killed is finished by running it again.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from mmface4d.errors import BusyError, ConsentError, InputError, Mmface4dError
from mmface4d.files import atomic_path, write_json
from mmface4d.lab import Lab, find_lab, lab_folder
from mmface4d.locks import locked
from mmface4d.session_folders import VIRTUAL_ACTOR, find_sessions, subject_of
from mmface4d.subject import OWN_RECORD, held_subject, read_subject, write_subject

MARK, LEDGER = "withdrawn.json", "withdrawn.jsonl"


def is_withdrawn(take: Path) -> bool:
    """Whether the person whom a take shows has withdrawn: the take, or a folder that it lies in, is marked."""
    written, real = Path(os.path.abspath(take)), take.resolve()  # noqa: PTH100  (a linked take belongs to both sessions)
    return any((place / MARK).exists() for place in {written, *written.parents, real, *real.parents})


def refuse_withdrawn(take: Path) -> None:
    """Raises ConsentError where the person whom a take shows has withdrawn."""
    if is_withdrawn(take):
        raise ConsentError(
            f"{take} is withdrawn: the person took their consent back",
            hint="leave it out, and delete what was made of it",
        )


def refuse_take_of_withdrawn(take: Path, subject: object) -> None:
    """Raises ConsentError where the ledger of a take's lab has its subject: it left its session before it was marked.

    Raises InputError where the ledger cannot be read.
    """
    labs = {folder for place in (take, take.resolve()) if (folder := lab_folder(place)) is not None}
    if any(subject in withdrawn_people(Lab(folder)) for folder in labs):
        raise ConsentError(
            f"{take} is withdrawn: it shows {subject}, who took their consent back",
            hint="leave it out, and delete what was made of it",
        )


def withdrawn_people(lab: Lab) -> dict[str, date]:
    """Who has withdrawn in a lab, and when; raises InputError that names the line where that cannot be read."""
    ledger = lab.path / LEDGER
    if not ledger.is_file():
        return {}
    people: dict[str, date] = {}
    for number, line in enumerate(ledger.read_bytes().splitlines(), 1):
        try:
            value = json.loads(line)
            people[str(value["subject"])] = date.fromisoformat(value["withdrawn"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise InputError(
                f"{ledger}, line {number} is damaged", hint="mend that line, by the lab's papers"
            ) from error
    return people


def refuse_withdrawn_person(session: Path, pseudonym: str) -> None:
    """Raises ConsentError where a person has withdrawn in the lab of a session, even if their record is gone."""
    lab = find_lab(session)
    people = {} if lab is None else withdrawn_people(lab)
    day = {name.casefold(): day for name, day in people.items()}.get(pseudonym.casefold())
    if day is not None:
        raise ConsentError(
            f"{pseudonym} withdrew their consent on {day}",
            hint="do not record them; a person who takes part again gets a new pseudonym",
        )


@dataclass
class Withdrawal:
    """What a withdrawal did: takes marked now and found marked, and in words what is left to be done."""

    pseudonym: str
    day: date
    sessions: list[Path] = field(default_factory=list)
    marked: int = 0
    marked_before: int = 0
    failed: list[str] = field(default_factory=list)


def withdraw(folder: Path, pseudonym: str, *, today: date) -> Withdrawal:
    """Marks everything of a person in the lab around `folder`, or, outside any lab, at and below it.

    What cannot be marked now is listed, and the rest is done. Raises InputError where nothing of the person is found,
    BusyError where another withdrawal runs there.
    """
    lab = find_lab(folder)
    home = folder if lab is None else lab.path
    if not home.is_dir():
        raise InputError(f"{home} is no folder", hint="name the lab, or a session outside any lab, with --folder")
    with locked(home / ".withdrawal.lock", what=f"a withdrawal in {home}"):
        sessions, unclear = sessions_of(pseudonym, home, lab)
        records = _records(pseudonym, sessions, lab)
        if not sessions and not records:
            raise InputError(
                f"nothing of {pseudonym!r} is in {home}", hint="see who is there with: mmface4d subject list"
            )
        done = Withdrawal(pseudonym, today, sessions, failed=unclear)
        for record in records:
            with _listing(done, record):
                done.day = min(done.day, _end_consent(record, today))
        if lab is not None:
            with _listing(done, lab.path / LEDGER):
                _enter(lab.path / LEDGER, done)
        for session in sessions:
            _mark(session, done)
        for session in sessions:
            _mark_takes(session, done)
    return done


def sessions_of(pseudonym: str, home: Path, lab: Lab | None) -> tuple[list[Path], list[str]]:
    """A person's sessions in a lab, or below a folder; and in words those of which nobody knows whose they are."""
    found: dict[Path, Path] = {}
    unclear: list[str] = []
    for root in [home] if lab is None else [lab.path, lab.sessions]:
        sessions, closed = find_sessions(root)
        found |= {session.resolve(): session for session in sessions if session.resolve() not in found}
        unclear += closed
    theirs = []
    for session in found.values():
        try:
            if subject_of(session) == pseudonym != VIRTUAL_ACTOR:
                theirs.append(session)
        except InputError as error:
            unclear.append(error.message)
    return theirs, unclear


def _records(pseudonym: str, sessions: list[Path], lab: Lab | None) -> list[Path]:
    places = [session / OWN_RECORD for session in sessions]
    if lab is not None:
        places.insert(0, lab.subjects / f"{pseudonym}.json")
    return [path for path in places if path.is_file()]


@contextmanager
def _listing(done: Withdrawal, what: Path) -> Iterator[None]:
    """Lists what fails, instead of leaving the rest undone."""
    try:
        yield
    except (OSError, Mmface4dError) as error:
        done.failed.append(f"{what}: {error}")


def _end_consent(record: Path, today: date) -> date:
    with held_subject(record):
        subject = read_subject(record)
        if subject.withdrawn is not None:
            return subject.withdrawn
        write_subject(record, subject.model_copy(update={"withdrawn": today}))
        return today


def _enter(ledger: Path, done: Withdrawal) -> None:
    before = ledger.read_bytes() if ledger.is_file() else b""
    line = json.dumps({"subject": done.pseudonym, "withdrawn": done.day.isoformat()}).encode()
    if line in before.splitlines():
        return
    if before and not before.endswith(b"\n"):
        before += b"\n"
    with atomic_path(ledger) as partial:
        partial.write_bytes(before + line + b"\n")


def _mark(folder: Path, done: Withdrawal) -> bool:
    """Marks a session or a take; False where it was marked before, or cannot be."""
    mark = folder / MARK
    if mark.exists():
        return False
    with _listing(done, mark):
        write_json(mark, {"format": 1, "subject": done.pseudonym, "withdrawn": done.day.isoformat()})
        return True
    return False


def _mark_takes(session: Path, done: Withdrawal) -> None:
    """Marks every take, finished or not. Of a session that is being recorded, those that there are."""
    try:
        with locked(session / ".lock", what=f"session {session}"):
            _mark_each(session, done)
    except BusyError as error:
        done.failed.append(f"{error.message}: end the recording")
        _mark_each(session, done)
    except OSError as error:
        done.failed.append(f"{session}: {error}")
        _mark_each(session, done)


def _mark_each(session: Path, done: Withdrawal) -> None:
    for take in sorted((session / "takes").glob("[!.]*")):
        if take.is_dir():
            done.marked_before += (take / MARK).exists()
            done.marked += _mark(take, done)
