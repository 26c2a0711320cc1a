"""The whole program on a short and on a four times longer piece of a take: memory, first frame, seconds a frame.

    python benchmarks/memory.py TAKE --calibration calibration.json [--model ict] [--frames 15]

`mmface4d reconstruct` runs in a process of its own. `first_frame_s` is from its start until its first fitted frame
lies on the disk, imports and the actor's fit included; `fit_s_a_frame` is the time from one frame to the next after
that, reading and storing included. The short piece is also run on a take whose landmarks are not cached. Prints JSON.
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from common import PROGRAM, print_json, say

from mmface4d.errors import Mmface4dError
from reconstruct.models.library import load_model

LONGER = 4
POLL_S = 0.02
MOST_GROWTH = 1.05  # of the peak, for "independent of length": the allocator's own spread
BYTES_OF_MAXRSS = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class Watched:
    """A finished process: its peak, its seconds, and when (seconds after its start) how many frames were fitted."""

    peak_bytes: int
    seconds: float
    frames_at: list[tuple[float, int]]

    def figures(self, frames: int) -> dict[str, Any]:
        """A line of the table."""
        (first_s, first), (last_s, last) = self.frames_at[0], self.frames_at[-1]
        return {
            "frames": frames,
            "peak_mb": round(self.peak_bytes / 1e6, 1),
            "first_frame_s": round(first_s, 2),
            "fit_s_a_frame": round((last_s - first_s) / (last - first), 3) if last > first else None,
            "seconds_a_frame": round(self.seconds / frames, 3),
            "seconds": round(self.seconds, 2),
        }


def watch(command: list[str], partial: Path) -> Watched:
    """Runs a command to its end and counts the frames that appear in its folder of partial results."""
    started, frames_at, count = time.monotonic(), [], 0
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            now = time.monotonic() - started
            if pid:
                break
            fitted = len(list(partial.glob("frame-*.npz")))
            if fitted > count:
                frames_at.append((now, fitted))
                count = fitted
            time.sleep(POLL_S)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode or not frames_at:
            log.seek(0)
            raise click.ClickException(f"{' '.join(command)}: exit {process.returncode}\n{log.read()}")
    return Watched(usage.ru_maxrss * BYTES_OF_MAXRSS, now, frames_at)


def reconstruct(take: Path, calibration: Path, *, model: str, frames: int, device: str) -> Watched:
    """One run of the program on the first frames."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "sequence.npz"
        command = [
            *PROGRAM, "reconstruct", str(take), "--calibration", str(calibration), "--model", model,
            "--frames", f"0:{frames}", "--device", device, "-o", str(output),
        ]  # fmt: skip
        return watch(command, output.with_name(f"{output.name}.partial"))


def reconstruct_uncached(take: Path, calibration: Path, *, model: str, frames: int, device: str) -> Watched:
    """The same on a take that nobody has looked at: its files are linked into a folder without a cache."""
    with tempfile.TemporaryDirectory() as folder:
        for path in take.resolve().iterdir():
            if path.is_file():
                (Path(folder) / path.name).symlink_to(path)
        return reconstruct(Path(folder), calibration, model=model, frames=frames, device=device)


def cache_landmarks(take_path: Path, frames: int) -> int:
    """Looks for the landmarks of the first frames; returns how many frames there are."""
    from calibration.landmarks import take_landmarks
    from mmface4d.take import open_take

    with open_take(take_path) as take:
        count = min(frames, len(take))
        take_landmarks(take, frames=range(count))
    return count


@click.command()
@click.argument("take_path", type=click.Path(path_type=Path, exists=True))
@click.option("--calibration", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--model", "model_name", default="ict", show_default=True)
@click.option("--frames", default=15, show_default=True, help="Of the short piece.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
def main(take_path: Path, calibration: Path, model_name: str, frames: int, device: str) -> None:
    """Watch the program reconstruct the first frames of TAKE_PATH."""
    head = {"take": take_path.name, "model": model_name, "device": device, "cores": os.cpu_count()}
    try:
        load_model(model_name)
    except Mmface4dError as error:
        print_json({**head, "skipped": error.message})
        return
    longer = cache_landmarks(take_path, LONGER * frames)
    options = {"model": model_name, "device": device}
    runs = []
    for name, run, count in (
        ("cached", reconstruct, frames),
        ("cached", reconstruct, longer),
        ("not cached", reconstruct_uncached, frames),
    ):
        watched = run(take_path, calibration, frames=count, **options)
        runs.append({"landmarks": name, **watched.figures(count)})
        say(runs[-1])
    short_mb, long_mb = runs[0]["peak_mb"], runs[1]["peak_mb"]
    print_json(
        {
            **head,
            "runs": runs,
            "peak_growth_mb_a_frame": round((long_mb - short_mb) / max(longer - frames, 1), 3),
            "independent_of_length": long_mb <= MOST_GROWTH * short_mb,
        }
    )


if __name__ == "__main__":
    main()
