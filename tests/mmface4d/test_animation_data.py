"""Labs, releases and folders as clips to train on: who may be in it, heads that stand still, sound in time."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from animation.data.check import check_clip
from animation.data.folder import write_folder
from animation.export.layouts import TARGETS, WANT_COEFFICIENTS, export_corpus
from corpus.dataset.items import lab_index
from corpus.dataset.regions import face_regions
from corpus.release.reader import open_release
from mmface4d.animation_data import open_speech_corpus
from mmface4d.clips_command import LAYOUTS, OWN_LAYOUT
from mmface4d.errors import ConsentError, InputError
from mmface4d.lab import Lab, create_lab, open_lab
from mmface4d.model_topology import model_topology
from mmface4d.results import sequence_place
from mmface4d.sequence import MeshSequence, load_sequence, write_sequence
from mmface4d.sequence_clips import free_name, released_frames, why_lost
from mmface4d.steady_clips import SteadyFrames, frames_on_beat, longest_lost_s
from mmface4d.subject import write_subject
from mmface4d.subject_templates import Spoken, SubjectTemplates
from mmface4d.take import open_take, write_record
from mmface4d.transforms import rotation_from_rotvec
from mmface4d.withdrawal import withdraw
from tests.animation.toy_corpus import toy_corpus
from tests.corpus.in_process import run_here
from tests.corpus.small_lab import START_USEC, add_session, person, sentences, write_small_sequence, write_small_take

FRAMES = 12


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """P01 and P03 consented to all, P02 to no sound, P04 withdrew, P05's consent has run out."""
    lab = create_lab(tmp_path_factory.mktemp("lab") / "small")
    gone = date.today() - timedelta(days=1)
    people = [
        person("P01"), person("P02", "mesh"), person("P03"), person("P04"),
        person("P05", date=date(2025, 1, 1), until=gone),
    ]  # fmt: skip
    for who in people:
        if who.pseudonym != "P05":
            add_session(lab, who, script=sentences(2), frames=FRAMES)
    withdraw(lab.path, "P04", today=date.today())
    path = add_session(lab, person("P05"), script=sentences(2), frames=FRAMES)
    record = next(file for file in lab.subjects.glob("P05.json"))
    value = json.loads(record.read_text())
    value["consent"] |= {"date": "2025-01-01", "until": gone.isoformat()}
    record.write_text(json.dumps(value))
    assert path.is_dir()
    return lab


def test_a_lab_gives_only_what_people_consented_to(lab: Lab) -> None:
    corpus = open_speech_corpus(lab.path)
    assert {clip.subject for clip in corpus.clips} == {"P01", "P03"}
    assert set(corpus.splits) == {"P01", "P03"}
    assert corpus.notes == (
        "2 sequences left out: consent expired",
        "2 sequences left out: consent withdrawn",
        "2 sequences left out: the consent does not cover sound",
    )
    assert str(lab.path.parent) not in repr((corpus.origin, corpus.licence, corpus.notes))


@pytest.mark.parametrize("layout", ["clips", "voca-raw"])
@pytest.mark.parametrize("loose", [False, True])
@pytest.mark.parametrize("narrowed", [False, True])
def test_somebody_who_withdraws_meanwhile_stops_an_export(
    tmp_path: Path, layout: str, loose: bool, narrowed: bool
) -> None:
    lab = create_lab(tmp_path / "lab")
    sequences = add_session(lab, person("P01"), script=sentences(1), frames=FRAMES) / "sequences"
    corpus = open_speech_corpus(sequences if loose else lab.path)
    write = partial(export_corpus, layout=layout) if layout in TARGETS else write_folder

    def late() -> None:
        """Everything has been read and written."""
        if narrowed:
            write_subject(lab.subjects / "P01.json", person("P01", "mesh"))
        else:
            withdraw(lab.path, "P01", today=date.today())
        corpus.refuse_withdrawn()

    write(corpus, tmp_path / "before")
    with pytest.raises(ConsentError, match=r"may not be used|withdr"):
        write(replace(corpus, refuse_withdrawn=late), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["before", "lab"]


def test_a_labs_clips_can_be_used(lab: Lab) -> None:
    corpus = open_speech_corpus(lab.path)
    assert all(check_clip(clip, corpus) == [] for clip in corpus.clips)
    assert {(clip.fps, clip.n_frames) for clip in corpus.clips} == {(30.0, FRAMES)}
    assert len({clip.name for clip in corpus.clips}) == len({clip.fingerprint for clip in corpus.clips}) == 4
    assert {"lips", "upper_face", "face"} <= set(corpus.topology.masks)
    assert corpus.clips[0].text == "This is sentence number 0."


def test_the_sound_begins_with_the_first_frame(lab: Lab) -> None:
    item = next(item for item in lab_index(lab) if item.pseudonym == "P01")
    assert item.take is not None
    samples, rate = soundfile.read(item.take / "audio.wav", dtype="float32", always_2d=True)
    sound = open_speech_corpus(lab.path).clips[0].sound()
    late = round(0.1 * rate)  # the take's sound begins 100 ms before its frames
    expected = samples.mean(axis=1)[late : late + len(sound.samples)]
    assert (sound.rate_hz, sound.start_s) == (rate, 0.0)
    np.testing.assert_allclose(sound.samples[: len(expected)], expected, atol=1e-6)


@pytest.mark.slow
def test_a_release_keeps_its_splits_and_gives_the_same_faces(lab: Lab, tmp_path: Path) -> None:
    done = run_here("release", "build", lab.path, "-o", tmp_path / "release")
    assert done.returncode == 0, done.stderr
    release, of_lab = open_release(tmp_path / "release"), open_speech_corpus(lab.path)
    corpus = open_speech_corpus(tmp_path / "release")
    assert len(corpus.clips) == 4
    for split, subjects in release.splits.items():
        assert {name for name, each in corpus.splits.items() if each == split} == set(subjects)
    assert corpus.topology.sha256 == of_lab.topology.sha256
    assert not re.search(r"P0\d", repr([(clip.name, clip.subject) for clip in corpus.clips]))
    assert all(check_clip(clip, corpus) == [] for clip in corpus.clips)
    for clip in corpus.clips:
        candidates = [each for each in of_lab.clips if each.sentence == clip.sentence]
        same = min(candidates, key=lambda each: _distance(each, clip))
        assert _distance(same, clip) < 1e-6
        np.testing.assert_allclose(same.sound().samples, clip.sound().samples, atol=1e-4)
        assert same.text == clip.text
        assert _apart(corpus.templates[clip.subject], of_lab.templates[same.subject]) < 1e-6


def test_released_sequences_of_no_length_have_no_frames() -> None:
    assert released_frames(2.0, 30.0) == 60
    assert {released_frames(2.0, fps) for fps in (float("nan"), float("inf"), 0.0, -1.0, 1e300)} == {None}


def _distance(one: Any, other: Any) -> float:
    return _apart(one.frames(0, FRAMES), other.frames(0, FRAMES))


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max())


def test_a_clips_folder_is_recognised_and_splits_can_be_changed(tmp_path: Path) -> None:
    write_folder(toy_corpus(), tmp_path / "clips")
    corpus = open_speech_corpus(tmp_path / "clips", splits={"s1": "test"})
    assert corpus.splits == {"s1": "test", "s2": "train", "s3": "validation", "s4": "test"}
    with pytest.raises(InputError, match="no subject s9"):
        open_speech_corpus(tmp_path / "clips", splits={"s9": "test"})
    with pytest.raises(InputError, match="no split exam"):
        open_speech_corpus(tmp_path / "clips", splits={"s1": "exam"})  # type: ignore[dict-item]


def test_other_paths_are_told_what_could_be_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither a release"):
        open_speech_corpus(tmp_path)
    with pytest.raises(InputError, match="is no folder"):
        open_speech_corpus(tmp_path / "none")


def test_a_lab_without_sequences_says_so(tmp_path: Path) -> None:
    lab = create_lab(tmp_path / "lab")
    with pytest.raises(InputError, match="there are no sequences"):
        open_speech_corpus(lab.path)


def test_a_sequence_that_is_not_the_one_recorded_is_left_out_for_that(lab: Lab, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(lab.path, tmp_path / "lab"))
    item = next(item for item in lab_index(open_lab(copy)) if item.pseudonym == "P01")
    assert item.sequence is not None
    assert item.take is not None
    place = sequence_place(item.session, item.take.name)
    place.record.parent.mkdir()
    place.record.write_text("damaged")
    notes = open_speech_corpus(copy).notes
    assert "1 sequence left out: the sequence is not the one that its record tells of" in notes


@pytest.fixture
def loose(tmp_path: Path) -> Path:
    """Sequences with takes: one that anybody may use, one without sound, one whose voice may not be used."""
    folder = tmp_path / "loose"
    for number, name in enumerate(("free", "mute", "quiet", "gone")):
        take = folder / "takes" / name
        write_small_take(take, seed=number, frames=FRAMES)
        write_small_sequence(folder / f"{name}.npz", take, seed=number)
    record(folder / "takes" / "free", source={"subject": "P07", "item": {"id": "00_0003", "text": "Hello."}})
    record(folder / "takes" / "mute", audio=None)
    record(folder / "takes" / "quiet", source={"subject": "P08", "consent": {"version": "1", "scopes": ["mesh"]}})
    (folder / "takes" / "gone").rename(folder / "elsewhere")
    np.savez(folder / "other.npz", numbers=np.arange(3))
    return folder


def record(take: Path, **changed: Any) -> None:
    with open_take(take) as opened:
        write_record(take, opened.info.model_copy(update=changed))


def test_loose_sequences_come_with_the_sound_of_their_takes(loose: Path) -> None:
    corpus = open_speech_corpus(loose)
    (clip,) = corpus.clips
    assert (clip.name, clip.subject, clip.sentence, clip.text) == ("P07_00_0003", "P07", "00_0003", "Hello.")
    assert check_clip(clip, corpus) == []
    assert corpus.notes == (
        "1 sequence left out: no mesh sequence",
        "1 sequence left out: the consent does not cover sound",
        "1 sequence left out: the sequence or its take is damaged",
        "1 sequence left out: the take has no sound",
    )


def test_loose_sequences_come_with_a_wav_of_their_name(loose: Path) -> None:
    (loose / "gone.npz").rename(loose / "P09_01.npz")
    soundfile.write(loose / "P09_01.wav", np.full(8000, 0.25), 16_000, subtype="FLOAT")
    clip = next(clip for clip in open_speech_corpus(loose).clips if clip.name == "P09_01")
    assert (clip.subject, clip.sentence, clip.fps, clip.n_frames) == ("P09", "P09_01", 30.0, FRAMES)
    assert clip.sound().samples.tolist() == [0.25] * 8000
    changed = clip.fingerprint
    soundfile.write(loose / "P09_01.wav", np.full(8001, 0.25), 16_000, subtype="FLOAT")
    assert changed not in [clip.fingerprint for clip in open_speech_corpus(loose).clips]


def test_a_take_whose_sound_covers_little_of_its_frames_is_told(tmp_path: Path) -> None:
    take = tmp_path / "loose" / "takes" / "late"
    write_small_take(take, seed=0, frames=2 * FRAMES)
    write_small_sequence(tmp_path / "loose" / "late.npz", take, seed=0)
    for late_s, said in ((0.2, ""), (0.6, r"late\.npz: its sound does not cover 0\.60 s of its frames")):
        with open_take(take) as opened:
            audio = opened.info.audio
        assert audio is not None
        record(take, audio=audio.model_copy(update={"start_usec": START_USEC + round(late_s * 1e6)}))
        corpus = open_speech_corpus(tmp_path / "loose")
        assert re.search(said or "^$", " ".join(check_clip(corpus.clips[0], corpus)))


def test_a_take_says_whom_a_sequence_with_a_wav_shows(loose: Path) -> None:
    record(loose / "takes" / "mute", source={"subject": ""})
    for name in ("free", "mute"):
        soundfile.write(loose / f"{name}.wav", np.full(8000, 0.25), 16_000, subtype="FLOAT")
    said = {clip.name: clip for clip in open_speech_corpus(loose).clips}
    told = said["P07_00_0003"]
    assert (told.subject, told.sentence, told.text) == ("P07", "00_0003", "Hello.")
    assert told.sound().samples.tolist() == [0.25] * 8000
    assert (said["mute"].subject, said["mute"].sentence) == ("mute", "mute")  # its take does not say
    soundfile.write(loose / "free.wav", np.full(8001, 0.25), 16_000, subtype="FLOAT")
    assert told.fingerprint not in [clip.fingerprint for clip in open_speech_corpus(loose).clips]
    (loose / "takes" / "free" / "take.json").unlink()  # as where only the pictures were kept
    assert {"free", "mute"} == {clip.name for clip in open_speech_corpus(loose).clips}


def test_loose_sequences_of_somebody_who_withdrew_are_left_out(loose: Path) -> None:
    (loose / "takes" / "free" / "withdrawn.json").write_text("{}")
    with pytest.raises(InputError, match="consent withdrawn"):
        open_speech_corpus(loose)


def test_sequences_in_folders_are_known_by_their_folders(loose: Path) -> None:
    for folder in ("P09_01", "P10_02"):
        (loose / folder).mkdir()
        shutil.copy(loose / "gone.npz", loose / folder / "sequence.npz")
        soundfile.write(loose / folder / "sequence.wav", np.full(8000, 0.25), 16_000, subtype="FLOAT")
    told = [(clip.name, clip.subject, clip.sentence) for clip in open_speech_corpus(loose).clips]
    assert {("P09_01", "P09", "P09_01"), ("P10_02", "P10", "P10_02")} <= set(told)


def test_no_two_clips_get_one_name() -> None:
    names: set[str] = set()
    given = [free_name(wanted, names) for wanted in ("a", "a", "a-2", "A", "a")]
    assert given == ["a", "a-2", "a-2-2", "A-3", "a-4"]


def test_a_wav_beside_a_sequence_is_a_voice_that_needs_consent(loose: Path) -> None:
    soundfile.write(loose / "quiet.wav", np.full(8000, 0.25), 16_000, subtype="FLOAT")
    assert "1 sequence left out: the consent does not cover sound" in open_speech_corpus(loose).notes


def test_loose_sequences_of_a_session_follow_its_consent_of_today(tmp_path: Path) -> None:
    lab = create_lab(tmp_path / "lab")
    add_session(lab, person("P01"), script=sentences(2), frames=FRAMES)
    sequences = next(item.sequence.parent for item in lab_index(lab) if item.sequence is not None)
    assert len(open_speech_corpus(sequences).clips) == 2
    path = lab.subjects / "P01.json"
    value = json.loads(path.read_text())
    value["consent"]["scopes"] = ["mesh"]
    path.write_text(json.dumps(value))
    with pytest.raises(InputError, match="2 sequences left out: the consent does not cover sound"):
        open_speech_corpus(sequences)


# a sequence of known motion


def talking(
    path: Path, *, times_usec: np.ndarray | None = None, status: np.ndarray | None = None, broken: range = range(0)
) -> MeshSequence:
    """The canonical face whose chin goes down and up, on a head that nods; where it was not seen, it is far off.

    Broken frames have a vertex that is no number.
    """
    face = model_topology("canonical")
    chin = face_regions(face).mask("chin").astype(np.float64)
    usec = START_USEC + np.round(np.arange(30) * 1e6 / 30).astype(np.int64) if times_usec is None else times_usec
    codes = np.zeros(len(usec), np.uint8) if status is None else status

    def frame(number: int) -> dict[str, Any]:
        moved = face.template + opened((usec[number] - usec[0]) / 1e6) * chin[:, None] * np.array([0, -1.0, 0])
        turn = rotation_from_rotvec(np.array([0.2 * np.sin(number), 0.1 * np.cos(number), 0.05]))
        shift = np.array([0.01 * number, 0, 0.6]) + (5.0 if codes[number] > 1 else 0.0)
        vertices = (moved @ turn.T + shift).astype(np.float32)
        if number in broken:
            vertices[7] = np.nan
        return {
            "vertices": vertices, "timestamps_usec": np.int64(usec[number]),
            "status": codes[number], "expression": np.full(2, opened((usec[number] - usec[0]) / 1e6), np.float32),
        }  # fmt: skip

    about = {"faces": face.faces, "fps": 30.0, "model": "canonical", "take": ""}
    write_sequence(path, of_sequence=about, frame_count=len(usec), read_frame=frame)
    return load_sequence(path)


def opened(time_s: float) -> float:
    """How far the chin is down, metres; even at all times."""
    return 0.01 * (1 - abs(1 - 2 * ((time_s * 2) % 1)))


def truth(times_s: np.ndarray) -> np.ndarray:
    face = model_topology("canonical")
    chin = face_regions(face).mask("chin")
    down = np.array([opened(each) for each in times_s])
    return face.template - down[:, None, None] * chin[:, None] * np.array([0, 1.0, 0])


def steady(path: Path, **how: Any) -> tuple[SteadyFrames, int, float]:
    sequence = talking(path, **how)
    frames = SteadyFrames(lambda: load_sequence(path), face_regions(model_topology("canonical")))
    count, fps = frames_on_beat(sequence)
    return frames, count, fps


def test_the_head_stands_still_and_the_face_moves_as_it_did(tmp_path: Path) -> None:
    frames, count, fps = steady(tmp_path / "a.npz")
    assert (count, fps) == (30, 30.0)
    np.testing.assert_allclose(frames(0, 30), truth(np.arange(30) / 30), atol=2e-6)
    assert np.array_equal(frames(7, 12), frames(0, 30)[7:12])
    assert frames(3, 3).shape == (0, 9548, 3)


def test_lost_and_unseen_frames_are_filled_in_between(tmp_path: Path) -> None:
    usec = START_USEC + np.delete(np.round(np.arange(30) * 1e6 / 30).astype(np.int64), [10, 11])
    status = np.zeros(28, np.uint8)
    status[[3, 4]] = 2, 3
    frames, count, _ = steady(tmp_path / "a.npz", times_usec=usec, status=status)
    assert count == 30
    expected = truth(np.arange(30) / 30)
    for gap in ((2, 5), (9, 12)):
        for row in range(gap[0] + 1, gap[1]):
            share = (row - gap[0]) / (gap[1] - gap[0])
            expected[row] = (1 - share) * expected[gap[0]] + share * expected[gap[1]]
    np.testing.assert_allclose(frames(0, 30), expected, atol=3e-6)


def test_how_long_a_face_was_lost(tmp_path: Path) -> None:
    status = np.zeros(30, np.uint8)
    assert longest_lost_s(talking(tmp_path / "a.npz", status=status)) == pytest.approx(0.0, abs=1e-5)
    status[5:11] = 2
    assert longest_lost_s(talking(tmp_path / "b.npz", status=status)) == pytest.approx(0.2, abs=1e-5)
    assert longest_lost_s(talking(tmp_path / "c.npz", status=status * 0 + 4)) > 0.9


def test_frames_that_are_no_numbers_are_filled_in_unless_they_are_many(tmp_path: Path) -> None:
    frames, count, _ = steady(tmp_path / "a.npz", broken=range(3, 18))
    filled = frames(0, count)
    share = np.linspace(0, 1, 17)[:, None, None]
    np.testing.assert_allclose(filled[2:19], (1 - share) * filled[2] + share * filled[18], atol=1e-6)
    frames, _, _ = steady(tmp_path / "b.npz", broken=range(3, 19))
    with pytest.raises(InputError, match=r"for 0\.53 s no frame is usable"):
        frames(0, 1)
    assert np.isfinite(frames.rows(np.arange(30))).all()  # of which a template is made


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_sequence_without_frames_is_told(tmp_path: Path, save: Callable[..., None]) -> None:
    of_none = {"vertices": np.zeros((0, 9548, 3), np.float32), "timestamps_usec": np.zeros(0, np.int64), "fps": 30.0}
    save(tmp_path / "a.npz", faces=model_topology("canonical").faces, **of_none)
    with pytest.raises(InputError, match=r"a\.npz has no frame"):
        frames_on_beat(load_sequence(tmp_path / "a.npz"))


def test_released_sequences_are_left_out_for_what_was_lost(tmp_path: Path) -> None:
    status = np.zeros(30, np.uint8)
    short, long = (np.where(np.arange(30) % every > 0, status, np.uint8(2)) for every in (4, 30))
    long[5:25] = 2
    read = [partial(talking, tmp_path / f"{number}.npz", status=codes) for number, codes in enumerate((short, long))]
    assert [why_lost(0.9, each) for each in read] == [None, "the face was lost for more than 0.5 s"]
    assert why_lost(0.75, read[0]) == why_lost(float("nan"), read[0]) == "fewer than 80% of the frames were fitted"


def test_a_template_is_the_calmest_face(tmp_path: Path) -> None:
    frames, _, _ = steady(tmp_path / "a.npz")

    def load() -> MeshSequence:
        return load_sequence(tmp_path / "a.npz")

    spoken = {"P01": [Spoken(frames, load, "fingerprint", neutral=True)]}
    templates = SubjectTemplates(spoken, cache=tmp_path / "cache")
    calm = np.sort([opened(row / 30) for row in range(30)])[:5].mean()
    chin = face_regions(model_topology("canonical")).mask("chin")
    moved = model_topology("canonical").template - calm * chin[:, None] * np.array([0, 1.0, 0])
    np.testing.assert_allclose(templates["P01"], moved, atol=3e-6)
    (kept,) = (tmp_path / "cache").glob("*.npy")
    (tmp_path / "a.npz").unlink()
    assert np.array_equal(SubjectTemplates(spoken, cache=tmp_path / "cache")["P01"], templates["P01"])
    kept.write_bytes(b"damaged")
    with pytest.raises(InputError):
        SubjectTemplates(spoken, cache=tmp_path / "cache")["P01"]  # made again, of what is no longer there


def test_a_template_passes_over_sentences_that_cannot_be_read(tmp_path: Path) -> None:
    paths = tmp_path / "a.npz", tmp_path / "b.npz"
    good, bad = (
        Spoken(steady(path, broken=broken)[0], partial(load_sequence, path), path.stem, neutral=True)
        for path, broken in zip(paths, (range(0), range(30)), strict=True)
    )
    only, both = ({"P01": spoken} for spoken in ([good], [bad, good]))
    templates = SubjectTemplates(both, cache=tmp_path / "both")["P01"]
    assert np.array_equal(templates, SubjectTemplates(only, cache=tmp_path / "only")["P01"])
    assert len(list((tmp_path / "only").iterdir())) == 1
    assert not (tmp_path / "both").exists()
    with pytest.raises(InputError, match="0 usable frames"):
        SubjectTemplates({"P01": [bad]}, cache=tmp_path / "bad")["P01"]


def test_the_clips_commands(tmp_path: Path) -> None:
    done = run_here("clips", "synth", tmp_path / "toy", "--subjects", 4, "--sentences", 2, "--vertices", 120)
    assert done.returncode == 0, done.stderr
    (tmp_path / "splits.json").write_text('{"train": ["subject003"], "test": ["subject000"]}')
    done = run_here(
        "clips", "export", tmp_path / "toy", "--to", "clips", "-o", tmp_path / "copy",
        "--splits", tmp_path / "splits.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = run_here("clips", "show", tmp_path / "copy", "--check", "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["mistakes"], told["clips"]) == (0, [], 8)
    assert open_speech_corpus(tmp_path / "copy").splits["subject000"] == "test"
    wav = next((tmp_path / "copy" / "clips").glob("subject001*.wav"))
    soundfile.write(wav, np.zeros(50_000), 16_000, subtype="FLOAT")
    done = run_here("clips", "show", tmp_path / "copy", "--check")
    assert done.returncode == 5
    assert f"mistake: {wav.stem}: its sound is silent" in done.stdout
    done = run_here("clips", "export", tmp_path / "copy", "--to", "clips", "--leave-out-bad", "-o", tmp_path / "good")
    assert f"note: left out: {wav.stem}: its sound is silent" in done.stdout
    good = open_speech_corpus(tmp_path / "good")
    assert {clip.name for clip in open_speech_corpus(tmp_path / "copy").clips} - {clip.name for clip in good.clips} == {
        wav.stem
    }


def test_every_layout_can_be_asked_for(tmp_path: Path) -> None:
    assert (OWN_LAYOUT, *TARGETS) == LAYOUTS
    write_folder(toy_corpus(), tmp_path / "clips")
    done = run_here("clips", "export", tmp_path / "clips", "--to", "faceformer-vocaset", "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "12 clips: brought from 30 to 60 frames a second" in done.stdout
    assert len(open_speech_corpus(tmp_path / "out").clips) == 12


@pytest.mark.parametrize(
    ("layout", "output", "code", "said"),
    [
        *(
            (name, "new", 2, f"{name} holds coefficients of FLAME, and clips are vertices")
            for name in WANT_COEFFICIENTS
        ),
        ("mystery", "new", 2, "no layout 'mystery'"),
        ("clips", "there", 3, "exports are never overwritten"),
        ("unitalker", "there", 3, "exports are never overwritten"),
    ],
)
def test_what_cannot_be_written_is_told_before_anything_is_read(
    tmp_path: Path, layout: str, output: str, code: int, said: str
) -> None:
    (tmp_path / "there").mkdir()
    done = run_here("clips", "export", tmp_path / "nothing", "--to", layout, "-o", tmp_path / output)
    assert (done.returncode, said in done.stderr) == (code, True)
