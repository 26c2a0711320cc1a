"""Scripts from files that people write: JSONL as it is, or plain text with a sentence a line."""

from pathlib import Path

from pydantic import ValidationError

from corpus.writing import other_language
from mmface4d.errors import InputError
from mmface4d.session import MAX_ITEMS, MAX_TEXT, ScriptItem, read_script
from mmface4d.text_file import read_text

MAX_FILE_BYTES = 64 << 20
OF_OTHER_KINDS = (".csv", ".tsv", ".json")


def load_script(path: Path, *, language: str = "en") -> list[ScriptItem]:
    """The sentences of a `.jsonl` or `.txt` file; raises InputError that names the line."""
    if path.suffix.lower() == ".jsonl":
        return read_script(path)
    if path.suffix.lower() in OF_OTHER_KINDS:  # columns would be read aloud, and emotions lost
        hint = f"a script is .jsonl or .txt; make one with: mmface4d corpus build {path} -o corpus.jsonl"
        raise InputError(f"{path} is no script", hint=hint)
    lines = read_text(path, max_bytes=MAX_FILE_BYTES).splitlines()
    numbered = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    if not numbered:
        raise InputError(f"{path} holds no sentence", hint="write one sentence a line")
    if len(numbered) > MAX_ITEMS:
        raise InputError(f"{path} holds {len(numbered)} sentences, at most {MAX_ITEMS} make a script", hint="split it")
    return [_item(path, number, text, count, language) for count, (number, text) in enumerate(numbered, 1)]


def _item(path: Path, number: int, text: str, count: int, language: str) -> ScriptItem:
    other = other_language(text, language)
    if other is not None:
        raise InputError(
            f"{path}, line {number}: {other} in a script in {language}",
            hint="mend the line, or give a .jsonl script that says the language of each sentence",
        )
    try:
        return ScriptItem(id=f"00_{count:04d}", text=text, language=language)
    except ValidationError as error:
        too_long = len(text) > MAX_TEXT
        what = f"the sentence is longer than {MAX_TEXT} characters" if too_long else error.errors()[0]["msg"]
        raise InputError(f"{path}, line {number}: {what}", hint="mend the line named") from error
