"""Exports for VOCA, audio2face's own code, MeshTalk, UniTalker and Audio2Face-3D, read by these programs' rules."""

import ast
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import trimesh

from animation.data.clip import Clip
from animation.data.corpus import SPLITS, SpeechCorpus
from animation.data.normalisation import fit_normalisation
from animation.data.resample import resample_clip
from animation.export import unitalker
from animation.export.layouts import export_corpus
from animation.export.mm2023 import PEOPLE
from animation.export.unitalker import FILES
from mmface4d.array_pickle import Items, Tensor, pickled
from mmface4d.npz import Streamed
from tests.animation import peers
from tests.animation.toy_corpus import changed, toy_corpus
from tests.mmface4d.other_numpy import python_with_numpy


def export(corpus: SpeechCorpus, folder: Path, layout: str) -> dict[str, Any]:
    export_corpus(corpus, folder, layout=layout)
    return json.loads((folder / "map.json").read_text())


def original(corpus: SpeechCorpus, told: dict[str, Any], name: str) -> Clip:
    return next(clip for clip in corpus.clips if clip.name == told["clips"][name]["clip"])


def frames_at(clip: Clip, fps: float) -> np.ndarray:
    there = resample_clip(clip, float(fps))
    return there.frames(0, there.n_frames)


def test_voca_reads_its_files(tmp_path: Path) -> None:
    corpus = toy_corpus()
    told = export(corpus, tmp_path / "out", "voca-raw")
    vertices = np.load(tmp_path / "out" / "data_verts.npy", mmap_mode="r")
    place_of = peers.read_pickle(tmp_path / "out" / "subj_seq_to_idx.pkl")
    raw_audio = peers.read_pickle(tmp_path / "out" / "raw_audio_fixed.pkl", encoding="latin1")
    templates = peers.read_pickle(tmp_path / "out" / "templates.pkl", encoding="latin1")
    rows = sorted(row for theirs in place_of.values() for frames in theirs.values() for row in frames.values())
    assert rows == list(range(len(vertices)))
    pairs = []
    for split in ("training", "validation", "testing"):
        for subject in told["arguments"][f"subject_for_{split}"].split(" "):
            for sequence in told["arguments"][f"sequence_for_{split}"].split(" "):
                pairs.append((subject, sequence))
                clip = original(corpus, told, f"{subject}_{sequence}")
                frames = place_of[subject][sequence]
                assert max(frames.keys()) + 1 == len(frames) == 2 * clip.n_frames - 1
                np.testing.assert_array_equal(vertices[list(frames.values())], frames_at(clip, 60.0))
                sound = raw_audio[subject][sequence]
                assert sound["audio"].dtype == np.int16
                assert abs(len(sound["audio"]) / sound["sample_rate"] - clip.duration_s) < 1e-4
                np.testing.assert_array_equal(templates[subject], corpus.templates[clip.subject])
    assert len(pairs) == len(set(pairs)) == len(corpus.clips)


def test_faceformers_preparation_of_voca_gives_its_folder(tmp_path: Path) -> None:
    corpus = toy_corpus()
    told = export(corpus, tmp_path / "out", "voca-raw")
    peers.prepare_voca(tmp_path / "out", tmp_path / "ready")
    shutil.copy(tmp_path / "out" / "templates.pkl", tmp_path / "ready")
    subjects = told["arguments"]
    read = peers.faceformer(tmp_path / "ready", {
        "dataset": "vocaset", "train_subjects": subjects["subject_for_training"],
        "val_subjects": subjects["subject_for_validation"], "test_subjects": subjects["subject_for_testing"],
    })  # fmt: skip
    assert [len(read[split]) for split in ("train", "val", "test")] == [6, 3, 3]
    for item in [each for items in read.values() for each in items]:
        clip = original(corpus, told, Path(item["name"]).stem)
        np.testing.assert_array_equal(item["vertice"].reshape(-1, 25, 3), clip.frames(0, clip.n_frames))
        assert np.abs(item["audio"] - clip.sound().samples).max() < 2 / 32768


def read_mm2023(root: Path, people: dict[str, str], mode: str) -> list[tuple[str, str, np.ndarray, Any, Any]]:
    """Its VOCASet: what cannot be found it skips."""
    meshes = peers.read_pickle(root / "verts_data.pkl")
    mean = torch.from_numpy(np.load(root / "face_axis_mean.npy")).float()
    std = torch.from_numpy(np.load(root / "face_axis_std.npy")).float()[0]
    out = []
    for subject in people[f"subject_for_{mode}"].split():
        if not (root / "templates" / f"{subject}.ply").exists():
            continue
        mesh: Any = trimesh.load_mesh(root / "templates" / f"{subject}.ply", process=False)
        for sequence in people[f"sequence_for_{mode}"].split():
            if sequence not in meshes.get(subject, {}):
                continue
            sound = peers.heard(root / "audio" / subject / f"{sequence}.wav")
            template = (torch.tensor(mesh.vertices).float() - mean.unsqueeze(0)) / std
            moving = (meshes[subject][sequence] - mean.unsqueeze(0).unsqueeze(1)) / std
            out.append((subject, sequence, sound, template, moving))
    return out


def test_the_people_in_its_code_are_vocasets() -> None:
    assert [len(PEOPLE[split]) for split in SPLITS] == [8, 2, 2]
    assert (PEOPLE["train"][0], PEOPLE["train"][-1]) == ("FaceTalk_170728_03272_TA", "FaceTalk_170912_03278_TA")
    assert PEOPLE["test"] == ["FaceTalk_170809_00138_TA", "FaceTalk_170731_00024_TA"]


def built_in() -> dict[str, str]:
    ranges = {"train": range(1, 41), "validation": range(21, 41), "test": range(1, 41)}
    names = {"train": "training", "validation": "validation", "test": "testing"}
    return {
        f"{kind}_for_{names[split]}": value
        for split, people in PEOPLE.items()
        for kind, value in (
            ("subject", " ".join(people)),
            ("sequence", " ".join(f"sentence{n:02}" for n in ranges[split])),
        )
    }


@pytest.mark.parametrize("large", [False, True])
def test_the_code_of_audio2face_reads_everybody(tmp_path: Path, large: bool) -> None:
    """As it is where its list of people is long enough, and with ours in its place where not."""
    splits: Any = {
        f"s{k}": "train" if k < 9 else "validation" if k < 10 else "test" for k in range(12 if large else 10)
    }
    corpus = toy_corpus(splits=splits, sentences=2, n_frames=8) if large else toy_corpus(sentences=2)
    told = export(corpus, tmp_path / "out", "mm2023")
    assert told["runs_unchanged"] == (not large)
    lists = json.loads((tmp_path / "out" / "subjects.json").read_text()) if large else built_in()
    read = {mode: read_mm2023(tmp_path / "out", lists, mode) for mode in ("training", "validation", "testing")}
    for split, mode in zip(SPLITS, read, strict=True):
        assert len(read[mode]) == len(corpus.of_split(split))
    normal = fit_normalisation(corpus.of_split("train"), corpus.templates)
    for subject, sequence, sound, template, moving in [each for items in read.values() for each in items]:
        clip = original(corpus, told, f"{subject}/{sequence}")
        assert isinstance(moving, torch.Tensor)
        np.testing.assert_allclose(moving.numpy(), normal.positions(frames_at(clip, 60.0)), atol=1e-5)
        np.testing.assert_allclose(template.numpy(), normal.positions(corpus.templates[clip.subject]), atol=1e-5)
        frames = min(len(moving), int(len(sound) * 60 / 16_000))  # as its batches are cut
        assert frames == 2 * clip.n_frames - 1


def test_its_masks_are_weights(tmp_path: Path) -> None:
    corpus = toy_corpus(sentences=1)
    export(corpus, tmp_path / "out", "mm2023")
    for file, mask in (("mouth", "lips"), ("upper", "upper_face")):
        weights = torch.from_numpy(np.load(tmp_path / "out" / f"{file}_weight_mask.npy")).float().view(1, 1, -1)
        assert np.flatnonzero(weights.numpy()[0, 0]).tolist() == corpus.topology.masks[mask].vertices.tolist()
    assert np.load(tmp_path / "out" / "eyelid_weight_mask.npy").tolist() == [0.0] * 25


def test_meshtalk_gets_segments_of_frames_and_seconds(tmp_path: Path) -> None:
    corpus = toy_corpus(fps=60.0, n_frames=90)
    told = export(corpus, tmp_path / "out", "meshtalk-npz")
    splits = json.loads((tmp_path / "out" / "splits.json").read_text())
    assert {split: len(names) for split, names in splits.items()} == {"train": 6, "validation": 3, "test": 3}
    for name in splits["train"]:
        clip = original(corpus, told, name)
        with np.load(tmp_path / "out" / "clips" / f"{name}.npz", allow_pickle=False) as file:
            arrays = dict(file)
        windows = np.lib.stride_tricks.sliding_window_view(arrays["audio"], 16_000)[arrays["window_first"]]
        item = {"template": arrays["template"], "geom": arrays["geom"][:32], "audio": windows[:32]}
        assert {key: value.shape for key, value in item.items()} == {
            "template": (25, 3), "geom": (32, 25, 3), "audio": (32, 16_000),
        }  # fmt: skip
        assert all(value.dtype == np.float32 for value in item.values())
        np.testing.assert_allclose(item["geom"], 1000 * frames_at(clip, 30.0)[:32], atol=1e-4)
        np.testing.assert_allclose(item["template"], 1000 * corpus.templates[clip.subject], atol=1e-4)
        assert len(windows) == len(arrays["geom"])


def test_a_meshtalk_window_is_centred_on_its_frame_to_the_end(tmp_path: Path) -> None:
    """A click in the middle of frame 1799; its own chunking would be 600 samples off there."""
    samples = np.full(60 * 16_000, 1e-4, np.float32)
    samples[round(1799.5 / 30 * 16_000)] = 0.9
    corpus = toy_corpus(splits={"s1": "train"}, sentences=1, n_frames=1800)
    sound = replace(corpus.clips[0].sound(), samples=samples)
    export(changed(corpus, 0, sound=lambda: sound), tmp_path / "out", "meshtalk-npz")
    with np.load(tmp_path / "out" / "clips" / "s1_sentence01.npz") as file:
        audio, first = file["audio"], int(file["window_first"][1799])
    window = audio[first : first + 16_000]
    assert len(window) == 16_000
    assert abs(int(window.argmax()) - 8000) <= 1
    assert np.abs(audio).sum() / len(samples) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize(("fps", "n_frames"), [(60.0, 41), (100.0, 91), (120.0, 41), (30.0, 1)])
def test_every_meshtalk_window_is_whole(tmp_path: Path, fps: float, n_frames: int) -> None:
    corpus = toy_corpus(splits={"s1": "train"}, sentences=1, n_frames=n_frames, fps=fps)
    export(corpus, tmp_path / "out", "meshtalk-npz")
    with np.load(tmp_path / "out" / "clips" / "s1_sentence01.npz") as file:
        assert file["window_first"][-1] + 16_000 <= len(file["audio"])
        assert len(file["window_first"]) == len(file["geom"])


def test_meshtalks_assets_fit_its_networks(tmp_path: Path) -> None:
    corpus = toy_corpus()
    export(corpus, tmp_path / "out", "meshtalk-npz")
    assets = tmp_path / "out" / "assets"
    mouth = np.loadtxt(assets / "weighted_mouth_mask.txt").astype(np.float32).flatten()
    assert np.flatnonzero(mouth > 0.1).tolist() == corpus.topology.masks["lips"].vertices.tolist()
    for name in ("weighted_eye_mask", "eye_keypoints", "forehead_mask", "neck_mask"):
        assert np.loadtxt(assets / f"{name}.txt", dtype=np.float32).flatten().shape == (25,)
    mean, std = (torch.from_numpy(np.load(assets / f"face_{name}.npy")) for name in ("mean", "std"))
    clip = corpus.clips[0]
    there = torch.from_numpy(1000 * frames_at(clip, 30.0))[None]
    normal = (there - mean.view(1, 1, 25, 3)) / std.view(1, 1, 25, 3)
    assert normal.abs().max() < 10
    assert (std > 0).all()
    assert trimesh.load_mesh(assets / "face_template.obj", process=False).vertices.shape == (25, 3)


def read_unitalker(root: Path, file: str, scale: float) -> list[dict[str, Any]]:
    """Its AudioFaceDataset and DataItem."""
    labels = json.loads((root / file).read_text())
    templates = np.load(root / "id_template.npy")
    out = []
    for told in labels["data"]:
        annot, fps = np.load(root / told["annot_path"]), told["fps"]
        if fps == 60:
            annot, fps = annot[::2], 30
        elif fps == 100:
            annot, fps = annot[::4], 25
        elif fps not in (25, 30):
            raise ValueError("wrong fps")
        sound = peers.heard(root / told["audio_path"])
        duration_s = min(len(sound) / 16_000, len(annot) / fps, 20)
        if duration_s < 0.5:
            continue
        out.append({
            "data": (annot * scale)[: round(duration_s * fps)].reshape(-1, annot.shape[1]).astype(np.float32),
            "audio": sound[: round(duration_s * 16_000)], "fps": fps, "id": told["id"],
            "template": (templates[told["id"]] * scale).reshape(1, -1).astype(np.float32), "path": told["annot_path"],
            "person": labels["info"]["id_list"][told["id"]], "kind": told["annot_type"], "dataset": told["dataset"],
        })  # fmt: skip
    return out


@pytest.mark.parametrize("fps", [25.0, 30.0, 48.0])
def test_unitalker_reads_every_split(tmp_path: Path, fps: float) -> None:
    corpus = toy_corpus(fps=fps)
    told = export(corpus, tmp_path / "out", "unitalker")
    config = json.loads((tmp_path / "out" / "dataset_config.json").read_text())
    for split, file in FILES.items():
        read = read_unitalker(tmp_path / "out", file, config["mmface4d"]["scale"])
        assert len(read) == len(corpus.of_split(split))
        for item in read:
            clip = original(corpus, told, Path(item["path"]).stem)
            assert item["fps"] == (fps if fps in (25, 30) else 30)
            np.testing.assert_array_equal(item["data"].reshape(-1, 25, 3), frames_at(clip, item["fps"]))
            np.testing.assert_array_equal(item["template"].reshape(-1, 3), corpus.templates[clip.subject])
            assert item["person"] == clip.subject
            assert config[item["dataset"]]["annot_type"] == item["kind"]
            assert config[item["dataset"]]["annot_dim"] == item["data"].shape[1]
            assert item["id"] < config[item["dataset"]]["subjects"]


def test_flame_meshes_go_by_a_name_that_unitalker_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unitalker, "FLAME_VERTS", 25)
    assert export(toy_corpus(sentences=1), tmp_path / "few", "unitalker")["runs_unchanged"]
    assert {item["dataset"] for item in read_unitalker(tmp_path / "few", "train.json", 1.0)} == {"D2"}
    many = toy_corpus(splits={f"s{k}": "train" for k in range(13)}, sentences=1)
    assert not export(many, tmp_path / "many", "unitalker")["runs_unchanged"]
    assert {item["dataset"] for item in read_unitalker(tmp_path / "many", "train.json", 1.0)} == {"mmface4d"}


def test_unitalkers_components_give_the_frames_back(tmp_path: Path) -> None:
    corpus = toy_corpus()
    export(corpus, tmp_path / "out", "unitalker")
    with np.load(tmp_path / "out" / "pca.npz", allow_pickle=False) as file:
        pca = dict(file)
    basis, bias = pca["components_to_data"], pca["original_data_mean"]
    assert basis.shape[1:] == bias.shape == (75,)
    assert pca["data_components_mean"].shape == pca["data_components_std"].shape == basis.shape[:1]
    np.testing.assert_allclose(basis @ basis.T, np.eye(len(basis)), atol=1e-4)
    for item in read_unitalker(tmp_path / "out", "train.json", 1.0):
        moved = item["data"] - item["template"]
        weights = (moved - bias) @ basis.T
        assert np.abs(weights @ basis + bias - moved).max() < 1e-6


def test_unitalker_says_what_its_loader_cuts(tmp_path: Path) -> None:
    corpus = toy_corpus(splits={"s1": "train"}, sentences=1, n_frames=601)
    (done,) = export_corpus(corpus, tmp_path / "long", layout="unitalker")
    assert any("first 20 s" in note for note in done.notes)
    (done,) = export_corpus(
        toy_corpus(splits={"s1": "train"}, sentences=1, n_frames=14), tmp_path / "s", layout="unitalker"
    )
    assert any("under 0.5 s" in note for note in done.notes)


def settings(path: Path) -> dict[str, Any]:
    """A file of settings as Python reads it; nothing but values may stand there."""
    tree = ast.parse(path.read_text())
    assert all(isinstance(node, ast.Assign) for node in tree.body)
    return {node.targets[0].id: ast.literal_eval(node.value) for node in tree.body}  # type: ignore[attr-defined]


def test_the_training_framework_finds_every_shot(tmp_path: Path) -> None:
    corpus = changed(toy_corpus(), 1, emotion="joy", language="de-DE")
    told = export(corpus, tmp_path / "out", "a2f3d")
    config = settings(tmp_path / "out" / "config_dataset.py")
    clips = json.loads((tmp_path / "out" / "clips.json").read_text())
    assert config["ACTOR_NAMES"] == ["s1", "s2", "s3", "s4"]

    def here(path: str) -> Path:
        return tmp_path / "out" / path.removeprefix("/datasets/grid/")

    for actor in config["ACTOR_NAMES"]:
        root = here(config["SKIN_CACHE_ROOT"][actor])
        for shot in sorted(path.name for path in root.iterdir()):
            (cache,) = root.glob(f"{shot}/{shot}.*")
            data, clip = np.load(cache), original(corpus, told, shot)
            assert data.dtype == np.float32
            np.testing.assert_allclose(data, 100 * clip.frames(0, clip.n_frames), atol=1e-5)
            assert config["CACHE_FPS"][actor] == 30.0
            sound, rate = soundfile.read(here(config["AUDIO_ROOT"][actor]) / f"{shot}.wav")
            assert rate >= 16_000
            assert len(sound) / rate == pytest.approx(len(data) / 30, abs=1e-4)
        neutral = np.load(here(config["SKIN_NEUTRAL_FPATH"][actor]))
        np.testing.assert_allclose(neutral, 100 * corpus.templates[actor], atol=1e-5)
    for actor, shot, (first, last), _, _, file, _ in [each for split in clips.values() for each in split]:
        assert (here(config["AUDIO_ROOT"][actor]) / file).is_file()
        assert (first, last) == (0, len(np.load(here(config["SKIN_CACHE_ROOT"][actor]) / shot / f"{shot}.npy")) - 1)
    emotions = {shot: emotion for _, shot, emotion in config["SHOT_EMOTION_MAP"]}
    assert emotions["s1_sentence02"] == "joy"
    assert set(emotions.values()) <= set(config["SHOT_EMOTION_NAMES"])
    assert ["s1", "s1_sentence02", [0, 40], "s1", "de", "s1_sentence02.wav", 0] in clips["train"]


def test_an_actors_shots_have_one_rate(tmp_path: Path) -> None:
    corpus = toy_corpus(splits={"s1": "train"}, sentences=2, n_frames=20)
    fast = toy_corpus(splits={"s1": "train"}, sentences=2, n_frames=40, fps=60.0)
    export(replace(corpus, clips=(corpus.clips[0], fast.clips[1])), tmp_path / "out", "a2f3d")
    skin = tmp_path / "out" / "s1" / "cache" / "skin"
    assert settings(tmp_path / "out" / "config_dataset.py")["CACHE_FPS"] == {"s1": 60.0}
    assert [len(np.load(path)) for path in sorted(skin.rglob("*.npy"))] == [39, 41]


def test_no_program_hides_in_a_name(tmp_path: Path) -> None:
    corpus = toy_corpus(sentences=1)
    corpus = replace(corpus, topology=replace(corpus.topology, name="x\nimport os; os.abort()"))
    corpus = changed(corpus, 0, emotion='"]\nimport os', text="\n")
    export(corpus, tmp_path / "out", "a2f3d")
    assert set(settings(tmp_path / "out" / "config_dataset.py")) > {"ACTOR_NAMES"}


def test_nested_pickles_are_what_went_in() -> None:
    rng = np.random.default_rng(0)
    content = {
        "subject": {
            "sound": (1000 * rng.normal(size=50)).astype(np.int16), "rate": 16_000, "numbers": {0: 7, 1: -3},
            "double": rng.normal(size=(2, 3)), "text": "句",
        }
    }  # fmt: skip
    for protocol in (2, 4):
        found = peers.load_pickle(b"".join(pickled(content, protocol=protocol)))["subject"]
        assert (found["rate"], found["numbers"], found["text"]) == (16_000, {0: 7, 1: -3}, "句")
        for name in ("sound", "double"):
            np.testing.assert_array_equal(found[name], content["subject"][name])
            assert found[name].dtype == content["subject"][name].dtype
            assert found[name].flags.writeable


def test_streamed_tensors_are_what_went_in() -> None:
    values = np.random.default_rng(0).normal(size=(5, 4, 3)).astype(np.float32)
    streamed = Streamed(values.shape, "<f4", (values[start : start + 2] for start in range(0, 5, 2)))
    found = peers.load_pickle(b"".join(pickled(Items([("a", Tensor(streamed))]), protocol=4)))
    assert isinstance(found["a"], torch.Tensor)
    np.testing.assert_array_equal(found["a"].numpy(), values)


def test_what_cannot_be_pickled_is_told() -> None:
    for value in (1.5, None, np.zeros(2, np.complex64), Streamed((1,), "<f4", [np.zeros(1, np.float32)])):
        with pytest.raises(TypeError):
            b"".join(pickled(value))
    with pytest.raises(ValueError, match="4 bytes too few"):
        b"".join(pickled(Streamed((2,), "<f4", [np.zeros(1, np.float32)]), protocol=4))


@pytest.mark.slow
@pytest.mark.parametrize("wanted", ["1", "2"])
def test_both_kinds_of_numpy_read_what_voca_reads(tmp_path: Path, wanted: str) -> None:
    program = python_with_numpy(wanted)
    if program is None:
        pytest.skip(f"no Python with numpy {wanted} on the path")
    export(toy_corpus(sentences=1), tmp_path / "out", "voca-raw")
    script = (
        "import pickle, sys, warnings; warnings.simplefilter('error');"
        "read = lambda name, **more: pickle.load(open(sys.argv[1] + '/' + name, 'rb'), **more);"
        "sound = read('raw_audio_fixed.pkl', encoding='latin1')['s1']['sentence01'];"
        "print(sound['audio'].dtype, len(sound['audio']), sound['sample_rate'], read('templates.pkl')['s1'].shape,"
        "read('subj_seq_to_idx.pkl')['s1']['sentence01'][3])"
    )
    done = subprocess.run([program, "-c", script, str(tmp_path / "out")], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "int16 21333 16000 (25, 3) 3", done.stderr
