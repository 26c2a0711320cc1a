"""Scripts from files that people write: JSONL as it is, or plain text with a sentence a line."""

from pathlib import Path

from pydantic import ValidationError

from mmface4d.errors import InputError
from mmface4d.session import MAX_ITEMS, MAX_TEXT, ScriptItem, read_script

MAX_FILE_BYTES = 64 << 20


def load_script(path: Path, *, language: str = "en") -> list[ScriptItem]:
    """The sentences of a `.jsonl` or `.txt` file; raises InputError that names the line."""
    if path.suffix.lower() == ".jsonl":
        return read_script(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist", hint="a script is a .jsonl or .txt file")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InputError(f"{path} is too large to be a script", hint="give a file of sentences, one a line")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no UTF-8 text (byte {error.start})", hint="save it as UTF-8") from error
    numbered = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    if not numbered:
        raise InputError(f"{path} holds no sentence", hint="write one sentence a line")
    if len(numbered) > MAX_ITEMS:
        raise InputError(f"{path} holds {len(numbered)} sentences, at most {MAX_ITEMS} make a script", hint="split it")
    return [_item(path, number, text, count, language) for count, (number, text) in enumerate(numbered, 1)]


def _item(path: Path, number: int, text: str, count: int, language: str) -> ScriptItem:
    try:
        return ScriptItem(id=f"00_{count:04d}", text=text, language=language)
    except ValidationError as error:
        too_long = len(text) > MAX_TEXT
        what = f"the sentence is longer than {MAX_TEXT} characters" if too_long else error.errors()[0]["msg"]
        raise InputError(f"{path}, line {number}: {what}", hint="mend the line named") from error
