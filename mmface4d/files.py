"""Writing files so that a killed process leaves nothing that looks whole but is not."""

import errno
import glob
import hashlib
import json
import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmface4d.errors import DiskFullError, InputError


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """A temporary path beside `target` that takes its place when the block ends well, and is deleted otherwise.

    Raises DiskFullError where the disk has no room.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    # the suffix stays last, because writers choose the format by it
    partial = target.with_name(f".{target.stem}.{uuid.uuid4().hex[:8]}.partial{target.suffix}")
    try:
        with disk_full_is_an_error(target):
            yield partial
            sync(partial)
            os.replace(partial, target)  # noqa: PTH105  (the one place that replaces)
            sync(target.parent)
    finally:
        partial.unlink(missing_ok=True)


def clear_partials(target: Path) -> None:
    """Deletes what writers of `target` left that were killed; for whoever alone may write it now."""
    pattern = f".{glob.escape(target.stem)}.{'[0-9a-f]' * 8}.partial{glob.escape(target.suffix)}"
    for partial in target.parent.glob(pattern):
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target` that becomes it when the block ends well, and is deleted otherwise.

    A folder that has something in it is never replaced (OSError). Raises DiskFullError where the disk has no room.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with disk_full_is_an_error(target):
            partial.mkdir()
            yield partial
            for folder, _, files in os.walk(partial, topdown=False):
                for name in (*files, ""):
                    sync(Path(folder) / name)
            os.replace(partial, target)  # noqa: PTH105  (as above)
            sync(target.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def disk_full_is_an_error(target: Path) -> Iterator[None]:
    """Turns the system's "no space left" into a DiskFullError that names the target."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                f"no space left while writing {target}", hint="free some space or choose another disk, then run again"
            ) from error
        raise


def sync(path: Path) -> None:
    """Flushes a file or folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON by way of a temporary name; numbers that JSON cannot hold are refused."""
    text = json.dumps(value, indent=1, allow_nan=False)
    with atomic_path(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path, *, max_bytes: int = 64 << 20) -> Any:
    """Reads JSON; raises InputError where the file is missing, too large or damaged."""
    if not path.is_file():
        raise InputError(f"{path} does not exist", hint="check the path")
    if path.stat().st_size > max_bytes:
        raise InputError(f"{path} is larger than {max_bytes >> 20} MiB", hint="this is not a file of ours")
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON: {error}", hint="the file is damaged; make it again") from error


def file_sha256(path: Path) -> str:
    """The hash of a file's bytes, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def user_cache_folder() -> Path:
    """Where what can be made again may lie: $MMFACE4D_CACHE, or the user's cache folder of the platform."""
    if folder := os.environ.get("MMFACE4D_CACHE"):
        return Path(folder).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "mmface4d" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "mmface4d"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mmface4d"
