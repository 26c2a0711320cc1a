"""Long sound in pieces: an encoder whose every token looks at the whole sound needs memory that grows with its square.

A piece is encoded with some sound before and after it, whose tokens are thrown away. Pieces begin on the tokens' own
beat, so that the tokens of all pieces lie on one beat without a seam in time.
"""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Window:
    """Tokens `first` to `stop` are encoded together; of them `keep_first` to `keep_stop` are used."""

    first: int
    stop: int
    keep_first: int
    keep_stop: int
    last: bool  # whether nothing comes after it


def windows(n_tokens: int, *, length: int, context: int) -> Iterator[Window]:
    """Windows of `length` tokens whose kept parts follow each other from 0 to `n_tokens` without gap or overlap.

    A kept token has `context` tokens on both sides of it, or all that there are. Up to `length` there is one window.
    """
    if n_tokens <= length:
        yield Window(0, n_tokens, 0, n_tokens, last=True)
        return
    kept = 0
    while kept < n_tokens:
        first = max(0, min(kept - context, n_tokens - length))
        stop = first + length
        last = stop >= n_tokens
        keep_stop = n_tokens if last else stop - context
        yield Window(first, stop, kept, keep_stop, last=last)
        kept = keep_stop
