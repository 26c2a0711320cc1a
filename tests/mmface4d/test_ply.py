"""PLY meshes: every flavour gives the same mesh, and damaged ones are refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmface4d.errors import InputError
from mmface4d.ply import read_ply

POINTS = np.array([[0, 0, 0], [1, 0, 0.25], [1, 1, -0.5], [0, 1, 0]])
HEAD = """ply
format {flavour} 1.0
comment made by hand
element vertex 4
property float x
property uchar red
property float y
property double z
element face 2
property list uchar int vertex_indices
property list uchar float texcoord
element edge 1
property int a
end_header
"""


def written(flavour: str) -> bytes:
    """A square of a quadrilateral and a triangle, with properties that are of no interest."""
    head = HEAD.format(flavour=flavour).encode()
    if flavour == "ascii":
        rows = [f"{x} 255 {y} {z}" for x, y, z in POINTS.tolist()]
        return head + "\n".join([*rows, "4 0 1 2 3 2 0.5 0.5", "3 0 1 2 0", "7", ""]).encode()
    order = "<" if "little" in flavour else ">"
    table = np.zeros(4, [("x", f"{order}f4"), ("red", "u1"), ("y", f"{order}f4"), ("z", f"{order}f8")])
    table["x"], table["y"], table["z"] = POINTS.T
    faces = b""
    for corners, extra in (([0, 1, 2, 3], [0.5, 0.5]), ([0, 1, 2], [])):
        faces += bytes([len(corners)]) + np.array(corners, f"{order}i4").tobytes()
        faces += bytes([len(extra)]) + np.array(extra, f"{order}f4").tobytes()
    return head + table.tobytes() + faces + np.array([7], f"{order}i4").tobytes()


FLAVOURS = ["ascii", "binary_little_endian", "binary_big_endian"]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_every_flavour_gives_the_same_mesh(tmp_path: Path, flavour: str) -> None:
    (tmp_path / "a.ply").write_bytes(written(flavour))
    mesh = read_ply(tmp_path / "a.ply")
    assert np.array_equal(mesh.vertices, POINTS)
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 2]]


@pytest.mark.parametrize("flavour", ["ascii", "binary_little_endian"])
def test_triangles_may_have_colours_and_lists_before_their_corners(tmp_path: Path, flavour: str) -> None:
    """As MeshLab writes flags, colours and texture coordinates of faces."""
    head = f"ply\nformat {flavour} 1.0\nelement vertex 4\n" + "".join(f"property float {a}\n" for a in "xyz")
    head += "element face 1\nproperty int flags\nproperty list uchar float texcoord\n"
    head += "property list uchar int vertex_indices\nproperty uchar red\nend_header\n"
    if flavour == "ascii":
        body = "".join(f"{x} {y} {z}\n" for x, y, z in POINTS.tolist()) + "9 2 0.5 0.5 3 1 2 3 255\n"
        data = (head + body).encode()
    else:
        face = np.array([9], "<i4").tobytes() + b"\2" + np.array([0.5, 0.5], "<f4").tobytes()
        face += b"\3" + np.array([1, 2, 3], "<i4").tobytes() + b"\xff"
        data = head.encode() + POINTS.astype("<f4").tobytes() + face
    (tmp_path / "a.ply").write_bytes(data)
    assert read_ply(tmp_path / "a.ply").faces.tolist() == [[1, 2, 3]]
    (tmp_path / "a.ply").write_bytes(data.rstrip(b"\n")[:-6])
    with pytest.raises(InputError, match=r"a\.ply is no readable PLY mesh"):
        read_ply(tmp_path / "a.ply")


def test_our_own_meshes_come_back(tmp_path: Path) -> None:
    from corpus.presets.mesh_files import ply_bytes

    points, faces = POINTS.astype(np.float32), np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    (tmp_path / "a.ply").write_bytes(ply_bytes(points, faces, colors=np.zeros((4, 3), np.uint8)))
    mesh = read_ply(tmp_path / "a.ply")
    assert np.array_equal(mesh.vertices, points)
    assert np.array_equal(mesh.faces, faces)


@pytest.mark.parametrize("flavour", FLAVOURS)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_cut_and_changed_files_are_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, flavour: str, data: st.DataObject
) -> None:
    whole = bytearray(written(flavour))
    at = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        whole = whole[:at]
    else:
        whole[at] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("ply") / "a.ply"
    path.write_bytes(whole)
    try:
        mesh = read_ply(path)
    except InputError:
        return
    assert mesh.faces.size == 0 or mesh.faces.max() < len(mesh.vertices)


@pytest.mark.parametrize(
    ("old", "new"),
    [("vertex 4", "vertex 4000000000"), ("face 2", "face -2"), ("vertex 4", "vertex 3"), ("ascii", "zip")],
)
def test_headers_that_lie_are_refused(tmp_path: Path, old: str, new: str) -> None:
    (tmp_path / "a.ply").write_bytes(written("ascii").replace(old.encode(), new.encode()))
    with pytest.raises(InputError, match=r"a\.ply"):
        read_ply(tmp_path / "a.ply")


TRIANGLE = b"element face 1\nproperty list %s %s vertex_indices\nend_header\n"


@pytest.mark.parametrize(
    ("flavour", "count", "kinds", "body"),
    [
        (b"binary_little_endian", b"9" * 30, (b"uchar", b"int"), b"\0" * 12),
        (b"binary_little_endian", b"0", (b"float", b"int"), np.float32(np.inf).tobytes()),
        (b"binary_little_endian", b"0", (b"char", b"char"), b"\xff" * 9),
        (b"ascii", b"1", (b"uchar", b"int"), b"0 0 0\ninf 0 0 0\n"),
        (b"ascii", b"1", (b"uchar", b"int"), b"0 0 0\n3 0 1e30 0\n"),
    ],
)
def test_numbers_that_no_mesh_has_are_refused(
    tmp_path: Path, flavour: bytes, count: bytes, kinds: tuple[bytes, bytes], body: bytes
) -> None:
    axes = b"".join(b"property float %s\n" % axis for axis in (b"x", b"y", b"z"))
    head = b"ply\nformat %s 1.0\nelement vertex %s\n" % (flavour, count) + axes + TRIANGLE % kinds
    (tmp_path / "a.ply").write_bytes(head + body)
    with pytest.raises(InputError, match=r"a\.ply is no readable PLY mesh"):
        read_ply(tmp_path / "a.ply")


def test_a_length_below_nothing_is_refused_at_once(tmp_path: Path) -> None:
    head = b"ply\nformat binary_little_endian 1.0\nelement face 100000000000\nproperty list char char v\nend_header\n"
    (tmp_path / "a.ply").write_bytes(head + b"\xff" * 9)
    with pytest.raises(InputError, match="-1 items"):
        read_ply(tmp_path / "a.ply")
