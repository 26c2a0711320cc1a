"""Small units of work for the tests of batches: what a job does stands in its name, what was done in its output."""

import os
import signal
import time
from pathlib import Path

from reconstruct.batches.failures import failure_of
from reconstruct.batches.jobs import Job, Outcome


def job(folder: Path, name: str, *, after: tuple[str, ...] = (), what: str = "sequence") -> Job:
    """A job of `act`."""
    return Job(name, what, (), folder / "none.json", folder / f"{name}.out", after=after)  # type: ignore[arg-type]


def act(wanted: Job) -> Outcome:
    """Adds a line to the output; the first time, or always, it may die, fail or wait before that."""
    how, _, _ = wanted.name.partition("-")
    tried = wanted.output.with_suffix(".tried")
    first = not tried.exists()
    with tried.open("a") as file:
        file.write("x")
    if how == "dies" or (how == "dies_once" and first):
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "hangs":
        wanted.output.with_suffix(".pid").write_text(str(os.getpid()))
        time.sleep(60)
    error = {
        "io": OSError(5, "Input/output error"), "io_once": OSError(5, "Input/output error") if first else None,
        "bad": ValueError("bad"), "full": OSError(28, "No space left"),
    }.get(how)  # fmt: skip
    if error is not None:
        from mmface4d.errors import DiskFullError

        return Outcome(failure_of(DiskFullError("no space left") if how == "full" else error))
    with wanted.output.open("a") as file:
        file.write(f"{os.environ.get('OMP_NUM_THREADS')}\n")
    return Outcome(peak_bytes=1)
