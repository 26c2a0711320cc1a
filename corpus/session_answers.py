"""What `session new` wants to know: taken from options, or asked for on a terminal, and checked alike.

Nobody is asked for a name or a birth date. Without a terminal everything that is missing or wrong is named at once.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from mmface4d.errors import ConsentError, InputError, UsageError
from mmface4d.lab import find_lab
from mmface4d.session import Sheet
from mmface4d.subject import (
    GENDERS,
    PSEUDONYM_HINT,
    SCOPES,
    Consent,
    Subject,
    check_may_record,
    mistakes,
    read_subject,
    refuse_name,
    subject_path,
)
from mmface4d.withdrawal import refuse_withdrawn_person

SHEET_KEYS = {
    "room": "Room",
    "microphone": "Microphone",
    "microphone-cm": "Its distance from the mouth, in cm",
    "warm-up-min": "Minutes that the cameras have been on",
    "notes": "Notes",
}


@dataclass(frozen=True)
class Question:
    """Something to know: the option that answers it, the words that ask for it, and what reads the answer."""

    option: str
    text: str
    read: Callable[[str], Any]
    default: str | None = None  # where it need not be answered


def _pseudonym(text: str) -> str:
    try:
        return refuse_name(text)
    except ValueError as error:
        raise ValueError(f"it cannot be a pseudonym: {error}; {PSEUDONYM_HINT}") from error


def _existing(text: str) -> Path:
    if not Path(text).is_file():
        raise ValueError("there is no such file")
    return Path(text)


def _age(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text) <= 120:
        raise ValueError("an age is 1 to 120 years")
    return int(text)


def _gender(text: str) -> str:
    if text not in GENDERS:
        raise ValueError(f"it is one of {', '.join(GENDERS)}")
    return text


def _language(text: str) -> str:
    if not re.fullmatch(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*", text):
        raise ValueError("a language is a code such as zh or en")
    return text


def _version(text: str) -> str:
    if not re.fullmatch(r"[\w.-]{1,32}", text):
        raise ValueError("a version is letters, digits, _ . - only")
    return text


def _day(text: str) -> date:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        raise ValueError("a date is YYYY-MM-DD")
    return date.fromisoformat(text)


def _signed(text: str) -> date:
    if _day(text) > date.today():
        raise ValueError("it lies in the future")
    return _day(text)


def _until(text: str) -> date | None:
    if not text:
        return None
    if _day(text) < date.today():
        raise ValueError("it is over already")
    return _day(text)


def _scopes(text: str) -> tuple[str, ...]:
    named = [scope.strip() for scope in text.split(",")]
    unknown = [scope for scope in named if scope not in SCOPES]
    if unknown:
        raise ValueError(f"{', '.join(map(repr, unknown))} is none of {', '.join(SCOPES)}")
    if "mesh" not in named:
        raise ValueError("without mesh nothing can be recorded")
    return tuple(scope for scope in SCOPES if scope in named)


SUBJECT = Question("--subject", "Pseudonym, never a name", _pseudonym)
SCRIPT = Question("--script", "File of the sentences", _existing)
PERSON = (
    Question("--age", "Age in years", _age),
    Question("--gender", f"Gender ({', '.join(GENDERS)})", _gender),
    Question("--language", "First language, such as zh or en", _language),
)
CONSENT = (
    Question("--consent", "Version of the consent form", _version),
    Question("--consent-date", "Signed on (YYYY-MM-DD)", _signed),
    Question("--consent-until", "Holds until (YYYY-MM-DD; nothing: no end)", _until, default=""),
    Question("--scopes", f"Consented to ({', '.join(SCOPES)})", _scopes),
)
OF_PERSON = (SUBJECT, *PERSON, *CONSENT)


@dataclass
class Asker:
    """Answers from options; those that are missing are asked for where `asks`, or listed."""

    given: Mapping[str, str | None]
    asks: bool
    missing: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def answer(self, question: Question) -> Any:
        """The answer, or None where it is listed as missing or wrong."""
        text = self.given.get(question.option)
        if text is None and self.asks:
            return self._prompt(question)
        if text is None and question.default is None:
            self.missing.append(question.option)
            return None
        try:
            return question.read((text if text is not None else question.default or "").strip())
        except ValueError as error:
            self.wrong.append(f"{question.option} {text!r}: {error}")
            return None

    def _prompt(self, question: Question) -> Any:
        def read(text: str) -> Any:
            try:
                return question.read(text.strip())
            except ValueError as error:
                raise click.UsageError(str(error)) from error

        return click.prompt(
            question.text, value_proc=read, default=question.default, show_default=bool(question.default), err=True
        )

    def finish(self) -> None:
        """Raises UsageError or InputError with all that is missing or wrong."""
        told = "; ".join(([f"missing: {', '.join(self.missing)}"] if self.missing else []) + self.wrong)
        if self.missing:
            raise UsageError(told, hint="give them, or run this on a terminal and be asked")
        if self.wrong:
            raise InputError(told, hint="mend what is named")


@dataclass(frozen=True)
class Answers:
    """All that a new session of a person needs."""

    person: Subject
    script: Path
    sheet: Sheet


def ask_all(folder: Path, asker: Asker, sheet: Iterable[str]) -> Answers:
    """For a new session in `folder`; a person who is known there is not asked again.

    Raises UsageError or InputError with all that is missing or wrong, ConsentError where they may not be recorded.
    """
    name = asker.answer(SUBJECT)
    path = None if name is None else subject_path(folder, name)
    known = read_subject(path) if path is not None and path.is_file() else None
    if known is not None and known.withdrawn is not None:
        check_may_record(known, date.today())
    if name is not None:
        refuse_withdrawn_person(folder, name)
    said = {question.option.removeprefix("--"): _of_person(question, asker, known) for question in PERSON}
    renews = any(asker.given.get(question.option) is not None for question in CONSENT)
    asks_consent = renews or known is None or _may_not(known)
    consent = _consent([asker.answer(question) for question in CONSENT], asker) if asks_consent else None
    script, noted = asker.answer(SCRIPT), ask_sheet(sheet, asker, microphone=_microphone(folder))
    asker.finish()
    person = Subject.model_validate({"pseudonym": name, "consent": consent, **said})
    check_may_record(known if known is not None and consent is None else person, date.today())
    return Answers(person, script, noted)


def _of_person(question: Question, asker: Asker, known: Subject | None) -> Any:
    if known is None or asker.given.get(question.option) is not None:
        return asker.answer(question)
    return getattr(known, question.option.removeprefix("--"))


def _may_not(known: Subject) -> bool:
    try:
        check_may_record(known, date.today())
    except ConsentError:
        return True
    return False


def _consent(answers: Iterable[Any], asker: Asker) -> Consent | None:
    version, day, until, scopes = answers
    if None in (version, day, scopes):
        return None
    try:
        return Consent(version=version, date=day, until=until, scopes=scopes)
    except ValidationError as error:
        asker.wrong.append(mistakes(error))
        return None


def ask_consent(asker: Asker) -> Consent:
    """A consent alone; raises UsageError or InputError with all that is missing or wrong."""
    consent = _consent([asker.answer(question) for question in CONSENT], asker)
    asker.finish()
    if consent is None:  # finish has raised what is the matter
        raise InputError("no consent was entered", hint="run the command again")
    return consent


def _microphone(folder: Path) -> str:
    lab = find_lab(folder)
    return "" if lab is None else lab.settings.sound.microphone


def ask_sheet(entries: Iterable[str], asker: Asker, *, microphone: str = "") -> Sheet:
    """The session sheet from KEY=VALUE entries, and from a terminal, where the lab's microphone is proposed.

    Mistakes are listed.
    """
    proposed = {"microphone": microphone}
    values: dict[str, str] = {}
    for entry in entries:
        key, equals, value = entry.partition("=")
        if not equals or key not in SHEET_KEYS:
            asker.wrong.append(f"--sheet {entry!r}: it is KEY=VALUE with one of {', '.join(SHEET_KEYS)}")
        values[key] = value
    if asker.asks:
        for key, text in SHEET_KEYS.items():
            if key not in values:
                values[key] = asker.answer(Question(f"--sheet {key}", text, _sheet_entry(key), proposed.get(key, "")))
    try:
        return _sheet(values)
    except ValidationError as error:
        asker.wrong.append(f"--sheet: {mistakes(error)}")
        return Sheet()


def _sheet(values: Mapping[str, str]) -> Sheet:
    return Sheet.model_validate(
        {key.replace("-", "_"): value.strip() for key, value in values.items() if key in SHEET_KEYS and value.strip()}
    )


def _sheet_entry(key: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        try:
            _sheet({key: text})
        except ValidationError as error:
            raise ValueError(error.errors()[0]["msg"]) from error
        return text

    return read
