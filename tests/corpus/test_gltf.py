"""glTF files against the specification, and against the sequence they were made of."""

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import trimesh

from corpus.presets import morphs
from corpus.presets.clip import open_clip
from corpus.presets.export import export_sequences
from corpus.presets.gltf import write_glb
from corpus.presets.morphs import best_rigid, fit_morphs
from mmface4d.exported import Exported
from mmface4d.transforms import rotation_from_quaternion, rotation_from_rotvec
from tests.corpus.talking_head import FRAMES, N_VERTS, faces, spoken_clip, write_head, write_spoken

TYPES = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}
COMPONENTS = {5126: "<f4", 5123: "<u2", 5125: "<u4"}
VIEWER_FROM_WORLD = np.diag([1.0, -1.0, -1.0])


def read_glb(path: Path) -> tuple[dict[str, Any], bytes]:
    """Takes the container apart, checking what the specification asks of it."""
    data = path.read_bytes()
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    json_length, json_kind = struct.unpack_from("<II", data, 12)
    assert json_kind == 0x4E4F534A
    binary_length, binary_kind = struct.unpack_from("<II", data, 20 + json_length)
    assert binary_kind == 0x004E4942
    assert json_length % 4 == binary_length % 4 == 0
    assert 28 + json_length + binary_length == len(data)
    return json.loads(data[20 : 20 + json_length]), data[28 + json_length :]


def accessor(document: dict[str, Any], data: bytes, number: int) -> np.ndarray:
    """An accessor's values; checks that it lies within its view, and the view within the buffer."""
    told = document["accessors"][number]
    view = document["bufferViews"][told["bufferView"]]
    assert view["byteOffset"] % 4 == 0
    assert view["byteOffset"] + view["byteLength"] <= document["buffers"][0]["byteLength"] <= len(data)
    values = np.frombuffer(
        data, COMPONENTS[told["componentType"]], told["count"] * TYPES[told["type"]], view["byteOffset"]
    )
    assert values.nbytes == view["byteLength"]
    values = values.reshape(told["count"], -1)
    for end, found in (("min", values.min(axis=0)), ("max", values.max(axis=0))):
        if end in told:
            np.testing.assert_array_equal(np.float32(told[end]), found)
    return values


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    (done,) = export_sequences([write_spoken(tmp_path)], tmp_path / "out", preset="gltf")
    assert 0 < done.max_error_mm < 0.1
    assert done.figures["targets"] < FRAMES / 2  # two modes, and how they bend with the head's best fit
    return tmp_path / "out" / "P01_00_0001.glb"


def test_the_structure_is_what_the_specification_asks(exported: Path) -> None:
    document, data = read_glb(exported)
    assert document["asset"]["version"] == "2.0"
    assert document["buffers"] == [{"byteLength": len(data)}]
    for number in range(len(document["accessors"])):
        assert np.isfinite(accessor(document, data, number)).all()
    (mesh,) = document["meshes"]
    (primitive,) = mesh["primitives"]
    attributes = primitive["attributes"]
    assert {document["accessors"][n]["count"] for n in attributes.values()} == {N_VERTS}
    for number in [attributes["POSITION"], *(target["POSITION"] for target in primitive["targets"])]:
        told = document["accessors"][number]
        assert (told["type"], told["componentType"], told["count"]) == ("VEC3", 5126, N_VERTS)
        assert {"min", "max"} <= set(told)
        assert document["bufferViews"][told["bufferView"]]["target"] == 34962
    normals = accessor(document, data, attributes["NORMAL"])
    assert np.abs(np.linalg.norm(normals, axis=1) - 1).max() < 1e-5
    assert np.abs(accessor(document, data, attributes["COLOR_0"]) / 65535 - [0.2159, 0.2159, 0.2159, 1]).max() < 1e-3
    indices = accessor(document, data, primitive["indices"])
    np.testing.assert_array_equal(indices.reshape(-1, 3), faces())
    assert document["bufferViews"][document["accessors"][primitive["indices"]]["bufferView"]]["target"] == 34963
    assert len(mesh["weights"]) == len(primitive["targets"])
    assert primitive["material"] < len(document["materials"])
    _check_animation(document, data, n_targets=len(primitive["targets"]))


def _check_animation(document: dict[str, Any], data: bytes, *, n_targets: int) -> None:
    (animation,) = document["animations"]
    assert {channel["target"]["path"] for channel in animation["channels"]} == {"translation", "rotation", "weights"}
    for channel in animation["channels"]:
        sampler = animation["samplers"][channel["sampler"]]
        times, values = (accessor(document, data, sampler[end]) for end in ("input", "output"))
        assert {"min", "max"} <= set(document["accessors"][sampler["input"]])
        assert times[0] == 0
        assert (np.diff(times[:, 0]) > 0).all()
        per_time = n_targets if channel["target"]["path"] == "weights" else 1
        assert len(values) == len(times) * per_time
        if channel["target"]["path"] == "rotation":
            assert np.abs(np.linalg.norm(values, axis=1) - 1).max() < 1e-6
            assert ((values[1:] * values[:-1]).sum(axis=1) > 0).all()  # the short way
    assert document["nodes"][animation["channels"][0]["target"]["node"]]["mesh"] == 0


def test_a_viewer_shows_the_sequence_within_the_stated_error(exported: Path) -> None:
    document, data = read_glb(exported)
    primitive, animation = document["meshes"][0]["primitives"][0], document["animations"][0]
    base = accessor(document, data, primitive["attributes"]["POSITION"]).astype(float)
    targets = np.stack([accessor(document, data, target["POSITION"]) for target in primitive["targets"]]).astype(float)
    outputs = {
        channel["target"]["path"]: accessor(document, data, animation["samplers"][channel["sampler"]]["output"])
        for channel in animation["channels"]
    }
    weights = outputs["weights"].reshape(FRAMES, len(targets)).astype(float)
    world = rotation_from_quaternion(np.array(document["nodes"][0]["rotation"], float)[[3, 0, 1, 2]])
    np.testing.assert_allclose(world, VIEWER_FROM_WORLD, atol=1e-12)
    sequence = open_clip(exported.parents[1] / "one.npz").motion.sequence
    worst_mm = 0.0
    for frame in range(FRAMES):
        turn = rotation_from_quaternion(outputs["rotation"][frame].astype(float)[[3, 0, 1, 2]])
        shown = (base + np.tensordot(weights[frame], targets, 1)) @ turn.T + outputs["translation"][frame]
        expected = sequence.vertices[frame] @ VIEWER_FROM_WORLD.T
        worst_mm = max(worst_mm, 1000 * np.linalg.norm(shown @ world.T - expected, axis=1).max())
    assert worst_mm == pytest.approx(animation["extras"]["max_error_mm"], abs=1e-4)
    assert worst_mm < 0.1


def test_a_head_in_its_own_frame_is_upright_already(tmp_path: Path) -> None:
    export_sequences([write_spoken(tmp_path)], tmp_path / "out", preset="gltf", pose="head")
    document, _ = read_glb(tmp_path / "out" / "P01_00_0001.glb")
    assert document["nodes"][0]["rotation"] == [0, 0, 0, 1]


def test_the_sound_lies_beside_it(exported: Path) -> None:
    document, _ = read_glb(exported)
    told = document["animations"][0]["extras"]["sound"]
    assert (exported.parent / told["uri"]).is_file()
    assert told["start_s"] == 0


def test_a_name_of_any_letters_is_found_by_its_uri(tmp_path: Path) -> None:
    clip, wav = open_clip(write_spoken(tmp_path)), tmp_path / "Grün #1, 50%?.wav"
    done = Exported(clip.name, len(clip.motion), clip.motion.fps)
    write_glb(clip, tmp_path / "a.glb", wav=wav, done=done)
    document, _ = read_glb(tmp_path / "a.glb")
    uri = document["animations"][0]["extras"]["sound"]["uri"]
    assert uri == "Gr%C3%BCn%20%231%2C%2050%25%3F.wav"
    assert unquote(uri) == wav.name
    assert done.max_error_mm > 0


def test_trimesh_reads_it(exported: Path) -> None:
    scene = trimesh.load(exported)
    (mesh,) = scene.geometry.values()  # type: ignore[union-attr]
    np.testing.assert_array_equal(mesh.faces, faces())
    assert scene.bounds is not None


def test_a_mesh_that_only_moves_needs_no_target(tmp_path: Path) -> None:
    sequence = open_clip(write_head(tmp_path / "s.npz"), with_take=False).motion.sequence
    rest = sequence.vertices[0]
    moved = np.stack(
        [rest @ rotation_from_rotvec(np.array([0, 0.1 * k, 0])).T + [0.01 * k, 0, 0] for k in range(FRAMES)]
    )
    still = {**sequence.arrays, "vertices": moved.astype(np.float32)}
    still.pop("vertex_colors")
    np.savez(tmp_path / "rigid.npz", **still)
    (done,) = export_sequences([tmp_path / "rigid.npz"], tmp_path / "out", preset="gltf", with_take=False)
    assert done.figures["targets"] == 0
    assert done.max_error_mm < 1e-3
    document, _ = read_glb(tmp_path / "out" / "rigid.glb")
    assert "targets" not in document["meshes"][0]["primitives"][0]
    assert len(document["animations"][0]["channels"]) == 2
    assert "sound" not in document["animations"][0]["extras"]


def test_the_error_is_stated_when_targets_do_not_suffice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = spoken_clip(tmp_path)
    noise = np.random.default_rng(0).normal(0, 0.002, (FRAMES, N_VERTS, 3))
    arrays = {**clip.motion.sequence.arrays, "vertices": (clip.motion.sequence.vertices + noise).astype(np.float32)}
    motion = replace(clip.motion, sequence=replace(clip.motion.sequence, arrays=arrays))
    few = fit_morphs(motion, most_targets=8)
    assert len(few.targets_m) == 8
    assert few.max_error_m > 1e-3
    worst_m = max(np.linalg.norm(few.frame(k) - motion[k], axis=1).max() for k in range(FRAMES))
    assert worst_m == pytest.approx(few.max_error_m)
    assert fit_morphs(motion).max_error_m < 1e-4
    monkeypatch.setattr(morphs, "MOST_SNAPSHOTS", 6)  # the others are shown by what these have in common
    assert len(fit_morphs(motion).targets_m) == 5


def test_the_best_rigid_movement_is_found_even_for_flat_points() -> None:
    rng = np.random.default_rng(4)
    for flat in (False, True):
        points = rng.normal(size=(30, 3)) * ([1, 1, 0] if flat else [1, 1, 1])
        turn, shift = rotation_from_rotvec(rng.normal(size=3)), rng.normal(size=3)
        found, moved = best_rigid(points, points @ turn.T + shift)
        assert np.linalg.det(found) == pytest.approx(1)
        np.testing.assert_allclose(points @ found.T + moved, points @ turn.T + shift, atol=1e-12)
