"""Meshes as PLY and OBJ, a file each, and sequences as a numbered file a frame."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from corpus.presets.clip import Clip, Exported
from corpus.presets.sound import write_sound
from mmface4d.errors import UsageError
from mmface4d.files import sync, write_json
from mmface4d.progress import progress

NUMBER_DIGITS = 6
OBJ_DECIMALS = 6  # of metres: a micrometre


def ply_bytes(
    vertices_m: Float[np.ndarray, "n_verts 3"], faces: Int[np.ndarray, "n_faces 3"], *,
    colors: UInt8[np.ndarray, "n_verts 3"] | None = None,
) -> bytes:  # fmt: skip
    """A binary little-endian PLY; float32 vertices are kept bit by bit."""
    fields = [("at", "<f4", 3)] + ([("color", "u1", 3)] if colors is not None else [])
    points = np.zeros(len(vertices_m), fields)
    points["at"] = vertices_m
    head = ["ply", "format binary_little_endian 1.0", f"element vertex {len(vertices_m)}"]
    head += [f"property float {axis}" for axis in "xyz"]
    if colors is not None:
        points["color"] = colors
        head += [f"property uchar {name}" for name in ("red", "green", "blue")]
    triangles = np.zeros(len(faces), [("count", "u1"), ("corners", "<i4", 3)])
    triangles["count"], triangles["corners"] = 3, faces
    head += [f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header"]
    return ("\n".join(head) + "\n").encode() + points.tobytes() + triangles.tobytes()


def obj_text(
    vertices_m: Float[np.ndarray, "n_verts 3"], faces: Int[np.ndarray, "n_faces 3"], *, decimals: int = OBJ_DECIMALS
) -> str:
    """An OBJ with its vertices in their order; coordinates are rounded to so many decimals of a metre."""
    corners = faces + 1
    lines = [f"v {x:.{decimals}f} {y:.{decimals}f} {z:.{decimals}f}" for x, y, z in vertices_m.tolist()]
    lines += [f"f {a} {b} {c}" for a, b, c in corners.tolist()]
    return "\n".join(lines) + "\n"


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
