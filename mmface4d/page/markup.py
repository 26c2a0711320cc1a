"""Small pieces of HTML; every text from outside goes through `escape` here."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

MAX_ROWS = 12  # of a list of records; longer ones are only counted
MAX_TEXT = 120


def section(title: str, lead: str, content: str) -> str:
    """A titled block with a sentence that says how to read it; `content` is HTML."""
    words = f'<p class="soft">{escape(lead)}</p>' if lead else ""
    return f"<section><h2>{escape(title)}</h2>{words}{content}</section>"


def part(title: str) -> str:
    """A heading over the sections that follow."""
    return f'<h2 class="part">{escape(title)}</h2>'


def verdict(level: str, title: str, text: str) -> str:
    """A judgement in a few words; `level` is good, look or poor."""
    return f'<div class="verdict {escape(level)}"><b>{escape(title)}</b><span>{escape(text)}</span></div>'


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table of texts."""
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def cards(items: Iterable[tuple[str, str]]) -> str:
    """Large figures with what they are below."""
    inner = "".join(
        f'<div class="card"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for name, value in items
    )
    return f'<div class="cards">{inner}</div>'


def picture(uri: str, alternative: str) -> str:
    """A picture from a `data:` address."""
    return f'<figure><img src="{escape(uri)}" alt="{escape(alternative)}"></figure>'


def key(entries: Iterable[tuple[str, str]]) -> str:
    """A legend of colours and names."""
    return "".join(
        f'<span class="key"><i style="background:{escape(ink)}"></i>{escape(name)}</span>' for ink, name in entries
    )


def bullets(texts: Iterable[str]) -> str:
    """A list of sentences."""
    return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>"


def folded(summary: str, content: str) -> str:
    """HTML that stays folded until one asks for it."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def nested(value: Mapping[str, Any], title: str) -> str:
    """A nested report as tables: numbers and short texts by name, each list of records in a table of its own."""
    rows: list[tuple[str, str]] = []
    tables: list[str] = []
    _collect(value, "", rows, tables)
    return (table((title, "value"), rows) if rows else "") + "".join(tables)


def _collect(value: Mapping[str, Any], prefix: str, rows: list[tuple[str, str]], tables: list[str]) -> None:
    for name, item in value.items():
        words = prefix + _words(name)
        if isinstance(item, Mapping) and _is_records(list(item.values())) and len(item) <= MAX_ROWS:
            item = [{"of": key, **record} for key, record in item.items()]
        if isinstance(item, Mapping):
            _collect(item, f"{words}: ", rows, tables)
        elif _is_records(item) and len(item) <= MAX_ROWS:
            columns = list(dict.fromkeys(key for record in item for key in record if _text(record[key]) is not None))
            cells = [[_text(record.get(column)) or "" for column in columns] for record in item]
            tables.append(f"<h3>{escape(words)}</h3>" + table([_words(column) for column in columns], cells))
        elif (text := _text(item)) is not None:
            rows.append((words, text))
        elif isinstance(item, list):
            rows.append((words, str(len(item))))


def _words(name: object) -> str:
    return str(name).replace("_", " ")


def _is_records(item: object) -> bool:
    return isinstance(item, list) and bool(item) and all(isinstance(part, Mapping) for part in item)


def _text(item: object) -> str | None:
    """A number, a short text or a short list of them; None for anything else."""
    if isinstance(item, bool):
        return "yes" if item else "no"
    if isinstance(item, int | float):
        return f"{item:.4g}" if isinstance(item, float) else str(item)
    if isinstance(item, str):
        return item if len(item) <= MAX_TEXT else None
    if isinstance(item, list) and len(item) <= MAX_ROWS and all(isinstance(part, str | int | float) for part in item):
        return ", ".join(_text(part) or "" for part in item)
    return None
