"""Keeping native libraries' chatter off the terminal."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def native_stderr_hidden() -> Iterator[None]:
    """Hides what C++ code writes to stderr and no setting silences; Python's exceptions pass as ever."""
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w") as sink:
            os.dup2(sink.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
