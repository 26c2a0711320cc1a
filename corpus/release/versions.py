"""Which version a release gets: MAJOR where something was taken away, MINOR where something came, else PATCH."""

import re

from mmface4d.errors import InputError

FIRST = "1.0.0"
Parts = tuple[int, int, int]


def parts(version: str) -> Parts:
    """Major, minor and patch; raises InputError where the text is no version."""
    found = re.fullmatch(r"(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})", version)
    if not found:
        raise InputError(f"{version!r} is no version", hint="three numbers, such as 1.0.0")
    major, minor, patch = map(int, found.groups())
    return major, minor, patch


def next_version(previous: str | None, *, removed: bool, added: bool) -> str:
    """The least version that says what changed."""
    if previous is None:
        return FIRST
    major, minor, patch = parts(previous)
    if removed:
        return f"{major + 1}.0.0"
    return f"{major}.{minor + 1}.0" if added else f"{major}.{minor}.{patch + 1}"


def chosen_version(wanted: str | None, previous: str | None, *, removed: bool, added: bool) -> str:
    """The version wanted; raises InputError where it says less than what changed."""
    least = next_version(previous, removed=removed, added=added)
    if wanted is None:
        return least
    parts(wanted)
    if previous is not None and parts(wanted) < parts(least):
        why = "something was taken away" if removed else "something was added" if added else "it follows another one"
        raise InputError(f"version {wanted} is too low after {previous}: {why}", hint=f"choose {least} or a higher one")
    return wanted
