"""Prepared clips and their batches: by content, at the right instants, padded and masked, and repeatable."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from animation.audio.features import speech_features
from animation.data.batch import UNKNOWN_SUBJECT
from animation.data.batches import clip_batch, training_batches
from animation.data.clip import Clip, Sound
from animation.data.corpus import SpeechCorpus
from animation.data.normalisation import Normalisation, fit_normalisation
from animation.data.prepared import Prepared, prepare
from mmface4d.errors import InputError
from tests.animation.toy_corpus import RATE_HZ, ToyEncoder, changed, grid, toy_corpus, toy_sound


def ready(corpus: SpeechCorpus, cache: Path, *, fps: float = 30.0) -> Prepared:
    return prepare(corpus, encoder=ToyEncoder(), fps=fps, cache=cache)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return ready(toy_corpus(), tmp_path_factory.mktemp("cache"))


def test_displacements_and_features_are_those_of_the_clip(prepared: Prepared) -> None:
    corpus = toy_corpus()
    for clip, made in zip(corpus.clips, prepared.clips, strict=True):
        steps = clip.frames(0, clip.n_frames) - corpus.templates[clip.subject]
        assert np.array_equal(made.displacement_m(), steps)
        assert np.array_equal(made.displacement_m(3, 9), steps[3:9])
        features = speech_features(clip.sound(), clip.times_s(), encoder=ToyEncoder())
        assert np.array_equal(made.features(), features)
        assert made.features().shape == (clip.n_frames, 2)


def test_another_rate_is_that_of_the_frames_and_of_the_features(tmp_path: Path) -> None:
    made = ready(toy_corpus(), tmp_path, fps=25.0)
    clip = toy_corpus().clips[0]
    assert made.clips[0].n_frames == len(made.clips[0].features()) == int((clip.n_frames - 1) * 25 / 30) + 1
    features = speech_features(clip.sound(), np.arange(made.clips[0].n_frames) / 25, encoder=ToyEncoder())
    assert np.array_equal(made.clips[0].features(), features)


def test_what_is_kept_is_not_made_again(tmp_path: Path) -> None:
    ready(toy_corpus(), tmp_path)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    assert len(files) == 24
    ready(toy_corpus(), tmp_path)
    assert files == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}


def test_content_and_settings_are_told_apart(tmp_path: Path) -> None:
    corpus = toy_corpus()
    clip = corpus.clips[0]
    first = ready(corpus, tmp_path).clips[0]

    def moved(start: int, stop: int) -> np.ndarray:
        return clip.frames(start, stop) + np.float32(1e-3)

    def louder() -> Sound:
        heard = clip.sound()
        return Sound(heard.samples * np.float32(1.1), heard.rate_hz)

    template = dict(corpus.templates) | {"s1": corpus.templates["s1"] * np.float32(1.001)}
    others = [
        ready(changed(corpus, 0, frames=moved), tmp_path).clips[0],
        ready(changed(corpus, 0, sound=louder), tmp_path).clips[0],
        ready(corpus, tmp_path, fps=25.0).clips[0],
        ready(replace(corpus, templates=template), tmp_path).clips[0],
        prepare(corpus, encoder=ToyEncoder("toy 2"), fps=30.0, cache=tmp_path).clips[0],
        ready(changed(corpus, 0, fps=29.0), tmp_path).clips[0],
    ]
    files = {(each.motion_file, each.features_file) for each in (first, *others)}
    assert len(files) == 7
    assert others[3].features_file == first.features_file  # features know no template
    assert others[4].motion_file == first.motion_file


def test_a_fingerprint_spares_reading(tmp_path: Path) -> None:
    corpus = toy_corpus()
    named = replace(corpus, clips=tuple(replace(clip, fingerprint=clip.name) for clip in corpus.clips))
    once = ready(named, tmp_path)

    def never(*_: int) -> np.ndarray:
        raise AssertionError("it was read")

    unread = replace(named, clips=tuple(replace(clip, frames=never, sound=never) for clip in named.clips))
    scale = Normalisation(np.zeros(3), 1.0)
    again = prepare(unread, encoder=ToyEncoder(), fps=30.0, cache=tmp_path, normalisation=scale)
    assert [clip.motion_file for clip in once.clips] == [clip.motion_file for clip in again.clips]


def test_only_the_splits_asked_for_are_prepared(tmp_path: Path) -> None:
    made = prepare(toy_corpus(), encoder=ToyEncoder(), fps=30.0, cache=tmp_path, splits={"test"})
    assert {clip.subject for clip in made.clips} == {"s4"}
    assert made.training_subjects == ("s1", "s2")  # the numbers of speakers do not depend on what is prepared


def _nan(clip: Clip) -> dict:
    def frames(start: int, stop: int) -> np.ndarray:
        read = clip.frames(start, stop)
        read[clip.n_frames // 2 - start :, 3] = np.nan
        return read

    return {"frames": frames}


def _far(clip: Clip) -> dict:
    return {"frames": lambda start, stop: clip.frames(start, stop) + np.array([0, 0, 0.6], np.float32)}


def _millimetres(clip: Clip) -> dict:
    return {"frames": lambda start, stop: clip.frames(start, stop) * np.float32(1000)}


def _other_mesh(clip: Clip) -> dict:
    return {"frames": lambda start, stop: clip.frames(start, stop)[:, :20]}


def _said(samples: np.ndarray, rate_hz: int = RATE_HZ, start_s: float = 0.0) -> dict:
    return {"sound": lambda: Sound(samples.astype(np.float32), rate_hz, start_s)}


HEARD = toy_sound("s1_00", 40 / 30).samples
BROKEN = {
    "nan": (_nan, "frame 20 has vertices that are no numbers"),
    "another mesh": (_other_mesh, "its topology wants"),
    "far away": (_far, "not in the head frame"),
    "millimetres": (_millimetres, "not in metres"),
    "three frames": (lambda clip: {"n_frames": 3}, "3 frames"),
    "no rate": (lambda clip: {"fps": 0.0}, "0 frames a second"),
    "nan rate": (lambda clip: {"fps": float("nan")}, "frames a second"),
    "wrong rate": (lambda clip: {"fps": 3.0}, "one of their rates wrong"),
    "silent": (lambda clip: _said(HEARD * 0), "silent"),
    "empty": (lambda clip: _said(HEARD[:0]), "empty"),
    "nan sound": (lambda clip: _said(np.where(HEARD > 0.2, np.nan, HEARD)), "no numbers"),
    "sound cut short": (lambda clip: _said(HEARD[:8000]), "covers 0.50 s of its 1.33 s"),
    "sound before": (lambda clip: _said(HEARD, start_s=-10.0), "covers 0.00 s"),
    "another sound rate": (lambda clip: _said(HEARD, 48_000), "one of their rates wrong"),
    "telephone of 1890": (lambda clip: _said(HEARD, 4_000), "4000 samples a second"),
    "much too long": (lambda clip: _said(np.tile(HEARD, 4)), "one of their rates wrong"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_clips_are_named(tmp_path: Path, kind: str) -> None:
    corpus = toy_corpus()
    how, said = BROKEN[kind]
    with pytest.raises(InputError, match=said) as caught:
        ready(changed(corpus, 0, **how(corpus.clips[0])), tmp_path)
    assert "s1_00" in caught.value.message


def test_clips_that_are_too_short_at_the_wanted_rate_are_named(tmp_path: Path) -> None:
    quick = toy_corpus(n_frames=56, fps=240.0)  # the first clips end before the eighth frame at 30 a second
    with pytest.raises(InputError, match="s1_00: at 30 frames a second it has 7, fewer than 8") as caught:
        ready(quick, tmp_path)
    assert "s1_01" not in caught.value.message


def test_mistakes_of_all_clips_are_told_at_once(tmp_path: Path) -> None:
    corpus = toy_corpus()
    for number in (0, 4, 7):
        corpus = changed(corpus, number, **_said(HEARD * 0))
    with pytest.raises(InputError) as caught:
        ready(corpus, tmp_path)
    assert all(name in caught.value.message for name in ("s1_00", "s2_01", "s3_01"))
    kept = [path for path in tmp_path.rglob("*.npy") if path.parts[-3] == "features"]
    assert len(kept) == 9  # the others are done


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("the file is cut short", "used: s1_00: the file is cut short"),
        ("clips/s1_00.wav is cut short", r"used: clips/s1_00\.wav is cut short"),
        ("clips/s1_001.wav is cut short", r"used: s1_00: clips/s1_001\.wav is cut short"),
    ],
)
def test_a_sound_that_cannot_be_read_is_a_mistake_of_its_clip(tmp_path: Path, told: str, said: str) -> None:
    def broken() -> Sound:
        raise InputError(told)

    with pytest.raises(InputError, match=said):
        ready(changed(toy_corpus(), 0, sound=broken, fingerprint="1"), tmp_path)


@pytest.mark.parametrize("template", [None, np.full((25, 3), np.nan), grid()[0][:20], grid()[0] * 1000])
def test_templates_must_fit(tmp_path: Path, template: np.ndarray | None) -> None:
    corpus = toy_corpus()
    templates = {name: each for name, each in corpus.templates.items() if name != "s1"}
    if template is not None:
        templates["s1"] = template.astype(np.float32)
    with pytest.raises(InputError, match="template"):
        ready(replace(corpus, templates=templates), tmp_path)


def test_two_clips_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="s1_01: several clips"):
        ready(changed(toy_corpus(), 0, name="s1_01"), tmp_path)


def test_the_normalisation_does_not_depend_on_where_it_is_read(prepared: Prepared) -> None:
    corpus = toy_corpus()
    direct = fit_normalisation(corpus.of_split("train"), corpus.templates)
    np.testing.assert_allclose(prepared.normalisation.mean, direct.mean, atol=1e-8)
    np.testing.assert_allclose(prepared.normalisation.std, direct.std, rtol=1e-6)


def test_an_empty_split_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no clip in test"):
        prepare(
            toy_corpus(splits={"s1": "train"}), encoder=ToyEncoder(), fps=30.0, cache=tmp_path, splits={"test"}
        )  # fmt: skip


def test_batches_hold_what_the_clips_hold(prepared: Prepared) -> None:
    scale = prepared.normalisation
    one, two = prepared.clips[0], prepared.clips[2]
    batch = clip_batch(prepared, [one, two], drivers=[two, prepared.clips[3]])
    assert batch.frame_mask.sum(1).tolist() == [40, 42]
    assert batch.frame_mask.shape == (2, 42)
    steps = scale.displacements_m(batch.displacement[0, :40].numpy())
    np.testing.assert_allclose(steps, one.displacement_m(), atol=1e-9)
    assert not batch.displacement[0, 40:].any()
    assert not batch.audio[0, 40:].any()
    np.testing.assert_allclose(batch.template[1].numpy() * scale.std + scale.mean, prepared.templates["s1"], atol=1e-8)
    assert batch.style.driver_mask.sum(1).tolist() == [42, 40]
    assert batch.style.subject.tolist() == [0, 1]  # whose manner it is


def test_people_outside_training_have_no_number(prepared: Prepared) -> None:
    clips = prepared.of_split("test")
    batch = clip_batch(prepared, clips[:1], drivers=clips[1:2])
    assert batch.style.subject.tolist() == [UNKNOWN_SUBJECT]


def test_crops_are_parts_of_their_clips_and_drivers_other_sentences(prepared: Prepared) -> None:
    batches = training_batches(prepared, batch_size=4, crop_frames=12, generator=np.random.default_rng(3))
    starts = set()
    for _ in range(20):
        batch = next(batches)
        assert batch.frame_mask.all()
        assert batch.displacement.shape == (4, 12, 25, 3)
        for row in range(4):
            name, start = _found(prepared, batch.displacement[row], batch.audio[row])
            driver, _ = _found(prepared, batch.style.driver[row])
            assert name != driver
            assert name[:2] == driver[:2]
            assert prepared.training_subjects[int(batch.style.subject[row])] == name[:2]
            starts.add(start)
    assert min(starts) == 0
    assert max(starts) >= 28  # up to the very end


def _found(prepared: Prepared, steps: torch.Tensor, audio: torch.Tensor | None = None) -> tuple[str, int]:
    """The clip and the frame from which a crop was taken; its features must be those of the same frames."""
    wanted = steps.numpy()
    for clip in prepared.of_split("train"):
        stored = prepared.normalisation.displacements(clip.displacement_m())
        for start in range(len(stored) - len(wanted) + 1):
            if np.array_equal(stored[start : start + len(wanted)], wanted):
                if audio is not None and not np.array_equal(clip.features(start, start + len(wanted)), audio.numpy()):
                    continue
                return clip.name, start
    raise AssertionError("a crop of no clip")


def test_short_clips_are_padded(prepared: Prepared) -> None:
    batch = next(training_batches(prepared, batch_size=6, crop_frames=41, generator=np.random.default_rng(0)))
    assert batch.frame_mask.shape == (6, 41)
    lengths = batch.frame_mask.sum(1)
    assert sorted(lengths.tolist()) == [40, 40, 41, 41, 41, 41]
    for row, length in enumerate(lengths.tolist()):
        assert batch.frame_mask[row, :length].all()
        assert not batch.displacement[row, length:].any()


def test_the_clips_of_a_batch_differ_where_they_can(prepared: Prepared) -> None:
    batch = next(training_batches(prepared, batch_size=6, crop_frames=10**6, generator=np.random.default_rng(0)))
    assert len({tensor.numpy().tobytes() for tensor in batch.displacement}) == 6
    next(training_batches(prepared, batch_size=9, crop_frames=10, generator=np.random.default_rng(0)))


def test_the_generators_state_is_all_that_matters(prepared: Prepared) -> None:
    generator = np.random.default_rng(5)
    batches = training_batches(prepared, batch_size=3, crop_frames=10, generator=generator)
    for _ in range(3):
        next(batches)
    state = generator.bit_generator.state
    expected = [next(batches) for _ in range(3)]
    other = np.random.default_rng()
    other.bit_generator.state = state
    resumed = training_batches(prepared, batch_size=3, crop_frames=10, generator=other)
    for want, got in zip(expected, resumed, strict=False):
        assert torch.equal(want.displacement, got.displacement)
        assert torch.equal(want.style.driver, got.style.driver)
        assert torch.equal(want.audio, got.audio)


def test_somebody_with_one_sentence_drives_themselves(tmp_path: Path) -> None:
    made = ready(toy_corpus(sentences=1), tmp_path)
    batch = next(training_batches(made, batch_size=2, crop_frames=100, generator=np.random.default_rng(0)))
    assert torch.equal(batch.displacement, batch.style.driver)


def test_the_normalisation_is_that_of_all_positions() -> None:
    corpus = toy_corpus()
    clips = corpus.of_split("train")
    scale = fit_normalisation(clips, corpus.templates)
    positions = np.concatenate(
        [np.concatenate([clip.frames(0, clip.n_frames), corpus.templates[clip.subject][None]]) for clip in clips]
    ).astype(np.float64)
    np.testing.assert_allclose(scale.mean, positions.mean(axis=(0, 1)), atol=1e-12)
    np.testing.assert_allclose(scale.std, np.sqrt(np.square(positions - scale.mean).mean()), rtol=1e-9)
    np.testing.assert_allclose(scale.displacements_m(scale.displacements(positions)), positions, atol=1e-8)


def test_a_point_has_no_scale() -> None:
    corpus = toy_corpus()
    clip = replace(corpus.clips[0], frames=lambda start, stop: np.ones((stop - start, 25, 3), np.float32))
    with pytest.raises(InputError, match="no extent"):
        fit_normalisation([clip], {"s1": np.ones((25, 3), np.float32)})
    with pytest.raises(InputError, match="no clip"):
        fit_normalisation([], {})
