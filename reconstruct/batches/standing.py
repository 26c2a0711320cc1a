"""Which jobs of a plan are to be done: those whose record is missing, of other inputs, or of a passing failure."""

from dataclasses import dataclass, field

from mmface4d.errors import Mmface4dError
from mmface4d.results import Failure
from reconstruct.batches.failures import NOT_DONE_BEFORE
from reconstruct.batches.jobs import Job
from reconstruct.batches.record import State, hashes_of, record_of, state_of


@dataclass
class Standing:
    """The plan's jobs by what is to become of them."""

    todo: list[Job] = field(default_factory=list)
    done: list[Job] = field(default_factory=list)
    failed: list[tuple[Job, Failure]] = field(default_factory=list)  # for good, in an earlier run


def standing(jobs: list[Job], *, redo_failed: bool = False) -> Standing:
    """Sorts the jobs of a plan."""
    found = Standing()
    states: dict[str, State] = {}
    for job in jobs:
        if job.what != "landmarks":
            states[job.name] = _state(job, [states[name] for name in job.after if name in states], redo_failed)
        if job.what != "landmarks" and states[job.name] != "pending":
            _put_away(job, states[job.name], found)
        else:
            found.todo.append(job)
    # landmarks are looked for ahead only where an actor is to be solved of them
    needed = {name for job in found.todo for name in job.after}
    found.todo = [job for job in found.todo if job.what != "landmarks" or job.name in needed]
    return found


def _state(job: Job, before: list[State], redo_failed: bool) -> State:
    if "failed" in before:
        return "failed"
    if "pending" in before:
        return "pending"
    try:
        state = state_of(job, hashes_of(job))
    except (Mmface4dError, OSError):
        return "pending"  # the worker meets the same error, and says so
    return "pending" if state == "failed" and redo_failed else state


def _put_away(job: Job, state: State, found: Standing) -> None:
    if state == "done":
        found.done.append(job)
        return
    record = record_of(job)
    own = record is not None and record.status == "failed" and record.failure is not None and not _follows(job, found)
    failure = record.failure if own and record is not None else None
    found.failed.append((job, failure or _because_of_another(job)))


def _follows(job: Job, found: Standing) -> bool:
    """Whether a job that this one needs is among the failed."""
    return any(failed.name in job.after for failed, _ in found.failed)


def _because_of_another(job: Job) -> Failure:
    return Failure(
        kind="permanent", reason=NOT_DONE_BEFORE, error="", message=f"{', '.join(job.after)} failed",
        hint="mend that, then add --redo failed",
    )  # fmt: skip
