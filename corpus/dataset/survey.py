"""Many sequences measured once each: results are kept by content, so that a run that was stopped goes on."""

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from corpus.dataset.motion import Motion, Yardstick, measure_motion, yardstick
from corpus.dataset.regions import FaceRegions
from mmface4d.errors import InputError, Mmface4dError
from mmface4d.files import read_json, user_cache_folder, write_json
from mmface4d.progress import progress
from mmface4d.sequence import MeshSequence

MEASURE = 1  # to be raised when `measure_motion` gives other numbers
CORRELATION_STEPS = 1000
MAX_RECORD_BYTES = 4 << 20
JOBS_PER_WORKER = 4  # fewer are not worth a process
QUEUED_PER_WORKER = 4


@dataclass(frozen=True)
class Recording:
    """A sequence with what is known about it; None where nothing is.

    `read` opens it, in another process too; `fingerprint` changes with its content.
    """

    name: str
    model: str
    fingerprint: str
    read: Callable[[], MeshSequence]
    subject: str | None = None
    emotion: str | None = None


@dataclass(frozen=True)
class Surveyed:
    """A recording and its numbers, or why there are none."""

    recording: Recording
    motion: Motion | None
    reason: str | None = None


def content_fingerprint(path: Path) -> str:
    """A hash of a zip's table of contents, which holds every member's size and CRC-32: quick however large the file.

    Raises InputError where the file is no zip.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            table = sorted((each.filename, each.file_size, each.CRC) for each in archive.infolist())
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise InputError(
            f"{path} is no mesh sequence: {error}", hint="the file is damaged or of another kind"
        ) from error
    return hashlib.sha256(json.dumps(table).encode()).hexdigest()


def survey(
    recordings: Sequence[Recording], regions: Mapping[str, FaceRegions], *, workers: int, cache: Path | None = None
) -> list[Surveyed]:
    """Measures recordings, in their order; `regions` are those of every model that they name.

    Results are kept in `cache` (the user's, where none is given). One that cannot be measured gets a reason.
    """
    folder = cache or user_cache_folder() / "statistics"
    versions = {model: _version(each) for model, each in regions.items()}
    kept = [folder / f"{_key(each, versions)}.json" for each in recordings]
    found: dict[int, Motion | str] = {}
    for number, path in enumerate(kept):
        known = _known(path)
        if known is not None:
            found[number] = known
    todo = [number for number in range(len(recordings)) if number not in found]
    if todo:
        with progress("sequences measured", len(todo)) as bar:
            for number, result in _measured(recordings, todo, regions, workers=workers):
                found[number] = result
                if isinstance(result, Motion):
                    write_json(kept[number], _to_json(result))
                bar.advance()
    return [_surveyed(each, found[number]) for number, each in enumerate(recordings)]


def _surveyed(recording: Recording, result: Motion | str) -> Surveyed:
    return Surveyed(recording, None, result) if isinstance(result, str) else Surveyed(recording, result)


def _version(regions: FaceRegions) -> str:
    """A hash of all that the numbers of a sequence depend on beside the sequence."""
    digest = hashlib.sha256(f"{MEASURE} {regions.name}".encode())
    for array in (regions.template, regions.faces, regions.part_of):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _key(recording: Recording, versions: Mapping[str, str]) -> str:
    return hashlib.sha256(f"{versions[recording.model]} {recording.fingerprint}".encode()).hexdigest()


def _known(path: Path) -> Motion | None:
    try:
        return _from_json(read_json(path, max_bytes=MAX_RECORD_BYTES))
    except (InputError, KeyError, TypeError, ValueError):
        return None  # not there, or not ours: it is measured again


def _measured(
    recordings: Sequence[Recording], todo: Sequence[int], regions: Mapping[str, FaceRegions], *, workers: int
) -> Iterator[tuple[int, Motion | str]]:
    """Results as they come."""
    workers = min(workers, len(todo) // JOBS_PER_WORKER)
    if workers < 2:
        measures = _Measures(regions)
        yield from ((number, measures(recordings[number])) for number in todo)
        return
    with _pool(workers, regions) as pool:
        waiting: dict[Future[Motion | str], int] = {}
        for number in todo:
            waiting[pool.submit(_in_worker, recordings[number])] = number
            if len(waiting) >= QUEUED_PER_WORKER * workers:
                yield from _finished(waiting)
        while waiting:
            yield from _finished(waiting)


def _finished(waiting: dict[Future[Motion | str], int]) -> Iterator[tuple[int, Motion | str]]:
    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
    try:
        yield from [(waiting.pop(each), each.result()) for each in done]
    except BrokenProcessPool as error:
        raise Mmface4dError(
            "a worker process was ended by the system, most often for want of memory",
            hint="run again with fewer --workers; what was measured is kept",
        ) from error


class _Measures:
    """Measures recordings of several topologies, with a yardstick for each that is made when it is first needed."""

    def __init__(self, regions: Mapping[str, FaceRegions]) -> None:
        self._regions = regions
        self._yardsticks: dict[str, Yardstick] = {}

    def __call__(self, recording: Recording) -> Motion | str:
        by = self._yardsticks.get(recording.model)
        if by is None:
            by = self._yardsticks[recording.model] = yardstick(self._regions[recording.model])
        try:
            return measure_motion(recording.read(), by)
        except Mmface4dError as error:
            return error.message
        except (ValueError, OSError) as error:
            return f"{recording.name}: {error}"


_measures_of_this_worker: _Measures | None = None


@contextmanager
def _pool(workers: int, regions: Mapping[str, FaceRegions]) -> Iterator[ProcessPoolExecutor]:
    """Processes with the topologies in them; what has not begun is dropped when the block is left early."""
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_start, initargs=(dict(regions),))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _start(regions: dict[str, FaceRegions]) -> None:
    from threadpoolctl import threadpool_limits

    global _measures_of_this_worker
    threadpool_limits(1)  # the other cores have workers of their own
    _measures_of_this_worker = _Measures(regions)


def _in_worker(recording: Recording) -> Motion | str:
    if _measures_of_this_worker is None:
        raise RuntimeError("the worker was not started")
    return _measures_of_this_worker(recording)


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _to_json(motion: Motion) -> dict[str, Any]:
    """As it is kept; correlations in thousandths, of each pair once."""
    pairs = motion.correlation[np.triu_indices(len(motion.correlation))].tolist()
    return {
        **{name: getattr(motion, name) for name in ("model", "frames", "usable", "steps", "fps", "steady_residual_m")},
        "frames_by_status": {str(code): count for code, count in motion.frames_by_status.items()},
        "step_m": motion.step_m.tolist(),
        "length_m": motion.length_m.tolist(),
        "place_m": motion.place_m.tolist(),
        "correlation": [round(CORRELATION_STEPS * each) if np.isfinite(each) else None for each in pairs],
    }


def _from_json(record: dict[str, Any]) -> Motion:
    place_m = np.array(record["place_m"], dtype=np.float64).reshape(-1, 3)
    correlation = np.zeros((len(place_m), len(place_m)))
    rows, columns = np.triu_indices(len(place_m))
    values = np.array([np.nan if each is None else each / CORRELATION_STEPS for each in record["correlation"]])
    correlation[rows, columns] = correlation[columns, rows] = values
    return Motion(
        **{name: record[name] for name in ("model", "frames", "usable", "steps", "fps", "steady_residual_m")},
        frames_by_status={int(code): count for code, count in record["frames_by_status"].items()},
        step_m=np.array(record["step_m"]),
        length_m=np.array(record["length_m"]),
        place_m=place_m,
        correlation=correlation,
    )
