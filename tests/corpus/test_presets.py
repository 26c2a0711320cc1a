"""Exports as a user meets them: whole or not at all, telling nothing of devices and machines, and read back."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import trimesh

from corpus.presets.export import PRESETS, export_sequences
from corpus.presets.mmface4d_files import RECORD, read_record
from corpus.presets.mmface4d_import import import_clip, names_in, read_depth, read_topology
from corpus.presets.nut_mesh import axis_path
from corpus.sequence_commands import NAMES
from mmface4d.errors import InputError, UsageError
from mmface4d.sequence import load_sequence
from mmface4d.take import open_take
from tests.capture.small_take import HEIGHT, PERIOD_USEC, START_USEC, WIDTH, depth
from tests.corpus.talking_head import FRAMES, N_VERTS, faces, mend, write_head, write_spoken


@pytest.fixture
def spoken(tmp_path: Path) -> Path:
    return write_spoken(tmp_path)


def test_the_command_offers_every_preset() -> None:
    assert list(NAMES) == list(PRESETS)


@pytest.mark.parametrize("preset", NAMES)
def test_every_preset_is_whole_and_tells_nothing_private(spoken: Path, tmp_path: Path, preset: str) -> None:
    (done,) = export_sequences([spoken], tmp_path / "out", preset=preset)
    assert done.max_error_mm < 0.1
    content = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    for private in (b"front", b"left", b"right", str(tmp_path).encode(), b"Good morning", b"takes/"):
        assert private not in content
    (sound,) = (tmp_path / "out").rglob("*.wav")
    samples, rate = soundfile.read(sound)
    assert len(samples) == round(FRAMES / 30 * rate)
    assert np.abs(samples).max() > 0.2
    with pytest.raises(InputError, match="never overwritten"):
        export_sequences([spoken], tmp_path / "out", preset=preset)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.npz", "out", "takes"]


@pytest.mark.parametrize("preset", NAMES)
def test_a_killed_export_is_not_there(spoken: Path, tmp_path: Path, preset: str) -> None:
    pid = os.fork()
    if pid == 0:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "replace", _dying(os.replace, after=2 if preset in ("mmface4d", "vocaset") else 0))
            export_sequences([spoken], tmp_path / "out", preset=preset)
            os._exit(0)
    assert os.WTERMSIG(os.waitpid(pid, 0)[1]) == signal.SIGKILL
    assert not (tmp_path / "out").exists()
    export_sequences([spoken], tmp_path / "out", preset=preset)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.npz", "out", "takes"]


def _dying(real: Callable[..., None], *, after: int) -> Callable[..., None]:
    calls: list[int] = []

    def replace(*arguments: object) -> None:
        calls.append(1)
        if len(calls) > after:
            os.kill(os.getpid(), signal.SIGKILL)
        real(*arguments)

    return replace


@pytest.mark.parametrize("preset", NAMES)
def test_what_fails_leaves_nothing(spoken: Path, tmp_path: Path, preset: str) -> None:
    broken = dict(np.load(spoken))
    broken["vertices"][-1, 3] = np.nan
    np.savez(tmp_path / "broken.npz", **broken)
    with pytest.raises(InputError, match=f"frame {FRAMES - 1} has vertices that are no numbers"):
        export_sequences([tmp_path / "broken.npz"], tmp_path / "out", preset=preset)
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


@pytest.mark.parametrize("preset", [name for name in NAMES if name != "vocaset"])
def test_without_takes_there_is_only_the_mesh(tmp_path: Path, preset: str) -> None:
    path = write_head(tmp_path / "alone.npz", take=Path("takes/gone"))
    (done,) = export_sequences([path], tmp_path / "out", preset=preset, with_take=False, subject="P03")
    assert "no sound" in done.notes
    assert not list((tmp_path / "out").rglob("*.wav"))


@pytest.mark.parametrize("preset", NAMES)
def test_a_single_frame_is_enough(tmp_path: Path, preset: str) -> None:
    path = write_spoken(tmp_path, frames=1)
    (done,) = export_sequences([path], tmp_path / "out", preset=preset)
    assert done.frames == 1


def test_equal_names_are_refused(spoken: Path, tmp_path: Path) -> None:
    other = write_spoken(tmp_path, name="again")
    with pytest.raises(UsageError, match=r"several sequences are called P01_00_0001: .*one\.npz, .*again\.npz"):
        export_sequences([spoken, other], tmp_path / "out", preset="obj")


def test_ply_and_obj_hold_the_frames(spoken: Path, tmp_path: Path) -> None:
    sequence = load_sequence(spoken)
    for preset, error_m in (("ply", 0.0), ("obj", 5.1e-7)):
        export_sequences([spoken], tmp_path / preset, preset=preset)
        files = sorted((tmp_path / preset / "P01_00_0001").glob(f"*.{preset}"))
        assert [path.stem for path in files] == [f"{frame:06}" for frame in range(FRAMES)]
        for frame in (0, 7, FRAMES - 1):
            mesh = trimesh.load_mesh(files[frame], process=False)
            assert np.abs(mesh.vertices - sequence.vertices[frame].astype(float)).max() <= error_m
            np.testing.assert_array_equal(mesh.faces, faces())
    told = json.loads((tmp_path / "ply" / "P01_00_0001" / "sequence.json").read_text())
    assert (told["fps"], told["frames"], told["sound"]) == (30.0, FRAMES, "P01_00_0001.wav")
    colored = trimesh.load_mesh(tmp_path / "ply" / "P01_00_0001" / "000000.ply", process=False)
    assert (np.asarray(colored.visual.vertex_colors)[:, :3] == 128).all()  # type: ignore[union-attr]


def test_wav_and_npz_are_a_sequence_again(spoken: Path, tmp_path: Path) -> None:
    export_sequences([spoken], tmp_path / "out", preset="wav+npz")
    found, before = load_sequence(tmp_path / "out" / "P01_00_0001.npz"), load_sequence(spoken)
    for name in ("vertices", "faces", "rotation", "translation", "expression", "vertex_colors"):
        np.testing.assert_array_equal(found[name], before[name])
    assert found.timestamps_usec[0] == 0
    assert not {"serials", "take", "calibration_json"} & found.arrays.keys()
    assert soundfile.info(tmp_path / "out" / "P01_00_0001.wav").samplerate == 48_000


def test_frames_that_were_not_measured_are_told(spoken: Path, tmp_path: Path) -> None:
    status = np.zeros(FRAMES, np.uint8)
    status[[3, 4, 9]] = 2, 2, 1
    np.savez(spoken, **{**dict(np.load(spoken)), "status": status})
    (done,) = export_sequences([spoken], tmp_path / "out", preset="vocaset")
    assert done.notes == [
        "1 of 20 frames: some cameras missing",
        "2 of 20 frames: no face found: carried over from the frame before",
    ]


def test_a_gap_is_filled_and_said(tmp_path: Path) -> None:
    times = np.delete(np.arange(FRAMES + 1), 5) * PERIOD_USEC + START_USEC
    path = write_head(tmp_path / "gap.npz", times_usec=times)
    (done,) = export_sequences([path], tmp_path / "out", preset="wav+npz", with_take=False)
    assert done.frames == FRAMES + 1
    assert any("filled in" in note for note in done.notes)
    assert "expression" not in load_sequence(tmp_path / "out" / "gap.npz")


def test_the_authors_files_come_back(spoken: Path, tmp_path: Path) -> None:
    (done,) = export_sequences([spoken], tmp_path / "out", preset="mmface4d")
    found = import_clip(tmp_path / "out", "P01_00_0001", tmp_path / "back")
    assert (found.frames, found.vertices, found.fps, found.sound) == (FRAMES, N_VERTS, 30.0, True)
    before, after = load_sequence(spoken), load_sequence(tmp_path / "back" / "P01_00_0001.npz")
    assert 1000 * np.abs(after.vertices.astype(float) - before.vertices).max() <= done.max_error_mm * 1.001 < 0.005
    np.testing.assert_array_equal(after.faces, before.faces)
    assert np.abs(np.diff(after.timestamps_usec) - 33_333).max() <= 1
    assert (tmp_path / "back" / "P01_00_0001.wav").read_bytes() == (tmp_path / "out" / "P01_00_0001.wav").read_bytes()
    assert soundfile.info(tmp_path / "out" / "P01_00_0001.wav").samplerate == 16_000


def test_nothing_is_imported_over_what_is_there(spoken: Path, tmp_path: Path) -> None:
    export_sequences([spoken], tmp_path / "out", preset="mmface4d")
    import_clip(tmp_path / "out", "P01_00_0001", tmp_path / "back")
    with pytest.raises(InputError, match="nothing is overwritten"):
        import_clip(tmp_path / "out", "P01_00_0001", tmp_path / "back")


def test_a_voice_that_was_not_consented_to_stays(spoken: Path, tmp_path: Path) -> None:
    take = tmp_path / "takes" / "one"
    for consent in ({"version": 1, "scopes": ["mesh"]}, {"version": 1}, "damaged"):
        mend(take, source={"kind": "recorded", "subject": "P01", "consent": consent})
        for preset in (name for name in NAMES if name != "vocaset"):
            (done,) = export_sequences([spoken], tmp_path / "out", preset=preset)
            assert "no sound: the person's consent does not cover it" in done.notes
            assert not list((tmp_path / "out").rglob("*.wav"))
            shutil.rmtree(tmp_path / "out")
        with pytest.raises(InputError, match="consented to"):
            export_sequences([spoken], tmp_path / "out", preset="vocaset")
    mend(take, source={"kind": "recorded", "consent": {"version": 1, "scopes": ["mesh", "audio"]}})
    export_sequences([spoken], tmp_path / "out", preset="vocaset")


def test_depth_and_cameras_are_the_takes(spoken: Path, tmp_path: Path) -> None:
    """Camera 0 is the master; the take's own order is by import."""
    mend_frames = tmp_path / "takes" / "one"
    with open_take(mend_frames) as take:
        frames = take.info.frames.model_copy(deep=True)
    frames.depth_usec["left"][4] = None
    mend(mend_frames, frames=frames)
    export_sequences([spoken], tmp_path / "out", preset="mmface4d")
    for number, serial in enumerate(["front", "left", "right"]):
        pictures = list(read_depth(tmp_path / "out", "P01_00_0001", number))
        assert len(pictures) == FRAMES
        for frame, picture in enumerate(pictures):
            lost = serial == "left" and frame == 4
            np.testing.assert_array_equal(picture, 0 if lost else depth(frame, serial))
        told = json.loads((tmp_path / "out" / f"P01_00_0001_{number}.json").read_text())
        assert (told["depth"]["width"], told["depth"]["height"], told["depth"]["fx"]) == (WIDTH, HEIGHT, 60.0)
        assert told["world_from_camera"] == np.eye(4).tolist()


def test_landmarks_go_with_their_frames(tmp_path: Path) -> None:
    path = write_spoken(tmp_path, frames=FRAMES)
    late = dict(np.load(path))
    for name in ("vertices", "timestamps_usec", "rotation", "translation", "expression"):
        late[name] = late[name][3:]
    np.savez(path, **late)
    pixels = np.random.default_rng(0).uniform(0, 60, (FRAMES, 3, 5, 2)).astype(np.float32)
    (tmp_path / "takes" / "one" / "cache").mkdir()
    np.savez(tmp_path / "takes" / "one" / "cache" / "landmarks-0.npz", pixels=pixels, done=np.ones(FRAMES, bool))
    (tmp_path / "takes" / "one" / "cache" / "landmarks-1.npz").write_bytes(b"damaged")
    export_sequences([path], tmp_path / "out", preset="mmface4d")
    with open_take(tmp_path / "takes" / "one") as take:
        order = list(take.cameras)
    for number, serial in enumerate(sorted(order, key=lambda name: name != "front")):
        found = np.load(tmp_path / "out" / f"P01_00_0001_{number}_landmarks.npy", allow_pickle=False)
        np.testing.assert_array_equal(found, pixels[3:, order.index(serial)])


def test_landmarks_of_some_frames_are_none(spoken: Path, tmp_path: Path) -> None:
    """As after the keyframes of an actor: frames that nobody looked into would pass for frames without a face."""
    (tmp_path / "takes" / "one" / "cache").mkdir()
    pixels = np.full((FRAMES, 3, 5, 2), np.nan, np.float32)
    np.savez(tmp_path / "takes" / "one" / "cache" / "landmarks-0.npz", pixels=pixels, done=np.arange(FRAMES) < 5)
    (done,) = export_sequences([spoken], tmp_path / "out", preset="mmface4d")
    assert not list((tmp_path / "out").glob("*_landmarks.npy"))
    assert any("not been looked for in all frames" in note for note in done.notes)


def test_files_of_others_need_their_topology(spoken: Path, tmp_path: Path) -> None:
    export_sequences([spoken], tmp_path / "out", preset="mmface4d")
    (tmp_path / "out" / RECORD).unlink()
    with pytest.raises(InputError, match="which triangles"):
        import_clip(tmp_path / "out", "P01_00_0001", tmp_path / "back")
    np.save(tmp_path / "faces.npy", faces())
    quads = ["v 0 0 0"] * N_VERTS + ["f 1/1/1 2/2/2 14//3 13", "f -1 -2 -3", "vn 0 0 1"]
    (tmp_path / "face.OBJ").write_text("\n".join(quads))
    for name, count in (("faces.npy", len(faces())), ("face.OBJ", 3)):
        topology = read_topology(tmp_path / name)
        assert (topology.n_verts, len(topology.faces)) == (N_VERTS, count)
        found = import_clip(tmp_path / "out", "P01_00_0001", tmp_path / name.upper(), topology=topology)
        assert found.frames == FRAMES
    np.save(tmp_path / "fewer.npy", faces()[:40])
    with pytest.raises(InputError, match="vertices need"):
        import_clip(tmp_path / "out", "P01_00_0001", tmp_path / "no", topology=read_topology(tmp_path / "fewer.npy"))


@pytest.mark.parametrize(
    "content",
    [np.zeros((4, 3)), np.zeros((0, 3), int), np.full((2, 3), -1), np.full((2, 3), 1 << 30), np.zeros(3, int)],
)
def test_triangles_that_are_none_are_refused(tmp_path: Path, content: np.ndarray) -> None:
    np.save(tmp_path / "faces.npy", content)
    with pytest.raises(InputError):
        read_topology(tmp_path / "faces.npy")


def test_topologies_that_are_no_files_of_the_kind_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "objects.npy", np.array([{}], object), allow_pickle=True)
    (tmp_path / "text.npy").write_text("no")
    (tmp_path / "bad.obj").write_text("v 0 0 0\nf 1 2 three\n")
    (tmp_path / "large.obj").write_text(f"v 0 0 0\nf 1 2 {10**30}\n")
    with (tmp_path / "zip.npy").open("wb") as file:
        np.savez(file, faces())
    with (tmp_path / "huge.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<i4", "fortran_order": False, "shape": (1 << 50, 3)})
    for name in ("objects.npy", "text.npy", "bad.obj", "none.npy", "large.obj", "zip.npy", "huge.npy"):
        with pytest.raises(InputError):
            read_topology(tmp_path / name)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"format": 1}', '{"format": 1, "sequences": {"a": {"faces": "../x.npy"}}}']
)
def test_a_damaged_record_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / RECORD).write_text(text)
    with pytest.raises(InputError, match=r"mmface4d\.json"):
        read_record(tmp_path)


def test_a_path_cannot_hide_in_a_record(spoken: Path, tmp_path: Path) -> None:
    export_sequences([spoken], tmp_path / "out", preset="mmface4d")
    told = json.loads((tmp_path / "out" / RECORD).read_text())
    for change in ({"faces": "/etc/passwd"}, {"frames": 5}, {"vertices": 10**9}, {"vertices": 3}, {"fps": 0}):
        changed = {**told, "sequences": {"P01_00_0001": {**told["sequences"]["P01_00_0001"], **change}}}
        (tmp_path / "out" / RECORD).write_text(json.dumps(changed))
        with pytest.raises(InputError):
            import_clip(tmp_path / "out", "P01_00_0001", tmp_path / "back")
    assert not list((tmp_path / "back").glob("*"))


def test_the_commands(spoken: Path, tmp_path: Path, run_cli) -> None:
    done = run_cli("sequence", "export", spoken, "--to", "mmface4d", "-o", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    (told,) = json.loads(done.stdout)
    assert 0 < told["max_error_mm"] < 0.005
    folder = tmp_path / "out"
    for axis in "xyz":
        shutil.copy(axis_path(folder / "P01_00_0001", axis), axis_path(folder / "cut", axis))
    whole = axis_path(folder / "cut", "y").read_bytes()
    axis_path(folder / "cut", "y").write_bytes(whole[: len(whole) // 2])
    np.save(tmp_path / "faces.npy", faces())
    assert names_in(folder) == ["P01_00_0001", "cut"]
    done = run_cli("sequence", "import", folder, "-o", tmp_path / "back", "--topology", tmp_path / "faces.npy")
    assert done.returncode == 4
    assert "cut_y.nut is no whole NUT file" in done.stderr
    assert "20 frames of 144 vertices" in done.stdout
    assert [path.name for path in sorted((tmp_path / "back").iterdir())] == ["P01_00_0001.npz", "P01_00_0001.wav"]
    empty = run_cli("sequence", "import", tmp_path / "takes", "-o", tmp_path / "back")
    assert empty.returncode == 3
    assert "holds no NAME_x.nut" in empty.stderr
