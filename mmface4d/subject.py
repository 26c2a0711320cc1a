"""A subject: what is known about a person who is recorded, and what they consented to. Never a name or birth date.

In a lab the record is LAB/subjects/P07.json, shared by the person's sessions; elsewhere it is SESSION/subject.json.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from mmface4d.errors import ConsentError, InputError
from mmface4d.files import read_json, write_json
from mmface4d.lab import find_lab
from mmface4d.locks import locked

FORMAT = 1
OWN_RECORD = "subject.json"  # of a session outside any lab
SCOPES = ("mesh", "audio", "rgb", "publish-picture")
NO_MESH, NO_SOUND = "the consent does not cover meshes", "the consent does not cover sound"
GENDERS = ("female", "male", "other", "unknown")
PSEUDONYM_HINT = "use a code such as P07; who is behind it belongs on a list that is kept elsewhere"
TWO_WORDS = re.compile(r"[A-Z][a-z]+[_-]?[A-Z][a-z]+")
CALENDAR_DAY = re.compile(r"(19|20)\d\d[_-]?(0[1-9]|1[0-2])[_-]?(0[1-9]|[12]\d|3[01])")
MAX_RECORD_BYTES = 1 << 20
Day = date  # the type, where a field has its name

Scope = Literal["mesh", "audio", "rgb", "publish-picture"]
Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]


def refuse_name(pseudonym: str) -> str:
    """The pseudonym as it is; raises ValueError, which says why, where it cannot be one or looks like a name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", pseudonym):
        raise ValueError("it must be letters, digits, _ and - only, 32 at most")
    if TWO_WORDS.search(pseudonym):
        raise ValueError("two capitalised words look like a name")
    if not re.search(r"\d", pseudonym):
        raise ValueError("without a digit it may be a name")
    if CALENDAR_DAY.search(pseudonym):
        raise ValueError("it holds a calendar day, perhaps a birth date")
    return pseudonym


Pseudonym = Annotated[str, AfterValidator(refuse_name)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Consent(_Strict):
    """What a person has signed: which version of the form, when, until when it holds, and for what."""

    version: Annotated[str, StringConstraints(pattern=r"^[\w.-]{1,32}$")]
    date: Day
    until: Day | None = None
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _sensible(self) -> "Consent":
        if len(set(self.scopes)) < len(self.scopes):
            raise ValueError("a scope stands twice")
        if self.until is not None and self.until < self.date:
            raise ValueError(f"it would end on {self.until}, before it begins on {self.date}")
        return self


class Subject(_Strict):
    """What stands in a subject's record; `former` are consents that a later one has replaced, oldest first."""

    format: int = FORMAT
    pseudonym: Pseudonym
    age: Annotated[int, Field(ge=1, le=120)]  # in years, when last asked
    gender: Literal["female", "male", "other", "unknown"]
    language: Language
    consent: Consent | None = None
    former: tuple[Consent, ...] = ()
    withdrawn: date | None = None


def read_subject(path: Path) -> Subject:
    """Reads a subject's record; raises InputError with every mistake in it."""
    value = read_json(path, max_bytes=MAX_RECORD_BYTES)
    if isinstance(value, dict) and isinstance(value.get("format"), int) and value["format"] > FORMAT:
        raise InputError(f"{path} has format {value['format']}, this program reads {FORMAT}", hint="update mmface4d")
    try:
        subject = Subject.model_validate(value)
    except ValidationError as error:
        raise InputError(
            f"{path} is damaged: {mistakes(error)}", hint="mend what is named, by the paper form"
        ) from error
    if path.name not in (OWN_RECORD, f"{subject.pseudonym}.json"):
        raise InputError(
            f"{path} is about {subject.pseudonym}, not {path.stem}", hint="give the file its subject's name again"
        )
    return subject


def write_subject(path: Path, subject: Subject) -> None:
    """Writes a subject's record; hold it (`held_subject`) where it was read to be changed."""
    write_json(path, subject.model_dump(mode="json"))


@contextmanager
def held_subject(path: Path) -> Iterator[None]:
    """Holds a subject's record against other processes; raises BusyError where another one changes it."""
    with locked(path.with_name(f".{path.stem}.lock"), what=f"subject {path.stem}"):
        yield


def subject_path(session: Path, pseudonym: str) -> Path:
    """Where the record of a session's subject is, or is to be: the lab's, else the session's own.

    A session that was made elsewhere and then put into a lab may bring its own; what the lab knows outranks it.
    """
    own, lab = session / OWN_RECORD, find_lab(session)
    if lab is None:
        return own
    of_lab = lab.subjects / f"{pseudonym}.json"
    return own if own.is_file() and not of_lab.is_file() else of_lab


def check_may_record(subject: Subject, today: date) -> None:
    """Raises ConsentError, which says why, where a person may not be recorded today."""
    name, consent = subject.pseudonym, subject.consent
    if subject.withdrawn is not None:
        raise ConsentError(f"{name} withdrew their consent on {subject.withdrawn}", hint="do not record them")
    if consent is None:
        raise ConsentError(f"{name} has given no consent", hint=_renew(name))
    if consent.date > today:
        raise ConsentError(
            f"the consent of {name} is dated {consent.date}, after today", hint="mend the date, or the clock"
        )
    if consent.until is not None and consent.until < today:
        raise ConsentError(f"the consent of {name} ended on {consent.until}", hint=_renew(name))
    if "mesh" not in consent.scopes:
        raise ConsentError(
            f"the consent of {name} does not cover mesh, only {', '.join(consent.scopes)}", hint=_renew(name)
        )


def _renew(name: str) -> str:
    return f"let them sign the form, then enter it with: mmface4d subject consent {name}"


def with_consent(subject: Subject, consent: Consent) -> Subject:
    """The subject with a newer consent; the one before is kept as a former one.

    Raises ConsentError where the person has withdrawn, or the present consent is newer.
    """
    if subject.withdrawn is not None:
        raise ConsentError(
            f"{subject.pseudonym} withdrew their consent on {subject.withdrawn}",
            hint="a person who takes part again gets a new pseudonym",
        )
    before = subject.consent
    if before == consent:
        return subject
    if before is not None and consent.date < before.date:
        raise ConsentError(
            f"{subject.pseudonym} has a newer consent, of {before.date}", hint="enter the newest form that was signed"
        )
    former = subject.former + (() if before is None else (before,))
    return subject.model_copy(update={"consent": consent, "former": former})


def mistakes(error: ValidationError) -> str:
    """What pydantic found, all of it, in one line."""
    return "; ".join(
        f"{'.'.join(map(str, each['loc'])) or 'the record'}: {each['msg']}" for each in error.errors()[:20]
    )


def enter_subject(path: Path, subject: Subject) -> Subject:
    """Writes a new subject's record, or brings a known one's up to date, and returns what stands there now.

    Raises InputError where the record seems to be about another person, and what `with_consent` raises.
    """
    _refuse_lookalike(path)
    with held_subject(path):
        known = read_subject(path) if path.is_file() else None
        entered = subject if known is None else _updated(known, subject)
        if entered != known:
            write_subject(path, entered)
    return entered


def _refuse_lookalike(path: Path) -> None:
    for other in path.parent.glob("*.json"):
        # some disks do not tell them apart, and nor do tired people
        if other.stem != path.stem and other.stem.casefold() == path.stem.casefold():
            raise InputError(f"{path.stem} differs from {other.stem} by case alone", hint="choose another pseudonym")


def _updated(known: Subject, said: Subject) -> Subject:
    contradictions = [
        f"{what} {getattr(known, what)}, not {getattr(said, what)}"
        for what in ("gender", "language")
        if getattr(known, what) != getattr(said, what)
    ]
    if said.age < known.age:
        contradictions.append(f"age {known.age}, not {said.age}")
    if contradictions:
        raise InputError(
            f"{known.pseudonym} is known already, with {'; '.join(contradictions)}",
            hint="another person needs another pseudonym; for the same one leave these options out",
        )
    aged = known.model_copy(update={"age": said.age})
    return aged if said.consent is None else with_consent(aged, said.consent)
