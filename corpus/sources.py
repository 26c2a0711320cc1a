"""Sentences from files that people wrote: plain text, CSV or JSON lines. Every mistake is named with its line."""

import csv
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from corpus.mistakes import Mistakes, quoted
from corpus.sentence import EMOTION_PREFIXES, SCENARIOS
from corpus.writing import other_language
from mmface4d.errors import InputError, UsageError
from mmface4d.session import EMOTIONS, MAX_TEXT
from mmface4d.text_file import read_text

MAX_FILE_BYTES, MAX_LINE, MAX_LINES = 256 << 20, 1 << 16, 2_000_000
SUFFIXES = (".txt", ".csv", ".tsv", ".jsonl")
COLUMNS = ("id", "text", "language", "scenario", "emotion")
MADE_BY_US = ("phonemes", "practice")  # in a corpus.jsonl; made anew
# a spreadsheet takes such a cell for a formula
FORMULA = tuple("=+-@＝＋－＠")
HINT = "mend the lines named, or leave them out with --skip-bad"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")


@dataclass(frozen=True)
class Defaults:
    """What holds for a line that does not say it."""

    language: str = "en"
    scenario: str = "conversation"
    emotion: str = "neutral"


@dataclass(frozen=True)
class SourceLine:
    """A sentence as it stands in a source; `line` is from 1."""

    path: Path
    line: int
    text: str
    language: str
    scenario: str
    emotion: str
    id: str | None = None


@dataclass
class _Reader:
    """What was read so far, and what was wrong."""

    defaults: Defaults
    mistakes: Mistakes = field(default_factory=Mistakes)
    lines: list[SourceLine] = field(default_factory=list)
    ids: dict[str, SourceLine] = field(default_factory=dict)


def read_sources(
    paths: Sequence[Path], defaults: Defaults | None = None, *, mistakes: Mistakes | None = None
) -> list[SourceLine]:
    """The sentences of all files, in order.

    Raises InputError for a file that is missing, too large, no UTF-8 or of another kind, and, with all lines named,
    for lines that are wrong. Where `mistakes` is given, wrong lines are noted there and left out instead.
    """
    reader = _Reader(defaults or Defaults(), Mistakes() if mistakes is None else mistakes)
    for path in paths:
        before = len(reader.lines)
        for line, row in _rows(path, reader.mistakes):
            _take(reader, path, line, row)
        if len(reader.lines) == before and not reader.mistakes.count:
            raise InputError(f"{path} holds no sentence", hint="write one sentence a line")
    if mistakes is None:
        reader.mistakes.refuse(hint=HINT)
    return reader.lines


def check_defaults(defaults: Defaults) -> None:
    """Raises UsageError where what holds for silent lines is itself unknown."""
    for what in _wrong_labels(vars(defaults)):
        raise UsageError(what, hint="see: mmface4d corpus build --help")


def _rows(path: Path, mistakes: Mistakes) -> Iterator[tuple[int, dict[str, Any]]]:
    """The records of a file with their lines."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path} is no source of sentences", hint=f"give files that end in {', '.join(SUFFIXES)}")
    lines = read_text(path, max_bytes=MAX_FILE_BYTES).replace("\r", "\n").split("\n")
    if len(lines) > MAX_LINES:
        raise InputError(f"{path} has {len(lines)} lines, at most {MAX_LINES} are read", hint="split it")
    if suffix in (".csv", ".tsv"):
        return _csv_rows(path, lines, mistakes)
    return _line_rows(path, lines, mistakes, is_json=suffix == ".jsonl")


def _line_rows(
    path: Path, lines: list[str], mistakes: Mistakes, *, is_json: bool
) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_LINE:
            mistakes.add(path, number, _too_long(line))
        elif line.strip():
            row = _json_row(line) if is_json else {"text": line.strip()}
            if isinstance(row, dict):
                yield number, row
            else:
                mistakes.add(path, number, row)


def _json_row(line: str) -> dict[str, Any] | str:
    """The object, or what is wrong with it."""
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        return f"no JSON: {error.msg} (column {error.colno})"
    except (ValueError, RecursionError):
        return "no JSON that can be read"
    return value if isinstance(value, dict) else 'no JSON object: write {"text": "..."}'


def _csv_rows(path: Path, lines: list[str], mistakes: Mistakes) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_LINE:  # it may have opened a quotation mark, so nothing after it is sure
            mistakes.add(path, number, f"{_too_long(line)}; what follows was not read")
            lines = lines[: number - 1]
            break
    reader = csv.reader((line + "\n" for line in lines), delimiter=_delimiter(path, lines), strict=True)
    header: list[str] | None = None
    number = 1
    try:
        for cells in reader:
            if header is None:
                header = _header(path, cells)
            elif any(cell.strip() for cell in cells):
                if len(cells) > len(header):
                    mistakes.add(path, number, f"{len(cells)} cells, the first line names {len(header)} columns")
                else:
                    yield number, {"formulas": True} | dict(zip(header, cells, strict=False))
            number = reader.line_num + 1
    except csv.Error as error:
        mistakes.add(path, number, f"no CSV from here on: {error}; is a quotation mark not closed?")


def _delimiter(path: Path, lines: list[str]) -> str:
    """Spreadsheets of half of Europe write semicolons."""
    if path.suffix.lower() == ".tsv":
        return "\t"
    return ";" if lines and lines[0].count(";") > lines[0].count(",") else ","


def _header(path: Path, cells: list[str]) -> list[str]:
    names = [cell.strip().lower() for cell in cells]
    unknown = [name for name in names if name not in COLUMNS]
    doubles = sorted({name for name in names if names.count(name) > 1})
    what = None
    if "text" not in names:
        what = "no column is called text"
    elif unknown:
        what = f"there is no column {', '.join(map(quoted, unknown))}"
    elif doubles:
        what = f"the column {', '.join(doubles)} stands there twice"
    if what:
        raise InputError(f"{path}, line 1: {what}", hint=f"name the columns in the first line: {', '.join(COLUMNS)}")
    return names


def _take(reader: _Reader, path: Path, line: int, row: dict[str, Any]) -> None:
    """Adds a record to what was read, or its mistakes."""
    formulas = row.pop("formulas", False)
    wrong = list(_wrong(row, formulas=formulas, defaults=reader.defaults))
    if not wrong:
        values = _values(row, reader.defaults)
        found = SourceLine(path, line, **values)
        twin = reader.ids.setdefault(found.id.casefold(), found) if found.id else found
        if twin is found:
            reader.lines.append(found)
            return
        where = f"line {twin.line}" if twin.path == path else f"{twin.path}, line {twin.line}"
        wrong = [f"the id {found.id} stands in {where} too"]
    for what in wrong:
        reader.mistakes.add(path, line, what)


def _values(row: dict[str, Any], defaults: Defaults) -> dict[str, Any]:
    """All fields of a record without mistakes; empty ones are as if they were not there."""
    given = {name: row[name].strip() for name in COLUMNS if row.get(name) and row[name].strip()}
    return {**vars(defaults), **given}


def _wrong(row: dict[str, Any], *, formulas: bool, defaults: Defaults) -> Iterator[str]:
    for name in row:
        if name not in COLUMNS and name not in MADE_BY_US:
            yield f"there is no field {quoted(name)}; there are {', '.join(COLUMNS)}"
    kinds = [name for name in COLUMNS if row.get(name) is not None and not isinstance(row[name], str)]
    yield from (f"the {name} is no text: {quoted(row[name])}" for name in kinds)
    if kinds:
        return
    values = _values(row, defaults)
    yield from _wrong_labels(values)
    yield from _wrong_text(row.get("text") or "", formulas=formulas, language=values["language"])


def _wrong_labels(values: dict[str, Any]) -> Iterator[str]:
    for name, known in (("emotion", EMOTIONS), ("scenario", SCENARIOS)):
        if values[name] not in known:
            yield f"unknown {name} {quoted(values[name])}{_meant(values[name], known)}"
    if not _LANGUAGE.fullmatch(values["language"]):
        yield f"{quoted(values['language'])} is no language: write a code such as en, zh or de"
    identity = values.get("id")
    if identity is None:
        return
    if not _ID.fullmatch(identity):
        yield f"the id {quoted(identity)} cannot be used: letters, digits, _ . - only, 64 at most"
    elif (other := emotion_of(identity)) and values["emotion"] in EMOTIONS and other != values["emotion"]:
        yield f"the id {identity} is one of {other}, the emotion is {values['emotion']}"


def _wrong_text(text: str, *, formulas: bool, language: str) -> Iterator[str]:
    if not text.strip():
        yield "the text is empty"
    elif formulas and text.lstrip().startswith(FORMULA):
        yield f"the text begins like a formula: {quoted(text)}"
    elif len(text) > MAX_TEXT:
        yield f"the text has {len(text)} characters, {MAX_TEXT} at most"
    elif "\ufffd" in text or "\0" in text:
        yield f"the text has characters that were lost when it was saved: {quoted(text)}"
    elif _LANGUAGE.fullmatch(language) and (other := other_language(text, language)):
        yield f"{other} in a sentence of the language {language}"


def emotion_of(identity: str) -> str | None:
    """The emotion whose prefix an id of ours carries: `23_0017` is sad."""
    prefix, _, number = identity.partition("_")
    emotions = {code: emotion for emotion, code in EMOTION_PREFIXES.items()}
    return emotions.get(prefix) if re.fullmatch(r"\d{4,9}", number) else None


def _meant(word: str, known: Sequence[str]) -> str:
    near = get_close_matches(word.lower(), known, n=1)
    return f"; is {near[0]} meant?" if near else f"; there are {', '.join(known)}"


def _too_long(line: str) -> str:
    return f"a line of {len(line.encode()) / 1e6:.1f} MB is no sentence"
