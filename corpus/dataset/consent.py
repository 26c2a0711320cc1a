"""What of a session's takes and sequences may be used, by the subject's record as it is now."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from mmface4d.errors import ConsentError, InputError, Mmface4dError, TakeError
from mmface4d.lab import find_lab
from mmface4d.permission import names_person
from mmface4d.session import Session, open_session
from mmface4d.session_folders import sessions_around
from mmface4d.subject import NO_MESH, SCOPES, Subject, read_subject, subject_path
from mmface4d.take import open_take
from mmface4d.withdrawal import is_withdrawn, refuse_withdrawn, withdrawn_people

MOST_PATH = 1000  # letters; a longer one is no path of ours
WITHDRAWN = "consent withdrawn"
NO_RECORD = "no record of the subject"
NO_SESSION = "the session cannot be read"
NO_SENSE, ANOTHER = "the subject's record cannot be read", "the subject's record is about somebody else"
UNCLEAR = frozenset({NO_RECORD, NO_SESSION, NO_SENSE, ANOTHER})  # what a damaged disk leads to, and no decision does


@dataclass(frozen=True)
class Permission:
    """What may be used of everything in a session; `reason` says in a few words why nothing may."""

    subject: Subject | None = None
    scopes: frozenset[str] = frozenset()
    withdrawn: bool = False
    reason: str | None = None


def permission_of(session: Session, people: Mapping[str, date], today: date) -> Permission:
    """What holds in a session on a day; `people` have withdrawn. What cannot be read permits nothing."""
    name = session.record.subject
    if is_among(name, people) or is_withdrawn(session.takes / "any"):
        return Permission(withdrawn=True, reason=WITHDRAWN)
    if session.record.virtual:
        return _virtual(session)
    record = subject_path(session.path, name)
    if not record.is_file():
        return Permission(reason=NO_RECORD)
    try:
        subject = read_subject(record)
    except Mmface4dError:
        return Permission(reason=NO_SENSE)
    if subject.pseudonym != name:
        return Permission(reason=ANOTHER)
    return _of_person(subject, today)


def is_among(pseudonym: str | None, people: Iterable[str]) -> bool:
    """Whether a list names somebody; some disks do not tell p07 from P07, and so nor does this."""
    return pseudonym is not None and pseudonym.casefold() in {name.casefold() for name in people}


def _virtual(session: Session) -> Permission:
    if names_person(session):
        return Permission(reason="a session of the virtual actor that names a person")
    return Permission(scopes=frozenset(SCOPES))


def _of_person(subject: Subject, today: date) -> Permission:
    consent = subject.consent
    if subject.withdrawn is not None:
        return Permission(subject, withdrawn=True, reason=WITHDRAWN)
    if consent is None:
        return Permission(subject, reason="no consent")
    if consent.date > today:
        return Permission(subject, reason="consent not yet in force")
    if consent.until is not None and consent.until < today:
        return Permission(subject, reason="consent expired")
    return Permission(subject, frozenset(consent.scopes))


def scopes_of_sequence(path: Path, named: str, *, today: date | None = None) -> frozenset[str] | None:
    """What the person whom a sequence shows lets out: by the record of the session that it or its take lies in, today.

    Without one, what the take says of the consent it was recorded under; None where nothing tells. `named` is the take
    as the sequence names it, which need not exist any more. Raises ConsentError where the sequence may not be used,
    InputError where the lab's list of withdrawn people cannot be read.
    """
    if len(named) > MOST_PATH or "\0" in named:
        raise InputError(f"{path} names no take but {named[:60]!r}", hint="the file is damaged")
    places = [path, path.parent / named] if named else [path]
    for place in places:
        refuse_withdrawn(place)
    recorded = _scopes_of_take(places[-1])
    sessions = {each.resolve(): each for place in places for each in sessions_around(place)}
    told = [_told(path, session, today or date.today()) for session in sessions.values()]
    known = [scopes for scopes in told if scopes is not None]
    return frozenset.intersection(*known) if known else recorded


def _scopes_of_take(take: Path) -> frozenset[str] | None:
    """Of the consent as it was when a take was recorded; None where it tells of none."""
    try:
        with open_take(take) as opened:  # which refuses those of the lab's list
            consent = opened.info.source.get("consent")
    except TakeError:
        return None
    if consent is None:
        return None
    scopes = consent.get("scopes") if isinstance(consent, dict) else None
    return frozenset(map(str, scopes)) if isinstance(scopes, list) else frozenset()


def _told(path: Path, folder: Path, today: date) -> frozenset[str] | None:
    lab = find_lab(folder)
    try:
        session = open_session(folder)
    except InputError as error:
        raise _refusal(path, NO_SESSION, hint=error.hint or f"mend {folder}") from error
    permission = permission_of(session, {} if lab is None else withdrawn_people(lab), today)
    if lab is None and permission.reason == NO_RECORD:
        return None  # brought from elsewhere without its record
    reason = permission.reason or (None if "mesh" in permission.scopes else NO_MESH)
    if reason is not None:
        raise _refusal(path, reason, hint=f"leave it out; see: mmface4d subject show {session.record.subject}")
    return permission.scopes


def _refusal(path: Path, reason: str, *, hint: str) -> ConsentError:
    return ConsentError(f"{path} may not be used: {reason}", hint=hint)
