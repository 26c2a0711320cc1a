"""Brings jobs to workers in their order: who waits for whom, what is tried again, and what is left at the end."""

import heapq
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from mmface4d.errors import DiskFullError, MissingBackendError
from mmface4d.progress import Progress
from mmface4d.results import Failure
from reconstruct.batches.failures import DISK_FULL, LOST_WORKER, NOT_DONE_BEFORE, OUT_OF_MEMORY
from reconstruct.batches.jobs import Job, Outcome

ATTEMPTS = 4
PAUSE_S = 2.0  # before the second try; twice as long before each further one
LONGEST_WAIT_S = 1.0
MOST_LOST_IN_A_ROW = 12  # or twice as many as ran at once: one node's loss is the loss of all its workers


@runtime_checkable
class Engine(Protocol):
    """Whoever does jobs somewhere."""

    def free(self) -> bool:
        """Whether a job can be handed over now."""
        ...

    def submit(self, job: Job) -> None:
        """Hands over a job."""
        ...

    def wait(self, timeout_s: float) -> list[tuple[Job, Outcome]]:
        """What has come to its end within that time; a job whose worker is gone has come to its end too."""
        ...


@dataclass
class Tally:
    """What became of the jobs."""

    done: list[Job] = field(default_factory=list)
    already: list[Job] = field(default_factory=list)
    failed: list[tuple[Job, Failure]] = field(default_factory=list)
    retries: int = 0
    peak_bytes: int = 0
    seconds: float = 0.0


class Dispatcher:
    """One batch. Jobs are handed over in the order given, but none before those that it comes after."""

    def __init__(
        self, jobs: Sequence[Job], engine: Engine, *, report: Progress, attempts: int = ATTEMPTS,
        pause_s: float = PAUSE_S,
    ) -> None:  # fmt: skip
        self.engine, self.report, self.attempts, self.pause_s = engine, report, attempts, pause_s
        self.tally = Tally()
        self._tries: dict[str, int] = {}
        self._lost_in_a_row = 0
        self._running = self._most_running = 0
        self._later: list[tuple[float, int, Job]] = []  # a heap by the time of the next try
        known = {job.name for job in jobs}
        self._missing = {job.name: {name for name in job.after if name in known} for job in jobs}
        self._followers: dict[str, list[Job]] = {}
        for job in jobs:
            for name in self._missing[job.name]:
                self._followers.setdefault(name, []).append(job)
        self._ready = deque(job for job in jobs if not self._missing[job.name])

    def run(self) -> Tally:
        """Until every job is done or given up; raises DiskFullError, or what makes all further jobs pointless."""
        began = time.monotonic()
        try:
            while self._ready or self._later or self._running:
                self._hand_over()
                for job, outcome in self.engine.wait(self._patience_s()):
                    self._running -= 1
                    self._take_in(job, outcome)
        finally:
            self.tally.seconds = time.monotonic() - began
        return self.tally

    def _hand_over(self) -> None:
        while self._later and self._later[0][0] <= time.monotonic():
            self._ready.appendleft(heapq.heappop(self._later)[2])
        while self._ready and self.engine.free():
            self.engine.submit(self._ready.popleft())
            self._running += 1
            self._most_running = max(self._most_running, self._running)

    def _patience_s(self) -> float:
        if not self._later:
            return LONGEST_WAIT_S
        return min(max(self._later[0][0] - time.monotonic(), 0.0), LONGEST_WAIT_S)

    def _take_in(self, job: Job, outcome: Outcome) -> None:
        self.tally.peak_bytes = max(self.tally.peak_bytes, outcome.peak_bytes)
        self._notice_losses(outcome)
        if outcome.failure is None:
            (self.tally.already if outcome.already else self.tally.done).append(job)
            self._settle(job)
        elif outcome.failure.reason == DISK_FULL:
            raise DiskFullError(outcome.failure.message, hint=outcome.failure.hint)
        elif outcome.failure.kind == "transient" and self._may_try_again(job):
            self._try_later(job, outcome.failure)
        else:
            self._give_up(job, outcome.failure)

    def _notice_losses(self, outcome: Outcome) -> None:
        """Raises MissingBackendError where workers do nothing but die."""
        gone = outcome.failure is not None and outcome.failure.reason in (LOST_WORKER, OUT_OF_MEMORY)
        self._lost_in_a_row = self._lost_in_a_row + 1 if gone else 0
        most = max(MOST_LOST_IN_A_ROW, 2 * self._most_running)
        if outcome.failure is not None and self._lost_in_a_row >= most and not self.tally.done:
            raise MissingBackendError(
                f"{self._lost_in_a_row} workers died one after the other: {outcome.failure.message}",
                hint="read the newest .log beside the results, or try one take: mmface4d reconstruct TAKE -o x.npz",
            )

    def _may_try_again(self, job: Job) -> bool:
        self._tries[job.name] = self._tries.get(job.name, 0) + 1
        return self._tries[job.name] < self.attempts

    def _try_later(self, job: Job, failure: Failure) -> None:
        tries = self._tries[job.name]
        self.report.note(f"{job.name}: {failure.reason}: {failure.message}; try {tries + 1} of {self.attempts} follows")
        self.tally.retries += 1
        due = time.monotonic() + self.pause_s * 2 ** (tries - 1)
        heapq.heappush(self._later, (due, self.tally.retries, job))

    def _give_up(self, job: Job, failure: Failure) -> None:
        if job.what != "landmarks":  # what is wrong with them is said of their sequence
            self.report.note(f"{job.name}: {failure.reason}: {failure.message}")
            self.tally.failed.append((job, failure))
            self._count(job)
        for follower in self._drop_followers(job):
            self.tally.failed.append((follower, _because_of(job, failure)))
            self._count(follower)

    def _drop_followers(self, job: Job) -> Iterable[Job]:
        """Those that can now never be done; nobody fails for want of landmarks, which are but found ahead."""
        followers = self._followers.pop(job.name, [])
        if job.what == "landmarks":
            self._release(job, followers)
            return []
        return [each for follower in followers for each in (follower, *self._drop_followers(follower))]

    def _settle(self, job: Job) -> None:
        self._count(job)
        self._release(job, self._followers.pop(job.name, []))

    def _release(self, job: Job, followers: Iterable[Job]) -> None:
        """Those that need nothing more come first, so that a session is finished before the next one is begun."""
        freed = []
        for follower in followers:
            self._missing[follower.name].discard(job.name)
            if not self._missing[follower.name]:
                freed.append(follower)
        self._ready.extendleft(reversed(freed))

    def _count(self, job: Job) -> None:
        if job.what == "sequence":
            self.report.advance()


def _because_of(job: Job, failure: Failure) -> Failure:
    return Failure(
        kind=failure.kind, reason=NOT_DONE_BEFORE, error=failure.error,
        message=f"{job.name} failed: {failure.reason}: {failure.message}", hint=failure.hint,
    )  # fmt: skip
