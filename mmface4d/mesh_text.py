"""Meshes as PLY and OBJ files."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from mmface4d.files import atomic_path

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


def write_ply(path: Path, vertices_m: Float[np.ndarray, "n_verts 3"], faces: Int[np.ndarray, "n_faces 3"]) -> None:
    """A file of `ply_bytes`."""
    with atomic_path(path) as partial:
        partial.write_bytes(ply_bytes(vertices_m, faces))


def obj_text(
    vertices_m: Float[np.ndarray, "n_verts 3"], faces: Int[np.ndarray, "n_faces 3"], *, decimals: int = OBJ_DECIMALS
) -> str:
    """An OBJ with its vertices in their order; coordinates are rounded to so many decimals of a metre."""
    corners = faces + 1
    lines = [f"v {x:.{decimals}f} {y:.{decimals}f} {z:.{decimals}f}" for x, y, z in vertices_m.tolist()]
    lines += [f"f {a} {b} {c}" for a, b, c in corners.tolist()]
    return "\n".join(lines) + "\n"
