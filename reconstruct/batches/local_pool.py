"""Worker processes on this machine. One that dies takes only its job with it, and all die with whoever started them."""

import os
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import TracebackType

from reconstruct.batches.failures import LOST_WORKER, OUT_OF_MEMORY
from reconstruct.batches.jobs import Job, Outcome, lost

Work = Callable[[Job], Outcome]
RECYCLE_AFTER = 200  # jobs: whatever a library leaks is given back
END_S = 5.0
OOM_COUNTERS = (Path("/sys/fs/cgroup/memory.events"), Path("/proc/vmstat"))


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: Connection
    share: int
    job: Job | None = None
    jobs: int = 0


class LocalPool:
    """Processes that do `work`, each with its share of the machine: environment variables set before it imports.

    They are spawned, never forked: torch and CUDA do not survive a fork. `work` must be found by its module and name.
    """

    def __init__(self, work: Work, shares: Sequence[Mapping[str, str]]) -> None:
        self._work, self._shares = work, [dict(share) for share in shares]
        self._allowed = len(self._shares)
        self._workers: list[_Worker] = []
        self._oom_kills = _oom_kills()

    def __enter__(self) -> "LocalPool":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def slots(self) -> int:
        """How many workers there may be; fewer after the machine ran out of memory."""
        return self._allowed

    def free(self) -> bool:
        """Whether a job can be handed over now."""
        return sum(worker.job is not None for worker in self._workers) < self._allowed

    def submit(self, job: Job) -> None:
        """Hands a job to an idle worker, or to a new one."""
        worker = next((each for each in self._workers if each.job is None), None) or self._start()
        worker.job, worker.jobs = job, worker.jobs + 1
        with suppress(OSError):  # it has died meanwhile: `wait` says so
            worker.pipe.send(job)

    def wait(self, timeout_s: float) -> list[tuple[Job, Outcome]]:
        """What has come to its end within that time."""
        busy = [worker for worker in self._workers if worker.job is not None]
        connection.wait([each for worker in busy for each in (worker.pipe, worker.process.sentinel)], timeout_s)
        finished = []
        for worker in busy:
            outcome = self._outcome(worker)
            if outcome is not None and worker.job is not None:
                finished.append((worker.job, outcome))
                worker.job = None
        self._retire()
        return finished

    def close(self) -> None:
        """Ends all workers; what they had begun lies on the disk to be gone on with."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(END_S)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.pipe.close()
        self._workers = []

    def _start(self) -> _Worker:
        taken = {worker.share for worker in self._workers}
        share = next(number for number in range(len(self._shares)) if number not in taken)
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._work), daemon=True)
        before = dict(os.environ)
        os.environ.update(self._shares[share])  # libraries read it while they are imported
        try:
            process.start()
        finally:
            os.environ.clear()
            os.environ.update(before)
        theirs.close()
        worker = _Worker(process, ours, share)
        self._workers.append(worker)
        return worker

    def _outcome(self, worker: _Worker) -> Outcome | None:
        """What the worker says, or that it is gone; None while it is at it."""
        try:
            if worker.pipe.poll():
                return worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join(END_S)
        return None if worker.process.is_alive() else self._epitaph(worker)

    def _epitaph(self, worker: _Worker) -> Outcome:
        code, kills = worker.process.exitcode, _oom_kills()
        if code == -signal.SIGKILL and kills > self._oom_kills:
            self._oom_kills = kills
            self._allowed = max(self._allowed - 1, 1)
            return lost(
                OUT_OF_MEMORY, f"the system killed a worker because memory ran out; {self._allowed} go on",
                hint="give fewer --workers, or more memory",
            )  # fmt: skip
        told = f"signal {-code} ended it" if code is not None and code < 0 else f"it ended with {code}"
        return lost(LOST_WORKER, f"a worker died: {told}", hint="the log beside the result tells what it last said")

    def _retire(self) -> None:
        """Lets go of workers that are dead, worn, or too many."""
        for worker in list(self._workers):
            too_many = len(self._workers) > self._allowed
            if worker.job is None and (not worker.process.is_alive() or worker.jobs >= RECYCLE_AFTER or too_many):
                worker.process.terminate()
                worker.process.join()
                worker.pipe.close()
                self._workers.remove(worker)


def _serve(pipe: Connection, work: Work) -> None:
    """The life of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    threading.Thread(target=_die_with_parent, daemon=True).start()
    while True:
        try:
            pipe.send(work(pipe.recv()))
        except (EOFError, OSError):
            return


def _die_with_parent() -> None:
    """A worker whose parent was killed must not go on: it would hold the locks of the next run's items."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _oom_kills() -> int:
    """How often the system has killed a process for want of memory."""
    for path in OOM_COUNTERS:
        with suppress(OSError, ValueError):
            for line in path.read_text().splitlines():
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    return int(value)
    return 0
