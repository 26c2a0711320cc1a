"""Names that are safe as a file's name, so that no path can hide in them."""

import re

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,95}")


def safe_name(text: str) -> str:
    """The text as a file's name: other letters become hyphens, so that no path can hide in it."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-_")[:96]
    return name if SAFE_NAME.fullmatch(name) else "unnamed"
