"""What is wrong with a `lab.toml` that is TOML, in words, each with its line."""

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import ValidationError

from mmface4d.lab_settings import TABLES, Key, LabSettings

MOST_SHOWN = 60
LIMITS = ("greater_than_equal", "less_than_equal", "multiple_of")
# by the end of a setting's name: the unit, and what a number a thousand times too small or too large was meant in
UNITS = {
    "_usec": ("µs", "ms", None),
    "_ms": ("ms", "s", "µs"),
    "_s": ("s", None, "ms"),
    "_k": ("K", None, None),
}


@dataclass(frozen=True, order=True)
class Mistake:
    """A line, from 1, and what is wrong there."""

    line: int
    text: str


def find_mistakes(values: Mapping[str, Any], lines: Mapping[Key, int], *, whole: bool = True) -> list[Mistake]:
    """Everything that is wrong with what a file says, by line; not `whole` is one of which lines were left out."""
    found = [*_wrong_values(values, lines), *_doubled(values, lines)]
    return sorted({*found, *(_stray_master(values, lines) if whole else ())})


def _wrong_values(values: Mapping[str, Any], lines: Mapping[Key, int]) -> Iterator[Mistake]:
    try:
        LabSettings.model_validate(values)
    except ValidationError as error:
        for wrong in error.errors(include_url=False):
            place = tuple(map(str, wrong["loc"]))
            yield Mistake(line_of(place, lines), explain(place, wrong))


def line_of(place: Key, lines: Mapping[Key, int]) -> int:
    """The line of a setting, or of the table that holds it."""
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place, 1)


def explain(place: Key, wrong: Mapping[str, Any]) -> str:
    """One of pydantic's errors for people."""
    name, value, kind = ".".join(map(plain, place)), wrong["input"], wrong["type"]
    if kind == "extra_forbidden":
        return unknown(place, value)
    if kind in ("model_type", "model_attributes_type"):
        return f"{name} is a table: write [{name}] on a line of its own"
    is_now = f"{name} is {shown(value)}"
    if kind == "literal_error":
        return f"{is_now}; it can be {_choice(place)}{_quotes(place, value)}"
    if kind in LIMITS:
        return f"{is_now}; {_limits(place, value)}"
    if kind in ("int_type", "float_type"):
        return f"{is_now}; it must be a {'whole ' if kind[0] == 'i' else ''}number, without quotes{_unit(place)}"
    if kind == "string_type":
        return f'{is_now}; it must be text in quotes, for example "{value if isinstance(value, int) else "..."}"'
    if kind == "string_pattern_mismatch":
        serial = place[0] == "cameras" or place[-1] == "master"
        return f"{is_now}; {'a serial number has letters, digits, _ . - only' if serial else 'it must be one line'}"
    message = str(wrong["ctx"]["error"]) if kind == "value_error" else wrong["msg"][:1].lower() + wrong["msg"][1:]
    return f"{is_now}; {message}"


def unknown(place: Key, value: Any) -> str:
    """A key that no setting has, and which one may be meant."""
    *holders, key = place
    if len(place) == 1 and isinstance(value, dict):
        return f"there is no table [{plain(key)}]{_meant(difflib.get_close_matches(key, TABLES, n=1), '[{}]')}"
    if place[0] == "cameras" and isinstance(value, str) and value in TABLES["cameras"].model_fields:
        return f'a camera is named by its place: {value} = "{plain(key)}"'
    home = TABLES.get(holders[0]) if holders else None
    near = difflib.get_close_matches(key, home.model_fields if home else (), n=1, cutoff=0.55)
    if near:
        return f"there is no setting {plain('.'.join(place))}; is {holders[0]}.{near[0]} meant?"
    homes = {name: table for table in TABLES for name in TABLES[table].model_fields}
    elsewhere = difflib.get_close_matches(key, homes, n=1, cutoff=0.7)
    known = f"; [{holders[0]}] has: {', '.join(home.model_fields)}" if home else ""
    meant = f"; is {homes[elsewhere[0]]}.{elsewhere[0]} meant, in [{homes[elsewhere[0]]}]?" if elsewhere else known
    return f"there is no setting {plain('.'.join(place))}{meant}"


def _meant(near: list[str], form: str) -> str:
    return (
        f"; is {form.format(near[0])} meant?" if near else f"; there are: {', '.join(f'[{name}]' for name in TABLES)}"
    )


def _choice(place: Key) -> str:
    most = [str(allowed) for allowed in _allowed(place)]
    last = most.pop()
    return f"{', '.join(most)} or {last}" if most else f"{last} only"


def _allowed(place: Key) -> tuple[Any, ...]:
    *holders, key = place
    table = TABLES[holders[0]] if holders else LabSettings
    return get_args(table.model_fields[key].annotation)


def _quotes(place: Key, value: Any) -> str:
    return ", without quotes" if isinstance(value, str) and value in map(str, _allowed(place)) else ""


def _limits(place: Key, value: float | int) -> str:
    limits = {}
    for limit in TABLES[place[0]].model_fields[place[-1]].metadata:
        limits |= {name: getattr(limit, name) for name in ("ge", "le", "multiple_of") if hasattr(limit, name)}
    least, most = limits.get("ge", float("-inf")), limits.get("le", float("inf"))
    unit = _unit_of(place)
    if least <= value <= most:
        return f"it must be a multiple of {limits['multiple_of']} {unit}".rstrip()
    return f"it must be from {least} to {most} {unit}".rstrip() + _slip(place, value, least=least, most=most)


def _slip(place: Key, value: float | int, *, least: float | int, most: float | int) -> str:
    """A number that would be right in another unit."""
    unit, coarser, finer = _units(place)
    if coarser and least <= value * 1000 <= most:
        return f" ({value:g} {coarser} are {value * 1000:g} {unit})"
    if finer and value and least <= value / 1000 <= most:
        return f" ({value:g} {finer} are {value / 1000:g} {unit})"
    return ""


def _units(place: Key) -> tuple[str, str | None, str | None]:
    return next((units for end, units in UNITS.items() if place[-1].endswith(end)), ("", None, None))


def _unit_of(place: Key) -> str:
    return _units(place)[0]


def _unit(place: Key) -> str:
    unit = _unit_of(place)
    return f", in {unit}" if unit else ""


def _stray_master(values: Mapping[str, Any], lines: Mapping[Key, int]) -> Iterator[Mistake]:
    """The master has to be one of the cameras, where these are named and nothing is wrong with them."""
    cameras, master = _texts(values, "cameras"), _texts(values, "rig").get("master")
    sure = all(not value or key in cameras for key, value in values["cameras"].items()) if cameras else False
    if master and sure and master not in cameras.values():
        yield Mistake(line_of(("rig", "master"), lines), f"rig.master is {shown(master)}, which is none of [cameras]")


def _doubled(values: Mapping[str, Any], lines: Mapping[Key, int]) -> Iterator[Mistake]:
    yield from _doubles("cameras", _texts(values, "cameras"), lines, what="the serial number")
    yield from _doubles("paths", _texts(values, "paths"), lines, what="the folder")


def _doubles(table: str, values: dict[str, str], lines: Mapping[Key, int], *, what: str) -> Iterator[Mistake]:
    seen: dict[str, str] = {}
    for key, value in values.items():
        first = seen.setdefault(value.strip("/"), key)
        if first != key:
            text = f"{table}.{key} is {what} of {table}.{first}, {shown(value)}"
            yield Mistake(line_of((table, key), lines), text)


def _texts(values: Mapping[str, Any], table: str) -> dict[str, str]:
    """The settings of a table that are as they may be."""
    found = values.get(table)
    known = TABLES[table].model_fields
    return (
        {k: v for k, v in found.items() if k in known and isinstance(v, str) and v} if isinstance(found, dict) else {}
    )


def shown(value: Any) -> str:
    """A value as the file writes it, shortened."""
    if isinstance(value, dict):
        return "a table"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return plain(text)


def plain(text: str) -> str:
    """Text that a terminal can show, shortened."""
    text = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."
