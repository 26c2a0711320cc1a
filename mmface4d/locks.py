"""One process at a time: a locked file that names its owner and falls free when the owner dies."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmface4d.errors import BusyError


@contextmanager
def locked(path: Path, *, what: str) -> Iterator[None]:
    """Holds the lock file `path` during the block; raises BusyError, which names the owner, where another one holds it.

    The system drops the lock of a process that ends in any way, so what a killed one left is simply taken over.
    """
    handle = _acquire(path, what)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # before the lock is given up, so that nobody else's is deleted
        os.close(handle)


def _acquire(path: Path, what: str) -> int:
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            owner = os.pread(handle, 200, 0).decode(errors="replace").strip() or "another process"
            os.close(handle)
            raise BusyError(
                f"{what} is being written by {owner}", hint="wait for it, or choose another output"
            ) from error
        if _is_still(path, handle):
            os.truncate(handle, 0)
            os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
            return handle
        os.close(handle)  # its last owner deleted it in between


def _is_still(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False
