"""What a result is made of, as hashes, and the rule by which it is done: its record's hashes are those of now."""

from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Literal

from mmface4d.errors import InputError
from mmface4d.files import file_sha256, read_json
from mmface4d.results import Failure, Hashes, Output, ResultRecord, read_record, write_record
from mmface4d.rig_calibration import load_calibration
from mmface4d.take import MAX_RECORD_BYTES
from reconstruct.batches.jobs import Job
from reconstruct.models.library import load_model
from reconstruct.models.model import MorphableModel
from reconstruct.result_key import content_hash, program_version

State = Literal["done", "failed", "pending"]
# of take.json; its sound, its notes and the way its pictures are packed change no mesh
OF_INPUT = ("fps", "master", "cameras", "frames")


def hashes_of(job: Job) -> Hashes:
    """Of everything that the job's result depends on; raises the InputError of what cannot be read."""
    return Hashes(
        input=content_hash([[take.name, take_hash(take)] for take in job.takes]),
        calibration=calibration_hash(job.calibration),
        model=cached_model(job.model).content_hash,
        settings=settings_hash(job),
        program=content_hash(program_version()),
        actor=None if job.actor is None else _actor_hash(job.actor, _stamp(job.actor)),
    )


def take_hash(take: Path) -> str:
    """Of the cameras and frames of a take; takes are never overwritten, so their pictures need not be read."""
    record = read_json(take / "take.json", max_bytes=MAX_RECORD_BYTES)
    if not isinstance(record, dict):
        raise InputError(f"{take / 'take.json'} is no take's record", hint="import or record the take again")
    return content_hash({name: record.get(name) for name in OF_INPUT})


def calibration_hash(path: Path) -> str:
    """Of what a calibration says, however its file is laid out."""
    return _calibration_hash(path, _stamp(path))


@lru_cache(maxsize=64)
def _calibration_hash(path: Path, stamp: tuple[int, int]) -> str:
    return content_hash(load_calibration(path).record())


def _stamp(path: Path) -> tuple[int, int]:
    """Changes when a file is replaced, so that what many jobs share is read once."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)


def settings_hash(job: Job) -> str:
    """Of all settings of a job."""
    return content_hash(asdict(job.settings))


@lru_cache(maxsize=1)
def cached_model(name: str) -> MorphableModel:
    """The model; a worker reads it once for all its takes."""
    return load_model(name)


@lru_cache(maxsize=64)
def _actor_hash(path: Path, stamp: tuple[int, int]) -> str:
    return file_sha256(path)


def state_of(job: Job, hashes: Hashes) -> State:
    """Whether the job is done, has failed for good, or is still to be done."""
    record = record_of(job)
    if record is None or record.hashes != hashes:
        return "pending"
    if record.status == "done" and record.output is not None:
        return "done" if _is_whole(job.output, record.output) else "pending"
    return "failed" if record.failure is not None and record.failure.kind == "permanent" else "pending"


def record_of(job: Job) -> ResultRecord | None:
    """The record that there is; a damaged one counts as none, because it is made again with the result."""
    try:
        return read_record(job.place.record)
    except InputError:
        return None


def _is_whole(path: Path, output: Output) -> bool:
    return path.is_file() and path.stat().st_size == output.bytes


def record_done(job: Job, hashes: Hashes) -> None:
    """Says that the job's output is whole and what it was made of."""
    output = Output(file=job.output.name, bytes=job.output.stat().st_size, sha256=file_sha256(job.output))
    write_record(job.place.record, _record(job, hashes, output=output))


def record_failed(job: Job, hashes: Hashes, failure: Failure) -> None:
    """Says why there is no result of these inputs; an older output stays, and the record does not speak of it."""
    write_record(job.place.record, _record(job, hashes, failure=failure))


def _record(
    job: Job, hashes: Hashes, *, output: Output | None = None, failure: Failure | None = None
) -> ResultRecord:  # fmt: skip
    return ResultRecord(
        item=job.name,
        what="actor" if job.what == "actor" else "sequence",
        status="done" if failure is None else "failed",
        hashes=hashes,
        output=output,
        failure=failure,
    )
