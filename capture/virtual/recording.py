"""A virtual take: the devices' pictures and the microphone's sound, written as a real recording is after its import."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from capture.virtual.lens import COLOR_MODE, DEPTH_MODE
from capture.virtual.rig import (
    FIRST_FRAME_USEC,
    Studio,
    VirtualHead,
    VirtualKinect,
    VirtualRig,
    depth_times_usec,
    master_times_usec,
)
from capture.virtual.voice import SAMPLE_RATE
from mmface4d.progress import progress
from mmface4d.take import MISSING, FrameTable, Take, TakeCamera, TakeWriter
from mmface4d.take_record import AudioRecord, ClockRecord, SyncRecord

FLUSH_FRAMES = 15
DROP_EVERY = 22  # one frame in so many is lost by the device that loses frames


@dataclass(frozen=True)
class Sound:
    """Mono samples in -1..1 at 48 kHz; the first one belongs to `start_s` on the clock of the head's frames."""

    samples: Float[np.ndarray, "n_samples"]
    start_s: float


def record_take(
    path: Path, rig: VirtualRig, head: VirtualHead,
    *, fps: float, sound: Sound | None = None, source: dict[str, Any] | None = None,
) -> Take:  # fmt: skip
    """Renders every frame of a head and writes the take; the last device loses a frame now and then.

    `source` is kept in `take.json` beside the rig's seed.
    The folder must not exist. If this is interrupted, it disappears again; if it is killed, it has no `take.json`.
    """
    table = frame_table(rig, len(head), fps=fps)
    studio = Studio(rig, head)
    cameras = [_take_camera(device, fps) for device in rig.devices]
    origin = {"kind": "virtual", "seed": rig.seed, **(source or {})}
    with TakeWriter(path, cameras, fps=fps, source=origin) as writer, progress("render", len(head)) as bar:
        for frame, shots in enumerate(studio.frames()):
            for serial, shot in shots.items():
                color_usec = int(table.color_usec[serial][frame])
                if color_usec != MISSING:
                    depth_usec = int(table.depth_usec[serial][frame])
                    writer.write(
                        serial, color_jpeg=shot.color_jpeg, depth_mm=shot.depth_mm,
                        color_usec=color_usec, depth_usec=depth_usec,
                    )  # fmt: skip
            if frame % FLUSH_FRAMES == FLUSH_FRAMES - 1:
                writer.flush()
            bar.advance()
        audio = _write_sound(writer, sound) if sound else None
        return writer.finish(table, audio=audio, clocks=_clocks(rig), sync=_sync(rig, table))


def frame_table(rig: VirtualRig, frame_count: int, *, fps: float) -> FrameTable:
    """When each device exposes each frame, by its own clock; MISSING where it loses one."""
    master_usec = master_times_usec(frame_count, fps)
    color: dict[str, np.ndarray] = {}
    depth: dict[str, np.ndarray] = {}
    for device in rig.devices:
        color_usec = device.clock.read(master_usec, np.random.default_rng([device.seed, 1]))
        depth_usec = depth_times_usec(device, color_usec)
        lost = _lost_frames(device is rig.devices[-1], frame_count)
        color[device.serial] = np.where(lost, MISSING, color_usec)
        depth[device.serial] = np.where(lost, MISSING, depth_usec)
    return FrameTable(master_usec, color, depth)


def _lost_frames(loses: bool, frame_count: int) -> np.ndarray:
    frames = np.arange(frame_count)
    return loses & (frames % DROP_EVERY == DROP_EVERY // 2)


def _take_camera(device: VirtualKinect, fps: float) -> TakeCamera:
    return TakeCamera(
        serial=device.serial,
        role="master" if device.role == "master" else "subordinate",
        rgbd=device.camera,
        depth_delay_usec=device.depth_delay_usec,
        settings={"color_mode": COLOR_MODE, "depth_mode": DEPTH_MODE, "fps": f"{fps:g}"},
        factory_calibration=device.factory_blob,
    )


def _write_sound(writer: TakeWriter, sound: Sound) -> AudioRecord:
    import soundfile

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "audio.wav"
        soundfile.write(file, sound.samples, SAMPLE_RATE, subtype="PCM_24")
        record = writer.set_audio(file)
    start_usec = FIRST_FRAME_USEC + round(sound.start_s * 1e6)
    return record.model_copy(update={"start_usec": start_usec, "start_source": "given"})


def _clocks(rig: VirtualRig) -> dict[str, ClockRecord]:
    return {
        device.serial: ClockRecord(
            reference_usec=float(FIRST_FRAME_USEC),
            offset_usec=-device.clock.offset_usec,
            rate_ppm=-device.clock.rate_ppm,
        )
        for device in rig.devices
        if device.role != "master"
    }


def _sync(rig: VirtualRig, table: FrameTable) -> SyncRecord:
    gaps = [
        np.abs(_present(table.color_usec[device.serial], table.timestamps_usec))
        for device in rig.devices
        if device.role != "master"
    ]
    apart = np.concatenate(gaps)
    return SyncRecord(
        pairs=len(apart),
        median_usec=float(np.median(apart)),
        p99_usec=float(np.percentile(apart, 99)),
        max_usec=float(apart.max()),
    )


def _present(color_usec: Int[np.ndarray, "n_frames"], master_usec: Int[np.ndarray, "n_frames"]) -> np.ndarray:
    taken = color_usec != MISSING
    return (color_usec - master_usec)[taken]
