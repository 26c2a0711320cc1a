"""Where things stand in a TOML file: `tomllib` reads values, but forgets their lines."""

import re

Key = tuple[str, ...]
DEEPEST = 4  # what lies deeper gets the line of what holds it
WORD = re.compile(r'[A-Za-z0-9_-]+|"(?:\\.|[^"\\\n])*"|\'[^\'\n]*\'')
DOT = re.compile(r"[ \t]*\.[ \t]*")
# a value's parts; several-line strings come first, because they begin like others
PART = re.compile(
    r'"""(?:\\.|[^\\])*?(?:"{3,5}|\Z)'
    r"|'''.*?(?:'{3,5}|\Z)"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*"
    r"|[\[\]{}\n]"
    r"|[^\"'#\[\]{}\n]+"
    r"|.",
    re.DOTALL,
)
BLANK = re.compile(r"(?:[ \t\n]+|#[^\n]*)+")
ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)")
SHORT = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}


def key_lines(text: str) -> dict[Key, int]:
    """The line, from 1, where each table and key of a valid TOML text stands first; tables in arrays are numbered."""
    return _Scan(text).lines


class _Scan:
    """Goes through a text, statement by statement."""

    def __init__(self, text: str) -> None:
        self._text, self._place, self._line = text, 0, 1
        self._table: Key = ()
        self._counts: dict[Key, int] = {}  # of tables in arrays
        self.lines: dict[Key, int] = {}
        self._skip(BLANK)
        while self._place < len(text):
            before = self._place
            self._header() if text[before] == "[" else self._setting()
            self._skip(BLANK)
            self._place = max(self._place, before + 1)  # no text, however wrong, holds this up

    def _skip(self, what: re.Pattern[str]) -> str:
        found = what.match(self._text, self._place)
        if found is None:
            return ""
        self._place = found.end()
        self._line += found[0].count("\n")
        return found[0]

    def _header(self) -> None:
        array = self._text.startswith("[[", self._place)
        line = self._line
        self._place += 2 if array else 1
        self._skip(BLANK)
        table: Key = ()
        *holders, last = self._key() or ("",)
        for part in holders:
            table = self._counted((*table, part))
            self._note(table, line)
        table = (*table, last)
        self._note(table, line)
        if array:
            self._counts[table] = self._counts.get(table, 0) + 1
            table = self._counted(table)
            self._note(table, line)
        self._table = table
        self._rest_of_line()

    def _counted(self, table: Key) -> Key:
        count = self._counts.get(table)
        return table if count is None else (*table, str(count - 1))

    def _setting(self) -> None:
        path = self._table
        for part in self._key():
            path = (*path, part)
            self._note(path, self._line)
        self._rest_of_line()

    def _key(self) -> Key:
        parts = []
        while word := self._skip(WORD):
            parts.append(_plain(word))
            if not self._skip(DOT):
                break
        return tuple(parts)

    def _note(self, path: Key, line: int) -> None:
        if len(path) <= DEEPEST:
            self.lines.setdefault(path, line)

    def _rest_of_line(self) -> None:
        """Over a value to the end of its line, which may be many lines on."""
        depth = 0
        while self._place < len(self._text):
            part = self._skip(PART)
            if part in ("[", "{"):
                depth += 1
            elif part in ("]", "}"):
                depth -= 1
            elif part == "\n" and depth <= 0:
                return


def _plain(word: str) -> str:
    if word[0] == "'":
        return word[1:-1]
    return ESCAPE.sub(_character, word[1:-1]) if word[0] == '"' else word


def _character(found: re.Match[str]) -> str:
    code = found[1]
    return chr(int(code[1:], 16)) if code[0] in "uU" and len(code) > 1 else SHORT.get(code, code)
