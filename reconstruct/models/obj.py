"""Reading Wavefront OBJ meshes quickly: vertices by numpy, faces only where they are asked for."""

import warnings
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from mmface4d.arrays import Faces, Vertices
from mmface4d.errors import ModelError

MAX_FILE_BYTES = 128 << 20


def read_obj_vertices(path: Path) -> Float[np.ndarray, "n_verts 3"]:
    """The vertices of an OBJ file in its own unit; vertex colours and all other lines are skipped."""
    rows = [line[2:] for line in _read(path).split(b"\n") if line.startswith(b"v ")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # numpy's way to say "not all of it was numbers"
        numbers = np.fromstring(b" ".join(rows), sep=" ")
    columns = len(numbers) // max(len(rows), 1)
    if not rows or columns not in (3, 4, 6, 7) or columns * len(rows) != len(numbers) or not np.isfinite(numbers).all():
        raise ModelError(
            f"{path} has no readable vertices", hint="it should be a Wavefront OBJ file with `v x y z` lines"
        )
    return np.ascontiguousarray(numbers.reshape(len(rows), columns)[:, :3])


def read_obj_polygons(path: Path) -> Int[np.ndarray, "n_polygons 4"]:
    """The faces of an OBJ file, from 0; triangles carry -1 in the fourth place. Only triangles and quads are read."""
    polygons = [_polygon(line, path) for line in _read(path).split(b"\n") if line.startswith(b"f ")]
    if not polygons:
        raise ModelError(f"{path} has no faces", hint="it should be a Wavefront OBJ mesh, not a point cloud")
    return np.array(polygons, dtype=np.int32)


def triangulate(vertices: Vertices, polygons: Int[np.ndarray, "n_polygons 4"]) -> Faces:
    """Cuts quads along the shorter diagonal, which keeps thin folds such as lids and lip rims on the surface."""
    a, b, c, d = polygons.T
    quad = d >= 0
    short_ac = np.linalg.norm(vertices[a] - vertices[c], axis=1) <= np.linalg.norm(vertices[b] - vertices[d], axis=1)
    first = np.where((short_ac | ~quad)[:, None], np.c_[a, b, c], np.c_[a, b, d])
    second = np.where(short_ac[:, None], np.c_[a, c, d], np.c_[b, c, d])
    return np.concatenate([first, second[quad]]).astype(np.int32)


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise ModelError(f"{path} does not exist", hint="check the folder")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ModelError(f"{path} is larger than {MAX_FILE_BYTES >> 20} MiB", hint="this is not a face model's mesh")
    return path.read_bytes()


def _polygon(line: bytes, path: Path) -> list[int]:
    try:
        corners = [int(word.split(b"/", 1)[0]) - 1 for word in line.split()[1:]]
    except ValueError as error:
        raise ModelError(f"{path} has an unreadable face: {line[:60]!r}", hint="the file is damaged") from error
    if len(corners) not in (3, 4) or min(corners) < 0:
        raise ModelError(f"{path} has a face that is no triangle or quad: {line[:60]!r}", hint="triangulate it first")
    return corners if len(corners) == 4 else [*corners, -1]
