"""Names that are safe as a file's name, so that no path can hide in them."""

import re
from collections.abc import Iterable

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,95}")
MOST_LETTERS = 64  # of a plain name


def safe_name(text: str) -> str:
    """The text as a file's name: other letters become hyphens, so that no path can hide in it."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-_")[:96]
    return name if SAFE_NAME.fullmatch(name) else "unnamed"


def plain_names(names: Iterable[str]) -> dict[str, str]:
    """By name one of letters and digits only, which no other has: for loaders that cut names at underscores.

    They are short enough for a sentence's number behind them. `wav` is written large in them, because those loaders
    find a mesh by replacing it in the sound's name.
    """
    plain: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        letters = "".join(letter for letter in name if letter.isascii() and letter.isalnum())[:MOST_LETTERS]
        plain[name] = unused_name((letters or "subject").replace("wav", "WAV"), taken)
    return plain


def unused_name(name: str, taken: set[str], *, joint: str = "x") -> str:
    """The name, or one with a number behind it that is not taken; takes it. Some disks do not tell A from a.

    `taken` are names in small letters, by `str.casefold`.
    """
    chosen, number = name, 2
    while chosen.casefold() in taken:
        chosen, number = f"{name}{joint}{number}", number + 1
    taken.add(chosen.casefold())
    return chosen
