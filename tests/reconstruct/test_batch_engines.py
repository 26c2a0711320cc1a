"""A lab by workers that are killed, by a Ray cluster that loses a node, and by a Slurm array: always the same bytes."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.virtual_lab import clear, finished, make_lab, results
from capture.pack import pack_take
from mmface4d.errors import InputError, MissingBackendError
from mmface4d.progress import Progress
from reconstruct.batches.dispatch import Dispatcher
from reconstruct.batches.ray_engine import RayEngine, TaskNeeds, _look, refuse_unlike
from reconstruct.batches.slurm import SlurmTask, slurm_script
from reconstruct.result_key import program_version
from tests.conftest import RunCli
from tests.reconstruct.batch_work import act, job
from tests.reconstruct.clusters import descendants, environment, ray_cluster, slurm_cluster
from tests.reconstruct.test_batch_workers import is_alive

TAKES, FRAMES = 3, 3
LONG_S = 600.0


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_lab(tmp_path_factory.mktemp("batch") / "lab", sessions=1, takes=TAKES, frames=FRAMES)


@pytest.fixture(scope="module")
def whole(lab: Path, run_cli: RunCli) -> dict[str, str]:
    """What an uninterrupted run leaves."""
    done = run_cli("reconstruct", lab, "--workers", 2, timeout=LONG_S)
    assert done.returncode == 0, done.stderr
    assert f"{TAKES} sequences done in" in done.stdout
    found = results(lab)
    assert len(found) == 2 * TAKES
    return found


def start(lab: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "mmface4d.cli", "reconstruct", str(lab), *options]
    return subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)


def spawned(process: subprocess.Popen[str]) -> list[int]:
    """The workers of a batch."""
    return [pid for pid in descendants(process.pid) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def wait_until(process: subprocess.Popen[str], lab: Path, pattern: str) -> None:
    """Until a file of that kind is there."""
    end = time.monotonic() + LONG_S
    while not list(lab.glob(pattern)):
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_killed_workers_and_batches_leave_what_an_uninterrupted_run_leaves(lab: Path, whole: dict[str, str]) -> None:
    clear(lab)
    chance = random.Random(0)
    process = start(lab, "--workers", "2")
    wait_until(process, lab, "sessions/*/sequences/*.partial/actor.npz")
    os.kill(chance.choice(spawned(process)), signal.SIGKILL)
    wait_until(process, lab, "sessions/*/sequences/records/*.json")
    before = finished(lab)
    process.kill()
    process.wait()
    process = start(lab, "--workers", "2")
    assert process.wait(LONG_S) == 0
    assert results(lab) == whole
    assert all(finished(lab)[path] == which for path, which in before.items())  # nothing twice
    assert not list(lab.glob("sessions/*/sequences/*.partial"))


@pytest.mark.slow
def test_ctrl_c_ends_a_batch_in_good_order(lab: Path, whole: dict[str, str]) -> None:
    clear(lab)
    process = start(lab, "--workers", "2")
    wait_until(process, lab, "sessions/*/sequences/runs/*.json")
    workers = spawned(process)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Run the same command again to go on" in told
    assert "Traceback" not in told
    assert workers
    assert not any(is_alive(pid) for pid in workers)


@pytest.mark.slow
def test_a_ray_cluster_that_loses_a_node_does_the_rest(lab: Path, whole: dict[str, str]) -> None:
    clear(lab)
    with ray_cluster() as (address, node):
        process = start(lab, "--engine", "ray", "--address", address)
        wait_until(process, lab, "sessions/*/sequences/*.partial/actor.npz")
        node.kill()
        told = process.communicate(timeout=LONG_S)[1]
    assert process.returncode == 0, told
    assert results(lab) == whole


@pytest.mark.slow
def test_ray_tasks_that_die_fail_or_lose_their_node_are_treated_as_on_one_machine(tmp_path: Path) -> None:
    with ray_cluster() as (address, node):
        names = ["ok-a", "dies_once-b", "bad-c", "io_once-d", "dies-e"]
        with RayEngine(act, address=address, needs=TaskNeeds(), folders=[tmp_path]) as engine:
            jobs = [job(tmp_path, name) for name in names]
            tally = Dispatcher(jobs, engine, report=Progress("test", len(jobs)), pause_s=0.01).run()
            assert {each.name for each in tally.done} == {"ok-a", "dies_once-b", "io_once-d"}
            assert {each.name: failure.reason for each, failure in tally.failed} == {
                "bad-c": "bug: ValueError", "dies-e": "lost worker",
            }  # fmt: skip
            assert (tmp_path / "ok-a.out").read_text() == "1\n"  # one thread
            for name in ("hangs-f", "hangs-g"):
                engine.submit(job(tmp_path, name))
            while len(list(tmp_path.glob("hangs-*.pid"))) < 2:
                assert not engine.wait(0.1)
            node.kill()
            (gone,) = engine.wait(30.0)
            assert gone[1].failure is not None
            assert gone[1].failure.reason == "lost worker"
            assert "node" in gone[1].failure.message
        with pytest.raises(MissingBackendError, match="no Ray cluster answers"):
            RayEngine(act, address="127.0.0.1:1", needs=TaskNeeds(), folders=[tmp_path])


def test_a_node_without_the_lab_or_with_another_program_is_named(tmp_path: Path) -> None:
    marks = [tmp_path / "a" / "mark", tmp_path / "b" / "mark"]
    marks[0].parent.mkdir()
    marks[0].write_text("token")
    assert _look([str(mark) for mark in marks], "token")[1] == [str(tmp_path / "b")]
    assert _look([str(marks[0])], "another")[1] == [str(tmp_path / "a")]

    refuse_unlike("near", program_version(), [])
    with pytest.raises(InputError, match="node far does not see /lab"):
        refuse_unlike("far", program_version(), ["/lab"])
    with pytest.raises(InputError, match="node far has mmface4d"):
        refuse_unlike("far", ["0.0.0"], [])


def test_without_ray_the_remedy_is_named(lab_of_one: Path, run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "ray.py").write_text("raise ModuleNotFoundError('No module named ray', name='ray')\n")
    path = os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]])
    done = run_cli("reconstruct", lab_of_one, "--engine", "ray", env=environment(PYTHONPATH=path))
    assert done.returncode == 3
    assert 'pip install "mmface4d[batch]"' in done.stderr


@pytest.fixture
def lab_of_one(tmp_path: Path) -> Path:
    from tests.reconstruct.test_batch_plan import write_session

    return write_session(tmp_path / "P01", takes=1)


def test_the_sbatch_script_names_everything_in_full(run_cli: RunCli, lab_of_one: Path) -> None:
    command = ["batch", "slurm", lab_of_one, "--shards", 3, "--gpus", 1, "--time", "1:00:00", "--partition", "fast"]
    done = run_cli(*command, "--", "--device", "cuda", "--one-actor")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "#!/bin/bash"
    assert {"#SBATCH --array=1-3", "#SBATCH --gpus=1", "#SBATCH --time=1:00:00", "#SBATCH --partition=fast"} <= {*lines}
    last = f'-m mmface4d.cli reconstruct {lab_of_one} --device cuda --one-actor --shard "$SLURM_ARRAY_TASK_ID/3"'
    assert lines[-1].endswith(last)
    assert subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=False).returncode == 0
    assert f"\ncd {Path.cwd()} || exit " in done.stdout  # relative paths among the options mean the same there
    assert run_cli(*command, "--", "--colour", "red").returncode == 2
    awkward = slurm_script([Path("/a lab/it's")], SlurmTask(1))
    assert "reconstruct '/a lab/it'\"'\"'s' --shard" in awkward


@pytest.mark.slow
def test_a_slurm_array_does_a_lab(lab: Path, whole: dict[str, str], run_cli: RunCli, tmp_path: Path) -> None:
    with slurm_cluster() as found:
        made = run_cli("batch", "slurm", lab, "--shards", 2, "--cpus", 1, "--memory", "0", "--", "--workers", "1")
        (tmp_path / "batch.sh").write_text(made.stdout)
        clear(lab)
        for _ in range(2):  # the second array finds everything done
            submitted = subprocess.run(
                ["sbatch", "--wait", "batch.sh"], cwd=tmp_path, env=found, capture_output=True, text=True, check=False,
                timeout=LONG_S,
            )  # fmt: skip
            logs = "".join(path.read_text() for path in sorted(tmp_path.glob("*.log")))
            assert submitted.returncode == 0, submitted.stderr + logs
            assert results(lab) == whole
    assert len(list(tmp_path.glob("mmface4d-*-[12].log"))) == 4
    assert logs.count("0 sequences done; ") == 2


@pytest.mark.slow
def test_takes_that_are_packed_during_a_batch_give_the_same(lab: Path, whole: dict[str, str], run_cli: RunCli) -> None:
    """The last one here: from then on the lab is packed."""
    clear(lab)
    process = start(lab, "--workers", "2")
    wait_until(process, lab, "sessions/*/sequences/*.partial/frame-*.npz")
    packed = [pack_take(take).packed for take in lab.glob("sessions/*/takes/*")]
    assert process.wait(LONG_S) == 0
    assert packed == [True] * TAKES
    assert results(lab) == whole
    before = finished(lab)
    assert run_cli("reconstruct", lab).stdout.startswith(f"0 sequences done; {TAKES} were done before")
    assert finished(lab) == before
    clear(lab)
    assert run_cli("reconstruct", lab, "--workers", 2, timeout=LONG_S).returncode == 0
    assert results(lab) == whole
