"""A small sequence with a known head movement, made of a small take with known depth and sound."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from corpus.presets.clip import Clip, open_clip
from mmface4d.sequence import write_sequence
from mmface4d.take import open_take, write_record
from mmface4d.transforms import quaternion_from_rotation, rotation_from_rotvec
from tests.capture.small_take import START_USEC, write_take

SIDE = 12
N_VERTS = SIDE * SIDE
FRAMES = 20
FPS = 30.0
RATE = 48_000


def faces() -> np.ndarray:
    """Triangles of a square grid."""
    corner = np.arange(N_VERTS).reshape(SIDE, SIDE)[:-1, :-1].reshape(-1)
    upper = np.stack([corner, corner + 1, corner + SIDE], 1)
    return np.concatenate([upper, np.stack([corner + 1, corner + SIDE + 1, corner + SIDE], 1)]).astype(np.int32)


def neutral() -> np.ndarray:
    """A bowl of 20 cm."""
    x, y = np.meshgrid(np.linspace(-0.1, 0.1, SIDE), np.linspace(-0.1, 0.1, SIDE))
    return np.stack([x, y, 3 * (x**2 + y**2)], -1).reshape(-1, 3)


def shape(frame: int) -> np.ndarray:
    """In the head's frame: two modes that move by millimetres."""
    rest = neutral()
    mouth, brow = np.exp(-((rest[:, 1] - 0.05) ** 2) / 0.001), np.exp(-((rest[:, 1] + 0.06) ** 2) / 0.001)
    rest[:, 1] += 0.008 * np.sin(0.9 * frame) * mouth
    rest[:, 2] += 0.003 * np.cos(0.4 * frame) * brow
    return rest


def pose(frame: int) -> tuple[np.ndarray, np.ndarray]:
    """world_from_head: rotation, translation."""
    turn = rotation_from_rotvec(np.array([0.05 * np.sin(0.3 * frame), 3.0 + 0.01 * frame, 0.02]))
    return turn, np.array([0.01 * frame, 0.02, 0.7])


def write_head(
    path: Path, *, take: Path | None = None, frames: int = FRAMES, times_usec: np.ndarray | None = None,
    fps: float = FPS, **more: Any,
) -> Path:  # fmt: skip
    """A sequence of FRAMES; `take` is where its take lies."""
    times = START_USEC + np.arange(frames) * 33_333 if times_usec is None else times_usec

    def frame(number: int) -> dict[str, np.ndarray]:
        turn, shift = pose(number)
        return {
            "vertices": (shape(number) @ turn.T + shift).astype(np.float32),
            "timestamps_usec": np.array(times[number], np.int64),
            "rotation": quaternion_from_rotation(turn).astype(np.float32),
            "translation": shift.astype(np.float32),
            "expression": np.full(3, abs(number - 7), np.float32),  # frame 7 is the calmest
        }

    about = {
        "faces": faces(), "fps": fps, "model": "test", "serials": np.array(["front"]),
        "vertex_colors": np.full((N_VERTS, 3), 0.5, np.float32),
        "take": "" if take is None else str(take), "calibration_json": "{}",
    }  # fmt: skip
    write_sequence(path, of_sequence=about | more, frame_count=frames, read_frame=frame)
    return path


def write_spoken(
    folder: Path, *, subject: str = "P01", sentence: str = "00_0001", name: str = "one", frames: int = FRAMES,
    **more: Any,
) -> Path:  # fmt: skip
    """A take of a recorded sentence and its sequence, as a batch leaves them; returns the sequence."""
    take = write_take(folder / "takes" / name, frames, sound_s=1.5)
    mend(take, source={"kind": "recorded", "subject": subject, "item": {"id": sentence, "text": "Good morning."}})
    calibration = {
        "format": 1, "master": "front",
        "cameras": {
            serial: {**json.loads(camera.record().model_dump_json(include={"color", "depth", "color_from_depth"})),
                     "world_from_camera": np.eye(4).tolist()}
            for serial, camera in open_take(take).cameras.items()
        },
    }  # fmt: skip
    more = {"calibration_json": json.dumps(calibration)} | more
    return write_head(folder / f"{name}.npz", take=Path("takes") / name, frames=frames, **more)


def mend(take: Path, **changed: Any) -> None:
    """Changes what stands in a take.json."""
    with open_take(take) as opened:
        write_record(take, opened.info.model_copy(update=changed))


def give_sound(
    take: Path, samples: np.ndarray, *, rate: int = RATE, start_usec: int = START_USEC, ppm: float = 0
) -> None:
    """Replaces a take's sound."""
    soundfile.write(take / "audio.wav", samples, rate, subtype="PCM_24")
    with open_take(take) as opened:
        assert opened.info.audio is not None
        update = {"rate": rate, "samples": len(samples), "start_usec": start_usec, "rate_ppm": ppm, "channels": 1}
        audio = opened.info.audio.model_copy(update=update)
    mend(take, audio=audio)


def spoken_clip(folder: Path, **more: Any) -> Clip:
    """The clip of `write_spoken`."""
    return open_clip(write_spoken(folder, **more))
