"""A whole batch: plan, engine, dispatch, and what is said at the end."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from mmface4d.errors import InputError, Mmface4dError
from mmface4d.progress import progress
from reconstruct.batches.dispatch import Dispatcher, Engine, Tally
from reconstruct.batches.estimate import estimate, measured_pace
from reconstruct.batches.jobs import Job
from reconstruct.batches.local_pool import LocalPool
from reconstruct.batches.machine import DEFAULT_NEED_BYTES, cores, shares
from reconstruct.batches.plan import Plan
from reconstruct.batches.record import cached_model, hashes_of, record_failed, record_of
from reconstruct.batches.standing import Standing, standing
from reconstruct.batches.work import do
from reconstruct.result_key import program_version
from reconstruct.settings import ReconstructSettings

GONE = "LostWorker"  # as the failure of a job whose worker could record nothing says


@dataclass(frozen=True)
class Means:
    """By whom a batch is done."""

    engine: str = "local"
    address: str | None = None
    workers: int | None = None


def run_batch(plan: Plan, means: Means, *, redo_failed: bool = False) -> dict[str, Any]:
    """Does what is still to be done; returns what became of everything.

    Raises InputError where there is nothing at all to do anything with.
    """
    _refuse_empty(plan)
    now = standing(plan.jobs, redo_failed=redo_failed)
    tally = _do(now.todo, plan, means) if now.todo else Tally()
    _record_lost(tally)
    return _result(plan, now, tally)


def dry_run(plan: Plan, means: Means, *, redo_failed: bool = False) -> dict[str, Any]:
    """What `run_batch` would do, and what that would cost."""
    _refuse_empty(plan)
    now = standing(plan.jobs, redo_failed=redo_failed)
    device = plan.jobs[0].settings.device if plan.jobs else ""
    cost = estimate(
        now.todo, measured_pace(plan.jobs), workers=_worker_count(now.todo, plan, means), device=device
    )  # fmt: skip
    return {
        "plan": [{"item": job.name, "output": str(job.output)} for job in now.todo if job.what != "landmarks"],
        **_result(plan, now, Tally()), "estimate": cost,
    }  # fmt: skip


def _refuse_empty(plan: Plan) -> None:
    if plan.of_all_shards or any(left.fault for left in plan.left_out):
        return
    reasons = Counter(left.reason for left in plan.left_out)
    told = "; ".join(f"{count}: {reason}" for reason, count in reasons.items()) or "there are no takes"
    raise InputError(
        f"nothing can be reconstructed: {told}",
        hint="calibrate first, with: mmface4d calibrate TAKE... -o SESSION/calibration.json",
    )


def _do(jobs: list[Job], plan: Plan, means: Means) -> Tally:
    cached_model(jobs[0].model)  # one that is missing or damaged is no take's fault,
    program_version()  # nor is a missing landmarker
    count = sum(job.what == "sequence" for job in jobs)
    with _engine(jobs, plan, means) as engine, progress("batch", count, unit="takes") as report:
        return Dispatcher(jobs, engine, report=report).run()


@contextmanager
def _engine(jobs: list[Job], plan: Plan, means: Means) -> Iterator[Engine]:
    if means.engine == "ray":
        from reconstruct.batches.ray_engine import RayEngine

        folders = list({job.output.parent: None for job in jobs})[:1]
        with RayEngine(do, address=means.address, needs=_task_needs(jobs[0].settings), folders=folders) as ray:
            yield ray
    else:
        with LocalPool(do, _shares(jobs, plan, means)) as pool:
            yield pool


def _task_needs(settings: ReconstructSettings) -> Any:
    from reconstruct.batches.ray_engine import TaskNeeds

    return TaskNeeds(cpus=1, gpus=1.0 if settings.device == "cuda" else 0.0)


def _shares(jobs: list[Job], plan: Plan, means: Means) -> list[dict[str, str]]:
    need = measured_pace(plan.jobs).peak_bytes or DEFAULT_NEED_BYTES
    return shares(device=jobs[0].settings.device, workers=means.workers, need_bytes=need, jobs=len(jobs))


def _worker_count(jobs: list[Job], plan: Plan, means: Means) -> int:
    if means.engine == "ray" or not jobs:
        return means.workers or cores()
    return len(_shares(jobs, plan, means))


def _record_lost(tally: Tally) -> None:
    """Records the failures of which no worker could: it was killed."""
    for job, failure in tally.failed:
        record = record_of(job)
        if failure.error == GONE and (record is None or record.failure != failure):
            with suppress(Mmface4dError, OSError):  # what cannot be read is told by the failure itself
                record_failed(job, hashes_of(job), failure)


def _result(plan: Plan, now: Standing, tally: Tally) -> dict[str, Any]:
    failed = [*now.failed, *tally.failed]
    sequences = [job for job in tally.done if job.what == "sequence"]
    return {
        "sequences": len(plan.sequences),
        "done": len(sequences),
        "already_done": sum(job.what == "sequence" for job in [*now.done, *tally.already]),
        "to_do": sum(job.what == "sequence" for job in now.todo),
        "failed": [{"item": job.name, "what": job.what, **failure.model_dump(mode="json")} for job, failure in failed],
        "left_out": [{"item": left.item, "reason": left.reason, "fault": left.fault} for left in plan.left_out],
        "retries": tally.retries,
        "seconds": round(tally.seconds, 2),
        "takes_an_hour": round(len(sequences) / tally.seconds * 3600, 1) if sequences else None,
        "worker_bytes": tally.peak_bytes,
    }
