"""glTF 2.0 binary: the mesh with morph targets and an animation, and the sound as a file beside it.

Targets are shared by all frames (see morphs.py), so a file does not grow with a shape a frame, and every viewer can
interpolate. glTF has no sound: NAME.wav lies beside NAME.glb, begins with the animation, and is named in its `extras`.
Specification: https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html
"""

import json
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from jaxtyping import Float, Int, UInt8, UInt16

from corpus.presets.clip import Clip
from corpus.presets.mesh_files import vertex_colors
from corpus.presets.morphs import Morphs, fit_morphs
from corpus.presets.sound import write_sound
from mmface4d import __version__
from mmface4d.errors import UsageError
from mmface4d.exported import Exported
from mmface4d.files import atomic_path

COMPONENTS = {"<f4": 5126, "<u2": 5123, "<u4": 5125}
VERTEX_DATA, TRIANGLES = 34962, 34963  # what a buffer view is for
JSON_CHUNK, BINARY_CHUNK = 0x4E4F534A, 0x004E4942
MOST_BYTES = (1 << 32) - 1  # lengths in a GLB have 32 bits
# glTF has y up and z towards the viewer, as the head's frame has; our world has y down and z forward: half a turn
# about x, as quaternions (x, y, z, w)
VIEWER_FROM: dict[str, list[float]] = {"world": [1.0, 0.0, 0.0, 0.0], "head": [0.0, 0.0, 0.0, 1.0]}


@dataclass
class _Parts:
    """The binary chunk, and the accessors and views that tell what is where in it."""

    data: bytearray = field(default_factory=bytearray)
    views: list[dict[str, Any]] = field(default_factory=list)
    accessors: list[dict[str, Any]] = field(default_factory=list)

    def add(self, values: np.ndarray, kind: str, *, target: int | None = None, **more: Any) -> int:
        """Appends an array; returns its accessor's number. Everything begins at a multiple of four bytes."""
        component = COMPONENTS[values.dtype.str]
        view: dict[str, Any] = {"buffer": 0, "byteOffset": len(self.data), "byteLength": values.nbytes}
        self.views.append(view if target is None else view | {"target": target})
        self.data += values.tobytes() + b"\0" * (-values.nbytes % 4)
        accessor = {"bufferView": len(self.views) - 1, "componentType": component, "count": len(values), "type": kind}
        self.accessors.append(accessor | more)
        return len(self.accessors) - 1

    def points(self, values: Float[np.ndarray, "n 3"]) -> int:
        """Positions; viewers want to know how far they reach."""
        plain = np.ascontiguousarray(values, "<f4")
        reach = {"min": plain.min(axis=0).tolist(), "max": plain.max(axis=0).tolist()}
        return self.add(plain, "VEC3", target=VERTEX_DATA, **reach)


def write(clips: Sequence[Clip], folder: Path) -> list[Exported]:
    """NAME.glb, with NAME.wav beside it."""
    return [_write_clip(clip, folder) for clip in clips]


def _write_clip(clip: Clip, folder: Path) -> Exported:
    done, wav = Exported(clip.name, len(clip.motion), clip.motion.fps), folder / f"{clip.name}.wav"
    heard = write_sound(clip, wav, done=done)
    write_glb(clip, folder / f"{clip.name}.glb", wav=wav if heard else None, done=done)
    return done


def write_glb(clip: Clip, path: Path, *, wav: Path | None, done: Exported) -> None:
    """The glTF alone; it names the WAV, which is to lie beside it. What there is to be told of it goes to `done`."""
    motion = clip.motion
    morphs = fit_morphs(motion)
    done.max_error_mm = 1000 * morphs.max_error_m
    done.figures["targets"] = len(morphs.targets_m)
    parts = _Parts()
    extras: dict[str, Any] = {"fps": motion.fps, "max_error_mm": round(done.max_error_mm, 5)}
    if wav is not None:
        extras["sound"] = {"uri": quote(os.fsencode(wav.name), safe=""), "start_s": 0.0}
    document = {
        "asset": {"version": "2.0", "generator": f"mmface4d {__version__}"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [
            {"name": motion.pose, "rotation": VIEWER_FROM[motion.pose], "children": [1]},
            {"name": clip.name, "mesh": 0},
        ],
        "meshes": [_mesh(clip, morphs, parts)],
        "materials": [
            {"doubleSided": True, "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.7}}
        ],
        "animations": [_animation(clip, morphs, parts) | {"extras": extras}],
        "accessors": parts.accessors,
        "bufferViews": parts.views,
        "buffers": [{"byteLength": len(parts.data)}],
    }  # fmt: skip
    with atomic_path(path) as partial:
        partial.write_bytes(glb_bytes(document, bytes(parts.data), name=clip.name))


def glb_bytes(document: dict[str, Any], data: bytes, *, name: str) -> bytes:
    """The container: a head, the JSON padded with spaces, the data padded with zeros; all lengths multiples of four."""
    text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), JSON_CHUNK) + text + struct.pack("<II", len(data), BINARY_CHUNK) + data
    if len(chunks) + 12 > MOST_BYTES:
        raise UsageError(f"{name} is too large for one GLB", hint="choose another preset, or fewer frames")
    return struct.pack("<4sII", b"glTF", 2, len(chunks) + 12) + chunks


def _mesh(clip: Clip, morphs: Morphs, parts: _Parts) -> dict[str, Any]:
    faces = clip.motion.sequence.faces
    attributes = {
        "POSITION": parts.points(morphs.base_m),
        "NORMAL": parts.add(normals(morphs.base_m, faces), "VEC3", target=VERTEX_DATA),
    }
    colors = vertex_colors(clip)
    if colors is not None:
        attributes["COLOR_0"] = parts.add(linear_colors(colors), "VEC4", target=VERTEX_DATA, normalized=True)
    corners = np.ascontiguousarray(faces.reshape(-1), "<u4")
    primitive: dict[str, Any] = {
        "attributes": attributes, "indices": parts.add(corners, "SCALAR", target=TRIANGLES), "material": 0,
    }  # fmt: skip
    if not len(morphs.targets_m):
        return {"name": clip.name, "primitives": [primitive]}
    primitive["targets"] = [{"POSITION": parts.points(target)} for target in morphs.targets_m]
    return {"name": clip.name, "primitives": [primitive], "weights": morphs.weights[0].tolist()}


def _animation(clip: Clip, morphs: Morphs, parts: _Parts) -> dict[str, Any]:
    times = (np.arange(len(clip.motion)) / clip.motion.fps).astype("<f4")
    beat = parts.add(times, "SCALAR", min=[float(times[0])], max=[float(times[-1])])
    xyzw = np.ascontiguousarray(morphs.quaternions[:, [1, 2, 3, 0]], "<f4")
    outputs = {
        "translation": parts.add(np.ascontiguousarray(morphs.translations_m, "<f4"), "VEC3"),
        "rotation": parts.add(xyzw, "VEC4"),
    }
    if len(morphs.targets_m):
        outputs["weights"] = parts.add(np.ascontiguousarray(morphs.weights.reshape(-1), "<f4"), "SCALAR")
    samplers = [{"input": beat, "output": number, "interpolation": "LINEAR"} for number in outputs.values()]
    channels = [{"sampler": k, "target": {"node": 1, "path": path}} for k, path in enumerate(outputs)]
    return {"name": clip.name, "samplers": samplers, "channels": channels}


def linear_colors(colors: UInt8[np.ndarray, "n_verts 3"]) -> UInt16[np.ndarray, "n_verts 4"]:
    """Opaque colours as glTF wants them at vertices: linear light, 0 to 65535 (sRGB: IEC 61966-2-1)."""
    shown = colors / 255.0
    light = np.where(shown <= 0.04045, shown / 12.92, ((shown + 0.055) / 1.055) ** 2.4)
    return np.round(np.concatenate([light, np.ones((len(light), 1))], axis=1) * 65535).astype("<u2")


def normals(
    vertices_m: Float[np.ndarray, "n_verts 3"], faces: Int[np.ndarray, "n_faces 3"]
) -> Float[np.ndarray, "n_verts 3"]:
    """Unit normals, of the triangles around each vertex weighted by area; (0, 0, 1) where there is none."""
    first, second, third = (vertices_m[faces[:, corner]].astype(np.float64) for corner in range(3))
    across = np.cross(second - first, third - first)
    out = np.zeros(vertices_m.shape)
    for corner in range(3):
        np.add.at(out, faces[:, corner], across)
    length = np.linalg.norm(out, axis=1, keepdims=True)
    return np.where(length > 1e-30, out / np.maximum(length, 1e-30), [0.0, 0.0, 1.0]).astype("<f4")
