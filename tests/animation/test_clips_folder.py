"""Our own clips folder: what is read is what was written, and what is damaged is named."""

import json
import os
import shutil
import signal
import zipfile
from collections import UserDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from animation.data.check import check_corpus, without
from animation.data.clip import Sound
from animation.data.corpus import SpeechCorpus
from animation.data.folder import read_folder, write_folder
from mmface4d.errors import InputError, UsageError
from mmface4d.npz import write_npz
from tests.animation.toy_corpus import changed, toy_corpus


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("written") / "clips"
    write_folder(toy_corpus(), path)
    return path


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "clips"))


def equal(a: SpeechCorpus, b: SpeechCorpus) -> None:
    assert (a.origin, a.licence, a.splits, a.notes) == (b.origin, b.licence, b.splits, b.notes)
    assert a.topology.sha256 == b.topology.sha256
    masks = [{name: mask.sha256 for name, mask in each.topology.masks.items()} for each in (a, b)]
    assert masks[0] == masks[1]
    assert all(np.array_equal(a.templates[subject], b.templates[subject]) for subject in a.templates)
    for one, two in zip(a.clips, b.clips, strict=True):
        plain = ("name", "subject", "sentence", "fps", "n_frames", "text", "language", "emotion")
        assert all(getattr(one, name) == getattr(two, name) for name in plain)
        assert np.array_equal(one.frames(0, one.n_frames), two.frames(0, two.n_frames))
        heard, again = one.sound(), two.sound()
        assert (heard.rate_hz, heard.start_s) == (again.rate_hz, again.start_s)
        assert np.array_equal(heard.samples, again.samples)


def test_a_corpus_comes_back_bit_by_bit(tmp_path: Path) -> None:
    late = Sound(np.linspace(-1.5, 1.5, 20_001, dtype=np.float32), 44_100, start_s=-0.125)
    corpus = replace(changed(toy_corpus(), 2, sound=lambda: late, text="你好", fps=29.97), notes=("one left out",))
    write_folder(corpus, tmp_path / "a")
    equal(read_folder(tmp_path / "a"), corpus)
    write_folder(read_folder(tmp_path / "a"), tmp_path / "b")
    equal(read_folder(tmp_path / "b"), corpus)


def test_parts_of_a_clip_are_those_of_the_whole(folder: Path) -> None:
    clip = read_folder(folder).clips[0]
    whole = clip.frames(0, clip.n_frames)
    assert np.array_equal(clip.frames(7, 13), whole[7:13])
    assert clip.frames(5, 5).shape == (0, 25, 3)


def test_nothing_is_overwritten(folder: Path) -> None:
    with pytest.raises(InputError, match="exists"):
        write_folder(toy_corpus(), folder)


def test_a_clip_that_cannot_be_read_leaves_no_folder(tmp_path: Path) -> None:
    def broken() -> Sound:
        raise InputError("s1_01: no sound")

    with pytest.raises(InputError, match="s1_01"):
        write_folder(changed(toy_corpus(), 1, sound=broken), tmp_path / "clips")
    assert list(tmp_path.iterdir()) == []


def test_frames_of_another_count_than_told_are_refused(tmp_path: Path) -> None:
    corpus = toy_corpus()
    with pytest.raises(InputError, match="s1_00"):
        write_folder(changed(corpus, 0, frames=lambda start, stop: corpus.clips[0].frames(0, 3)), tmp_path / "clips")


@pytest.mark.parametrize("name", ["../s1", "a/b", "", ".hidden", "x" * 97, "a b"])
def test_names_that_could_hide_a_path_are_not_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="safe name"):
        write_folder(changed(toy_corpus(), 0, name=name), tmp_path / "clips")


@pytest.mark.parametrize("text", ["x" * 10_001, "a\udcff"])
def test_texts_that_could_not_be_read_again_are_not_written(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="toy cannot be written: text"):
        write_folder(changed(toy_corpus(), 0, text=text), tmp_path / "clips")
    assert list(tmp_path.iterdir()) == []


def test_names_that_differ_by_case_only_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="several clips"):
        write_folder(changed(toy_corpus(), 0, name="S1_01"), tmp_path / "clips")


def mend(folder: Path, change: Callable[[dict], object]) -> None:
    record = json.loads((folder / "corpus.json").read_text())
    change(record)
    (folder / "corpus.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda record: record["clips"][0].update(name="../../etc/passwd"), "name"),
        (lambda record: record["clips"][0].update(fps=0), "fps"),
        (lambda record: record["clips"][0].update(n_frames=-1), "n_frames"),
        (lambda record: record["clips"][0].update(n_frames=10**400), "n_frames"),
        (lambda record: record["clips"][0].update(subject="nobody"), "no split"),
        (lambda record: record["clips"][0].update(name="s1_01"), "stands twice"),
        (lambda record: record["clips"].append("text"), "clips"),
        (lambda record: record.update(format=2), "format"),
        (lambda record: record.update(n_verts=26), "(vertices|mask|templates)"),
        (lambda record: record.update(surprise=1), "surprise"),
        (lambda record: record["subjects"].update(s9="train"), "templates"),
        (lambda record: record["subjects"].update(s1="exam"), "subjects"),
    ],
)
def test_a_damaged_record_is_refused(folder: Path, change: Callable[[dict], object], said: str) -> None:
    mend(folder, change)
    with pytest.raises(InputError, match=said):
        read_folder(folder)


def test_a_mask_whose_name_could_hide_a_path_is_refused(folder: Path) -> None:
    with np.load(folder / "topology.npz") as stored:
        arrays = dict(stored)
    write_npz(folder / "topology.npz", {**arrays, "mask_../../mine": arrays["mask_lips"]})
    with pytest.raises(InputError, match="no safe name"):
        read_folder(folder)


def test_a_clip_whose_file_was_cut_short_is_named(folder: Path) -> None:
    path = folder / "clips" / "s1_00.npy"
    path.write_bytes(path.read_bytes()[:-100])
    clip = read_folder(folder).clips[0]
    with pytest.raises(InputError, match="s1_00"):
        clip.frames(0, 4)


def test_a_clip_whose_file_has_another_shape_is_named(folder: Path) -> None:
    np.save(folder / "clips" / "s1_00.npy", np.zeros((40, 26, 3), np.float32))
    with pytest.raises(InputError, match="s1_00"):
        read_folder(folder).clips[0].frames(0, 4)


def test_objects_in_an_array_are_not_read(folder: Path) -> None:
    np.save(folder / "clips" / "s1_00.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="s1_00"):
        read_folder(folder).clips[0].frames(0, 1)


def test_a_sound_that_is_none_is_named(folder: Path) -> None:
    (folder / "clips" / "s1_00.wav").write_bytes(b"RIFF and no more")
    with pytest.raises(InputError, match=r"s1_00\.wav"):
        read_folder(folder).clips[0].sound()


def test_a_killed_writer_leaves_nothing_and_the_next_one_clears_up(tmp_path: Path) -> None:
    corpus = toy_corpus()
    target = tmp_path / "clips"

    def killed() -> Sound:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    child = os.fork()
    if child == 0:
        write_folder(changed(corpus, 3, sound=killed), target)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert not target.exists()
    write_folder(corpus, target)
    equal(read_folder(target), corpus)
    assert [path.name for path in tmp_path.iterdir()] == ["clips"]


@pytest.mark.parametrize("name", ["topology.npz", "templates.npz"])
def test_a_damaged_archive_is_named(folder: Path, name: str) -> None:
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("faces.npy", b"0" * 10_000)
    with pytest.raises(InputError, match=name):
        read_folder(folder)


def test_a_folder_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no corpus\.json"):
        read_folder(tmp_path)


def test_the_fingerprint_follows_the_files(folder: Path) -> None:
    before = [clip.fingerprint for clip in read_folder(folder).clips]
    assert len(set(before)) == len(before)
    assert before == [clip.fingerprint for clip in read_folder(folder).clips]
    path = folder / "clips" / "s1_00.npy"
    stored = np.load(path)
    stored[0, 0, 0] += 1e-3
    np.save(path, stored)
    after = [clip.fingerprint for clip in read_folder(folder).clips]
    assert before[0] != after[0]
    assert before[1:] == after[1:]


class Makeable(UserDict[str, np.ndarray]):
    """Templates that are made when they are asked for; that of s4 cannot be."""

    def __getitem__(self, key: str) -> np.ndarray:
        if key == "s4":
            raise InputError("s4.npz has no usable frame")
        return super().__getitem__(key)


def test_what_cannot_be_read_is_told_and_can_be_left_out(folder: Path, tmp_path: Path) -> None:
    cut = folder / "clips" / "s1_00.npy"
    cut.write_bytes(cut.read_bytes()[:-100])
    corpus = read_folder(folder)
    corpus = replace(corpus, templates=Makeable(corpus.templates))
    mistakes = check_corpus(corpus, done=lambda: None)
    assert list(mistakes) == ["s1_00", "s4_00", "s4_01", "s4_02"]
    assert mistakes["s1_00"][0].startswith(f"{cut} is no readable array")
    assert "s4_01: its subject's template cannot be made: s4.npz has no usable frame" in mistakes["s4_01"]
    write_folder(without(corpus, mistakes), tmp_path / "good")
    good = read_folder(tmp_path / "good")
    assert good.notes[0] == "left out: s1_00: it cannot be read"
    assert str(tmp_path) not in repr(good.notes)
    assert (len(good.clips), set(good.templates), set(good.splits)) == (8, {"s1", "s2", "s3"}, {"s1", "s2", "s3"})


def test_what_is_not_what_was_written_is_told(folder: Path) -> None:
    assert check_corpus(read_folder(folder), done=lambda: None) == {}
    mesh = np.load(folder / "clips" / "s1_00.npy")
    mesh[30, 3, 1] += 1e-4
    np.save(folder / "clips" / "s1_00.npy", mesh)
    samples, rate = soundfile.read(folder / "clips" / "s1_01.wav", dtype="float32")
    soundfile.write(folder / "clips" / "s1_01.wav", 0.5 * samples, rate, subtype="FLOAT")
    assert check_corpus(read_folder(folder), done=lambda: None) == {
        "s1_00": ["s1_00: its frames are not those that were written"],
        "s1_01": ["s1_01: its sound is not the one that was written"],
    }


def test_nothing_that_is_left_is_no_corpus() -> None:
    corpus = toy_corpus()
    with pytest.raises(InputError, match=r"toy cannot be used: .*s1_00: silent"):
        without(corpus, {clip.name: [f"{clip.name}: silent"] for clip in corpus.clips})
