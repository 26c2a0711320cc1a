"""`mmface4d`: the files of the MMFace4D data set, written and read.

NAME_x.nut, NAME_y.nut, NAME_z.nut: vertices. NAME_0.nut ...: depth, millimetres. NAME_0.json ...: the cameras, the
master first. NAME_0_landmarks.npy ...: [T, L, 2], colour pixels, where they have been found. NAME.wav: 16 kHz, mono.
What these files cannot tell stands in mmface4d.json, beside the triangles.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from corpus.dataset.landmarks import found_landmarks
from corpus.presets.clip import Clip
from corpus.presets.gray_video import GrayVideoWriter
from corpus.presets.nut_mesh import write_nut_mesh
from corpus.presets.sound import SPEECH_RATE, write_sound
from mmface4d.arrays import DepthImage
from mmface4d.errors import InputError
from mmface4d.exported import Exported
from mmface4d.files import atomic_path, read_json, write_json
from mmface4d.progress import progress
from mmface4d.rig_calibration import parse_calibration
from mmface4d.take import Take

RECORD = "mmface4d.json"
MOST_VERTICES = 1 << 22


class ClipRecord(BaseModel):
    """What mmface4d.json says of a sequence; the error is the largest of a coordinate."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    frames: int = Field(gt=0)
    fps: float = Field(gt=0, le=1000)
    vertices: int = Field(gt=0, le=MOST_VERTICES)
    faces: str = Field(pattern=r"^[A-Za-z0-9_-]{1,100}\.npy$")
    max_error_mm: float = 0.0
    cameras: int = 0
    sound: bool = False


class Record(BaseModel):
    """The whole of mmface4d.json."""

    model_config = ConfigDict(extra="ignore")

    format: int
    sequences: dict[str, ClipRecord]


def write(clips: Sequence[Clip], folder: Path) -> list[Exported]:
    """All files of the clips."""
    records: dict[str, dict[str, Any]] = {}
    out = []
    for clip in clips:
        done = Exported(clip.name, len(clip.motion), clip.motion.fps)
        records[clip.name] = _write_clip(clip, folder, done=done)
        out.append(done)
    write_json(folder / RECORD, {"format": 1, "unit": "metre", "sequences": records})
    return out


def read_record(folder: Path) -> Record | None:
    """mmface4d.json; None where there is none, InputError where it is damaged."""
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        return Record.model_validate(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{path} is damaged: {where}: {first['msg']}", hint="export the sequences again") from error


def _write_clip(clip: Clip, folder: Path, *, done: Exported) -> dict[str, Any]:
    motion, stem = clip.motion, folder / clip.name
    with progress(f"export {clip.name} (frames)", len(motion)) as bar:

        def counted() -> Any:
            for vertices_m in motion:
                yield vertices_m
                bar.advance()

        done.max_error_mm = 1000 * write_nut_mesh(stem, counted(), motion.fps)
    cameras = _write_cameras(clip, folder, done=done)
    return {
        "frames": len(motion), "fps": motion.fps, "vertices": int(motion.sequence.vertices.shape[1]),
        "faces": _write_faces(motion.sequence.faces, folder), "max_error_mm": done.max_error_mm, "pose": motion.pose,
        "cameras": cameras, "sound": write_sound(clip, stem.with_name(f"{clip.name}.wav"), done=done, rate=SPEECH_RATE),
    }  # fmt: skip


def _write_faces(faces: Int[np.ndarray, "n_faces 3"], folder: Path) -> str:
    """One file a topology; returns its name."""
    plain = np.ascontiguousarray(faces, dtype=np.int32)
    name = f"faces-{hashlib.sha256(plain.tobytes()).hexdigest()[:12]}.npy"
    if not (folder / name).is_file():
        with atomic_path(folder / name) as partial:
            np.save(partial, plain, allow_pickle=False)
    return name


def _write_cameras(clip: Clip, folder: Path, *, done: Exported) -> int:
    """Depth, intrinsics and landmarks of each camera, the master first; returns how many there are."""
    take = clip.take
    if take is None:
        done.notes.append("neither depth nor cameras, because the take was left out")
        return 0
    rows = _take_frames(clip, take)
    serials = sorted(take.cameras, key=lambda serial: serial != take.master)
    poses = _poses(clip)
    seen, order = rows >= 0, list(take.cameras)
    found = found_landmarks(take, rows[seen])
    for number, serial in enumerate(serials):
        stem = f"{clip.name}_{number}"
        record = take.cameras[serial].record().model_dump(mode="json", include={"color", "depth", "color_from_depth"})
        write_json(folder / f"{stem}.json", record | {"unit": "metre", "world_from_camera": poses.get(serial)})
        _write_depth(take, serial, folder / f"{stem}.nut", rows=rows, fps=clip.motion.fps)
        if found is not None:
            picked = np.full((len(rows), *found.shape[2:]), np.nan, np.float32)
            picked[seen] = found[:, order.index(serial)]
            with atomic_path(folder / f"{stem}_landmarks.npy") as partial:
                np.save(partial, picked, allow_pickle=False)
    take.close()  # there may be more takes than files that can be open
    if found is None:
        done.notes.append("no landmarks: they have not been looked for in all frames yet")
    return len(serials)


def _poses(clip: Clip) -> dict[str, Any]:
    """world_from_camera by serial, where the sequence holds its calibration."""
    sequence = clip.motion.sequence
    if "calibration_json" not in sequence:
        return {}
    name = f"the calibration in {sequence.path}"
    try:
        content = json.loads(str(sequence["calibration_json"]))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} is not valid JSON: {error}", hint="reconstruct the take again") from error
    rig = parse_calibration(content, name=name)
    return {serial: pose.tolist() for serial, pose in rig.world_from_camera.items()}


def _take_frames(clip: Clip, take: Take) -> Int[np.ndarray, "n_frames"]:
    """The take's frame at each beat, -1 where it has none within half a frame."""
    times = take.timestamps_usec
    beat = clip.motion.times_usec()
    if not len(times):
        return np.full(len(beat), -1)
    right = np.clip(np.searchsorted(times, beat), 1, max(len(times) - 1, 1))
    right = np.minimum(right, len(times) - 1)
    left = np.maximum(right - 1, 0)
    nearest = np.where(np.abs(times[left] - beat) <= np.abs(times[right] - beat), left, right)
    return np.where(np.abs(times[nearest] - beat) < 0.5e6 / clip.motion.fps, nearest, -1)


def _write_depth(take: Take, serial: str, path: Path, *, rows: Int[np.ndarray, "n_frames"], fps: float) -> None:
    """A picture a frame; where the camera has none, one without any depth, so that numbers agree."""
    width, height = take.cameras[serial].rgbd.depth.size
    with atomic_path(path) as partial, GrayVideoWriter(partial, width=width, height=height, fps=fps) as video:
        for row in rows.tolist():
            depth_mm: DepthImage | None = take.depth_mm(row, serial) if row >= 0 else None
            video.write(np.zeros((height, width), np.uint16) if depth_mm is None else depth_mm)
