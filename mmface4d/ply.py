"""Reading PLY meshes: ASCII and binary, whatever properties stand beside positions and triangles."""

import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from mmface4d.arrays import Faces
from mmface4d.errors import InputError

MOST_BYTES = 1 << 30
MOST_HEADER_BYTES = 1 << 16
TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"), **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"), **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"), **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"), **dict.fromkeys(("double", "float64"), "f8"),
}  # fmt: skip
ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass(frozen=True)
class PlyMesh:
    """Positions in the file's unit, and triangles counted from 0; polygons are cut from their first corner on."""

    vertices: Float64[np.ndarray, "n_verts 3"]
    faces: Faces


@dataclass
class _Element:
    name: str
    count: int
    scalars: list[tuple[str, str]] = field(default_factory=list)  # name, type
    lists: list[tuple[str, str, str]] = field(default_factory=list)  # name, type of the count, type of the items


def read_ply(path: Path) -> PlyMesh:
    """The mesh of a file; raises InputError where it is none, cut short, or names vertices that it does not have."""
    if not path.is_file() or path.stat().st_size > MOST_BYTES:
        raise InputError(f"{path} is no PLY file", hint=_HINT)
    try:
        order, elements, body = _header(path.read_bytes())
        read = _read_ascii if order == "" else _read_binary
        return _mesh(*read(body, elements, order))
    except (ValueError, KeyError, IndexError, TypeError, OverflowError) as error:
        raise InputError(f"{path} is no readable PLY mesh: {error}", hint=_HINT) from error


def _header(data: bytes) -> tuple[str, list[_Element], bytes]:
    end = data.find(b"end_header", 0, MOST_HEADER_BYTES)
    body = data.find(b"\n", end) + 1
    if not data.startswith(b"ply") or end < 0 or body == 0:
        raise ValueError("it has no header")
    order, elements = None, []
    for line in data[:end].decode("ascii", "replace").splitlines():
        words = line.split()
        if words[:1] == ["format"]:
            order = ORDERS[words[1]]
        elif words[:1] == ["element"]:
            elements.append(_Element(words[1], int(words[2])))
        elif words[:2] == ["property", "list"]:
            elements[-1].lists.append((words[4], TYPES[words[2]], TYPES[words[3]]))
        elif words[:1] == ["property"]:
            elements[-1].scalars.append((words[2], TYPES[words[1]]))
    if order is None or any(each.count < 0 or (each.lists and each.scalars) for each in elements):
        raise ValueError("its header is not one of a plain mesh")
    return order, elements, data[body:]


def _read_ascii(body: bytes, elements: list[_Element], order: str) -> tuple[np.ndarray, list[np.ndarray]]:
    lines = iter(io.BytesIO(body))
    vertices, polygons = np.zeros((0, 3)), []
    for element in elements:
        rows = [[float(word) for word in line.split()] for _, line in zip(range(element.count), lines, strict=False)]
        if len(rows) < element.count:
            raise ValueError(f"it ends before its last {element.name}")
        if element.name == "vertex":
            names = [name for name, _ in element.scalars]
            vertices = np.array([[row[names.index(axis)] for axis in "xyz"] for row in rows]).reshape(-1, 3)
        elif element.name == "face":
            polygons = [np.array(row[1 : 1 + int(row[0])], dtype=np.int64) for row in rows]
    return vertices, polygons


def _read_binary(body: bytes, elements: list[_Element], order: str) -> tuple[np.ndarray, list[np.ndarray]]:
    vertices, polygons, at = np.zeros((0, 3)), [], 0
    for element in elements:
        if element.lists:
            found, at = _read_lists(body, element, order, at)
            polygons = found if element.name == "face" else polygons
            continue
        kind = np.dtype([(name, order + code) for name, code in element.scalars])
        table = np.frombuffer(body, kind, count=element.count, offset=at)
        at += element.count * kind.itemsize
        if element.name == "vertex":
            vertices = np.stack([table[axis].astype(np.float64) for axis in "xyz"], axis=1)
    return vertices, polygons


def _read_lists(body: bytes, element: _Element, order: str, at: int) -> tuple[list[np.ndarray], int]:
    """Lists row after row, each with its own length; the first list of a row is the one that is wanted."""
    found = []
    for _ in range(element.count):
        for number, (_, count_type, item_type) in enumerate(element.lists):
            length = int(np.frombuffer(body, order + count_type, count=1, offset=at)[0])
            at += np.dtype(count_type).itemsize
            if length < 0:
                raise ValueError(f"a list of {element.name} has {length} items")
            items = np.frombuffer(body, order + item_type, count=length, offset=at)
            at += length * np.dtype(item_type).itemsize
            if number == 0:
                found.append(items.astype(np.int64))
    return found, at


def _mesh(vertices: np.ndarray, polygons: list[np.ndarray]) -> PlyMesh:
    faces = [(p[0], p[k], p[k + 1]) for p in polygons for k in range(1, len(p) - 1)]
    triangles = np.array(faces, dtype=np.int64).reshape(-1, 3)
    if triangles.size and not 0 <= triangles.min() <= triangles.max() < len(vertices):
        raise ValueError("its triangles name vertices that it does not have")
    return PlyMesh(vertices, triangles.astype(np.int32))


_HINT = "give a PLY file of the mesh that the clips have"
