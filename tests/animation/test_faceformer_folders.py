"""VOCASET- and BIWI-style folders: written here as their own scripts write them, and as attackers would."""

import os
import pickle  # noqa: TID251  (as others write it; read by the restricted reader)
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile

from animation.data.check import check_clip
from animation.data.faceformer_folders import (
    BIWI_SPLITS,
    BIWI_UNIT_M,
    VOCASET_SPLITS,
    is_faceformer_folder,
    looks_like_biwi,
    read_biwi,
    read_vocaset,
)
from animation.data.masks import read_mask
from animation.data.resample import resample_clip
from mmface4d.errors import InputError
from tests.animation.toy_corpus import grid, topology, toy_corpus, toy_frames, toy_sound

VOCASET_STEMS = ("FaceTalk_170728_03272_TA_sentence01", "FaceTalk_170809_00138_TA_sentence40", "P9_sentence02")
BIWI_STEMS = ("F2_e01", "F2_01", "F1_e01", "M6_e12")


def write(folder: Path, stems: tuple[str, ...], *, scale: float = 1.0, fps: float = 60.0, flat: bool = True) -> Path:
    """As process_voca_data.py leaves it: float64 rows of all coordinates, and a pickle of templates."""
    for name in ("vertices_npy", "wav", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    template = grid()[0]
    subjects = {stem.rpartition("_")[0] for stem in stems}
    for stem in stems:
        frames = toy_frames(stem, template, 60, fps, 0, 60).astype(np.float64) * scale
        np.save(folder / "vertices_npy" / f"{stem}.npy", frames.reshape(60, -1) if flat else frames)
        soundfile.write(folder / "wav" / f"{stem}.wav", toy_sound(stem, 60 / fps).samples, 16_000)
    templates = {subject: (template * scale).astype(np.float64) for subject in subjects}
    (folder / "templates.pkl").write_bytes(pickle.dumps(templates, protocol=2))
    (folder / "masks" / "lips.txt").write_text("2, 6, 21")
    np.save(folder / "masks" / "upper_face.npy", (template[:, 1] > 0.03).astype(np.int64))
    return folder


def test_vocaset_is_read_at_its_own_rate_with_its_own_splits(tmp_path: Path) -> None:
    corpus = read_vocaset(write(tmp_path, VOCASET_STEMS))
    assert [clip.name for clip in corpus.clips] == sorted(VOCASET_STEMS)
    assert {clip.fps for clip in corpus.clips} == {60.0}
    assert corpus.splits["FaceTalk_170728_03272_TA"] == "train"
    assert corpus.splits["FaceTalk_170809_00138_TA"] == "test"
    assert set(corpus.splits) == {"FaceTalk_170728_03272_TA", "FaceTalk_170809_00138_TA", "P9"}
    clip = corpus.clips[0]
    assert np.array_equal(clip.frames(3, 7), toy_frames(clip.name, grid()[0], 60, 60.0, 3, 7))
    assert all(check_clip(each, corpus) == [] for each in corpus.clips)
    assert corpus.topology.masks["lips"].vertices.tolist() == [2, 6, 21]
    assert corpus.topology.masks["upper_face"].vertices.tolist() == list(np.flatnonzero(grid()[0][:, 1] > 0.03))
    assert len(corpus.topology.masks["face"].vertices) == 25


def test_a_folder_is_called_by_its_name_wherever_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write(tmp_path, VOCASET_STEMS))
    assert read_vocaset(Path()).origin == tmp_path.name


def test_the_official_splits_are_disjoint_and_complete() -> None:
    assert len(VOCASET_SPLITS) == 12
    assert len(BIWI_SPLITS) == 14
    assert sorted(VOCASET_SPLITS.values()).count("train") == 8


def test_biwi_comes_to_metres_and_its_sentences_are_the_same_for_all(tmp_path: Path) -> None:
    write(tmp_path, BIWI_STEMS, scale=1 / BIWI_UNIT_M, fps=25.0, flat=False)
    assert looks_like_biwi(tmp_path)
    corpus = read_biwi(tmp_path)
    assert corpus.splits == {"F1": "validation", "F2": "train", "M6": "test"}
    said = {clip.name: (clip.subject, clip.sentence) for clip in corpus.clips}
    assert said["F2_e01"] == ("F2", "01") == said["F2_01"]
    assert said["F1_e01"] == ("F1", "01")
    assert all(check_clip(each, corpus) == [] for each in corpus.clips)
    assert {clip.fps for clip in corpus.clips} == {25.0}


def test_a_sound_or_mesh_that_is_missing_is_named(tmp_path: Path) -> None:
    corpus = read_vocaset(write(tmp_path, VOCASET_STEMS))
    (tmp_path / "wav" / "P9_sentence02.wav").unlink()
    with pytest.raises(InputError, match=r"P9_sentence02\.wav does not exist"):
        corpus.clips[-1].sound()
    assert "P9_sentence02" in check_clip(corpus.clips[-1], corpus)[0]


def test_meshes_without_sound_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, VOCASET_STEMS)
    (tmp_path / "wav" / "P9_sentence02.wav").unlink()
    corpus = read_vocaset(tmp_path)
    assert [clip.name for clip in corpus.clips] == sorted(VOCASET_STEMS)[:2]
    assert "1 mesh left out: no sound of the same name" in corpus.notes
    np.save(tmp_path / "vertices_npy" / "P9_sentence 3.npy", np.zeros((60, 75)))
    assert "1 mesh left out: no SUBJECT_SENTENCE in plain letters" in read_vocaset(tmp_path).notes
    for file in (tmp_path / "wav").iterdir():
        file.unlink()
    with pytest.raises(InputError, match="whose sound is in wav"):
        read_vocaset(tmp_path)


class Attack:
    """Unpickled, it would leave a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.path}",)  # noqa: TID251  (what must not run)


def test_a_pickle_that_is_a_program_is_refused_and_not_run(tmp_path: Path) -> None:
    write(tmp_path, VOCASET_STEMS)
    mark = tmp_path / "it-ran"
    (tmp_path / "templates.pkl").write_bytes(pickle.dumps({"P9": Attack(mark)}, protocol=2))
    with pytest.raises(InputError, match="nothing of it was run"):
        read_vocaset(tmp_path)
    assert not mark.exists()


TEMPLATES: Mapping[str, object] = {
    "a list": [1, 2],
    "nothing": {},
    "another shape": {"P9": np.zeros(7)},
    "a number for a name": {10**5000: np.zeros((25, 3)), "P9": np.zeros((25, 3))},
    "several meshes": {"P9": np.zeros((25, 3)), "FaceTalk_170728_03272_TA": np.zeros((26, 3))},
    "no such subject": {"P8": np.zeros((25, 3))},
}


@pytest.mark.parametrize("kind", TEMPLATES)
def test_templates_that_cannot_be_meant_are_refused(tmp_path: Path, kind: str) -> None:
    write(tmp_path, VOCASET_STEMS)
    (tmp_path / "templates.pkl").write_bytes(pickle.dumps(TEMPLATES[kind], protocol=2))
    with pytest.raises(InputError):
        read_vocaset(tmp_path)


def test_meshes_of_another_topology_are_named(tmp_path: Path) -> None:
    write(tmp_path, VOCASET_STEMS)
    np.save(tmp_path / "vertices_npy" / "P9_sentence02.npy", np.zeros((60, 78)))
    with pytest.raises(InputError, match="P9_sentence02: it holds"):
        read_vocaset(tmp_path)


@pytest.mark.parametrize("cut", [10, 500])
def test_a_mesh_file_that_was_cut_short_is_named(tmp_path: Path, cut: int) -> None:
    write(tmp_path, VOCASET_STEMS)
    path = tmp_path / "vertices_npy" / "P9_sentence02.npy"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(InputError, match="P9_sentence02"):
        read_vocaset(tmp_path)


def test_without_masks_it_says_which_are_needed(tmp_path: Path) -> None:
    write(tmp_path, VOCASET_STEMS)
    (tmp_path / "masks" / "lips.txt").unlink()
    with pytest.raises(InputError, match="the lips") as caught:
        read_vocaset(tmp_path)
    assert "masks/lips.txt" in (caught.value.hint or "")
    given = tmp_path / "mine.txt"
    given.write_text("0 1 2\n")
    corpus = read_vocaset(tmp_path, masks={"lips": given, "upper_face": tmp_path / "masks" / "upper_face.npy"})
    assert corpus.topology.masks["lips"].vertices.tolist() == [0, 1, 2]


def test_the_triangles_are_those_of_a_mesh_beside(tmp_path: Path) -> None:
    write(tmp_path, VOCASET_STEMS)
    assert len(read_vocaset(tmp_path).topology.faces) == 0
    points, faces = grid()
    lines = ["ply", "format ascii 1.0", "element vertex 25", *(f"property float {axis}" for axis in "xyz"),
             f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header",
             *(" ".join(map(str, point)) for point in points.tolist()),
             *("3 " + " ".join(map(str, corner)) for corner in faces.tolist())]  # fmt: skip
    (tmp_path / "FLAME_sample.ply").write_text("\n".join(lines) + "\n")
    assert np.array_equal(read_vocaset(tmp_path).topology.faces, faces)


MASKS = {
    "numbers": ("2, 6,21", [2, 6, 21]),
    "a Python list": ("[4, 2,\n 2]", [2, 4]),
    "flags a line": ("\n".join("1" if row in (3, 4) else "0" for row in range(25)), [3, 4]),
    "weights": ("\n".join("0.7" if row == 5 else "0.49" for row in range(25)), [5]),
}


@pytest.mark.parametrize("kind", MASKS)
def test_masks_are_read_as_people_write_them(tmp_path: Path, kind: str) -> None:
    text, vertices = MASKS[kind]
    (tmp_path / "lips.txt").write_text(text)
    assert read_mask("lips", tmp_path / "lips.txt", n_verts=25).vertices.tolist() == vertices


@pytest.mark.parametrize("text", ["", "25", "-1", "1.5", "lips", "1e400", "nan", "0," * 24 + "0", "0,1," * 13])
def test_masks_that_cannot_be_meant_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "lips.txt").write_text(text)
    with pytest.raises(InputError, match=r"lips"):
        read_mask("lips", tmp_path / "lips.txt", n_verts=25)


def test_flames_own_masks_give_lips_and_upper_face(tmp_path: Path) -> None:
    write(tmp_path, VOCASET_STEMS)
    for file in (tmp_path / "masks").iterdir():
        file.unlink()
    parts = {"lips": [1, 2], "forehead": [20, 21], "eye_region": [21, 15], "face": [1, 2, 15, 20, 21]}
    content = {name: np.array(rows) for name, rows in parts.items()}
    (tmp_path / "masks" / "FLAME_masks.pkl").write_bytes(pickle.dumps(content, protocol=2))
    masks = read_vocaset(tmp_path).topology.masks
    assert masks["upper_face"].vertices.tolist() == [15, 20, 21]
    assert masks["face"].vertices.tolist() == [1, 2, 15, 20, 21]


def test_another_folder_is_none(tmp_path: Path) -> None:
    assert not is_faceformer_folder(tmp_path)
    with pytest.raises(InputError, match="vertices_npy"):
        read_vocaset(tmp_path)


@pytest.mark.parametrize("layout", ["vocaset", "biwi"])
def test_our_own_export_comes_back_under_its_old_names(tmp_path: Path, layout: str) -> None:
    from animation.export.faceformer import write_biwi, write_vocaset

    corpus = toy_corpus(fps=30.0 if layout == "vocaset" else 25.0)
    (tmp_path / "out").mkdir()
    (write_vocaset if layout == "vocaset" else write_biwi)(corpus, tmp_path / "out")
    back = (read_vocaset if layout == "vocaset" else read_biwi)(tmp_path / "out")
    assert (back.origin, back.licence, back.splits) == (corpus.origin, corpus.licence, corpus.splits)
    assert back.topology.sha256 == corpus.topology.sha256
    assert {name: mask.sha256 for name, mask in back.topology.masks.items()} == {
        name: mask.sha256 for name, mask in corpus.topology.masks.items()
    }
    theirs = {clip.name: clip for clip in back.clips}
    for clip in corpus.clips:
        again = resample_clip(theirs[clip.name], clip.fps)
        assert (again.subject, again.sentence, again.text) == (clip.subject, clip.sentence, clip.text)
        assert np.array_equal(again.frames(0, again.n_frames), clip.frames(0, clip.n_frames))
        assert np.array_equal(back.templates[clip.subject], corpus.templates[clip.subject])
        np.testing.assert_allclose(again.sound().samples, clip.sound().samples, atol=2**-15)


def test_a_damaged_map_is_refused(tmp_path: Path) -> None:
    write(tmp_path, VOCASET_STEMS)
    (tmp_path / "map.json").write_text('{"format": 1, "layout": "faceformer-vocaset", "clips": 3}')
    with pytest.raises(InputError, match=r"map\.json is damaged"):
        read_vocaset(tmp_path)


def test_masks_that_are_known_stand_in_for_files(tmp_path: Path) -> None:
    write(tmp_path, VOCASET_STEMS)
    (tmp_path / "masks" / "lips.txt").unlink()
    known = topology().masks
    masks = read_vocaset(tmp_path, known_masks=lambda n_verts: known if n_verts == 25 else {}).topology.masks
    assert masks["lips"].sha256 == known["lips"].sha256
