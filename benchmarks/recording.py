"""Whether recording keeps up: three cameras at 30 fps and sound into one take, through the real driver code.

    python benchmarks/recording.py --work WORK [--seconds 120] [--page]

The virtual rig's pictures are rendered beforehand and played in a loop, so that only recording is measured.
With --page, a headless Chromium shows the operator's page meanwhile. Prints
JSON: lost captures and samples, queues, CPU share, bytes a second; and depth compression beside PNG and plain zstd on
the same pictures.
"""

import os
import resource
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
from common import print_json, say

from capture.devices.azure_kinect import AzureKinects
from capture.devices.camera import CameraSettings, Capture
from capture.pages.server import PagesServer
from capture.recorder.director import Director
from capture.recorder.recorder import Recorder, RecorderSettings
from capture.recorder.rig_keeper import RigKeeper
from capture.recorder.verdict import judge
from capture.sound_track import SoundFormat
from capture.virtual.stage import Clip
from mmface4d.depth_codec import decode_depth, encode_depth
from mmface4d.session import ScriptItem, create_session
from mmface4d.take import open_take
from mmface4d.virtual_studio import VirtualStudio


@contextmanager
def shown_page(recorder: Recorder, work: Path) -> Iterator[None]:
    """The operator's page in a browser, with previews and levels running; nobody presses anything."""
    session = create_session(work / "session", subject="P01", script=[ScriptItem(id="00_0001", text="Good morning.")])
    director = Director(session, recorder, judge=lambda path, faults: judge(path, faults=faults))
    program = next((found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None)
    if program is None:
        raise click.ClickException("--page needs Chromium")
    server = PagesServer(director, recorder, session)
    url = server.start().operator
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--mute-audio", f"--user-data-dir={work / 'browser'}"]
    flags += [
        "--remote-debugging-port=0",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--no-first-run",
    ]
    with (work / "browser.log").open("wb") as log:
        browser = subprocess.Popen([program, *flags, url], stdout=log, stderr=log)
    try:
        yield
        if browser.poll() is not None:
            raise click.ClickException(f"Chromium ended; see {work / 'browser.log'}")
    finally:
        browser.terminate()
        browser.wait()
        server.stop()


def record(studio: VirtualStudio, path: Path, *, seconds: float, page: bool) -> dict[str, Any]:
    """One long take."""
    made: list[Recorder] = []

    def deliver(capture: Capture) -> None:
        for recorder in made:
            recorder.on_capture(capture)

    faults: list[str] = []
    with ExitStack() as resources:
        keeper = RigKeeper(AzureKinects(), CameraSettings("standalone"), on_capture=deliver, on_fault=faults.append)
        resources.callback(keeper.close)
        cameras = keeper.open()
        microphone = studio.microphone()
        form = SoundFormat(microphone.format.rate, microphone.format.channels)
        recorder = Recorder(cameras, sound=form, settings=RecorderSettings())
        made.append(recorder)
        resources.callback(recorder.close)
        microphone.open(recorder.on_block, lambda error: faults.append(str(error)))
        resources.callback(microphone.close)
        if page:
            resources.enter_context(shown_page(recorder, path.parent))
        time.sleep(4.0)
        usage, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
        recorder.begin(path, source={})
        time.sleep(seconds)
        seen = recorder.tape.statistics
        ending = time.monotonic()
        recorder.end()
        done = time.monotonic()
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu_s = after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
        return {
            "seconds": round(ending - began, 2),
            "cpu_share_of_one_core": round(cpu_s / (done - began), 3),
            "cores": os.cpu_count(),
            "bytes_a_second": round(seen.bytes / (ending - began)),
            "most_waiting_to_be_packed": recorder.packer.most_waiting,
            "most_waiting_for_the_disk": seen.most_waiting,
            "most_waiting_for_the_disk_bytes": seen.most_waiting_bytes,
            "lost_in_the_recorder": recorder.packer.lost,
            "microphone_overflows": microphone.overflows,
            "to_finish_s": round(done - ending - RecorderSettings().post_roll_s, 2),
            "peak_mb": round(after.ru_maxrss / 1024),
            "faults": faults,
        }


def missing(path: Path) -> dict[str, Any]:
    """What the finished take lacks."""
    with open_take(path) as take:
        inner = range(1, len(take) - 1)
        absent = sum(len(take.cameras) - len(take.present(frame)) for frame in inner)
        steps = np.diff(take.timestamps_usec)
        period_usec = 1e6 / take.fps
        return {
            "frames": len(take),
            "captures_missing": absent,
            "instants_missing": int(np.rint(steps / period_usec).sum() - len(steps)),
            "unmatched": len(take.info.unmatched),
            "sync_p99_usec": take.info.sync.p99_usec,
            "samples_lost": sum("samples of sound were lost" in note for note in take.info.notes),
        }


def compression(clip: Clip, *, pictures: int = 30) -> dict[str, Any]:
    """Ratio and milliseconds a picture, one thread, of our packing and of what else there is."""
    import cv2
    import zstandard

    depths = [shot.depth_mm for frame in clip.shots for shot in frame.values()][:pictures]
    ways = {
        "ours": encode_depth,
        "zstd": lambda depth: zstandard.ZstdCompressor(level=3).compress(depth.tobytes()),
        "png level 1": lambda depth: cv2.imencode(".png", depth, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes(),
    }
    height, width = depths[0].shape
    whole = all((decode_depth(encode_depth(depth), width=width, height=height) == depth).all() for depth in depths)
    table: dict[str, Any] = {"lossless": whole}
    for name, way in ways.items():
        times, ratios = [], []
        for depth in depths:
            began = time.perf_counter()
            packed = way(depth)
            times.append(1e3 * (time.perf_counter() - began))
            ratios.append(depth.nbytes / len(packed))
        table[name] = {"ratio": round(statistics.mean(ratios), 2), "ms": round(statistics.median(times), 2)}
    return table


@click.command()
@click.option("--work", type=click.Path(path_type=Path), required=True)
@click.option("--seconds", type=float, default=120.0, show_default=True)
@click.option("--page", is_flag=True, help="With the operator's page open in a headless Chromium.")
def main(work: Path, seconds: float, page: bool) -> None:
    """Print the figures as JSON."""
    path = work / "recorded"
    for old in (path, work / "session", work / "browser"):
        shutil.rmtree(old, ignore_errors=True)
    work.mkdir(parents=True, exist_ok=True)
    with VirtualStudio() as studio:
        table = compression(studio.stage.idle)
        say(table)
        figures = record(studio, path, seconds=seconds, page=page)
    print_json({"recording": figures | missing(path), "depth_compression": table})


if __name__ == "__main__":
    main()
