"""Small takes that Azure Kinects could have recorded: real sizes and factory calibrations, made-up pictures."""

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from capture.pairing import CaptureTimes, pair_captures
from capture.virtual.lens import factory_calibration, parse
from mmface4d.take import TakeCamera, TakeWriter
from mmface4d.take_record import Role

PERIOD_USEC = 33_333
START_USEC = 1_000_000
DELAYS_USEC = {"000001": -160, "000002": 0, "000003": 160}
ROLES: dict[str, Role] = {"000001": "subordinate", "000002": "master", "000003": "subordinate"}
HOST_NSEC = 5_000_000_000_000


@cache
def jpeg(seed: int) -> bytes:
    """A 1080p picture, coarse so that it is small."""
    coarse = np.random.default_rng(seed).integers(0, 256, (27, 48, 3)).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(coarse.repeat(40, 0).repeat(40, 1)).save(out, "JPEG", quality=60)
    return out.getvalue()


def depth(seed: int) -> np.ndarray:
    """An NFOV unbinned picture, with all 16 bits in use."""
    return np.random.default_rng(seed).integers(0, 1 << 16, (576, 640)).astype(np.uint16)


def kinect(serial: str, *, subordinate_delay_usec: int = 0) -> TakeCamera:
    """A device with a factory calibration of its own."""
    blob = factory_calibration(serial, np.random.default_rng(int(serial)))
    rgbd = parse(blob)
    return TakeCamera(
        serial, ROLES[serial], rgbd, DELAYS_USEC[serial],
        subordinate_delay_usec if ROLES[serial] == "subordinate" else 0,
        settings={"color_mode": "MJPG_1080P", "depth_mode": "NFOV_UNBINNED", "color_firmware": "1.6.110",
                  "depth_firmware": "1.6.79"},
        factory_calibration=blob,
    )  # fmt: skip


def write_kinect_take(
    path: Path, frames: int = 4, *, lost: dict[str, set[int]] | None = None, offset_usec: dict[str, int] | None = None,
    arrivals: bool = False, half: bool = False, sound: bool = False, subordinate_delay_usec: int = 0,
    change: Callable[[TakeCamera], TakeCamera] = lambda camera: camera,
) -> Path:  # fmt: skip
    """A take of three devices; `half` adds a colour picture without depth, `offset_usec` sets clocks apart."""
    cameras = {s: change(kinect(s, subordinate_delay_usec=subordinate_delay_usec)) for s in ROLES}
    colors: dict[str, list[int]] = {serial: [] for serial in cameras}
    depths: dict[str, list[int]] = {serial: [] for serial in cameras}
    with TakeWriter(path, list(cameras.values()), fps=30.0, source={"kind": "test"}) as writer:
        for number, (frame, (serial, camera)) in enumerate((f, c) for f in range(frames) for c in cameras.items()):
            if frame in (lost or {}).get(serial, ()):
                continue
            color_usec = START_USEC + frame * PERIOD_USEC + camera.subordinate_delay_usec
            color_usec += (offset_usec or {}).get(serial, 0)
            host_nsec = HOST_NSEC + (frame * PERIOD_USEC + 30_000) * 1000 if arrivals else None
            writer.write(serial, color_jpeg=jpeg(number), color_usec=color_usec, host_nsec=host_nsec)
            colors[serial].append(color_usec)
            if not (half and number == frames * 3 - 1):
                depth_usec = color_usec + camera.depth_delay_usec
                writer.write(serial, depth_mm=depth(number), depth_usec=depth_usec)
                depths[serial].append(depth_usec)
        times = {s: CaptureTimes(np.array(colors[s]), np.array(depths[s])) for s in cameras}
        shifted = {
            s: CaptureTimes(t.color_usec - (offset_usec or {}).get(s, 0), t.depth_usec - (offset_usec or {}).get(s, 0))
            for s, t in times.items()
        }
        pairing = pair_captures(cameras, times if not offset_usec else shifted)
        for serial, offset in (offset_usec or {}).items():
            for column in (pairing.frames.color_usec[serial], pairing.frames.depth_usec[serial]):
                column[column >= 0] += offset
        audio = None
        if sound:
            file = path.with_suffix(".wav")
            soundfile.write(file, np.linspace(-0.5, 0.5, 4800), 48_000, subtype="PCM_24")
            audio = writer.set_audio(file)
            file.unlink()
            audio = audio.model_copy(update={"start_usec": START_USEC - 12_345, "start_source": "host clock"})
        writer.finish(
            pairing.frames, clocks=pairing.clocks, sync=pairing.sync, unmatched=pairing.unmatched, audio=audio
        )
    return path
