"""Small takes with known content, and ways of damaging them."""

import io
import json
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from mmface4d.cameras import Intrinsics, RgbdCamera
from mmface4d.take import MISSING, FrameTable, TakeCamera, TakeWriter
from mmface4d.take_record import AudioRecord, ClockRecord, SyncRecord

WIDTH, HEIGHT = 64, 48
DELAYS = {"front": 0, "left": -160, "right": 160}
PERIOD_USEC = 33_333
START_USEC = 1_000_000
GOOD_SYNC = SyncRecord(pairs=40, median_usec=4.0, p99_usec=20.0, max_usec=30.0)


def camera(serial: str) -> TakeCamera:
    """The front camera is the master."""
    lens = Intrinsics(WIDTH, HEIGHT, 60.0, 60.0, 31.5, 23.5)
    rgbd = RgbdCamera(serial, lens, lens, np.eye(4))
    settings = {"depth_mode": "NFOV_UNBINNED"}
    role = "master" if serial == "front" else "subordinate"
    blob = json.dumps({"of": serial}).encode()
    return TakeCamera(
        serial, role, rgbd, depth_delay_usec=DELAYS[serial], settings=settings, factory_calibration=blob
    )  # fmt: skip


def jpeg(frame: int, *, level: int | None = None, size: tuple[int, int] = (WIDTH, HEIGHT)) -> bytes:
    """A picture of noise, or of one grey level."""
    rng = np.random.default_rng(frame)
    shape = (size[1], size[0], 3)
    pixels = rng.integers(0, 256, shape) if level is None else np.full(shape, level)
    out = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(out, "JPEG", quality=90)
    return out.getvalue()


def depth(frame: int, serial: str) -> np.ndarray:
    """A depth picture in which every pixel is valid."""
    rng = np.random.default_rng(frame * 8 + sorted(DELAYS).index(serial))
    return rng.integers(600, 900, (HEIGHT, WIDTH)).astype(np.uint16)


def frame_table(frames: int, lost: dict[str, set[int]] | None = None) -> FrameTable:
    """Exposures without jitter; `lost` frames are missing."""
    usec = START_USEC + PERIOD_USEC * np.arange(frames, dtype=np.int64)
    color = {serial: usec.copy() for serial in DELAYS}
    for serial, missing in (lost or {}).items():
        color[serial][sorted(missing)] = MISSING
    return FrameTable(usec, color, {s: np.where(c == MISSING, MISSING, c + DELAYS[s]) for s, c in color.items()})


def at(table: FrameTable, kept: np.ndarray) -> FrameTable:
    """The table of the frames that are kept."""
    color = {serial: column[kept] for serial, column in table.color_usec.items()}
    return FrameTable(table.timestamps_usec[kept], color, {s: c[kept] for s, c in table.depth_usec.items()})


def write_pictures(writer: TakeWriter, table: FrameTable, **changed: bytes | np.ndarray) -> None:
    """All pictures; `color` or `depth` in `changed` replace those of every frame."""
    for frame in range(len(table.timestamps_usec)):
        for serial in DELAYS:
            if table.color_usec[serial][frame] != MISSING:
                writer.write(
                    serial,
                    color_jpeg=changed.get("color", jpeg(frame)),  # type: ignore[arg-type]
                    depth_mm=changed.get("depth", depth(frame, serial)),  # type: ignore[arg-type]
                    color_usec=int(table.color_usec[serial][frame]),
                    depth_usec=int(table.depth_usec[serial][frame]),
                )
        if frame % 4 == 3:
            writer.flush()  # a chunk of its own


def write_sound(path: Path, seconds: float, *, level: float = 0.3) -> None:
    """A tone in 24 bits; above a level of 1 it clips."""
    time_s = np.arange(round(seconds * 48_000)) / 48_000
    tone = np.clip(level * np.sin(2 * np.pi * 220 * time_s), -1, 1)
    soundfile.write(path, tone, 48_000, subtype="PCM_24")


def write_take(
    path: Path,
    frames: int = 20,
    *,
    lost: dict[str, set[int]] | None = None,
    sync: SyncRecord = GOOD_SYNC,
    sound_s: float | None = 2.0,
    sound_level: float = 0.3,
    sound_start_usec: int | None = START_USEC,
    table: FrameTable | None = None,
    notes: tuple[str, ...] = (),
    **changed: bytes | np.ndarray,
) -> Path:
    """A take of three cameras that is good, but for what is asked to be wrong."""
    table = table or frame_table(frames, lost)
    with TakeWriter(path, [camera(serial) for serial in DELAYS], fps=30.0, source={"kind": "test"}) as writer:
        write_pictures(writer, table, **changed)
        audio: AudioRecord | None = None
        if sound_s is not None:
            sound = path.with_suffix(".wav")
            write_sound(sound, sound_s, level=sound_level)
            found = writer.set_audio(sound)
            sound.unlink()
            known = {"start_usec": sound_start_usec, "start_source": "host clock"}
            audio = found.model_copy(update=known)
        clocks = {serial: ClockRecord(pairs=frames) for serial in ("left", "right")}
        writer.finish(table, clocks=clocks, sync=sync, audio=audio, notes=list(notes))
    return path
