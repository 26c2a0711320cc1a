"""What a worker does: one job, its output first, its record last, under a lock of its own."""

import os
import resource
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from mmface4d.errors import Mmface4dError
from mmface4d.files import clear_partials, read_json
from mmface4d.locks import locked
from mmface4d.results import RunRecord, read_run, write_record
from mmface4d.rig_calibration import load_calibration
from mmface4d.take import MAX_RECORD_BYTES, open_take
from reconstruct.batches.failures import BUSY, failure_of
from reconstruct.batches.jobs import Job, Outcome
from reconstruct.batches.record import (
    cached_model,
    hashes_of,
    record_done,
    record_failed,
    settings_hash,
    state_of,
)

BYTES_OF_MAXRSS = 1 if sys.platform == "darwin" else 1024


def do(job: Job) -> Outcome:
    """Does a job, whatever happens: what goes wrong is in the outcome, and in the job's record."""
    try:
        job.place.log.parent.mkdir(parents=True, exist_ok=True)
        with locked(job.place.lock, what=job.name):
            _clear(job)
            already = _do_locked(job)
    except Exception as error:  # whatever one take's data lead to, the others are still done
        return Outcome(failure_of(error, hidden=job.hidden), peak_bytes=peak_bytes())
    return Outcome(already=already, peak_bytes=peak_bytes())


def _clear(job: Job) -> None:
    """Away with what a killed worker was just writing; a sequence's own file is cleared where it is written."""
    for path in (job.place.record, job.place.run, *([job.output] if job.what == "actor" else [])):
        clear_partials(path)


def peak_bytes() -> int:
    """The most memory this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * BYTES_OF_MAXRSS


def _do_locked(job: Job) -> bool:
    """True where somebody else had done it since it was planned."""
    if job.what == "landmarks":
        with _said_to(job.place.log):
            _find_landmarks(job)
        return False
    hashes = hashes_of(job)
    if state_of(job, hashes) == "done":
        return True
    try:
        with _said_to(job.place.log), _timed(job):
            _solve_actor(job) if job.what == "actor" else _reconstruct(job)
    except Exception as error:
        failure = failure_of(error, hidden=job.hidden)
        if failure.reason != BUSY:
            record_failed(job, hashes, failure)
        raise
    record_done(job, hashes)
    return False


def _find_landmarks(job: Job) -> None:
    """Into the take's cache, from which the actor's keyframes are chosen."""
    from reconstruct.keyframes import landmarks_of, wanted_frames

    with open_take(job.takes[0]) as take:
        landmarks_of(take, wanted_frames(take, job.settings))


def _solve_actor(job: Job) -> None:
    from reconstruct.session import solve_session_actor

    calibration, model = load_calibration(job.calibration), cached_model(job.model)
    solve_session_actor(list(job.takes), calibration, model, output=job.output, settings=job.settings)


def _reconstruct(job: Job) -> None:
    from reconstruct.reconstruct import reconstruct_take

    calibration, model = load_calibration(job.calibration), cached_model(job.model)
    with open_take(job.takes[0]) as take:
        reconstruct_take(take, calibration, model, output=job.output, settings=job.settings, actor=job.actor)


@contextmanager
def _timed(job: Job) -> Iterator[None]:
    """Counts the attempt before it begins, so that one that is killed counts too; adds figures when it ends well."""
    run = read_run(job.place.run)
    begun = RunRecord(
        attempts=run.attempts + 1, host=socket.gethostname(), begun=datetime.now(UTC).isoformat(timespec="seconds"),
        settings=settings_hash(job), device=job.settings.device, frames=frames_of(job),
    )  # fmt: skip
    write_record(job.place.run, begun)
    wall, cpu = time.monotonic(), time.process_time()
    yield
    figures = {
        "seconds": time.monotonic() - wall, "cpu_seconds": time.process_time() - cpu, "peak_bytes": peak_bytes(),
    }  # fmt: skip
    write_record(job.place.run, begun.model_copy(update=figures))


def frames_of(job: Job) -> int:
    """How many frames a job goes through; none of a take that is damaged, which its own turn will name."""
    return sum(_frames_of(take, job.settings.frames or (0, sys.maxsize)) for take in job.takes)


def _frames_of(take: Path, wanted: tuple[int, int]) -> int:
    first, end = wanted
    try:
        record = read_json(take / "take.json", max_bytes=MAX_RECORD_BYTES)
        return max(min(len(record["frames"]["timestamps_usec"]), end) - first, 0)
    except (Mmface4dError, OSError, KeyError, TypeError):
        return 0


@contextmanager
def _said_to(log: Path) -> Iterator[None]:
    """Everything that is written to stdout and stderr meanwhile, by C++ code too, goes into a file."""
    kept = {number: os.dup(number) for number in (1, 2)}
    try:
        with log.open("wb") as file:
            _redirect(dict.fromkeys(kept, file.fileno()))
        yield
    except Exception as error:
        if not isinstance(error, Mmface4dError):
            traceback.print_exc()
        raise
    finally:
        _redirect(kept)
        for handle in kept.values():
            os.close(handle)


def _redirect(targets: dict[int, int]) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    for number, handle in targets.items():
        os.dup2(handle, number)
