"""Small pieces of HTML; every text from outside goes through `escape` here."""

from collections.abc import Iterable, Sequence
from html import escape


def section(title: str, lead: str, content: str) -> str:
    """A titled block with a sentence that says how to read it; `content` is HTML."""
    words = f'<p class="soft">{escape(lead)}</p>' if lead else ""
    return f"<section><h2>{escape(title)}</h2>{words}{content}</section>"


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
