"""A folder of results that appears whole or not at all, and never in the place of another."""

import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmface4d.errors import InputError
from mmface4d.files import atomic_folder
from mmface4d.locks import locked

NEVER_OVERWRITTEN = "exports are never overwritten"
PARTIAL = "[0-9a-f]" * 8 + ".partial"  # how the folders of `atomic_folder` end


@contextmanager
def new_folder(target: Path, *, why: str = NEVER_OVERWRITTEN) -> Iterator[Path]:
    """A temporary folder that becomes `target` when the block ends well; what a killed process left is cleared first.

    Raises InputError where the target exists, BusyError where another process writes it, DiskFullError without room.
    """
    target = Path(os.path.abspath(target))  # noqa: PTH100  (a link in the way stays one)
    refuse_existing(target, why)
    with locked(target.with_name(f".{target.name}.lock"), what=str(target)):
        refuse_existing(target, why)  # the one who had the lock may have made it
        for leftover in target.parent.glob(f".{glob.escape(target.name)}.{PARTIAL}"):
            shutil.rmtree(leftover, ignore_errors=True)
        with atomic_folder(target) as folder:
            yield folder


def refuse_existing(target: Path, why: str = NEVER_OVERWRITTEN) -> None:
    """Raises InputError where there is anything, a link to nothing too."""
    if target.exists() or target.is_symlink():
        raise InputError(f"{target} exists; {why}", hint="choose another name for the new one")
