"""A folder that is made beside its place and put there whole: what a kill leaves is thrown away by the next run."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmface4d.errors import InputError
from mmface4d.files import disk_full_is_an_error, sync
from mmface4d.locks import locked


@contextmanager
def building(target: Path) -> Iterator[Path]:
    """A folder for a release that becomes `target` when the block ends well, and is deleted otherwise.

    Raises InputError where the target exists, BusyError where another process makes it, DiskFullError without room.
    """
    target = Path(os.path.abspath(target))  # noqa: PTH100  (a link in the way stays one)
    _refuse_existing(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target.with_name(f".{target.name}.lock"), what=f"release {target}"), disk_full_is_an_error(target):
        _refuse_existing(target)
        partial = target.with_name(f".{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            yield partial
            _sync_all(partial)
            os.replace(partial, target)  # noqa: PTH105  (as in mmface4d.files)
            sync(target.parent)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _refuse_existing(target: Path) -> None:
    if target.exists() or target.is_symlink():
        raise InputError(f"{target} exists; a release is never changed", hint="choose another name for the new one")


def _sync_all(folder: Path) -> None:
    for name, _, files in os.walk(folder):
        for file in files:
            sync(Path(name) / file)
        sync(Path(name))
