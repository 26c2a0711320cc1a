"""Workers that die, fail and are killed: everything is done once, and what cannot be is said."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import reconstruct.batches.local_pool
from mmface4d.errors import DiskFullError, MissingBackendError
from mmface4d.progress import Progress
from reconstruct.batches.dispatch import Dispatcher, Tally
from reconstruct.batches.failures import LOST_WORKER
from reconstruct.batches.jobs import Job, Outcome, lost
from reconstruct.batches.local_pool import LocalPool
from tests.conftest import REPOSITORY
from tests.reconstruct.batch_work import act, job

DEADLINE_S = 20.0


def run(folder: Path, *names: str, workers: int = 2, after: dict[str, tuple[str, ...]] | None = None) -> Tally:
    jobs = [job(folder, name, after=(after or {}).get(name, ())) for name in names]
    with LocalPool(act, [{"OMP_NUM_THREADS": "3"}] * workers) as pool:
        return Dispatcher(jobs, pool, report=Progress("test", len(jobs)), pause_s=0.01).run()


def tries(folder: Path, name: str) -> int:
    return len((folder / f"{name}.tried").read_text())


def test_every_job_is_done_once_by_workers_with_their_share(tmp_path: Path) -> None:
    names = [f"ok-{number}" for number in range(8)]
    tally = run(tmp_path, *names)
    assert sorted(each.name for each in tally.done) == names
    assert [(tmp_path / f"{name}.out").read_text() for name in names] == ["3\n"] * 8
    assert not multiprocessing.active_children()


def test_a_worker_that_is_killed_takes_only_its_job_with_it_and_that_is_tried_again(tmp_path: Path) -> None:
    tally = run(tmp_path, "dies_once-a", "ok-b", "dies_once-c", "ok-d")
    assert len(tally.done) == 4
    assert not tally.failed
    assert tally.retries == 2
    assert tries(tmp_path, "dies_once-a") == 2
    assert tries(tmp_path, "ok-b") == 1


def test_what_passes_is_tried_again_and_what_lasts_is_not(tmp_path: Path) -> None:
    tally = run(tmp_path, "io_once-a", "io-b", "bad-c", "dies-d", "ok-e")
    assert {each.name for each in tally.done} == {"io_once-a", "ok-e"}
    failed = {each.name: (failure.kind, failure.reason) for each, failure in tally.failed}
    assert failed == {
        "io-b": ("transient", "input/output"), "bad-c": ("permanent", "bug: ValueError"),
        "dies-d": ("transient", "lost worker"),
    }  # fmt: skip
    assert [tries(tmp_path, name) for name in ("io-b", "bad-c", "dies-d")] == [4, 1, 4]


def test_jobs_wait_for_those_they_need_and_fail_with_them(tmp_path: Path) -> None:
    tally = run(
        tmp_path, "ok-a", "ok-b", "bad-c", "ok-d", after={"ok-a": ("ok-b",), "ok-d": ("bad-c",), "ok-b": ("elsewhere",)}
    )
    assert [each.name for each in tally.done] == ["ok-b", "ok-a"]
    assert [(each.name, failure.reason) for each, failure in tally.failed] == [
        ("bad-c", "bug: ValueError"), ("ok-d", "what it needs has failed"),
    ]  # fmt: skip
    assert not (tmp_path / "ok-d.tried").exists()


def test_a_session_is_finished_before_the_next_one_is_begun(tmp_path: Path) -> None:
    names = ["ok-actor_1", "ok-1a", "ok-1b", "ok-actor_2", "ok-2a"]
    after = {"ok-1a": ("ok-actor_1",), "ok-1b": ("ok-actor_1",), "ok-2a": ("ok-actor_2",)}
    assert [each.name for each in run(tmp_path, *names, workers=1, after=after).done] == names


def test_a_full_disk_ends_the_batch(tmp_path: Path) -> None:
    with pytest.raises(DiskFullError, match="no space left"):
        run(tmp_path, "full-a", *(f"ok-{number}" for number in range(50)), workers=1)
    assert not (tmp_path / "ok-0.tried").exists()


def test_where_workers_do_nothing_but_die_the_batch_ends(tmp_path: Path) -> None:
    with pytest.raises(MissingBackendError, match="died one after the other"):
        run(tmp_path, *(f"dies-{number}" for number in range(5)))


class LargeNode:
    """Does forty jobs at once, and is lost with all of them the first time."""

    def __init__(self) -> None:
        self.running: list[Job] = []
        self.was_lost = False

    def free(self) -> bool:
        return len(self.running) < 40

    def submit(self, job: Job) -> None:
        self.running.append(job)

    def wait(self, timeout_s: float) -> list[tuple[Job, Outcome]]:
        outcome = Outcome() if self.was_lost else lost(LOST_WORKER, "the node died")
        ended, self.running, self.was_lost = [(each, outcome) for each in self.running], [], True
        return ended


def test_a_node_that_is_lost_with_many_workers_does_not_end_the_batch(tmp_path: Path) -> None:
    jobs = [job(tmp_path, f"ok-{number}") for number in range(50)]
    tally = Dispatcher(jobs, LargeNode(), report=Progress("test", len(jobs)), pause_s=0.01).run()
    assert (len(tally.done), tally.retries) == (50, 40)


def test_after_an_out_of_memory_kill_fewer_workers_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kills = iter([0, 1, 1, 1])
    monkeypatch.setattr(reconstruct.batches.local_pool, "_oom_kills", lambda: next(kills, 1))
    names = ["dies_once-a", *(f"ok-{number}" for number in range(6))]
    with LocalPool(act, [{}] * 3) as pool:
        jobs = [job(tmp_path, name) for name in names]
        tally = Dispatcher(jobs, pool, report=Progress("test", len(jobs)), pause_s=0.01).run()
        assert pool.slots == 2
    assert len(tally.done) == len(names)


def wait_for(path: Path) -> None:
    end = time.monotonic() + DEADLINE_S
    while not path.exists() or not path.read_text():
        assert time.monotonic() < end
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_workers_die_with_who_started_them(tmp_path: Path, signal_number: signal.Signals) -> None:
    code = (
        "from pathlib import Path; from tests.reconstruct.test_batch_workers import run\n"
        f"if __name__ == '__main__': run(Path({str(tmp_path)!r}), 'hangs-a', 'ok-b')"
    )
    (tmp_path / "main.py").write_text(code)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen([sys.executable, tmp_path / "main.py"], env=environment, stderr=subprocess.DEVNULL)
    wait_for(tmp_path / "hangs-a.pid")
    process.send_signal(signal_number)
    process.wait(DEADLINE_S)
    worker = int((tmp_path / "hangs-a.pid").read_text())
    end = time.monotonic() + DEADLINE_S
    while is_alive(worker):
        assert time.monotonic() < end
        time.sleep(0.02)
