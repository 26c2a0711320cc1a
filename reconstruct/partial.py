"""Where an unfinished reconstruction keeps its frames, so that a killed run goes on where it stopped.

`OUT.partial/` holds `key.json` (what is being computed), `actor.npz` and one `frame-NNNNNN.npz` a frame. It is removed
when the sequence is whole. A folder with another key belongs to other inputs and is started anew.
"""

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from mmface4d.errors import InputError
from mmface4d.files import atomic_path, write_json


class PartialResult:
    """Results of the frames done so far."""

    def __init__(self, output: Path, key: dict[str, Any]) -> None:
        self.folder = output.with_name(output.name + ".partial")
        self._key = json.loads(json.dumps(key))
        if self._stored_key() != self._key:
            self._start_anew()

    def _stored_key(self) -> Any:
        try:
            return json.loads((self.folder / "key.json").read_text())
        except (OSError, ValueError):
            return None

    def _start_anew(self) -> None:
        if self.folder.exists() and any(not _ours(path) for path in self.folder.iterdir()):
            raise InputError(
                f"{self.folder} holds files that are not of a reconstruction", hint="move it away, then run again"
            )
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        write_json(self.folder / "key.json", self._key)

    def load(self, name: str) -> dict[str, np.ndarray] | None:
        """A stored result, or None where it is not there or damaged."""
        path = self.folder / f"{name}.npz"
        try:
            # opened here, because numpy does not close a damaged archive
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                return {key: file[key] for key in file.files}
        except FileNotFoundError:
            return None
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            path.unlink()
            return None

    def store(self, name: str, values: dict[str, Any]) -> None:
        """Stores a result under its name when it is whole."""
        with atomic_path(self.folder / f"{name}.npz") as partial:
            np.savez(partial, **values)

    def remove(self) -> None:
        """Deletes everything: the sequence is written."""
        shutil.rmtree(self.folder)


def frame_name(frame: int) -> str:
    """Name of a frame's result."""
    return f"frame-{frame:06d}"


def _ours(path: Path) -> bool:
    return path.name in ("key.json", "actor.npz") or path.name.lstrip(".").startswith(("frame-", "actor.", "key."))
