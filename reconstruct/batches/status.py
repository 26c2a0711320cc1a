"""How far a batch is: what was made of the inputs as they are now, whatever the settings."""

from collections import Counter
from typing import Any

from mmface4d.errors import InputError, Mmface4dError
from mmface4d.results import Failure, ResultRecord, actor_place, read_record
from reconstruct.batches.jobs import Job
from reconstruct.batches.plan import Plan
from reconstruct.batches.record import hashes_of, record_of, state_of

STATES = ("done", "outdated", "failed", "not begun")


def status_of(plan: Plan) -> dict[str, Any]:
    """Every sequence's state, counted by session; why some failed; what is left out."""
    states = {job.name: _state(job) for job in plan.jobs}
    sessions: dict[str, Counter[str]] = {}
    failed: dict[str, Failure] = {}
    for job in plan.jobs:
        sessions.setdefault(job.group, Counter())[states[job.name]] += 1
        # what waits for an actor that failed has no record of its own
        record = record_of(job) if states[job.name] == "failed" else _actor_record(job)
        if states[job.name] != "done" and record is not None and record.failure is not None:
            failed[record.item] = record.failure
    return {
        "sequences": len(plan.jobs),
        "states": {state: sum(counts[state] for counts in sessions.values()) for state in STATES},
        "sessions": {name: {state: counts[state] for state in STATES} for name, counts in sessions.items()},
        "failed": [{"item": item, **failure.model_dump(mode="json")} for item, failure in failed.items()],
        "left_out": [{"item": left.item, "reason": left.reason, "fault": left.fault} for left in plan.left_out],
    }


def _state(job: Job) -> str:
    record = record_of(job)
    if record is None:
        return "not begun"
    try:
        is_current = _is_current(job, record)
    except (Mmface4dError, OSError):
        is_current = False
    if not is_current:
        return "outdated"
    return record.status


def _actor_record(job: Job) -> ResultRecord | None:
    """Of the actor that a batch solved for the job's session, or for takes outside any."""
    places = [actor_place(home) for home in (job.output.parent, job.output.parent.parent)]
    place = next((place for place in places if place.record.is_file()), None)
    try:
        return None if place is None else read_record(place.record)
    except InputError:
        return None


def _is_current(job: Job, record: ResultRecord) -> bool:
    """Whether the inputs are still those of the record; settings and model are taken from the record itself."""
    now = hashes_of(job).model_copy(update={"model": record.hashes.model, "settings": record.hashes.settings})
    if record.hashes.actor is not None:
        actor = _actor_record(job)
        of_session = record.hashes.actor if actor is None or actor.output is None else actor.output.sha256
        now = now.model_copy(update={"actor": of_session})
    return now == record.hashes and (record.status == "failed" or state_of(job, now) == "done")


def status_text(found: dict[str, Any]) -> str:
    """The same in words: a line a session."""
    from reconstruct.batch_commands import failures_text, left_out_text

    width = max([len("session"), *(len(name) for name in found["sessions"])])
    lines = ["  ".join([f"{'session':{width}}", *(f"{state:>9}" for state in STATES)])]
    for name, counts in found["sessions"].items():
        lines.append("  ".join([f"{name:{width}}", *(f"{counts[state]:>9}" for state in STATES)]))
    if len(found["sessions"]) > 1:
        lines.append("  ".join([f"{'all':{width}}", *(f"{found['states'][state]:>9}" for state in STATES)]))
    return "\n".join([*lines, *failures_text(found["failed"]), *left_out_text(found["left_out"])])
