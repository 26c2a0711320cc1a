"""Exports that FaceFormer and its relatives read unchanged: their loaders' rules, run on our folders."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from animation.data.clip import Sound
from animation.data.corpus import SpeechCorpus, Split
from animation.data.faceformer_folders import read_vocaset
from animation.data.resample import resample_clip
from animation.export.layouts import LAYOUTS, WANT_COEFFICIENTS, export_corpus
from animation.export.naming import numbered
from mmface4d.errors import InputError, UsageError
from mmface4d.files import read_json
from tests.animation import peers
from tests.animation.toy_corpus import changed, toy_corpus
from tests.mmface4d.killing import killed_at

SPLITS: dict[Split, str] = {"train": "train", "validation": "val", "test": "test"}


def export(corpus: SpeechCorpus, folder: Path, layout: str) -> tuple[Path, dict[str, Any]]:
    export_corpus(corpus, folder, layout=layout)
    (found,) = folder.rglob("map.json")
    return found.parent, json.loads(found.read_text())


def original(corpus: SpeechCorpus, told: dict[str, Any], name: str) -> Any:
    """The clip that a file came from, by the map."""
    wanted = told["clips"][name]["clip"]
    return next(clip for clip in corpus.clips if clip.name == wanted)


def assert_read_whole(corpus: SpeechCorpus, told: dict[str, Any], read: dict[str, list[dict[str, Any]]]) -> None:
    """Every clip is read once, in its own split, with its own subject's template."""
    for split, theirs in SPLITS.items():
        clips = [original(corpus, told, Path(item["name"]).stem) for item in read[theirs]]
        assert sorted(clip.name for clip in clips) == sorted(clip.name for clip in corpus.of_split(split))
        for clip, item in zip(clips, read[theirs], strict=True):
            np.testing.assert_array_equal(item["template"].reshape(-1, 3), corpus.templates[clip.subject])


@pytest.mark.parametrize("layout", ["faceformer-vocaset", "facediffuser"])
def test_every_second_frame_is_the_clip_bit_by_bit(tmp_path: Path, layout: str) -> None:
    corpus = toy_corpus()
    root, told = export(corpus, tmp_path / "out", layout)
    loader = peers.faceformer if layout == "faceformer-vocaset" else peers.facediffuser
    read = loader(root, told["arguments"])
    assert_read_whole(corpus, told, read)
    for item in [each for items in read.values() for each in items]:
        clip = original(corpus, told, Path(item["name"]).stem)
        assert item["vertice"].dtype == np.float32
        np.testing.assert_array_equal(item["vertice"].reshape(clip.n_frames, -1, 3), clip.frames(0, clip.n_frames))
        assert len(item["audio"]) == round(clip.duration_s * 16_000)
        assert np.abs(item["audio"] - clip.sound().samples).max() < 2 / 32768
        assert told["arguments"]["vertice_dim"] == item["vertice"].shape[1]


def test_frames_between_are_halfway(tmp_path: Path) -> None:
    corpus = toy_corpus(sentences=1)
    root, _ = export(corpus, tmp_path / "out", "faceformer-vocaset")
    stored, clip = np.load(root / "vertices_npy" / "s1_sentence01.npy"), corpus.clips[0]
    frames = clip.frames(0, clip.n_frames).astype(np.float64)
    assert stored.shape == (2 * clip.n_frames - 1, 75)
    np.testing.assert_allclose(stored[1::2].reshape(-1, 25, 3), (frames[1:] + frames[:-1]) / 2, atol=1e-7)


@pytest.mark.parametrize("fps", [25.0, 29.97, 60.0, 120.0])
def test_other_rates_play_at_the_right_speed(tmp_path: Path, fps: float) -> None:
    corpus = toy_corpus(sentences=1, fps=fps)
    root, told = export(corpus, tmp_path / "out", "faceformer-vocaset")
    for item in peers.faceformer(root, told["arguments"])["train"]:
        clip = original(corpus, told, Path(item["name"]).stem)
        expected = resample_clip(clip, 30.0)
        frames = item["vertice"].reshape(-1, 25, 3)
        np.testing.assert_array_equal(frames, expected.frames(0, expected.n_frames))
        assert len(item["audio"]) == round(len(frames) / 30 * 16_000)  # which is spread over the frames


def test_biwi_has_all_frames_at_25(tmp_path: Path) -> None:
    corpus = toy_corpus()
    root, told = export(corpus, tmp_path / "out", "faceformer-biwi")
    read = peers.faceformer(root, told["arguments"])
    assert_read_whole(corpus, told, read)
    for item in read["train"]:
        assert re.fullmatch(r"s[12]_e0[123]\.wav", item["name"])
        clip = original(corpus, told, Path(item["name"]).stem)
        frames = item["vertice"].reshape(-1, 25, 3)
        np.testing.assert_array_equal(frames[::5], clip.frames(0, clip.n_frames)[::6])  # both have a frame every 0.2 s
        tokens = (len(item["audio"]) - 400) // 320 + 1  # of 50 a second, two a frame
        assert len(item["audio"]) == len(frames) * 640
        assert tokens // 2 == len(frames) - 1
    assert (root / "templates" / "BIWI.ply").is_file()


@pytest.mark.parametrize(
    ("layout", "sentences"), [("faceformer-vocaset", 41), ("faceformer-biwi", 5), ("facediffuser", 21)]
)
def test_nobody_is_left_out_who_says_more_than_the_loader_reads(tmp_path: Path, layout: str, sentences: int) -> None:
    splits: dict[str, Split] = {"s1": "validation", "s2": "train"} if sentences < 40 else {"s1": "train"}
    corpus = toy_corpus(splits=splits, sentences=sentences, n_frames=8)
    root, told = export(corpus, tmp_path / "out", layout)
    loader = peers.facediffuser if layout == "facediffuser" else peers.faceformer
    assert_read_whole(corpus, told, loader(root, told["arguments"]))
    assert told["several_names"]["s1"] == ["s1", "s1x2"]


def test_facediffusers_evaluation_finds_the_regions(tmp_path: Path) -> None:
    corpus = toy_corpus(sentences=1)
    root, _ = export(corpus, tmp_path / "out", "facediffuser")
    assert root == tmp_path / "out" / "vocaset"
    for file, mask in (("lve.txt", "lips"), ("fdd.txt", "upper_face")):
        found = [int(each) for each in (root / "regions" / file).read_text().split(", ")]
        assert found == corpus.topology.masks[mask].vertices.tolist()


def renamed(corpus: SpeechCorpus, new: dict[str, str]) -> SpeechCorpus:
    """The corpus with other subjects' names."""
    return replace(
        corpus,
        clips=tuple(replace(clip, subject=new[clip.subject]) for clip in corpus.clips),
        templates={new[subject]: template for subject, template in corpus.templates.items()},
        splits={new[subject]: split for subject, split in corpus.splits.items()},
    )


def odd_names() -> SpeechCorpus:
    """Subjects whose names trip loaders."""
    corpus = toy_corpus(sentences=1)
    return renamed(corpus, dict(zip(corpus.templates, ("F_01", "F01", "wavy", "说话"), strict=True)))


@pytest.mark.parametrize("layout", ["faceformer-vocaset", "facediffuser"])
def test_names_that_trip_loaders_are_changed_and_led_back(tmp_path: Path, layout: str) -> None:
    corpus = odd_names()
    root, told = export(corpus, tmp_path / "out", layout)
    loader = peers.facediffuser if layout == "facediffuser" else peers.faceformer
    assert_read_whole(corpus, told, loader(root, told["arguments"]))
    back = {entry["layout_subject"]: entry["subject"] for entry in told["clips"].values()}
    assert back == {"F01": "F_01", "F01x2": "F01", "WAVy": "wavy", "subject": "说话"}


def test_the_map_leads_back(tmp_path: Path) -> None:
    corpus = toy_corpus()
    root, told = export(corpus, tmp_path / "out", "faceformer-vocaset")
    assert {path.stem for path in (root / "wav").iterdir()} == set(told["clips"])
    assert sorted(entry["clip"] for entry in told["clips"].values()) == sorted(clip.name for clip in corpus.clips)
    entry = told["clips"]["s3_sentence21"]
    assert (entry["clip"], entry["sentence"], entry["split"], entry["original_frames"]) == (
        "s3_00",
        "00",
        "validation",
        40,
    )
    assert told["topology"]["sha256"] == corpus.topology.sha256
    assert told["topology"]["masks"]["lips"] == corpus.topology.masks["lips"].sha256
    assert told["licence"] == "for tests"
    assert str(tmp_path) not in json.dumps(told)


def test_our_own_reader_reads_it_back(tmp_path: Path) -> None:
    corpus = toy_corpus()
    root, _ = export(corpus, tmp_path / "out", "faceformer-vocaset")
    found = read_vocaset(root)
    assert found.splits == corpus.splits
    assert found.topology.sha256 == corpus.topology.sha256
    for name, mask in corpus.topology.masks.items():
        assert found.topology.masks[name].sha256 == mask.sha256
    assert len(found.clips) == len(corpus.clips)
    for clip in found.clips:
        before, back = next(each for each in corpus.clips if each.name == clip.name), resample_clip(clip, 30.0)
        assert (clip.subject, clip.sentence, clip.text) == (before.subject, before.sentence, before.text)
        np.testing.assert_array_equal(back.frames(0, back.n_frames), before.frames(0, before.n_frames))
        np.testing.assert_allclose(clip.sound().samples, before.sound().samples, atol=2 / 32768)


def test_renderers_find_a_topology(tmp_path: Path) -> None:
    corpus = toy_corpus(sentences=1)
    root, _ = export(corpus, tmp_path / "out", "faceformer-vocaset")
    for name in ("FLAME_sample", "s1", "s4"):
        mesh = trimesh.load_mesh(root / "templates" / f"{name}.ply", process=False)
        np.testing.assert_array_equal(mesh.faces, corpus.topology.faces)


def test_nobody_has_anothers_face_for_a_name(tmp_path: Path) -> None:
    corpus = toy_corpus(sentences=1)
    corpus = renamed(corpus, dict(zip(corpus.templates, ("a", "BIWI", "c", "d"), strict=True)))
    root, _ = export(corpus, tmp_path / "out", "faceformer-biwi")
    mesh = trimesh.load_mesh(root / "templates" / "BIWI.ply", process=False)
    np.testing.assert_allclose(mesh.vertices, corpus.templates["BIWI"], atol=1e-7)


@pytest.mark.parametrize("start_s", [-0.3, 0.0, 0.4])
@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_sound_and_frames_stay_together_for_a_minute(tmp_path: Path, start_s: float, rate: int) -> None:
    """A click at 59 s after the first frame, in a sound that begins before, with, or after it."""
    samples = np.zeros(62 * rate, np.float32)
    samples[round((59.0 - start_s) * rate)] = 0.9
    corpus = toy_corpus(splits={"s1": "train"}, sentences=1, n_frames=1800)
    corpus = changed(corpus, 0, sound=lambda: Sound(samples, rate, start_s))
    root, _ = export(corpus, tmp_path / "out", "faceformer-vocaset")
    sound = peers.heard(root / "wav" / "s1_sentence01.wav")
    assert len(sound) == 60 * 16_000
    off_frames = (np.abs(sound).argmax() / 16_000 - 59.0) * 30
    assert abs(off_frames) < 0.5
    assert abs(off_frames) < 0.01


def test_what_the_sound_does_not_cover_is_silent_and_told(tmp_path: Path) -> None:
    corpus = toy_corpus(splits={"s1": "train"}, sentences=1)
    corpus = changed(corpus, 0, sound=lambda: Sound(np.full(8000, 0.5, np.float32), 16_000, 0.25))
    (done,) = export_corpus(corpus, tmp_path / "out", layout="faceformer-vocaset")
    sound = peers.heard(tmp_path / "out" / "wav" / "s1_sentence01.wav")
    assert (sound[:4000] == 0).all()
    assert (sound[4000:12_000] > 0.49).all()
    assert (sound[12_000:] == 0).all()
    assert any("0.83 s" in note for note in done.notes)


def test_what_is_too_long_for_their_models_is_told(tmp_path: Path) -> None:
    corpus = toy_corpus(splits={"s1": "train"}, sentences=2, n_frames=600)
    first, second = export_corpus(corpus, tmp_path / "out", layout="faceformer-vocaset")
    assert not any("600 frames" in note for note in first.notes)
    assert any("600 frames" in note for note in second.notes)


def broken(how: dict[str, Any]) -> SpeechCorpus:
    return changed(toy_corpus(), 4, **how)


def nan_frames(start: int, stop: int) -> np.ndarray:
    return np.full((stop - start, 25, 3), np.nan, np.float32)


def other_frames(start: int, stop: int) -> np.ndarray:
    return np.zeros((stop - start, 26, 3), np.float32)


def test_long_names_are_shortened_and_led_back(tmp_path: Path) -> None:
    corpus = toy_corpus(sentences=1)
    long = renamed(corpus, {subject: subject[1:] * 90 + "-" + subject for subject in corpus.templates})
    root, _ = export(long, tmp_path / "out", "faceformer-vocaset")
    assert read_vocaset(root).splits == long.splits


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"fps": 1e-9}, "s2_01: .*frames a second"),
        ({"fps": 5000.0}, "s2_01: .*frames a second"),
        ({"n_frames": 60}, "s2_01: .*fewer frames than it says"),
        ({"frames": nan_frames}, "s2_01: .*no numbers"),
        ({"frames": other_frames}, "s2_01: .*25 vertices"),
        ({"sound": lambda: Sound(np.full(9, np.nan, np.float32), 16_000)}, "s2_01: .*no numbers"),
        ({"sound": lambda: Sound(np.zeros(0, np.float32), 16_000)}, "s2_01: .*no samples"),
    ],
    ids=["slow", "fast", "cut", "nan", "topology", "nan sound", "no sound"],
)
def test_a_broken_clip_is_named_and_leaves_nothing(tmp_path: Path, layout: str, how: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        export_corpus(broken(how), tmp_path / "out", layout=layout)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_damaged_template_is_told(tmp_path: Path, layout: str) -> None:
    corpus = toy_corpus(sentences=1)
    corpus = replace(corpus, templates={**corpus.templates, "s3": np.full((25, 3), np.nan, np.float32)})
    with pytest.raises(InputError, match="template of s3"):
        export_corpus(corpus, tmp_path / "out", layout=layout)
    assert not list(tmp_path.iterdir())


def test_layouts_that_hold_coefficients_are_refused_by_name(tmp_path: Path) -> None:
    for layout in WANT_COEFFICIENTS:
        with pytest.raises(UsageError, match="coefficients of FLAME"):
            export_corpus(toy_corpus(), tmp_path / "out", layout=layout)
    with pytest.raises(UsageError, match="no layout 'facetalk'") as error:
        export_corpus(toy_corpus(), tmp_path / "out", layout="facetalk")
    assert "faceformer-vocaset" in str(error.value.hint)


def test_nothing_is_overwritten_and_nothing_is_no_export(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(InputError, match="exists"):
        export_corpus(toy_corpus(), tmp_path / "out", layout="unitalker")
    with pytest.raises(UsageError, match="no clip to export"):
        export_corpus(replace(toy_corpus(), clips=()), tmp_path / "new", layout="unitalker")


def test_a_killed_export_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    corpus, output = toy_corpus(splits={"s1": "train"}, sentences=1, n_frames=8), tmp_path / "out"
    step = 0
    while killed_at(step, lambda: export_corpus(corpus, output, layout="voca-raw"), after=False):
        assert not output.exists()
        step += 1
    assert step == 10  # eight files, the map, the folder
    assert [path.name for path in tmp_path.iterdir()] == ["out"]  # what the killed ones left is cleared
    assert len(read_json(output / "map.json")["clips"]) == 1


def test_numbers_without_limits_go_on() -> None:
    named = numbered(toy_corpus(splits={"s1": "train"}, sentences=120))
    assert [each.sentence for each in named][98:101] == ["sentence99", "sentence100", "sentence101"]
    assert len({each.stem for each in named}) == 120
