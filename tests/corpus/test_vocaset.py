"""What FaceFormer and its relatives do with a folder, written from their rules, on our folder."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import trimesh

from corpus.presets.clip import Clip, open_clip
from corpus.presets.export import export_sequences
from corpus.presets.vocaset import rename
from mmface4d.array_pickle import pickled, write_pickle
from mmface4d.errors import InputError, UsageError
from tests.animation import peers
from tests.corpus.talking_head import FRAMES, N_VERTS, START_USEC, faces, mend, shape, spoken_clip, write_spoken
from tests.mmface4d.other_numpy import python_with_numpy


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    paths = [
        write_spoken(tmp_path, subject="F_01", sentence=f"00_{number:04}", name=f"take{number}") for number in range(2)
    ] + [write_spoken(tmp_path, subject="M-02", sentence="21_0000", name="take9", frames=16)]
    export_sequences(paths, tmp_path / "out", preset="vocaset")
    return tmp_path / "out"


def test_faceformers_loader_reads_it(folder: Path) -> None:
    read = peers.faceformer(
        folder,
        {"dataset": "vocaset", "train_subjects": "F01 M02", "val_subjects": "M02", "test_subjects": ""},
    )
    assert [(item["subject"], item["sentence"]) for item in read["train"]] == [("F01", 1), ("F01", 2), ("M02", 1)]
    assert not read["val"]
    for item, frames in zip(read["train"], (FRAMES, FRAMES, 16), strict=True):
        assert item["vertice"].shape == (frames, 3 * N_VERTS)
        assert item["vertice"].dtype == np.float32
        assert item["template"].shape == (3 * N_VERTS,)
        assert len(item["audio"]) == round(frames / 30 * 16_000)
        assert np.abs(item["vertice"].reshape(-1, N_VERTS, 3)[3] - shape(3)).max() < 1e-6  # positions, head's frame
        assert np.abs(item["template"].reshape(-1, 3) - shape(7)).max() < 1e-6  # the calmest frame


def test_every_second_frame_is_the_sequence_bit_by_bit(tmp_path: Path) -> None:
    path = write_spoken(tmp_path)
    export_sequences([path], tmp_path / "out", preset="vocaset", pose="world")
    doubled = np.load(tmp_path / "out" / "vertices_npy" / "P01_sentence01.npy", mmap_mode="r")
    vertices = open_clip(path).motion.sequence.vertices
    np.testing.assert_array_equal(doubled[::2].reshape(FRAMES, N_VERTS, 3), vertices)
    middle = (vertices[:-1].astype(float) + vertices[1:]) / 2
    assert np.abs(doubled[1::2].reshape(-1, N_VERTS, 3) - middle).max() < 1e-7


@pytest.mark.parametrize(("fps", "frames"), [(60.0, 41), (50.0, 33), (30.0, 20)])
def test_the_sound_is_as_long_as_the_frames_that_are_read(tmp_path: Path, fps: float, frames: int) -> None:
    """Loaders spread all of it over all of them."""
    times = START_USEC + np.round(np.arange(frames) * 1e6 / fps).astype(np.int64)
    path = write_spoken(tmp_path, frames=frames, fps=fps, times_usec=times)
    export_sequences([path], tmp_path / "out", preset="vocaset")
    (item,) = peers.faceformer(
        tmp_path / "out", {"dataset": "vocaset", "train_subjects": "P01", "val_subjects": "", "test_subjects": ""}
    )["train"]
    assert len(item["audio"]) == round(len(item["vertice"]) / 30 * 16_000)


def test_facediffusers_rules_hold_too(folder: Path) -> None:
    """Subject: the first field; sentence: the last."""
    for wav in (folder / "wav").iterdir():
        subject, *_, sentence = wav.stem.split("_")
        assert subject in ("F01", "M02")
        assert int(sentence[-2:]) > 0


def test_renderers_find_a_topology(folder: Path) -> None:
    for name in ("FLAME_sample", "F01", "M02"):
        mesh = trimesh.load_mesh(folder / "templates" / f"{name}.ply", process=False)
        np.testing.assert_array_equal(mesh.faces, faces())
        assert mesh.vertices.shape == (N_VERTS, 3)


def test_the_map_leads_back(folder: Path) -> None:
    told = json.loads((folder / "map.json").read_text())
    back = {stem: (entry["subject"], entry["sentence"]) for stem, entry in told["sequences"].items()}
    assert back == {
        "F01_sentence01": ("F_01", "00_0000"),
        "F01_sentence02": ("F_01", "00_0001"),
        "M02_sentence01": ("M-02", "21_0000"),
    }
    assert {path.stem for path in (folder / "wav").iterdir()} == set(back)
    assert told["templates"]["M02"]["row"] == 7


def many(clip: Clip, count: int, subject: str = "P01") -> list[Clip]:
    return [Clip(f"{subject}-{number}", subject, str(number), clip.motion, clip.take) for number in range(count)]


def test_a_subject_has_room_for_a_hundred_sentences(tmp_path: Path) -> None:
    clip = spoken_clip(tmp_path)
    stems = list(rename([*many(clip, 100), *many(clip, 100, "P02")]).values())
    assert len(set(stems)) == 200
    assert stems[99] == "P01_sentence00"
    assert {int(stem[-2:]) for stem in stems} == set(range(100))
    with pytest.raises(UsageError, match="P01 has 101 sentences"):
        rename(many(clip, 101))


def test_subjects_whose_plain_names_are_equal_stay_apart(tmp_path: Path) -> None:
    clip = spoken_clip(tmp_path)
    stems = rename([one for subject in ("P_1", "P-1", "P1", "_-") for one in many(clip, 1, subject)])
    subjects = [stem.rpartition("_")[0] for stem in stems.values()]
    assert subjects == ["P1", "P1x2", "P1x3", "subject"]


def test_without_sound_it_is_refused_whole(tmp_path: Path) -> None:
    path = write_spoken(tmp_path)
    mend(tmp_path / "takes" / "one", audio=None)
    with pytest.raises(InputError, match="has no sound"):
        export_sequences([path], tmp_path / "out", preset="vocaset")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["one.npz", "takes"]


def test_the_pickle_is_what_numpy_writes_itself() -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "FaceTalk_170728_03272_TA": rng.normal(size=(50, 3)).astype(np.float32),
        "句": np.zeros((0, 3), np.float32),
    }
    data = b"".join(pickled(arrays))
    assert data[:2] == b"\x80\x02"
    for encoding in ("latin1", "ASCII", "bytes"):
        found = peers.load_pickle(data, encoding=encoding)
        assert list(found) == list(arrays)
        for name, values in arrays.items():
            assert type(found[name]) is np.ndarray
            assert found[name].dtype == np.float32
            assert found[name].flags.writeable
            np.testing.assert_array_equal(found[name], values)


@pytest.mark.parametrize("wanted", ["1", "2"])
def test_both_kinds_of_numpy_read_the_pickle(tmp_path: Path, wanted: str) -> None:
    write_pickle(tmp_path / "templates.pkl", {"P01": np.arange(6, dtype=np.float32).reshape(2, 3)})
    program = python_with_numpy(wanted)
    if program is None:
        pytest.skip(f"no Python with numpy {wanted} on the path")
    script = (
        "import pickle, sys, warnings; warnings.simplefilter('error');"
        "found = pickle.load(open(sys.argv[1], 'rb'), encoding='latin1'); print(found['P01'].tolist())"
    )
    command = [program, "-c", script, str(tmp_path / "templates.pkl")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]", done.stderr
