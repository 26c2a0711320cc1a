"""A session folder: one actor, one script, and a log from which everything that happened can be told.

    session.json     who and how; session.copy.json is the same, for when a disk damages the first
    subject.json     who, and what they consented to, where the session lies in no lab
    script.jsonl     the sentences, in order
    log.jsonl        one event a line, appended and flushed to the disk; a last line cut short by a kill is dropped
    takes/           one folder a take: 003-00_0012-v2 is the second try at the third sentence, 00_0012

Takes are versions and never overwritten. What is done and what comes next follows from the log alone.
"""

import errno
import json
import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from mmface4d.errors import InputError
from mmface4d.files import atomic_path, disk_full_is_an_error, read_json, sync, write_json
from mmface4d.locks import locked
from mmface4d.session_folders import COPY, RECORD
from mmface4d.subject import OWN_RECORD, Consent, Subject, enter_subject, mistakes, subject_path

FORMAT = 2
EMOTIONS = ("neutral", "angry", "disgust", "fear", "happy", "sad", "surprise")
MAX_TEXT, MAX_ITEMS, MAX_LINE_BYTES = 1000, 100_000, 1 << 16
MAX_LOG_BYTES = 256 << 20
# ids become parts of folder names, so no path can hide in one
Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
# what a line of a corpus has beside a script's; such a line may stand in a script
OF_A_CORPUS = frozenset({"scenario", "phonemes"})
Status = Literal["pending", "kept", "retake", "skipped"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ScriptItem(_Strict):
    """A sentence to say."""

    id: Id
    text: Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT, strip_whitespace=True)]
    emotion: Literal["neutral", "angry", "disgust", "fear", "happy", "sad", "surprise"] = "neutral"
    language: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")] = "en"
    practice: bool = False


class Sheet(_Strict):
    """How a session is recorded: what a later reader cannot see in the takes."""

    room: Annotated[str, StringConstraints(max_length=200)] = ""
    microphone: Annotated[str, StringConstraints(max_length=200)] = ""
    microphone_cm: Annotated[float, Field(gt=0, le=1000)] | None = None  # from the mouth
    warm_up_min: Annotated[float, Field(ge=0, le=10_000)] | None = None  # the cameras had been on for so long
    notes: Annotated[str, StringConstraints(max_length=2000)] = ""


class SessionRecord(_Strict):
    """What stands in `session.json`: a pseudonym, never a name; the consent as it was when the session was made."""

    format: int = FORMAT
    subject: Id
    created: str
    virtual: bool = False  # nobody is recorded, only the virtual actor
    consent: Consent | None = None
    sheet: Sheet = Sheet()
    settings: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """A line of the log."""

    what: str
    item: str | None
    at: str
    values: dict[str, Any]


@dataclass
class ItemState:
    """What became of a sentence; `takes` are folder names in `takes/`, oldest first."""

    item: ScriptItem
    number: int  # in the script, from 1
    status: Status = "pending"
    takes: list[str] = field(default_factory=list)
    kept_take: str | None = None
    reasons: list[str] = field(default_factory=list)  # why the last take should be repeated
    notes: list[str] = field(default_factory=list)


class Session:
    """An open session. One process at a time may hold it for writing (`held`)."""

    def __init__(self, path: Path, record: SessionRecord, script: tuple[ScriptItem, ...]) -> None:
        self.path, self.record, self.script = path, record, script
        self.states = {item.id: ItemState(item, number) for number, item in enumerate(script, 1)}
        for event in read_log(path / "log.jsonl"):
            self._apply(event)

    @property
    def takes(self) -> Path:
        """The folder of the takes."""
        return self.path / "takes"

    def append(self, what: str, item: str | None = None, **values: Any) -> Event:
        """Adds an event to the log, on the disk before this returns."""
        event = Event(what, item, datetime.now(UTC).isoformat(timespec="milliseconds"), values)
        line = json.dumps({"what": what, "item": item, "at": event.at, **values}, ensure_ascii=False, allow_nan=False)
        log = self.path / "log.jsonl"
        with disk_full_is_an_error(log):
            _append(log, line.encode() + b"\n")
        self._apply(event)
        return event

    def new_take(self, item_id: str) -> Path:
        """A folder name for the next take of a sentence; the folder does not exist yet."""
        state = self.states[item_id]
        version = 1 + max([_version(path.name) for path in self.takes.glob(f"*-{item_id}-v*")], default=0)
        return self.takes / f"{state.number:03d}-{item_id}-v{version}"

    def unfinished_takes(self) -> list[Path]:
        """Takes that a killed recording left, to be recovered."""
        return sorted(p.parent for p in self.takes.glob("*/streams.mcap") if not (p.parent / "take.json").is_file())

    def next_item(self, after: str | None = None, *, but: Collection[str] = ()) -> ScriptItem | None:
        """The first sentence still to be said (after a given one, then from the start), then those to be repeated.

        `but` are ids of sentences that are left out.
        """
        ids = list(self.states)
        begin = ids.index(after) + 1 if after in self.states else 0
        order = [self.states[i] for i in ids[begin:] + ids[:begin]]
        for wanted in ("pending", "retake"):
            for state in order:
                if state.status == wanted and state.item.id not in but:
                    return state.item
        return None

    @property
    def done(self) -> int:
        """How many sentences are kept or skipped."""
        return sum(state.status in ("kept", "skipped") for state in self.states.values())

    def _apply(self, event: Event) -> None:
        state = self.states.get(event.item or "")
        if state is None:
            return
        take = event.values.get("take")
        if event.what == "recorded" and isinstance(take, str):
            state.takes.append(take)
            state.reasons = [str(reason) for reason in event.values.get("reasons", [])]
        elif event.what == "kept":
            state.status, state.kept_take = "kept", take or state.kept_take
        elif event.what == "retake":
            state.status = "retake"
        elif event.what == "skipped":
            state.status = "skipped"
        elif event.what == "pending":
            state.status = "pending"
        elif event.what == "note":
            state.notes.append(str(event.values.get("text", "")))


def _version(name: str) -> int:
    found = re.search(r"-v(\d+)$", name)
    return int(found[1]) if found else 0


def create_session(
    path: Path, *, subject: str, script: list[ScriptItem], settings: dict[str, Any] | None = None,
    person: Subject | None = None, virtual: bool = False, sheet: Sheet | None = None,
) -> Session:  # fmt: skip
    """Makes a session folder; `session.json`, written last, says that it is whole.

    The record of `person` is written, or brought up to date. Without a person only the virtual actor can be recorded.
    Raises InputError where the folder is in use or the subject is no pseudonym, and what `enter_subject` raises.
    """
    _refuse_doubles(script)
    made = _record(subject, settings=settings or {}, virtual=virtual, sheet=sheet or Sheet())
    refuse_used_folder(path)
    with disk_full_is_an_error(path), locked(path / ".lock", what=f"session {path}"):
        refuse_used_folder(path)  # now that nobody else can make one here
        if person is not None:
            entered = enter_subject(subject_path(path, subject), person)
            made = made.model_copy(update={"consent": entered.consent})
        (path / "takes").mkdir(parents=True, exist_ok=True)
        with atomic_path(path / "script.jsonl") as partial:
            partial.write_text("".join(item.model_dump_json() + "\n" for item in script), encoding="utf-8")
        for name in (COPY, RECORD):
            write_json(path / name, made.model_dump(mode="json"))
    return Session(path, made, tuple(script))


def _record(subject: str, *, settings: dict[str, Any], virtual: bool, sheet: Sheet) -> SessionRecord:
    created = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        return SessionRecord(subject=subject, created=created, settings=settings, virtual=virtual, sheet=sheet)
    except ValidationError as error:
        raise InputError(
            f"{subject!r} cannot be a pseudonym: letters, digits, _ . - only", hint="for example P07; never a name"
        ) from error


def refuse_used_folder(path: Path) -> None:
    """Raises InputError where there is more than what a killed attempt at making a session leaves."""
    if not path.exists():
        return
    left = {each.name for each in path.iterdir() if not re.fullmatch(r"\..*lock|\..+\.partial\..+", each.name)}
    if not left <= {"takes", "script.jsonl", OWN_RECORD, COPY} or any((path / "takes").glob("*")):
        raise InputError(f"{path} exists and is not empty", hint="choose another folder for the new session")


def open_session(path: Path) -> Session:
    """Opens a session; raises InputError where it is missing or damaged, naming the line."""
    if not (path / RECORD).is_file() and not (path / COPY).is_file():
        raise InputError(f"{path} is no session: it has no session.json", hint="make one with: mmface4d session new")
    return Session(path, _read_record(path), tuple(read_script(path / "script.jsonl")))


def _read_record(path: Path) -> SessionRecord:
    try:
        value = read_json(path / RECORD)
    except InputError as error:
        raise InputError(error.message, hint=_how_to_mend(path)) from error
    if isinstance(value, dict) and isinstance(value.get("format"), int) and value["format"] > FORMAT:
        raise InputError(
            f"{path / RECORD} has format {value['format']}, this program reads {FORMAT}", hint="update mmface4d"
        )
    try:
        return SessionRecord.model_validate(value)
    except ValidationError as error:
        raise InputError(f"{path / RECORD} is damaged: {mistakes(error)}", hint=_how_to_mend(path)) from error


def _how_to_mend(path: Path) -> str:
    """What to do about a damaged `session.json`; everything else in the folder is untouched by that."""
    try:
        SessionRecord.model_validate(read_json(path / COPY))
    except (InputError, ValidationError):
        return 'write it anew, for example: {"subject": "P07", "created": ""}; script, log and takes are not touched'
    return f"nothing is lost; put its copy in its place: cp {path / COPY} {path / RECORD}"


@contextmanager
def held(path: Path) -> Iterator[Session]:
    """The session, held against other processes; raises BusyError where another one records in it."""
    open_session(path)
    with locked(path / ".lock", what=f"session {path}"):
        _drop_torn_line(path / "log.jsonl")
        yield open_session(path)


def read_script(path: Path) -> list[ScriptItem]:
    """The sentences of a JSONL file; raises InputError that names the line."""
    if not path.is_file():
        raise InputError(f"{path} does not exist", hint="a script is a JSONL file with id and text a line")
    items = []
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""), 1):
            if len(line) > MAX_LINE_BYTES or number > MAX_ITEMS:
                raise InputError(f"{path}, line {number}: too long to be a script", hint="give a script of sentences")
            if line.strip():
                items.append(_item(path, number, line))
    if not items:
        raise InputError(f"{path} holds no sentence", hint="a script is a JSONL file with id and text a line")
    _refuse_doubles(items)
    return items


def _item(path: Path, number: int, line: bytes) -> ScriptItem:
    try:
        value = json.loads(line.decode("utf-8-sig"))
        if isinstance(value, dict):
            value = {name: item for name, item in value.items() if name not in OF_A_CORPUS}
        return ScriptItem.model_validate(value)
    except ValidationError as error:
        raise InputError(f"{path}, line {number}: {_first(error)}", hint="mend the line named") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}, line {number}: no JSON in UTF-8 ({error})", hint="mend the line named") from error


def _refuse_doubles(items: list[ScriptItem]) -> None:
    seen: set[str] = set()
    for item in items:
        # folder names may not differ by case alone on some disks
        if item.id.casefold() in seen:
            raise InputError(f"the sentence id {item.id} stands twice in the script", hint="give each one its own")
        seen.add(item.id.casefold())


def _first(error: ValidationError) -> str:
    mistake = error.errors()[0]
    return f"{'.'.join(map(str, mistake['loc'])) or 'the line'}: {mistake['msg']}"


def read_log(path: Path) -> Iterator[Event]:
    """The events; a last line that a kill cut short is left out. Raises InputError where another line is damaged."""
    if not path.is_file():
        return
    if path.stat().st_size > MAX_LOG_BYTES:
        raise InputError(f"{path} is too large to be a log of ours", hint="restore it from a copy")
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines[:-1], 1):
        try:
            value = json.loads(line)
            yield Event(str(value.pop("what")), value.pop("item"), str(value.pop("at")), value)
        except (ValueError, KeyError, AttributeError, RecursionError) as error:
            raise InputError(
                f"{path}, line {number} is damaged", hint="remove that line; the takes themselves are in takes/"
            ) from error


def _append(path: Path, line: bytes) -> None:
    """Adds a line; where the disk takes only a part of it, the file is as it was."""
    with path.open("ab", buffering=0) as file:
        whole = file.tell()
        try:
            if file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(file.fileno())
        except OSError:
            file.truncate(whole)
            raise


def _drop_torn_line(path: Path) -> None:
    if not path.is_file():
        return
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        os.truncate(path, whole)
        sync(path)
