"""What the benchmarks share: runs of the program, a take made ready to be fitted, and the rig's verdict.

The scripts beside it import it by name, because Python looks beside a script wherever it is started from.
"""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from reconstruct.observation import Observation

PROGRAM = [sys.executable, "-m", "mmface4d.cli"]


@dataclass(frozen=True)
class Prepared:
    """An imported take and its calibration."""

    take: Path
    calibration: Path

    def observations(self, frames: range) -> list[Observation]:
        """What the cameras saw; landmarks are looked for where they are not cached."""
        from calibration.landmarks import take_landmarks
        from mmface4d.rig_calibration import load_calibration
        from mmface4d.take import open_take
        from reconstruct.observe import TakeObserver

        with open_take(self.take) as take:
            observer = TakeObserver(take, load_calibration(self.calibration), take_landmarks(take))
            return [observer.read(frame) for frame in frames]


def run(*arguments: object) -> float:
    """Runs the program; returns its seconds."""
    started = time.monotonic()
    done = subprocess.run([*PROGRAM, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise click.ClickException(f"{' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stderr}")
    return time.monotonic() - started


def same_settings(work: Path, settings: dict[str, Any]) -> None:
    """Remembers in `work` what it is for; refuses one of other settings, whose results would be taken for these."""
    from mmface4d.files import read_json, write_json

    path = work / "settings.json"
    if path.is_file() and (kept := read_json(path)) != settings:
        raise click.ClickException(f"{work} has results of other settings, {kept}: give another folder, or delete it")
    write_json(path, settings)


def prepare(source: Path, work: Path) -> Prepared:
    """Imports and calibrates a take into `work`; what is there is used again."""
    prepared = Prepared(work / source.name, work / f"{source.name}.json")
    work.mkdir(parents=True, exist_ok=True)
    if not (prepared.take / "take.json").is_file():
        run("take", "import", source, "-o", prepared.take)
    if not prepared.calibration.is_file():
        run("calibrate", prepared.take, "-o", prepared.calibration)
    return prepared


def score(rig: Path, truth: Path, *arguments: object) -> dict[str, Any]:
    """The rig's verdict."""
    command = [sys.executable, str(rig / "evaluate.py"), "--truth", str(truth), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise click.ClickException(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout)


def print_json(value: object) -> None:
    """Data on stdout."""
    click.echo(json.dumps(value, indent=1))


def say(value: object) -> None:
    """What is known so far, a line on stderr."""
    click.echo(json.dumps(value), err=True)
