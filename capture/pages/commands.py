"""What pages may ask for: one command a message, checked strictly, since anything may arrive on a socket."""

import json
from dataclasses import dataclass

from capture.recorder.director import COMMANDS, MOST_NOTE, Command


@dataclass(frozen=True)
class Asked:
    """A command with its text."""

    command: Command
    text: str = ""


def read_command(message: str) -> Asked | str:
    """The command of a message, or why it is none."""
    try:
        asked = json.loads(message)
    except (ValueError, RecursionError):
        return "no JSON"
    if not isinstance(asked, dict) or not {"command"} <= set(asked) <= {"command", "text"}:
        return "a command, and a text where it has one, and nothing else"
    command: Command | None = next((known for known in COMMANDS if known == asked["command"]), None)
    if command is None:
        return "no such command"
    text = asked.get("text", "")
    if not isinstance(text, str) or not _writable(text):
        return "text must be text"
    if len(text) > MOST_NOTE:
        return f"text may have {MOST_NOTE} characters"
    return Asked(command, text)


def _writable(text: str) -> bool:
    """JSON can hold halves of characters, which no file can."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
