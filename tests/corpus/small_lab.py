"""Small labs of people, takes and sequences with known content."""

import io
import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmface4d.cameras import Intrinsics, RgbdCamera
from mmface4d.lab import Lab, create_lab
from mmface4d.model_topology import model_topology
from mmface4d.sequence import write_sequence
from mmface4d.session import ScriptItem, create_session, held
from mmface4d.subject import Consent, Subject
from mmface4d.take import FrameTable, TakeCamera, TakeWriter
from tests.capture.small_take import HEIGHT, WIDTH, write_sound

SERIALS = ("000992711912", "000993011812", "000993311712")
TODAY = date(2026, 11, 20)
CONSENT = Consent(version="2", date=date(2026, 11, 2), scopes=("mesh", "audio", "rgb", "publish-picture"))
START_USEC, SOUND_START_USEC, PERIOD_USEC = 5_000_000, 4_900_000, 33_333
FRAMES = 4
SECRET = b"C:\\Users\\somebody\\take.jpg"


def person(pseudonym: str, *scopes: str, **consent: Any) -> Subject:
    """Somebody of 34 who consented to some scopes, else to all."""
    given = CONSENT.model_copy(update={"scopes": scopes or CONSENT.scopes, **consent})
    return Subject(pseudonym=pseudonym, age=34, gender="female", language="en", consent=given)


def sentences(count: int = 2) -> list[ScriptItem]:
    """Sentences with the ids of a corpus."""
    emotions = ("neutral", "happy", "sad")
    return [
        ScriptItem(id=f"0{n}_{n:04d}", text=f"This is sentence number {n}.", emotion=emotions[n % 3])  # type: ignore[arg-type]
        for n in range(count)
    ]


def small_lab(path: Path, people: Sequence[Subject] = (), *, script: Sequence[ScriptItem] = ()) -> Lab:
    """A lab in which each of some people has said each sentence, and all takes are reconstructed."""
    lab = create_lab(path)
    for each in people:
        add_session(lab, each, script=script or sentences())
    return lab


def add_session(
    lab: Lab, who: Subject, *, script: Sequence[ScriptItem], folder: str | None = None, frames: int = FRAMES,
) -> Path:  # fmt: skip
    """A session of which every sentence is kept and reconstructed."""
    path = lab.sessions / (folder or f"session-{who.pseudonym}")
    create_session(path, subject=who.pseudonym, script=list(script), person=who)
    with held(path) as session:
        for item in script:
            take = session.new_take(item.id)
            write_small_take(take, seed=_seed(who.pseudonym, item.id), frames=frames)
            session.append("recorded", item.id, take=take.name)
            session.append("kept", item.id, take=take.name)
            write_small_sequence(path / "sequences" / f"{take.name}.npz", take, seed=_seed(who.pseudonym, item.id))
    return path


def _seed(*texts: str) -> int:
    return sum(map(ord, "".join(texts)))


def write_small_take(path: Path, *, seed: int, frames: int = FRAMES) -> None:
    """Three cameras with serial numbers as real ones have; the third one misses the second frame."""
    lens = Intrinsics(WIDTH, HEIGHT, 60.0, 60.0, 31.5, 23.5)
    cameras = [
        TakeCamera(
            serial, "master" if serial == SERIALS[0] else "subordinate", RgbdCamera(serial, lens, lens, np.eye(4))
        )
        for serial in SERIALS
    ]
    usec = START_USEC + PERIOD_USEC * np.arange(frames, dtype=np.int64)
    table = FrameTable(usec, {s: usec.copy() for s in SERIALS}, {s: usec.copy() for s in SERIALS})
    table.color_usec[SERIALS[2]][1] = table.depth_usec[SERIALS[2]][1] = -1
    with TakeWriter(path, cameras, fps=30.0, source={"kind": "test", "path": str(path)}) as writer:
        for frame, time_usec in enumerate(usec.tolist()):
            for number, serial in enumerate(SERIALS):
                if table.color_usec[serial][frame] >= 0:
                    writer.write(
                        serial, color_jpeg=picture(seed + frame + number), depth_mm=depth(seed + frame + number),
                        color_usec=time_usec, depth_usec=time_usec,
                    )  # fmt: skip
        sound = path.with_suffix(".wav")
        write_sound(sound, 0.5)
        found = writer.set_audio(sound)
        sound.unlink()
        audio = found.model_copy(update={"start_usec": SOUND_START_USEC, "start_source": "host clock"})
        writer.finish(table, audio=audio)
    (path / "cache").mkdir()
    pixels = np.random.default_rng(seed).random((frames, 3, 478, 2), dtype=np.float32)
    np.savez(path / "cache" / "landmarks-0.npz", done=np.ones(frames, bool), pixels=pixels)


def picture(seed: int) -> bytes:
    """A JPEG of noise, with a comment that nobody should get."""
    pixels = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=90, comment=SECRET)
    return out.getvalue()


def depth(seed: int) -> np.ndarray:
    """Noise in millimetres."""
    return np.random.default_rng(seed).integers(600, 900, (HEIGHT, WIDTH)).astype(np.uint16)


def write_small_sequence(path: Path, take: Path, *, seed: int, model: str = "canonical") -> None:
    """The canonical face, in front of the camera and shaken; what must not get out is in it."""
    path.parent.mkdir(exist_ok=True)
    face = model_topology("canonical")
    rng = np.random.default_rng(seed)
    turn = np.diag([1.0, -1.0, -1.0])
    record = json.loads((take / "take.json").read_text())
    usec = record["frames"]["timestamps_usec"]
    frames = len(usec)
    shift = np.array([0, 0, 0.6]) + rng.normal(0, 0.01, (frames, 3))
    moved = face.template + rng.normal(0, 1e-3, (frames, *face.template.shape))
    camera = {name: record["cameras"][SERIALS[0]][name] for name in ("color", "depth", "color_from_depth")}
    calibration = {
        "format": 1, "master": SERIALS[0],
        "cameras": {serial: {**camera, "world_from_camera": np.eye(4).tolist()} for serial in SERIALS},
    }  # fmt: skip

    def read_frame(frame: int) -> dict[str, Any]:
        return {
            "vertices": (moved[frame] @ turn.T + shift[frame]).astype(np.float32),
            "timestamps_usec": np.int64(usec[frame]), "rotation": np.array([0, 1, 0, 0], np.float32),
            "translation": shift[frame].astype(np.float32), "status": np.uint8(0),
            "depth_residual_mm": np.float32(1.5), "expression": np.zeros(3, np.float32),
        }  # fmt: skip

    of_sequence = {
        "faces": face.faces, "fps": 30.0, "model": model, "model_hash": "abc", "solver": "fast", "smoothed": False,
        "identity": np.zeros(3, np.float32), "scale": np.float32(1), "serials": np.array(SERIALS),
        "take": str(take), "calibration_json": json.dumps(calibration), "texture": np.zeros(2, np.float32),
    }  # fmt: skip
    write_sequence(path, of_sequence=of_sequence, frame_count=frames, read_frame=read_frame)
