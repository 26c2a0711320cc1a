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
CORNERS = ("vertex_indices", "vertex_index")
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
    properties: list[tuple[str, str, str]] = field(default_factory=list)  # name, type, type of the count: "" for one

    @property
    def scalars(self) -> list[tuple[str, str]]:
        """Names and types, where there is nothing else; raises ValueError where there are lists."""
        if any(count for _, _, count in self.properties):
            raise ValueError(f"its {self.name} elements have lists")
        return [(name, kind) for name, kind, _ in self.properties]

    @property
    def corners(self) -> int | None:
        """Which property holds a polygon's vertices; None where none is a list."""
        lists = [number for number, (_, _, count) in enumerate(self.properties) if count]
        named = [number for number in lists if self.properties[number][0] in CORNERS]
        return (named + lists)[0] if lists else None


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
            elements[-1].properties.append((words[4], TYPES[words[3]], TYPES[words[2]]))
        elif words[:1] == ["property"]:
            elements[-1].properties.append((words[2], TYPES[words[1]], ""))
    if order is None or any(each.count < 0 for each in elements):
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
            polygons = [_corners(row, element) for row in rows]
    return vertices, polygons


def _corners(row: list[float], element: _Element) -> np.ndarray:
    """A polygon's vertices, of a row of numbers."""
    at = 0
    for number, (_, _, count) in enumerate(element.properties):
        length = _length(int(row[at]), element) if count else 1
        at += 1 if count else 0
        if number == element.corners:
            if at + length > len(row):
                raise ValueError(f"a row of {element.name} is too short")
            return np.array(row[at : at + length], dtype=np.int64)
        at += length
    raise ValueError(f"its {element.name} elements have no list")


def _length(length: int, element: _Element) -> int:
    if length < 0:
        raise ValueError(f"a list of {element.name} has {length} items")
    return length


def _read_binary(body: bytes, elements: list[_Element], order: str) -> tuple[np.ndarray, list[np.ndarray]]:
    vertices, polygons, at = np.zeros((0, 3)), [], 0
    for element in elements:
        if element.corners is not None:
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
    """The corners of row after row; lists have lengths of their own."""
    found, corners = [], element.corners
    kinds = [(np.dtype(order + kind), np.dtype(order + count) if count else None)
             for _, kind, count in element.properties]  # fmt: skip
    for _ in range(element.count):
        for number, (kind, count) in enumerate(kinds):
            length = 1
            if count is not None:
                length = _length(int(np.frombuffer(body, count, count=1, offset=at)[0]), element)
                at += count.itemsize
            if number == corners:
                found.append(np.frombuffer(body, kind, count=length, offset=at).astype(np.int64))
            at += length * kind.itemsize
    if at > len(body):
        raise ValueError(f"it ends before its last {element.name}")
    return found, at


def _mesh(vertices: np.ndarray, polygons: list[np.ndarray]) -> PlyMesh:
    faces = [(p[0], p[k], p[k + 1]) for p in polygons for k in range(1, len(p) - 1)]
    triangles = np.array(faces, dtype=np.int64).reshape(-1, 3)
    if triangles.size and not 0 <= triangles.min() <= triangles.max() < len(vertices):
        raise ValueError("its triangles name vertices that it does not have")
    return PlyMesh(vertices, triangles.astype(np.int32))


_HINT = "give a PLY file of the mesh that the clips have"
