"""Whether sound and pictures belong together: virtual rigs with drifting clocks, measured against their truth.

    python benchmarks/sync.py --work WORK [--rigs 6] [--takes 5]

Every rig has other clock rates (devices up to ±400 ppm, the microphone up to ±200 ppm against the host), arrival
delays and jitter. A take of flashes with beeps tells the constant between sound and picture, as an operator would
measure it by `take clap`; then takes are recorded with it. The truth, which nothing in the recorder knows, is when each
sample and each picture really happened. Prints JSON, times in milliseconds.
"""

import shutil
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import numpy as np
from common import print_json, say

from capture.clap import measure_offset
from capture.devices.azure_kinect import AzureKinects
from capture.devices.camera import CameraSettings, Capture
from capture.microphone.virtual import VirtualMicrophone, VirtualSound
from capture.recorder.recorder import Recorder, RecorderSettings
from capture.recorder.rig_keeper import RigKeeper
from capture.sound_track import SoundFormat
from capture.virtual.bench import Bench, BenchSettings
from capture.virtual.k4a import installed
from capture.virtual.rig import Shot, VirtualRig, virtual_rig
from capture.virtual.sensor import jpeg
from capture.virtual.stage import Clip, Stage
from capture.virtual.voice import SAMPLE_RATE
from mmface4d.take import Take

FPS, EXPOSURE_S, FLASH_S = 30, 0.010, 0.080
FLASHES = 12


def flash_clip(rig: VirtualRig, rng: np.random.Generator) -> Clip:
    """Flashes with beeps, a second apart but for chance; a picture is as bright as its exposure was lit."""
    happened_s = 0.5 + np.arange(FLASHES) + rng.uniform(0, 0.4, FLASHES)
    grey = {level: jpeg(np.full((1080, 1920, 3), level, np.uint8)) for level in range(60, 161, 2)}
    depth = np.full((576, 640), 760, np.uint16)
    shots = []
    for tick in range(round((happened_s[-1] + 0.6) * FPS)):
        begin, end = tick / FPS - EXPOSURE_S / 2, tick / FPS + EXPOSURE_S / 2
        lit = np.clip((np.minimum(end, happened_s + FLASH_S) - np.maximum(begin, happened_s)) / EXPOSURE_S, 0, 1).max()
        shots.append({device.serial: Shot(grey[60 + 2 * round(50 * lit)], depth) for device in rig.devices})
    sound = np.zeros(round(len(shots) / FPS * SAMPLE_RATE))
    for at_s in happened_s:
        first = round(at_s * SAMPLE_RATE)
        sound[first : first + 1200] += 0.4 * rng.standard_normal(1200) * np.exp(-np.arange(1200) / 400)
    return Clip(tuple(shots), sound)


class Studio:
    """A running virtual rig with a recorder, and the truth about it."""

    def __init__(self, seed: int, resources: ExitStack) -> None:
        rng = np.random.default_rng(seed)
        self.rig = virtual_rig(seed=seed)
        self.flashes = flash_clip(self.rig, rng)
        self.stage = Stage(Clip(self.flashes.shots[:2]), fps=FPS, seed=seed)
        self.settings = BenchSettings(
            master_rate_ppm=float(rng.uniform(-400, 400)), latency_s=float(rng.uniform(0.03, 0.08)), seed=seed
        )  # fmt: skip
        self.bench = resources.enter_context(installed(Bench(self.rig, self.stage, self.settings)))
        self.sound = VirtualSound(
            rate_ppm=float(rng.uniform(-200, 200)), heard_s=float(rng.uniform(0, 0.01)), seed=seed
        )  # fmt: skip
        self.microphone = VirtualMicrophone(self.stage, self.sound)
        self._made: list[Recorder] = []
        keeper = RigKeeper(
            AzureKinects(), CameraSettings("standalone", fps=FPS), on_capture=self._deliver, on_fault=print
        )  # fmt: skip
        resources.callback(keeper.close)
        self.cameras = keeper.open()
        self.recorder = Recorder(self.cameras, sound=SoundFormat(SAMPLE_RATE, 1))
        resources.callback(self.recorder.close)
        self._made.append(self.recorder)
        self.microphone.open(self.recorder.on_block, print)
        resources.callback(self.microphone.close)

    def _deliver(self, capture: Capture) -> None:
        for recorder in self._made:
            recorder.on_capture(capture)

    def record(self, path: Path, seconds: float, *, av_offset_usec: float = 0.0) -> Take:
        """One take."""
        self.recorder.settings = RecorderSettings(av_offset_usec=av_offset_usec)
        self.recorder.begin(path, source={})
        time.sleep(seconds)
        take = self.recorder.end()
        self.first_sample = self.recorder.tape.written.sound[0].first
        return take

    def errors_ms(self, take: Take) -> list[float]:
        """By how much sound is placed too late on the master's clock, at the begin, middle and end of a take."""
        audio, master = take.info.audio, self.bench.devices[take.master]
        if audio is None or audio.start_usec is None:
            return []
        shown = [usec for usec in take.info.frames.color_usec[take.master] if usec is not None]
        true_usec = np.array([master.exposed_nsec(usec) / 1000 for usec in shown])
        errors = []
        for part in (0.0, 0.5, 1.0):
            sample = round(part * (audio.samples - 1))
            claimed_usec = audio.start_usec + (1 + audio.rate_ppm * 1e-6) * sample * 1e6 / audio.rate
            sounded_usec = self.stage.host_nsec(self.microphone.heard_at_s(self.first_sample + sample)) / 1000
            device_usec = _extended(sounded_usec, true_usec, np.array(shown, dtype=np.float64))
            errors.append((claimed_usec - device_usec) / 1000)
        return errors

    def rates_off_ppm(self, take: Take) -> tuple[float, float]:
        """Error of the fitted rates: the microphone's and the master's."""
        audio = take.info.audio
        if audio is None or audio.host is None or audio.master_host is None:
            return float("nan"), float("nan")
        master = self.settings.master_rate_ppm
        return (
            audio.host.rate_ppm + self.sound.rate_ppm / (1 + self.sound.rate_ppm * 1e-6),
            audio.master_host.rate_ppm + master / (1 + master * 1e-6),
        )


def _extended(at: float, known: np.ndarray, values: np.ndarray) -> float:
    """A straight line through the ends, for instants outside too."""
    slope = (values[-1] - values[0]) / (known[-1] - known[0])
    return float(values[0] + slope * (at - known[0]))


def one_rig(seed: int, work: Path, takes: int) -> dict[str, Any]:
    """The clap take, and takes recorded with what it told."""
    with ExitStack() as resources:
        studio = Studio(seed, resources)
        time.sleep(2)
        studio.stage.perform(studio.flashes)
        clap = studio.record(work / "clap", FLASHES + 1.5)
        offset = measure_offset(clap)
        raw = studio.errors_ms(clap)
        errors, sync = [], []
        for number in range(takes):
            take = studio.record(work / f"take{number}", 4.0, av_offset_usec=offset.av_offset_usec)
            errors += studio.errors_ms(take)
            sync.append(take.info.sync.p99_usec)
            rates = studio.rates_off_ppm(take)
            take.close()
        return {
            "seed": seed, "master_rate_ppm": round(studio.settings.master_rate_ppm, 1),
            "microphone_rate_ppm": round(studio.sound.rate_ppm, 1),
            "latency_ms": round(1e3 * studio.settings.latency_s, 1),
            "error_without_clap_ms": round(float(np.mean(raw)), 2),
            "clap_spread_ms": round(offset.spread_usec / 1e3, 2),
            "errors_ms": [round(error, 2) for error in errors],
            "rate_errors_ppm": [round(rate, 2) for rate in rates], "sync_p99_usec": max(sync),
        }  # fmt: skip


@click.command()
@click.option("--work", type=click.Path(path_type=Path), required=True)
@click.option("--rigs", default=6, show_default=True)
@click.option("--takes", default=5, show_default=True)
def main(work: Path, rigs: int, takes: int) -> None:
    """Print the figures as JSON."""
    found = []
    for seed in range(rigs):
        shutil.rmtree(work / f"sync{seed}", ignore_errors=True)
        found.append(one_rig(seed, work / f"sync{seed}", takes))
        say(found[-1])
    errors = np.abs(np.concatenate([rig["errors_ms"] for rig in found]))
    rates = np.abs(np.concatenate([rig["rate_errors_ppm"] for rig in found]))
    print_json({
        "av_error_ms": {"p50": float(np.median(errors)), "p95": float(np.percentile(errors, 95)), "max": errors.max()},
        "rate_error_ppm": {"p95": float(np.percentile(rates, 95)), "max": rates.max()},
        "sync_p99_usec": max(rig["sync_p99_usec"] for rig in found),
        "rigs": found,
    })  # fmt: skip


if __name__ == "__main__":
    main()
