"""The items of a lab: one a kept take, with what was said, by whom, and what of it may be used."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from corpus.dataset.consent import NO_SESSION, WITHDRAWN, Permission, is_among, permission_of
from mmface4d.errors import InputError
from mmface4d.lab import Lab
from mmface4d.results import read_record, sequence_place
from mmface4d.session import ScriptItem, Session, open_session
from mmface4d.session_folders import find_sessions, subject_of
from mmface4d.subject import Subject
from mmface4d.withdrawal import is_withdrawn, withdrawn_people

NOT_RECONSTRUCTED = "not reconstructed"
FAILED = "the last reconstruction failed"
NOT_AS_RECORDED = "the sequence is not the one that its record tells of"


@dataclass(frozen=True)
class Item:
    """A kept take, or a session that cannot be read: that one has neither sentence nor take.

    `reason` says in a few words why it cannot be used at all; it names no path. `scopes` are those of the consent that
    holds on the day asked for, none where nothing says so; the virtual actor has all of them. `lacking` says why there
    is no sequence.
    """

    session: Path
    pseudonym: str | None  # the lab's; None where whose session it is cannot be read
    subject: Subject | None
    sentence: ScriptItem | None
    take: Path | None
    sequence: Path | None
    lacking: str | None = None
    scopes: frozenset[str] = frozenset()
    virtual: bool = False
    withdrawn: bool = False
    reason: str | None = None

    @property
    def usable(self) -> bool:
        """Whether nothing speaks against every use of it."""
        return self.reason is None


def lab_index(lab: Lab, *, today: date | None = None) -> list[Item]:
    """Every kept take of a lab, in the order of session folders and scripts, practice left out.

    Raises InputError where the lab's list of withdrawn people, or a part of the lab, cannot be read: what is not known
    cannot be respected.
    """
    people = withdrawn_people(lab)
    found: dict[Path, Path] = {}
    for root in (lab.path, lab.sessions):
        sessions, closed = find_sessions(root)
        if closed:
            raise InputError(f"a part of the lab cannot be read: {closed[0]}", hint="mend its permissions")
        for session in sessions:
            found.setdefault(session.resolve(), session)
    day = today or date.today()
    return [item for session in sorted(found.values()) for item in session_items(session, people, today=day)]


def session_items(path: Path, people: Mapping[str, date], *, today: date) -> Iterator[Item]:
    """The kept takes of one session; `people` have withdrawn."""
    pseudonym = _whose(path)
    try:
        session = open_session(path)
    except InputError:
        gone = is_among(pseudonym, people)
        reason = WITHDRAWN if gone else NO_SESSION
        yield Item(path, pseudonym, None, None, None, None, withdrawn=gone, reason=reason)
        return
    permission = permission_of(session, people, today)
    for state in session.states.values():
        if state.status == "kept" and not state.item.practice:
            yield _item(session, state.item, state.kept_take, permission)


def _whose(path: Path) -> str | None:
    try:
        return subject_of(path)
    except InputError:
        return None


def _item(session: Session, sentence: ScriptItem, kept: str | None, permission: Permission) -> Item:
    take = _inside(session.takes, kept)
    gone = permission.withdrawn or (take is not None and is_withdrawn(take))
    sequence, lacking = (None, NOT_RECONSTRUCTED) if take is None else _sequence(session.path, take.name)
    reason = WITHDRAWN if gone else permission.reason
    if reason is None and (take is None or not (take / "take.json").is_file()):
        reason = "the kept take is not there"
    return Item(
        session=session.path,
        pseudonym=session.record.subject,
        subject=permission.subject,
        sentence=sentence,
        take=take,
        sequence=sequence,
        lacking=lacking,
        scopes=frozenset() if gone else permission.scopes,
        virtual=session.record.virtual,
        withdrawn=gone,
        reason=reason,
    )


def _sequence(session: Path, take_name: str) -> tuple[Path | None, str | None]:
    """The sequence of a take, or why there is none: what an older run left does not stand for what failed since."""
    place = sequence_place(session, take_name)
    if not place.output.is_file():
        return None, NOT_RECONSTRUCTED
    try:
        record = read_record(place.record)
    except InputError:
        return None, NOT_AS_RECORDED
    if record is None:  # made by itself, and not in a batch
        return place.output, None
    if record.output is None:
        return None, FAILED
    same = record.output.bytes == place.output.stat().st_size
    return (place.output, None) if same else (None, NOT_AS_RECORDED)


def _inside(takes: Path, name: str | None) -> Path | None:
    """The kept take's folder, unless the log names something else than a folder of the session's takes."""
    if not name or name.startswith(".") or "/" in name or "\\" in name or "\0" in name:
        return None
    return takes / name
