"""`wav+npz`: a mesh-sequence file and its sound, without what tells of the machine and the devices."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from corpus.presets.clip import Clip
from corpus.presets.sound import write_sound
from mmface4d.exported import Exported
from mmface4d.sequence import OF_SEQUENCE, PER_FRAME, write_sequence

PRIVATE = {"serials", "take", "calibration_json", "lighting", "depth_bias_mm", "format"}  # devices, paths, by camera
COLORS = {"vertex_colors", "texture"}  # taken from the pictures
GIVEN = {"vertices", "timestamps_usec"}


def write(clips: Sequence[Clip], folder: Path) -> list[Exported]:
    """NAME.npz, on an even beat from the first frame on, and NAME.wav, which begins with it."""
    return [_write_clip(clip, folder) for clip in clips]


def _write_clip(clip: Clip, folder: Path) -> Exported:
    motion, sequence = clip.motion, clip.motion.sequence
    done = Exported(clip.name, len(motion), motion.fps)
    left_out = PRIVATE if clip.colors_allowed else PRIVATE | COLORS
    kept: dict[str, Any] = {name: sequence[name] for name in OF_SEQUENCE if name in sequence and name not in left_out}
    fitted = [name for name in PER_FRAME if name in sequence and name not in GIVEN] if motion.exact else []
    if not motion.exact:
        done.notes.append("frames were missing and are filled in, without fitted parameters")
    if motion.pose == "head":  # they would move a head that stands still
        fitted = [name for name in fitted if name not in ("rotation", "translation")]
    times_usec = motion.times_usec()

    def frame(number: int) -> dict[str, np.ndarray]:
        values = {"vertices": motion[number], "timestamps_usec": times_usec[number] - times_usec[0]}
        return values | {name: sequence[name][number] for name in fitted}

    write_sequence(
        folder / f"{clip.name}.npz", of_sequence=kept | {"fps": motion.fps}, frame_count=len(motion), read_frame=frame
    )
    write_sound(clip, folder / f"{clip.name}.wav", done=done)
    return done
