"""A lab of short virtual takes by one worker, by two, and by two that are killed again and again.

    python benchmarks/batches.py WORK [--takes 30] [--frames 6] [--sessions 3] [--kills 5] [--one-actor]

Takes an hour and memory per worker come from the first two runs, which begin without any result or cache. In the third,
kill -9 meets the whole batch, or one of its workers, at random moments, and the same command is started again. All
three must leave the same bytes, and what was done before a kill must not be touched after it. Prints JSON.
"""

import json
import os
import random
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
from common import PROGRAM, print_json, say
from virtual_lab import clear, finished, make_lab, results

POLL_S = 0.1
MOST_WAIT_S = 8.0  # about as long as a take lasts


def start(lab: Path, workers: int, options: list[str]) -> subprocess.Popen[str]:
    """The batch, in a group of its own."""
    command = [*PROGRAM, "reconstruct", str(lab), "--workers", str(workers), "--json", *options]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )  # fmt: skip


def whole_run(lab: Path, workers: int, options: list[str]) -> dict[str, Any]:
    """An uninterrupted run from nothing."""
    clear(lab)
    began = time.monotonic()
    process = start(lab, workers, options)
    told, _ = process.communicate()
    if process.returncode:
        raise click.ClickException(f"the batch ended with {process.returncode}: {told[-2000:]}")
    result = json.loads(told)
    seconds = time.monotonic() - began
    return {
        "workers": workers, "takes": result["done"], "seconds": round(seconds, 1),
        "takes_an_hour": round(result["done"] / seconds * 3600, 1),
        "worker_mb": round(result["worker_bytes"] / 1e6),
    }  # fmt: skip


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """The batch's spawned workers."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == process.pid and b"spawn_main" in (path / "cmdline").read_bytes():
                found.append(int(path.name))
    return found


def is_unfinished(path: Path) -> bool:
    """What a run leaves only where it was stopped."""
    return ".partial" in path.name or path.suffix == ".lock"


def killed_run(lab: Path, options: list[str], *, kills: int, takes: int, chance: random.Random) -> dict[str, Any]:
    """From nothing, killed again and again, and started again until it ends.

    A kill comes a random time after a random number of takes is done, so that kills are spread over the whole run.
    """
    clear(lab)
    seen, touched, known = [], 0, dict[Path, tuple[int, int]]()
    process, attempts = start(lab, 2, options), 1
    for target in sorted(chance.sample(range(takes), kills)):
        while len(finished(lab)) < target and process.poll() is None:
            time.sleep(POLL_S)
        time.sleep(chance.uniform(0, MOST_WAIT_S))
        if process.poll() is not None:
            break
        workers = workers_of(process)
        whom = "worker" if workers and chance.random() < 0.5 else "batch"
        os.kill(chance.choice(workers) if whom == "worker" else process.pid, signal.SIGKILL)
        if whom == "batch":
            process.wait()
            process, attempts = start(lab, 2, options), attempts + 1
        now = finished(lab)
        touched += sum(now.get(path) != which for path, which in known.items())
        known = now
        seen.append({"killed": whom, "done": len(now)})
        say(seen[-1])
    process.communicate()
    touched += sum(finished(lab).get(path) != which for path, which in known.items())
    runs = [json.loads(path.read_text()) for path in lab.glob("sessions/*/sequences/runs/*.json")]
    return {
        "kills": seen, "starts": attempts, "exit_code": process.returncode, "done_and_touched_again": touched,
        "most_attempts_at_a_take": max(run["attempts"] for run in runs),
        "left_behind": [path.name for path in lab.glob("sessions/*/*/**/*") if is_unfinished(path)],
    }  # fmt: skip


@click.command()
@click.argument("work", type=click.Path(path_type=Path))
@click.option("--takes", default=30, show_default=True)
@click.option("--frames", default=6, show_default=True, help="Of a take.")
@click.option("--sessions", default=3, show_default=True)
@click.option("--kills", default=5, show_default=True)
@click.option("--one-actor", is_flag=True, help="One actor for each session.")
@click.option("--seed", default=0, show_default=True, help="Of the moments of the kills.")
def main(work: Path, takes: int, frames: int, sessions: int, kills: int, one_actor: bool, seed: int) -> None:
    """Make a lab in WORK, or use the one that is there, and reconstruct it three times."""
    lab = make_lab(work / "lab", sessions=sessions, takes=takes // sessions, frames=frames)
    options = ["--one-actor"] if one_actor else []
    runs, bytes_of = [], []
    for workers in (1, 2):
        runs.append(whole_run(lab, workers, options))
        bytes_of.append(results(lab))
        say(runs[-1])
    chance = random.Random(seed)
    killed = killed_run(lab, options, kills=kills, takes=takes // sessions * sessions, chance=chance)
    bytes_of.append(results(lab))
    print_json(
        {
            "lab": {"sessions": sessions, "takes": takes, "frames": frames, "one_actor": one_actor},
            "cores": os.cpu_count(), "load": os.getloadavg()[1], "throughput": runs, "killed": killed,
            "files": len(bytes_of[0]),
            "same_bytes_with_one_and_two_workers": bytes_of[0] == bytes_of[1],
            "same_bytes_when_killed": bytes_of[1] == bytes_of[2],
        }
    )  # fmt: skip


if __name__ == "__main__":
    main()
