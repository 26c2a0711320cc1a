"""Reading `lab.toml`: every mistake at once, each with its line."""

import re
import tomllib
from pathlib import Path
from typing import Any

from mmface4d.errors import InputError
from mmface4d.lab_mistakes import Mistake, find_mistakes, plain
from mmface4d.lab_settings import Key, LabSettings
from mmface4d.text_file import read_text
from mmface4d.toml_lines import key_lines

MAX_BYTES, MAX_LINE = 1 << 16, 1000
MOST_MISTAKES = 20
MOST_NO_TOML = 200  # each costs a look at the whole file
AT_LINE = re.compile(r" \(at line (\d+), column \d+\)$")
SETTING = re.compile(r"\s*[\w.\-\"' ]+?\s*=\s*(.*)")
HEADER = re.compile(r"\s*\[")


def read_settings(path: Path) -> tuple[LabSettings, dict[Key, int]]:
    """The settings of a file, and the line of each key that stands there; raises InputError with every mistake."""
    text = read_text(path, max_bytes=MAX_BYTES)
    values, lines, mistakes = _parse(text)
    mistakes = sorted([*mistakes, *find_mistakes(values, lines, whole=not mistakes)])
    if mistakes:
        raise InputError(_told(path, mistakes), hint="mend the lines named")
    return LabSettings.model_validate(values), lines


def _told(path: Path, mistakes: list[Mistake]) -> str:
    if len(mistakes) == 1:
        return f"{path}, line {mistakes[0].line}: {mistakes[0].text}"
    told = [f"{path} has {len(mistakes)} mistakes:"]
    told += [f"  line {mistake.line}: {mistake.text}" for mistake in mistakes[:MOST_MISTAKES]]
    if len(mistakes) > MOST_MISTAKES:
        told.append(f"  and {len(mistakes) - MOST_MISTAKES} more")
    return "\n".join(told)


def _parse(text: str) -> tuple[dict[str, Any], dict[Key, int], list[Mistake]]:
    """Values, lines, and what is no TOML; a line that is none is left out, so that the others are looked at too."""
    lines = [*text.split("\n"), ""]
    mistakes = [
        Mistake(number, f"longer than {MAX_LINE} characters")
        for number, line in enumerate(lines, 1)
        if len(line) > MAX_LINE
    ]
    closed = not mistakes
    while closed and len(mistakes) < MOST_NO_TOML:
        try:
            values = tomllib.loads("\n".join(lines))
        except (ValueError, RecursionError) as error:
            mistake, closed = _mistake(error, lines)
            mistakes.append(mistake)
            is_header = HEADER.match(lines[mistake.line - 1])
            lines[mistake.line - 1] = f'["\\u0000line {mistake.line}"]' if is_header else ""
        else:
            aside = {f"\0line {mistake.line}" for mistake in mistakes}
            return (
                {key: value for key, value in values.items() if key not in aside},
                key_lines("\n".join(lines)),
                mistakes,
            )
    return {}, {}, mistakes


def _mistake(error: Exception, lines: list[str]) -> tuple[Mistake, bool]:
    """What a parser's error says, and whether it names a line, without which the others can be looked at."""
    found = AT_LINE.search(str(error))
    if found and (line := lines[int(found[1]) - 1]).strip():
        return Mistake(int(found[1]), _why(line, AT_LINE.sub("", str(error)))), True
    begun = max(key_lines("\n".join(lines)).values(), default=1)
    return Mistake(begun, f"what begins here is not closed: {plain(lines[begun - 1].strip())}"), False


def _why(line: str, why: str) -> str:
    """What is wrong with a line that is no TOML; the usual slips have a word of their own."""
    setting = SETTING.match(line)
    value = setting[1] if setting else ""
    if why.startswith("Cannot overwrite a value"):
        return f"{plain(line.split('=')[0].strip())} stands twice in this table"
    if why.startswith("Cannot declare"):
        return f"{plain(line.strip())} stands twice; put its settings together"
    if any(quote in line for quote in "“”‘’„"):
        return f"quotes must be straight: {plain(line.strip())}"
    if re.match(r"[+-]?0\d", value):
        return f"a number that begins with 0 needs quotes: {plain(line.strip())}"
    if re.match(r"[^\W\d]", value) and value.split("#")[0].strip() not in ("true", "false"):
        return f"text needs quotes: {plain(line.strip())}"
    if setting is None and line.strip() and not HEADER.match(line):
        return f"a setting is written name = value: {plain(line.strip())}"
    return f"no TOML ({why[:1].lower() + why[1:]}): {plain(line.strip())}"
