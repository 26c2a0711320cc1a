"""Meshes as PLY and OBJ, a file each, and sequences as a numbered file a frame."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from corpus.presets.clip import Clip
from corpus.presets.sound import write_sound
from mmface4d.errors import UsageError
from mmface4d.exported import Exported
from mmface4d.files import sync, write_json
from mmface4d.mesh_text import OBJ_DECIMALS, obj_text, ply_bytes
from mmface4d.progress import progress

NUMBER_DIGITS = 6


def vertex_colors(clip: Clip) -> UInt8[np.ndarray, "n_verts 3"] | None:
    """The actor's colours, 0 to 255, where the sequence has them and they may be used."""
    sequence = clip.motion.sequence
    if not clip.colors_allowed or "vertex_colors" not in sequence:
        return None
    if sequence["vertex_colors"].shape != sequence.vertices.shape[1:]:
        return None
    return np.round(np.clip(np.nan_to_num(sequence["vertex_colors"]), 0.0, 1.0) * 255).astype(np.uint8)


def write_ply(clips: Sequence[Clip], folder: Path) -> list[Exported]:
    """NAME/000000.ply and so on, with NAME/NAME.wav."""
    return [_write_clip(clip, folder / clip.name, "ply") for clip in clips]


def write_obj(clips: Sequence[Clip], folder: Path) -> list[Exported]:
    """NAME/000000.obj and so on, with NAME/NAME.wav."""
    return [_write_clip(clip, folder / clip.name, "obj") for clip in clips]


def _write_clip(clip: Clip, folder: Path, kind: str) -> Exported:
    motion = clip.motion
    if len(motion) > 10**NUMBER_DIGITS:
        raise UsageError(f"{clip.source} has too many frames for a file each", hint="choose another preset")
    folder.mkdir()
    done = Exported(clip.name, len(motion), motion.fps)
    faces, colors = motion.sequence.faces, vertex_colors(clip)
    with progress(f"export {clip.name} (meshes)", len(motion)) as bar:
        for frame, vertices_m in enumerate(motion):
            path = folder / f"{frame:0{NUMBER_DIGITS}}.{kind}"
            if kind == "ply":
                path.write_bytes(ply_bytes(vertices_m, faces, colors=colors))
            else:
                path.write_text(obj_text(vertices_m, faces), encoding="ascii")
                rounded = np.round(vertices_m.astype(np.float64), OBJ_DECIMALS)
                done.max_error_mm = max(done.max_error_mm, 1000 * float(np.abs(rounded - vertices_m).max()))
            sync(path)
            bar.advance()
    sound = write_sound(clip, folder / f"{clip.name}.wav", done=done)
    about = {"format": 1, "fps": motion.fps, "frames": len(motion), "unit": "metre", "pose": motion.pose}
    write_json(folder / "sequence.json", about | {"sound": f"{clip.name}.wav" if sound else None})
    return done
