"""`mmface4d animate` as people run it."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch

from animation.data.batch import Style
from animation.data.clip import Sound
from animation.data.corpus import Topology
from animation.data.folder import write_folder
from animation.training.config import Batches, Budget, TrainConfig, Validation
from animation.training.run import train
from animation.training.styles import STYLES_FILE
from animation.use.arkit import ARKIT_NAMES
from animation.use.generate import animate
from animation.use.style import style_of_clip
from corpus.presets.clip import open_clip
from corpus.presets.sound import cut_sound
from mmface4d.animate_command import Animated
from mmface4d.animator import Animator
from mmface4d.cli import main
from mmface4d.files import file_sha256, write_json
from mmface4d.lab import create_lab
from mmface4d.mesh_text import obj_text, ply_bytes
from mmface4d.npz import write_npz
from mmface4d.sequence import load_sequence
from mmface4d.sequence_clips import masks_of, regions_of
from mmface4d.subject import write_subject
from mmface4d.withdrawal import MARK
from tests.animation.test_generate import SAME_M, voice
from tests.animation.toy_corpus import grid, toy_corpus
from tests.animation.toy_models import SMALL
from tests.animation.toy_trained import audio2face, saved, toy_trained
from tests.corpus.small_lab import CONSENT, TODAY, add_session, person, sentences
from tests.corpus.talking_head import write_spoken

CORPUS = toy_corpus(sentences=2, n_frames=30)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, a checkpoint and sounds."""
    folder = tmp_path_factory.mktemp("made")
    write_folder(CORPUS, folder / "toy")
    saved(folder / "run", toy_trained())
    soundfile.write(folder / "speech.wav", voice(1.0), 16_000)
    soundfile.write(folder / "other.flac", np.stack([voice(0.5), voice(0.5)], 1), 16_000)
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with all of it."""
    monkeypatch.chdir(shutil.copytree(made, tmp_path / "place"))
    return Path.cwd()


def run(*words: object) -> int:
    """The exit code."""
    with pytest.raises(SystemExit) as ended:
        main(["animate", *map(str, words)])
    return int(ended.value.code or 0)


USUAL = ("--checkpoint", "run", "--template", "toy:s4", "--style", "toy:s1_01")


def expected(*, template: np.ndarray | None = None) -> np.ndarray:
    """What USUAL makes of speech.wav."""
    clip = next(each for each in CORPUS.clips if each.name == "s1_01")
    style = style_of_clip(toy_trained(), clip, template=CORPUS.templates["s1"])
    samples, rate = soundfile.read("speech.wav", dtype="float32")
    face = CORPUS.templates["s4"] if template is None else template
    return np.concatenate(list(animate(toy_trained(), Sound(samples, rate), template=face, style=style)))


def in_head(path: Path) -> np.ndarray:
    """The frames of a sequence without the head's pose."""
    return np.stack(list(open_clip(path, pose="head", with_take=False).motion))


def test_a_sequence_holds_the_frames_and_its_sound_lies_beside_it(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("speech.wav", *USUAL, "-o", "out/said.npz") == 0
    told = capsys.readouterr().out
    assert told.startswith("speech.wav: 30 frames, 1.00 s, ")
    sequence = load_sequence(Path("out/said.npz"))
    assert (str(sequence["model"]), str(sequence["solver"]), float(sequence["fps"])) == ("grid", "audio2face", 30.0)
    np.testing.assert_allclose(in_head(Path("out/said.npz")), expected(), atol=SAME_M)
    assert Path("out/said.wav").read_bytes() == Path("speech.wav").read_bytes()
    sound = cut_sound(open_clip(Path("out/said.npz")))
    assert sound is not None
    np.testing.assert_allclose(sound.samples, soundfile.read("speech.wav")[0], atol=1e-4)
    assert {path.name for path in Path("out").iterdir()} == {"said.npz", "said.wav"}


def test_live_frames_are_the_same(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("speech.wav", *USUAL, "--stream", "-o", "live", "--json") == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert told["files"] == ["live/speech.npz", "live/speech.wav"]
    assert told["notes"] == ["frames wait 0.566 s for the sound after them, and are as of the whole sound"]
    np.testing.assert_allclose(in_head(Path("live/speech.npz")), expected(), atol=SAME_M)


@pytest.mark.parametrize("kind", ["ply", "obj", "npy", "PLY"])
def test_faces_come_in_many_files(place: Path, kind: str) -> None:
    face, (_, faces) = CORPUS.templates["s4"], grid()
    if kind == "npy":
        np.save("face.npy", face.astype(np.float64))
    elif kind in ("ply", "PLY"):
        Path(f"face.{kind}").write_bytes(ply_bytes(face, faces))
    else:
        Path("face.obj").write_text(obj_text(face, faces))
    words = ["--checkpoint", "run", "--template", f"face.{kind}", "--style", "toy:s1_01"]
    assert run("speech.wav", *words, "-o", "a.npz") == 0
    np.testing.assert_allclose(in_head(Path("a.npz")), expected(), atol=SAME_M if kind != "obj" else 2e-5)


def test_several_sounds_go_to_a_folder_and_one_that_fails_stops_no_other(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write("silent.wav", np.zeros(16_000), 16_000)
    assert run("speech.wav", "silent.wav", "other.flac", *USUAL, "-o", "out") == 4
    told = capsys.readouterr()
    assert "error: silent.wav is silent" in told.err
    assert [line.partition(":")[0] for line in told.out.splitlines() if " frames" in line] == [
        "speech.wav", "other.flac"]  # fmt: skip
    assert {path.name for path in Path("out").iterdir()} == {"speech.npz", "speech.wav", "other.npz", "other.wav"}
    assert len(load_sequence(Path("out/other.npz"))) == 15
    assert soundfile.info("out/other.wav").channels == 1


def test_what_fails_leaves_no_sound_behind(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write("tiny.wav", voice(1.0)[:200], 16_000)
    assert run("tiny.wav", *USUAL, "-o", "out") == 3
    assert "error: tiny.wav: 200 samples are too short" in capsys.readouterr().err
    assert not list(Path("out").iterdir())
    soundfile.write("kept.wav", voice(1.0)[:200], 16_000)
    assert run("kept.wav", *USUAL, "-o", "kept.npz") == 3
    assert Path("kept.wav").exists()


def test_another_sound_is_never_overwritten(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = file_sha256(Path("speech.wav"))
    assert run("other.flac", *USUAL, "-o", "speech.npz") == 3
    assert "speech.wav exists and is not the sound of other.flac" in capsys.readouterr().err
    assert not Path("speech.npz").exists()
    assert run("speech.wav", *USUAL, "-o", "speech.npz") == 0  # its own may be there
    for _ in range(2):  # and again after a second run
        assert run("other.flac", *USUAL, "-o", "again.npz") == 0
    assert file_sha256(Path("speech.wav")) == before


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["speech.wav", "other.flac", "-o", "a.npz"], 2, "2 sounds do not fit into a.npz"),
        (["speech.wav", "sub/speech.wav", "-o", "out"], 2, "several sounds are called speech"),
        (["speech.wav", "sub/SPEECH.wav", "-o", "out"], 2, "several sounds are called speech"),
        (["speech.wav", "-o", "a.mov"], 2, "a.mov: nothing is written as .mov"),
        (["speech.wav", "-o", "a.MP4"], 2, "it can be .npz, .mp4, .glb, .csv"),
        (["gone.wav", "-o", "out"], 3, "gone.wav does not exist"),
        (["speech.wav", "-o", "out", "--style", "s9"], 2, "not trained on a subject s9"),
        (["speech.wav", "-o", "out", "--style", "s1"], 2, "does not know its subjects' manners"),
        (["speech.wav", "-o", "out", "--style", "toy:s9_00"], 3, "toy has no clip s9_00"),
        (["speech.wav", "-o", "out", "--template", "toy:s9"], 3, "toy has no subject s9"),
        (["speech.wav", "-o", "out", "--template", "toy"], 3, "toy is no file"),
        (["speech.wav", "-o", "out", "--template", "speech.wav"], 2, "cannot be read as a face"),
        (["speech.wav", "-o", "out", "--checkpoint", "toy"], 3, "toy/config.json does not exist"),
        (["speech.wav", "-o", "a.csv"], 3, "the mesh grid is of no face model"),
    ],
)
def test_what_cannot_be_is_told(
    place: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    given = {"--checkpoint": "run", "--template": "toy:s4", "--style": "toy:s1_01"}
    rest = [word for name, value in given.items() if name not in words for word in (name, value)]
    assert run(*words, *rest) == code
    assert said in capsys.readouterr().err
    assert not list(Path().glob("a.*"))


def test_who_was_trained_on_is_a_manner_too(place: Path) -> None:
    codes = np.random.default_rng(0).normal(size=(2, 32)).astype(np.float32)
    sha256 = np.array(file_sha256(Path("run/model.safetensors")))
    write_npz(Path("run") / STYLES_FILE, {"codes": codes, "weights_sha256": sha256})
    found = {}
    for style in (["--style", "s2"], []):
        assert run("speech.wav", "--checkpoint", "run", "--template", "toy:s4", *style, "-o", "a.npz") == 0
        found[len(style)] = in_head(Path("a.npz"))
    trained, sound = toy_trained(), Sound(soundfile.read("speech.wav", dtype="float32")[0], 16_000)
    for number, code in ((2, codes[1:]), (0, codes.mean(axis=0, keepdims=True))):
        blocks = animate(trained, sound, template=CORPUS.templates["s4"], style=torch.from_numpy(code))
        np.testing.assert_allclose(found[number], np.concatenate(list(blocks)), atol=SAME_M)


def test_a_model_without_manner_says_so(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    saved(place / "rival", toy_trained("meshtalk"))
    words = ["--checkpoint", "rival", "--template", "toy:s4", "--style", "toy:s1_01"]
    assert run("speech.wav", *words, "-o", "a.npz") == 0
    assert "note: meshtalk has no manner of speaking" in capsys.readouterr().out
    assert run("speech.wav", *words, "-o", "b.npz", "--stream") == 2
    assert "cannot follow a live one" in capsys.readouterr().err
    assert not Path("b.wav").exists()


def test_what_is_read_is_not_overwritten(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("face.npy", CORPUS.templates["s4"])
    Path("said.npz").hardlink_to("face.npy")  # stands for a sequence that shows the face
    words = ["--checkpoint", "run", "--template", "face.npy", "--style", "toy:s1_01"]
    assert run("speech.wav", *words, "-o", "said.npz") == 2
    assert "said.npz is read here and would be overwritten" in capsys.readouterr().err
    assert Path("said.npz").samefile("face.npy")
    assert not Path("said.wav").exists()


def test_neither_data_nor_a_checkpoint_is_overwritten(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_npz(Path("run") / STYLES_FILE, {"codes": np.zeros((2, 32), np.float32), "weights_sha256": np.array("")})
    for name in ("run/topology.npz", "run/styles.npz", "toy/templates.npz"):
        before = file_sha256(Path(name))
        assert run("speech.wav", *USUAL, "-o", name) == 2
        assert f"{name} is read here and would be overwritten" in capsys.readouterr().err
        assert file_sha256(Path(name)) == before
        assert not Path(name).with_suffix(".wav").exists()
    for _ in range(2):
        assert run("speech.wav", *USUAL, "-o", "run/said.npz") == 0


@pytest.mark.parametrize("name", ["日本語", "grün #1, 50%", "a.b", "-x"])
def test_files_are_called_like_the_sounds(place: Path, name: str) -> None:
    Path("sounds").mkdir()
    shutil.copy("speech.wav", f"sounds/{name}.wav")
    soundfile.write("sounds/语音.wav", voice(0.5), 16_000)
    assert run(f"sounds/{name}.wav", "sounds/语音.wav", *USUAL, "-o", "out", "--as", "npz", "--as", "glb") == 0
    wanted = {f"{each}.{kind}" for each in (name, "语音") for kind in ("npz", "glb", "wav")}
    assert {path.name for path in Path("out").iterdir()} == wanted
    assert len(load_sequence(Path("out") / f"{name}.npz")) == 30


def test_long_names_are_cut(place: Path) -> None:
    shutil.copy("speech.wav", f"{'語' * 80}.wav")  # 244 bytes
    assert run(f"{'語' * 80}.wav", "other.flac", *USUAL, "-o", "out") == 0
    assert {path.name for path in Path("out").glob("*.npz")} == {f"{'語' * 66}.npz", "other.npz"}
    assert run(f"{'a' * 300}.wav", "other.flac", *USUAL, "-o", "out") == 4


def test_what_is_done_is_told_before_the_rest_is(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Animator.make

    def interrupted(self: Animator, audio: Path, target: Path) -> Animated:
        if audio.stem == "other":
            raise KeyboardInterrupt
        return make(self, audio, target)

    monkeypatch.setattr(Animator, "make", interrupted)
    assert run("speech.wav", "other.flac", *USUAL, "-o", "out") == 130
    assert capsys.readouterr().out.startswith("speech.wav: 30 frames")


@pytest.mark.parametrize("frames", [125.5, 238.5])
def test_a_sound_that_ends_between_two_frames_has_as_many_live(place: Path, frames: float) -> None:
    saved(place / "slow", toy_trained(fps=25.0))
    soundfile.write("half.wav", voice(10.0)[: round(frames * 640)], 16_000)
    words = ["--checkpoint", "slow", *USUAL[2:]]
    found = []
    for more in ([], ["--stream"]):
        assert run("half.wav", *words, "-o", "half.npz", *more) == 0
        found.append(len(load_sequence(Path("half.npz"))))
    assert found[0] == found[1]


def test_another_mesh_is_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("face.ply").write_bytes(ply_bytes(CORPUS.templates["s4"], grid()[1][::-1]))
    words = ["--checkpoint", "run", "--template", "face.ply", "--style", "toy:s1_01"]
    assert run("speech.wav", *words, "-o", "a.npz") == 0
    assert "the triangles of face.ply are not those of the training data" in capsys.readouterr().out


def test_who_has_withdrawn_shows_no_manner(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_spoken(place / "lab")
    mark = {"format": 1, "subject": "P01", "withdrawn": "2026-01-01"}
    write_json(place / "lab" / "takes" / "one" / MARK, mark)
    for given in (["--style", "lab/one.npz", "--template", "toy:s4"], ["--template", "lab/one.npz"]):
        assert run("speech.wav", "--checkpoint", "run", *given, "-o", "a.npz") == 3
        assert "is withdrawn" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("scopes", "change", "said"),
    [
        (("mesh",), {}, "has 9548 vertices"),  # it may be used, but is of another mesh
        (("mesh",), {"consent": CONSENT.model_copy(update={"until": CONSENT.date})}, "consent expired"),
        (("mesh",), {"withdrawn": TODAY}, "consent withdrawn"),
        (("audio",), {}, "does not cover meshes"),
    ],
    ids=str,
)  # fmt: skip
def test_a_consent_of_today_says_whether_a_manner_is_shown(
    place: Path, capsys: pytest.CaptureFixture[str], scopes: tuple[str, ...], change: dict, said: str
) -> None:
    lab = create_lab(place / "lab")
    session = add_session(lab, person("P07"), script=sentences(1))
    write_subject(lab.subjects / "P07.json", person("P07", *scopes).model_copy(update=change))
    (path,) = (session / "sequences").glob("*.npz")
    shutil.copy(path, "copy.npz")  # which names its take
    for given in (path, "copy.npz"):
        words = ["--checkpoint", "run", "--template", "toy:s4", "--style", given]
        assert run("speech.wav", *words, "-o", "a.npz") == 3
        assert said in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("model", ["audio2face", "faceformer", "meshtalk"])
def test_what_was_trained_speaks_in_the_usual_manner(place: Path, model: str) -> None:
    config = TrainConfig(
        model=model, options={**SMALL[model]}, budget=Budget(updates=4), batches=Batches(size=2, crop_frames=12),
        validation=Validation(every_updates=2, clips=1),
    )  # fmt: skip
    train(CORPUS, config, Path("trained"))
    assert (Path("trained") / STYLES_FILE).is_file() == (model == "audio2face")
    assert run("speech.wav", "--checkpoint", "trained", "--template", "toy:s4", "-o", "a.npz") == 0
    usual = in_head(Path("a.npz"))
    assert usual.shape == (30, 25, 3)
    assert run("speech.wav", "--checkpoint", "trained", "--template", "toy:s4", "--style", "s1", "-o", "a.npz") == 0
    same = np.array_equal(usual, in_head(Path("a.npz")))
    assert same == (model == "meshtalk")


@pytest.mark.slow
def test_a_killed_process_leaves_nothing_that_looks_whole(place: Path) -> None:
    with soundfile.SoundFile("long.wav", "w", 16_000, 1) as file:
        for _ in range(20):
            file.write(voice(60.0))
    words = [sys.executable, "-m", "mmface4d.cli", "animate", "long.wav", *USUAL, "-o", "out"]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    started = time.monotonic()
    while not list(Path("out").glob(".long.*.npz")) and time.monotonic() - started < 60:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert [path.name for path in Path("out").iterdir() if path.name[0] != "."] == ["long.wav"]
    assert Path("out/long.wav").read_bytes() == Path("long.wav").read_bytes()


@pytest.mark.slow
def test_every_kind_of_output(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    regions = regions_of("canonical")
    mesh = Topology("canonical", len(regions.template), regions.faces.astype(np.int32), masks_of(regions))
    trained = toy_trained(mesh=mesh, moves=2e-4)
    saved(place / "canonical", trained)
    np.save("face.npy", regions.template.astype(np.float32))
    still = np.zeros((1, 8, mesh.n_verts, 3), np.float32)
    style = Style(torch.from_numpy(still), torch.ones(1, 8, dtype=torch.bool), torch.tensor([0]))
    with torch.no_grad():
        code = audio2face(trained).encode_style(style).numpy()
    sha256 = np.array(file_sha256(Path("canonical/model.safetensors")))
    write_npz(Path("canonical") / STYLES_FILE, {"codes": np.repeat(code, 2, axis=0), "weights_sha256": sha256})
    words = ["--checkpoint", "canonical", "--template", "face.npy", "--as", "mp4", "--as", "glb", "--as", "csv"]
    assert run("other.flac", *words, "-o", "out") == 0
    told = capsys.readouterr().out
    assert "ARKit's weights tell" in told
    assert {path.name for path in Path("out").iterdir()} == {"other.mp4", "other.glb", "other.csv", "other.wav"}
    rows = Path("out/other.csv").read_text().splitlines()
    assert len(rows) == 16
    assert len(rows[1].split(",")) == 2 + len(ARKIT_NAMES) + 9
    with av.open("out/other.mp4") as video:
        (pictures,) = video.streams.video
        (sound,) = video.streams.audio
        assert sum(1 for _ in video.decode(pictures)) == 15
        assert float(sound.duration * sound.time_base) == pytest.approx(0.5, abs=0.06)  # type: ignore[operator]
    head = Path("out/other.glb").read_bytes()
    about = json.loads(head[20 : 20 + int.from_bytes(head[12:16], "little")])
    extras = about["animations"][0]["extras"]
    assert extras["sound"] == {"uri": "other.wav", "start_s": 0.0}
    count = len(about["meshes"][0]["primitives"][0]["targets"])
    assert f"note: other.glb has {count} targets, vertices within {extras['max_error_mm']:.4f} mm" in told
    assert len(about["meshes"][0]["primitives"][0]["attributes"]) == 2
    # what was made shows a manner, and a face
    words = ["--checkpoint", "canonical", "--template", "said/speech.npz", "--style", "said/speech.npz"]
    assert run("speech.wav", *words[:2], "--template", "face.npy", "-o", "said") == 0
    assert run("other.flac", *words, "-o", "again.npz") == 0
    assert capsys.readouterr().out.count("note:") == 0
    assert load_sequence(Path("again.npz")).vertices.shape == (15, mesh.n_verts, 3)
