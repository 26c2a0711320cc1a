"""Where an unfinished reconstruction keeps its frames, so that a killed run goes on where it stopped.

`OUT.partial/` holds `key.json` (what is being computed), `actor.npz`, one `frame-NNNNNN.npz` a frame, and `lock`, which
names the process that is at it. It is removed when the sequence is whole. A folder with another key belongs to other
inputs and is started anew.
"""

import json
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mmface4d.errors import InputError
from mmface4d.files import atomic_path, clear_partials, write_json
from mmface4d.locks import locked

LOCK = "lock"


class PartialResult:
    """Results of the frames done so far."""

    def __init__(self, output: Path, key: dict[str, Any]) -> None:
        self.folder = partial_folder(output)
        self._key = json.loads(json.dumps(key))
        if self._stored_key() != self._key:
            self._start_anew()

    def _stored_key(self) -> Any:
        try:
            return json.loads((self.folder / "key.json").read_text())
        except (OSError, ValueError):
            return None

    def _start_anew(self) -> None:
        if self.folder.exists() and any(path.is_dir() or not _ours(path) for path in self.folder.iterdir()):
            raise InputError(
                f"{self.folder} holds files that are not of a reconstruction", hint="move it away, then run again"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        for path in self.folder.iterdir():
            if path.name != LOCK:
                path.unlink()
        write_json(self.folder / "key.json", self._key)

    def load(self, name: str, *, only: tuple[str, ...] = ()) -> dict[str, np.ndarray] | None:
        """A stored result (or `only` some of its arrays), or None where it is not there or damaged."""
        path = self.folder / f"{name}.npz"
        try:
            # opened here, because numpy does not close a damaged archive
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                return {key: file[key] for key in file.files if not only or key in only}
        except FileNotFoundError:
            return None
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            path.unlink()
            return None

    def has(self, name: str) -> bool:
        """Whether a result is stored, whole or damaged."""
        return (self.folder / f"{name}.npz").exists()

    def store(self, name: str, values: dict[str, Any]) -> None:
        """Stores a result under its name when it is whole."""
        with atomic_path(self.folder / f"{name}.npz") as partial:
            np.savez(partial, **values)

    def remove(self) -> None:
        """Deletes everything: the sequence is written."""
        shutil.rmtree(self.folder)


@contextmanager
def open_partial(output: Path, key: dict[str, Any]) -> Iterator[PartialResult]:
    """The partial result of a sequence, for this process alone; raises BusyError where another one is at it."""
    with locked(partial_folder(output) / LOCK, what=str(output)):
        clear_partials(output)
        yield PartialResult(output, key)


def partial_folder(output: Path) -> Path:
    """Where the frames of a sequence lie until it is whole."""
    return output.with_name(output.name + ".partial")


def frame_name(frame: int) -> str:
    """Name of a frame's result."""
    return f"frame-{frame:06d}"


def _ours(path: Path) -> bool:
    return path.name in ("key.json", "actor.npz", LOCK) or path.name.lstrip(".").startswith(
        ("frame-", "actor.", "key.")
    )
