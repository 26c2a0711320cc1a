"""The synthetic corpus: what it claims of itself is so."""

from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest

from animation.audio.mel import LogMel
from animation.data.corpus import NEEDED_MASKS
from animation.data.folder import read_folder, write_folder
from animation.data.synthetic import make_corpus
from animation.data.synthetic.acting import act
from animation.data.synthetic.corpus import VERSION, Cast, Performance
from animation.data.synthetic.delivery import deliver
from animation.data.synthetic.face import INNER_LIPS_M, MOTIONS, synthetic_face
from animation.data.synthetic.script import sentence
from animation.data.synthetic.sounds import LIPS_MEET, SOUNDS, VOWELS
from animation.data.synthetic.voice import RATE_HZ, speak
from mmface4d.errors import UsageError

AT = {name: at for at, name in enumerate(MOTIONS)}


@cache
def cast() -> Cast:
    return Cast(subjects=8, sentences=2, seed=3, n_verts=200)


def performances() -> list[Performance]:
    return [performance for _, performance in cast().performances.values()]


@pytest.mark.parametrize("n_verts", [100, 257, 400, 1000])
def test_the_mesh_is_a_face_with_an_open_mouth(n_verts: int) -> None:
    face = synthetic_face(n_verts)
    faces, n_lip = face.topology.faces, face.in_ring
    a, b, c = (face.mean[faces[:, corner]] for corner in range(3))
    assert face.mean.shape == (n_verts, 3)
    assert set(faces.ravel()) == set(range(n_verts))
    assert (np.cross(b - a, c - a)[:, 2] > 0).all(), "every triangle looks to the front"
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    used, times = np.unique(edges, axis=0, return_counts=True)
    assert times.max() == 2
    border = used[times == 1]
    assert (border < n_lip).all(axis=1).sum() == n_lip, "the inner lips are a border of their own"
    assert np.abs(face.mean[:n_lip, 0]).max() == pytest.approx(INNER_LIPS_M[0])


@pytest.mark.parametrize("n_verts", [100, 400])
def test_masks_and_motions_are_local(n_verts: int) -> None:
    face = synthetic_face(n_verts)
    lips, upper, whole = (face.topology.masks[name].vertices for name in NEEDED_MASKS)
    assert len(lips) >= 0.1 * n_verts
    assert len(upper) >= 0.1 * n_verts
    assert set(whole) >= set(lips)
    assert not set(lips) & set(upper)
    far = {"jaw": upper, "pucker": upper, "smile_left": upper, "lids": lips, "brow_inner": lips, "frown": lips}
    for motion, where in far.items():
        strength = np.linalg.norm(face.bases[AT[motion]], axis=1)
        assert strength[where].max() < 0.12 * strength.max(), motion


def test_splits_share_neither_people_nor_sentences() -> None:
    corpus = make_corpus(subjects=34, sentences=4)
    assert [len(corpus.subjects(split)) for split in ("train", "validation", "test")] == [24, 4, 6]
    said = {split: {clip.sentence for clip in corpus.of_split(split)} for split in ("train", "validation", "test")}
    assert not said["train"] & (said["validation"] | said["test"])
    assert len({clip.name for clip in corpus.clips}) == len(corpus.clips) == 34 * 4
    assert len({clip.text for clip in corpus.clips}) == len({clip.sentence for clip in corpus.clips})


def test_the_same_seed_gives_the_same_corpus_and_more_subjects_change_nobody() -> None:
    one, again, more = (make_corpus(subjects=count, sentences=2, seed=3, n_verts=100) for count in (4, 4, 6))
    other = make_corpus(subjects=4, sentences=2, seed=4, n_verts=100)
    for first, second, third, fourth in zip(one.clips[:1], again.clips, more.clips, other.clips, strict=False):
        frames, samples = first.frames(0, first.n_frames), first.sound().samples
        assert frames.tobytes() == second.frames(0, second.n_frames).tobytes()
        assert samples.tobytes() == second.sound().samples.tobytes()
        assert first.n_frames != fourth.n_frames or not np.array_equal(frames, fourth.frames(0, fourth.n_frames))
        np.testing.assert_array_equal(one.templates[first.subject], more.templates[third.subject])


def test_fingerprints_tell_apart_what_differs() -> None:
    make = partial(make_corpus, subjects=4, sentences=2)
    corpora = [make(n_verts=100), make(n_verts=100, seed=1), make(n_verts=101), make(n_verts=100, fps=25.0)]
    found = [clip.fingerprint for corpus in corpora for clip in corpus.clips]
    assert len(set(found)) == len(found) == 32
    assert [clip.fingerprint for clip in make(n_verts=100).clips] == found[:8]


def test_a_version_of_the_corpus_stays_what_it_is() -> None:
    """Where this fails, raise VERSION: what was prepared of these clips is known by it."""
    clip = make_corpus(subjects=4, sentences=2, n_verts=120, seed=3).clips[5]
    frames, samples = (each.astype(np.float64) for each in (clip.frames(0, clip.n_frames), clip.sound().samples))
    moved_m = float(np.abs(frames[30] - frames[10]).sum())
    assert (VERSION, clip.name, clip.n_frames, len(samples)) == (1, "subject002_s500005", 54, 29_093)
    assert (moved_m, np.abs(samples).sum()) == pytest.approx((0.6748459, 898.44432), rel=1e-5)


def test_frames_may_be_read_in_pieces() -> None:
    clip = make_corpus(subjects=4, sentences=2, n_verts=120).clips[0]
    whole = clip.frames(0, clip.n_frames)
    pieces = [clip.frames(start, min(start + 7, clip.n_frames)) for start in range(0, clip.n_frames, 7)]
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-7)
    assert np.abs(whole - whole.mean(axis=0)).max() > 0.003
    sound = clip.sound()
    assert sound.rate_hz == RATE_HZ
    assert 0 <= len(sound.samples) / sound.rate_hz - clip.duration_s < 1 / clip.fps + 1e-3
    assert 0.1 < np.abs(sound.samples).max() <= 1


def test_lips_meet_for_p_b_and_m_in_every_manner_and_open_for_vowels() -> None:
    face = cast().face
    top, bottom = face.in_ring // 4, 3 * face.in_ring // 4
    closed_mm, open_mm = [], []
    for performance in performances():
        chosen = [each for each in performance.delivery.spoken if each.sound.letter in LIPS_MEET + VOWELS]
        times_s = np.array([each.middle_s for each in chosen])
        moved = np.tensordot(act(performance.delivery, performance.speaker.manner, times_s), face.bases, axes=1)
        gap_mm = 1e3 * (moved[:, top, 1] - moved[:, bottom, 1])
        is_closed = np.array([each.sound.letter in LIPS_MEET for each in chosen])
        closed_mm += gap_mm[is_closed].tolist()
        open_mm += gap_mm[~is_closed].tolist()
    assert len(closed_mm) > 10
    assert np.abs(closed_mm).max() < 1.0
    assert np.median(open_mm) > 3.0


def test_a_manner_cannot_be_heard() -> None:
    """The sound is made of the delivery and the voice alone: other manners leave it as it is."""
    performance = performances()[0]
    stranger = replace(performance, speaker=replace(performance.speaker, manner=cast().average_manner()))
    assert np.array_equal(performance.sound().samples, stranger.sound().samples)
    assert not np.allclose(performance.frames(0, 20), stranger.frames(0, 20), atol=1e-4)


def test_a_manner_stays_the_same_from_clip_to_clip() -> None:
    """Taking what the manner leads one to expect off a clip leaves less than a fifth of the motion."""
    for performance in performances():
        expected = performance.frames_as(performance.speaker.manner, 0, performance.n_frames, chance=False)
        away_mm = 1e3 * np.linalg.norm(performance.frames(0, performance.n_frames) - expected, axis=2)
        typical_mm = 1e3 * np.linalg.norm(expected - performance.speaker.template, axis=2)
        assert away_mm.mean() < 0.2 * typical_mm.mean()


def test_accents_are_heard_and_seen() -> None:
    """Loudness tells rising from falling accents, and the brows follow them."""
    rises, falls = [], []
    for performance in performances()[::2]:
        sound, delivery = performance.sound().samples, performance.delivery
        for stress in delivery.stresses:
            middle = round(stress.at_s * RATE_HZ)
            level = np.sqrt(np.mean(sound[middle - 400 : middle + 400] ** 2))
            (rises if stress.accent == "rise" else falls).append(level)
        times_s = np.array([stress.at_s for stress in delivery.stresses])
        brows = act(delivery, cast().average_manner(), times_s)[:, [AT["brow_inner"], AT["frown"]]]
        kinds = [stress.accent == "rise" for stress in delivery.stresses]
        assert [bool(inner > frown) for inner, frown in brows] == kinds
    assert np.median(rises) > 1.5 * np.median(falls)


@pytest.mark.slow
def test_the_sound_says_what_the_face_does() -> None:
    """A linear map of a quarter of a second of log-mel, fitted to some voices, explains others' mouths and brows."""
    everybody = Cast(subjects=16, sentences=4, seed=5, n_verts=100)
    average = everybody.average_manner()
    wanted = {"jaw": 0.6, "pucker": 0.4, "smile_left": 0.6, "brow_inner": 0.25, "frown": 0.6}  # the least share
    heard, seen = [], []
    for _, performance in everybody.performances.values():
        tokens = LogMel().tokens(performance.sound().samples)
        around = np.clip(np.arange(len(tokens.values))[:, None] + range(-6, 7, 2), 0, len(tokens.values) - 1)
        heard.append(tokens.values[around].reshape(len(around), -1))
        weights = act(performance.delivery, average, tokens.times_s)
        seen.append(weights[:, [AT[name] for name in wanted]])
    train, test = slice(0, 40), slice(40, None)
    x, y = np.concatenate(heard[train]), np.concatenate(seen[train])
    mean, spread = x.mean(axis=0), x.std(axis=0) + 0.05
    x = (x - mean) / spread
    linear = np.linalg.solve(x.T @ x + 300 * np.eye(x.shape[1]), x.T @ (y - y.mean(axis=0)))
    truth = np.concatenate(seen[test])
    left = truth - y.mean(axis=0) - (np.concatenate(heard[test]) - mean) / spread @ linear
    explained = 1 - left.var(axis=0) / truth.var(axis=0)
    assert (explained > list(wanted.values())).all(), dict(zip(wanted, explained, strict=True))


def test_all_sounds_differ_to_the_ear_where_they_differ_to_the_eye() -> None:
    acoustic = {
        letter: (*sound.formants_hz, sound.voicing, *sound.noise) for letter, sound in SOUNDS.items() if letter != "-"
    }
    silent_stops = {"p", "t", "k"}  # told apart by their bursts
    assert len({acoustic[letter] for letter in acoustic if letter not in silent_stops}) == len(acoustic) - 3


def test_it_is_quiet_before_somebody_speaks() -> None:
    said = sentence(1, seed=0)
    rng = np.random.default_rng(0)
    voice = cast().speakers["subject000"].voice
    delivery = deliver(said, voice, rng)
    sound = speak(delivery, voice, rng)
    assert len(sound) == round(delivery.duration_s * RATE_HZ)
    silence = sound[: round(0.2 * RATE_HZ)]
    assert np.sqrt(np.mean(silence**2)) < 0.05 * np.sqrt(np.mean(sound**2))


def test_it_can_be_written_and_read_again(tmp_path: Path) -> None:
    corpus = make_corpus(subjects=4, sentences=2, n_verts=100)
    write_folder(corpus, tmp_path / "clips")
    back = read_folder(tmp_path / "clips")
    assert dict(back.splits) == dict(corpus.splits)
    assert back.topology.sha256 == corpus.topology.sha256
    for ours, theirs in zip(corpus.clips, back.clips, strict=True):
        assert (ours.name, ours.text, ours.n_frames) == (theirs.name, theirs.text, theirs.n_frames)
        np.testing.assert_array_equal(theirs.frames(0, 5), ours.frames(0, 5))
        np.testing.assert_allclose(theirs.sound().samples, ours.sound().samples, atol=1 / 32000)


@pytest.mark.parametrize("wrong", [{"subjects": 3}, {"sentences": 1}, {"n_verts": 20}, {"fps": 0.0}, {"seed": -1}])
def test_numbers_that_make_no_corpus_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        make_corpus(**wrong)  # type: ignore[arg-type]
