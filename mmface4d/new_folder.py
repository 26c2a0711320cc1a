"""A folder of results that appears whole or not at all, and never in the place of another."""

import glob
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmface4d.errors import InputError
from mmface4d.files import atomic_folder
from mmface4d.locks import locked


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A temporary folder that becomes `target` when the block ends well; what a killed process left is cleared first.

    Raises InputError where the target exists, BusyError where another process writes it.
    """
    if target.exists():
        raise InputError(f"{target} exists; exports are never overwritten", hint="choose another name, or delete it")
    with locked(target.with_name(f".{target.name}.lock"), what=str(target)):
        for leftover in target.parent.glob(f".{glob.escape(target.name)}.*.partial"):
            shutil.rmtree(leftover, ignore_errors=True)
        with atomic_folder(target) as folder:
            yield folder
