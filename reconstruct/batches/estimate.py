"""What a batch will cost: hours and bytes, from the pace of the runs that there have been."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmface4d.results import RunRecord, read_run
from reconstruct.batches.jobs import Job
from reconstruct.batches.record import cached_model, settings_hash
from reconstruct.batches.work import frames_of

HOUR_S = 3600.0
FLOAT_BYTES, FACE_BYTES = 4, 12


@dataclass(frozen=True)
class Pace:
    """Measured on finished runs; `runs` says on how many."""

    runs: int = 0
    seconds_a_frame: float = 0.0
    cpu_seconds_a_frame: float = 0.0
    peak_bytes: int = 0


def measured_pace(jobs: Iterable[Job]) -> Pace:
    """Of the runs of these sequences, with the same settings where there are such."""
    jobs = [job for job in jobs if job.what == "sequence"]
    runs = [run for job in jobs if (run := read_run(job.place.run)).seconds and run.frames]
    if not runs:
        return Pace()
    wanted = settings_hash(jobs[0])
    runs = [run for run in runs if run.settings == wanted] or runs
    whole = [run for run in runs if run.attempts == 1]  # of others the time may be of the last frames alone
    return _mean(whole or runs)


def _mean(runs: list[RunRecord]) -> Pace:
    frames = sum(run.frames for run in runs)
    return Pace(
        runs=len(runs),
        seconds_a_frame=sum(run.seconds or 0.0 for run in runs) / frames,
        cpu_seconds_a_frame=sum(run.cpu_seconds or 0.0 for run in runs) / frames,
        peak_bytes=max(run.peak_bytes or 0 for run in runs),
    )


def estimate(todo: list[Job], pace: Pace, *, workers: int, device: str) -> dict[str, Any]:
    """Frames, bytes and, where a pace is known, hours of the jobs; `gpu_hours` or `core_hours` after the device."""
    sequences = [job for job in todo if job.what == "sequence"]
    frames = sum(frames_of(job) for job in sequences)
    size = sum(_bytes(job) for job in sequences)
    found: dict[str, Any] = {"sequences": len(sequences), "frames": frames, "bytes": size, "workers": workers}
    if sequences:
        found["free_bytes"] = _free_bytes(sequences[0].output)
    if not pace.runs:
        return found
    spent_s = frames * pace.seconds_a_frame
    found |= {"hours": spent_s / workers / HOUR_S, "measured_on": pace.runs, "worker_bytes": pace.peak_bytes}
    if device == "cuda":
        return found | {"gpu_hours": spent_s / HOUR_S}
    return found | {"core_hours": frames * pace.cpu_seconds_a_frame / HOUR_S}


def _bytes(job: Job) -> int:
    model = cached_model(job.model)
    return frames_of(job) * len(model.mean) * 3 * FLOAT_BYTES + len(model.faces) * FACE_BYTES


def _free_bytes(path: Path) -> int:
    folder = path.absolute()
    while not folder.is_dir():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def estimate_text(found: dict[str, Any]) -> str:
    """The estimate in words."""
    text = f"{found['sequences']} sequences of {found['frames']} frames, {found['bytes'] / 1e9:.2f} GB"
    if "free_bytes" in found:
        text += f" ({found['free_bytes'] / 1e9:.0f} GB free)"
    if "hours" not in found:
        return f"{text}; how long is known when a first take is reconstructed"
    kind = "gpu_hours" if "gpu_hours" in found else "core_hours"
    return (
        f"{text}; {found[kind]:.2f} {kind.replace('_', '-').replace('gpu', 'GPU')}, {found['hours']:.2f} hours with "
        f"{found['workers']} workers of {found['worker_bytes'] / 1e9:.1f} GB (pace of {found['measured_on']} runs)"
    )
