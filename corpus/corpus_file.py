"""The corpus on the disk: a sentence a line."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from corpus.mistakes import Mistakes, quoted
from corpus.sentence import Sentence
from mmface4d.errors import InputError
from mmface4d.files import atomic_path
from mmface4d.text_file import read_text

MAX_FILE_BYTES, MAX_LINE = 512 << 20, 1 << 18
HINT = "make the corpus again with: mmface4d corpus build"


def write_corpus(path: Path, sentences: Iterable[Sentence]) -> None:
    """Writes a corpus; a killed process leaves what was there before."""
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        for sentence in sentences:
            file.write(sentence.model_dump_json() + "\n")


def refuse_loss(path: Path, sentences: Iterable[Sentence], *, replace: bool = False) -> None:
    """Raises InputError where writing these sentences to `path` would lose any that stand there, or their ids.

    Recordings know their sentence by its id. `replace` allows it, of a corpus, but of no other file.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder", hint="name a file, for example corpus.jsonl")
    if not path.exists():
        return
    try:
        old = read_corpus(path)
    except InputError as error:
        raise InputError(f"{path} exists and is no corpus", hint="give another name with -o") from error
    texts = {sentence.id: sentence.text for sentence in sentences}
    lost = [sentence.id for sentence in old if texts.get(sentence.id) != sentence.text]
    if lost and not replace:
        raise InputError(
            f"{path} exists; {len(lost)} of its {len(old)} sentences would be lost or get another id, {lost[0]} first",
            hint="give another name with -o, or --replace where nothing was recorded from it yet",
        )


def read_corpus(path: Path) -> list[Sentence]:
    """The sentences of a corpus; raises InputError that names every line which is damaged or has another's id."""
    mistakes, sentences = Mistakes(), list[Sentence]()
    lines_of_ids: dict[str, int] = {}
    for number, line in enumerate(read_text(path, max_bytes=MAX_FILE_BYTES).split("\n"), 1):
        if not line.strip():
            continue
        found = _sentence(line)
        if isinstance(found, str):
            mistakes.add(path, number, found)
            continue
        # folder names may not differ by case alone on some disks
        first = lines_of_ids.setdefault(found.id.casefold(), number)
        if first != number:
            mistakes.add(path, number, f"the id {found.id} stands in line {first} too")
        sentences.append(found)
    mistakes.refuse(hint=HINT)
    if not sentences:
        raise InputError(f"{path} holds no sentence", hint=HINT)
    return sentences


def _sentence(line: str) -> Sentence | str:
    """The sentence, or what is wrong with its line."""
    if len(line) > MAX_LINE:
        return f"a line of {len(line) / 1e6:.1f} MB is no sentence"
    try:
        return Sentence.model_validate(json.loads(line))
    except ValidationError as error:
        return "; ".join(_told(each) for each in error.errors(include_url=False)[:3])
    except (ValueError, RecursionError):
        return "no JSON; the line is damaged or cut off"


def _told(mistake: Any) -> str:
    place = ".".join(str(part) for part in mistake["loc"]) or "the line"
    return f"{place} is {quoted(mistake['input'])}: {mistake['msg'][:1].lower()}{mistake['msg'][1:]}"
