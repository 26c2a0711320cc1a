"""What is told of the cameras, numbered in the place of their serial numbers, and their landmarks."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from corpus.dataset.landmarks import found_landmarks
from corpus.release.pictures import missed
from mmface4d.errors import InputError, Mmface4dError
from mmface4d.npz import write_npz
from mmface4d.rig_calibration import RigCalibration, parse_calibration
from mmface4d.sequence import MeshSequence
from mmface4d.take import Take

MAX_CALIBRATION_CHARACTERS = 4 << 20
Frames = Int[np.ndarray, "n_frames"]


def write_cameras(path: Path, take: Take, sequence: MeshSequence, *, frames: Frames, places: Mapping[str, str]) -> None:
    """Writes lenses, poses where they are known, and missed frames; `places` are front, left and right by serial."""
    calibration = _calibration(sequence)
    missed_color, missed_depth = missed(take, frames, "color"), missed(take, frames, "depth")
    cameras = []
    for number, (serial, camera) in enumerate(take.cameras.items()):
        pose = None if calibration is None else calibration.world_from_camera.get(serial)
        rgbd = camera.rgbd
        if calibration is not None and serial in calibration.cameras:
            rgbd = calibration.cameras[serial]
        cameras.append(
            {
                "number": number,
                "place": places.get(serial),
                "color": rgbd.color.to_json(),
                "depth": rgbd.depth.to_json(),
                "color_from_depth": np.asarray(rgbd.color_from_depth).tolist(),
                "world_from_camera": None if pose is None else np.asarray(pose).tolist(),
                "missed_color": missed_color[number],
                "missed_depth": missed_depth[number],
            }
        )
    text = json.dumps({"format": 1, "cameras": cameras}, indent=1, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _calibration(sequence: MeshSequence) -> RigCalibration | None:
    if "calibration_json" not in sequence:
        return None
    text = str(sequence["calibration_json"])
    if len(text) > MAX_CALIBRATION_CHARACTERS:
        raise InputError(f"{sequence.path}: its calibration is too long", hint="reconstruct the take again")
    try:
        content: Any = json.loads(text)
        return parse_calibration(content, name=str(sequence.path))
    except (ValueError, RecursionError, Mmface4dError):
        return None  # the poses are then not told


def write_landmarks(path: Path, take: Take, frames: Frames) -> None:
    """Writes the landmarks that were found for calibration and reconstruction, in pixels of the colour pictures.

    Raises InputError where the take's cache has none of all these frames.
    """
    pixels = found_landmarks(take, frames)
    if pixels is None:
        raise InputError(f"{take.path} has no landmarks of all frames", hint="reconstruct the take again")
    write_npz(path, {"pixels": pixels.astype("<f4")})
