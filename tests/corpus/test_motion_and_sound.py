"""Frames on an even beat, and sound that belongs to them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from corpus.presets.clip import open_clip
from corpus.presets.motion import Motion, steady_motion
from corpus.presets.sound import cut_sound
from mmface4d.errors import ConsentError, InputError, UsageError
from mmface4d.files import write_json
from mmface4d.names import safe_name
from mmface4d.sequence import load_sequence
from mmface4d.withdrawal import MARK
from tests.capture.small_take import START_USEC
from tests.corpus.talking_head import FRAMES, RATE, give_sound, neutral, shape, spoken_clip, write_head, write_spoken


def motion(path: Path, **more: object) -> Motion:
    pose = more.pop("pose", "world")
    return steady_motion(load_sequence(write_head(path / "s.npz", **more)), pose=pose)  # type: ignore[arg-type]


def test_an_even_sequence_is_given_bit_by_bit(tmp_path: Path) -> None:
    jitter = np.random.default_rng(0).integers(-2000, 2000, FRAMES)
    jitter[0] = 0
    found = motion(tmp_path, times_usec=START_USEC + np.arange(FRAMES) * 33_333 + jitter)
    assert found.exact
    np.testing.assert_array_equal(np.stack(list(found)), found.sequence.vertices)


def test_every_second_frame_of_sixty_is_the_original(tmp_path: Path) -> None:
    found = motion(tmp_path)
    doubled = np.stack(list(found.at(60.0)))
    assert len(doubled) == 2 * FRAMES - 1
    np.testing.assert_array_equal(doubled[::2], found.sequence.vertices)
    between = (doubled[:-1:2].astype(float) + doubled[2::2]) / 2
    assert np.abs(doubled[1::2] - between).max() < 1e-7


@pytest.mark.parametrize("fps", [15.0, 25.0, 50.0, 100.0, 29.97])
def test_other_rates_keep_the_time(tmp_path: Path, fps: float) -> None:
    linear = motion(tmp_path)
    ramp = np.arange(FRAMES, dtype=np.float32)[:, None, None] * np.ones((1, 144, 3), np.float32)
    linear = replace(linear, sequence=replace(linear.sequence, arrays={**linear.sequence.arrays, "vertices": ramp}))
    found = linear.at(fps)
    times_s = np.arange(len(found)) / fps
    assert np.abs(np.array([frame[0, 0] for frame in found]) - 30 * times_s).max() < 1e-5
    assert (FRAMES - 1) / 30 - times_s[-1] < 1 / fps


def test_missing_instants_are_filled_in(tmp_path: Path) -> None:
    times = np.delete(np.arange(FRAMES + 2), [5, 6]) * 33_333 + START_USEC
    found = motion(tmp_path, times_usec=times)
    assert not found.exact
    assert len(found) == FRAMES + 2
    rows = found.sequence.vertices
    np.testing.assert_array_equal(found[4], rows[4])
    np.testing.assert_array_equal(found[7], rows[5])
    assert np.abs(found[5] - (2 * rows[4].astype(float) + rows[5]) / 3).max() < 1e-6
    np.testing.assert_array_equal(found[FRAMES + 1], rows[-1])


def test_a_head_stands_still_in_its_own_frame(tmp_path: Path) -> None:
    found = motion(tmp_path, pose="head")
    for frame, vertices_m in enumerate(found):
        assert np.abs(vertices_m - shape(frame)).max() < 1e-6
    arrays = {k: v for k, v in found.sequence.arrays.items() if k != "rotation"}
    with pytest.raises(UsageError, match="head's pose"):
        steady_motion(replace(found.sequence, arrays=arrays), pose="head")


def test_times_and_numbers_that_cannot_be_are_refused(tmp_path: Path) -> None:
    times = START_USEC + np.arange(FRAMES) * 33_333
    with pytest.raises(InputError, match="do not increase"):
        motion(tmp_path, times_usec=times[::-1])
    times[-1] += 10**13
    with pytest.raises(InputError, match="span"):
        motion(tmp_path, times_usec=times)
    with pytest.raises(InputError, match="no sensible rate"):
        motion(tmp_path, fps=5000.0)
    found = motion(tmp_path)
    broken = np.array(found.sequence.vertices)
    broken[3, 1, 1] = np.nan
    found = replace(found, sequence=replace(found.sequence, arrays={**found.sequence.arrays, "vertices": broken}))
    with pytest.raises(InputError, match="frame 3"):
        list(found)


def clicks(seconds: float, at_s: np.ndarray, *, rate: int = RATE) -> np.ndarray:
    """Silence with a short click at each time of the samples' own clock."""
    out = np.zeros(round(seconds * rate), np.float32)
    for time_s in at_s:
        out[round(time_s * rate) : round(time_s * rate) + 8] = 0.8
    return out


def click_times_s(samples: np.ndarray, rate: int) -> np.ndarray:
    loud = np.flatnonzero(np.abs(samples) > 0.3)
    return loud[np.concatenate([[True], np.diff(loud) > rate // 20])] / rate


@pytest.mark.parametrize("rate", [16_000, 48_000, 44_100])
@pytest.mark.parametrize("early_s", [0.4, 0.0, 0.123456])
def test_sound_begins_with_the_first_frame(tmp_path: Path, rate: int, early_s: float) -> None:
    clip = spoken_clip(tmp_path)
    assert clip.take is not None
    give_sound(
        clip.take.path, clicks(2.0, early_s + np.array([0.1, 0.5])), start_usec=START_USEC - round(early_s * 1e6)
    )
    sound = cut_sound(open_clip(tmp_path / "one.npz"), rate=rate)
    assert sound is not None
    assert len(sound.samples) == round(FRAMES / 30 * rate)
    assert sound.silent_s == pytest.approx(0, abs=1e-9)
    assert np.abs(click_times_s(sound.samples, rate) - [0.1, 0.5]).max() < 3e-4


def test_a_minute_later_sound_and_frames_still_agree(tmp_path: Path) -> None:
    frames, ppm = 61 * 30, 300.0
    clip = spoken_clip(tmp_path, frames=4)
    assert clip.take is not None
    true_s = np.array([0.5, 30.0, 60.5])
    give_sound(clip.take.path, clicks(62.0, true_s / (1 + ppm * 1e-6), rate=16_000), rate=16_000, ppm=ppm)
    long = replace(open_clip(tmp_path / "one.npz"), motion=replace(clip.motion, rows=np.zeros(frames)))
    sound = cut_sound(long, rate=16_000)
    assert sound is not None
    assert len(sound.samples) == 61 * 16_000
    assert np.abs(click_times_s(sound.samples, 16_000) - true_s).max() < 1e-3  # half a frame is 0.017


def test_what_was_not_recorded_is_silent(tmp_path: Path) -> None:
    clip = spoken_clip(tmp_path)
    assert clip.take is not None
    give_sound(clip.take.path, np.full(RATE // 4, 0.5), start_usec=START_USEC + 200_000)
    sound = cut_sound(open_clip(tmp_path / "one.npz"))
    assert sound is not None
    assert sound.silent_s == pytest.approx(FRAMES / 30 - 0.25, abs=1e-3)
    assert not sound.samples[: round(0.19 * RATE)].any()
    assert not sound.samples[round(0.46 * RATE) :].any()
    assert (sound.samples[round(0.21 * RATE) : round(0.44 * RATE)] > 0.4).all()
    give_sound(clip.take.path, np.zeros(100), start_usec=START_USEC - 10**10)
    far = cut_sound(open_clip(tmp_path / "one.npz"))
    assert far is not None
    assert far.silent_s == pytest.approx(FRAMES / 30)


def test_a_damaged_sound_is_told(tmp_path: Path) -> None:
    clip = spoken_clip(tmp_path)
    assert clip.take is not None
    (clip.take.path / "audio.wav").write_bytes(b"RIFF nonsense")
    with pytest.raises(InputError, match="no readable sound"):
        cut_sound(clip)


def test_clips_are_named_by_what_the_take_says(tmp_path: Path) -> None:
    clip = spoken_clip(tmp_path, subject="P/../07", sentence="21_0004")
    assert (clip.name, clip.subject, clip.sentence) == ("P-07_21_0004", "P-07", "21_0004")
    path = write_head(tmp_path / "a b.npz")
    assert open_clip(path, with_take=False).name == "a-b"
    assert safe_name("../../etc") == "etc"
    assert safe_name("句子") == "unnamed"
    with pytest.raises(InputError, match="does not say of which take"):
        open_clip(path)
    with pytest.raises(InputError, match="is not there"):
        open_clip(write_head(tmp_path / "c.npz", take=Path("takes/gone")))


def test_a_sequence_of_no_take_has_the_sound_beside_it(tmp_path: Path) -> None:
    path = write_head(tmp_path / "c.npz")
    samples = np.sin(np.arange(16_000) / 20).astype(np.float32) * 0.5
    soundfile.write(tmp_path / "c.wav", np.stack([samples, samples], 1), 16_000)
    clip = open_clip(path)
    assert (clip.take, clip.wav) == (None, tmp_path / "c.wav")
    sound = cut_sound(clip)
    assert sound is not None
    assert (sound.rate, len(sound.samples), sound.silent_s) == (16_000, round(20 / 30 * 16_000), 0.0)
    np.testing.assert_allclose(sound.samples, samples[: len(sound.samples)], atol=1e-4)
    resampled = cut_sound(clip, rate=8_000)
    assert resampled is not None
    assert len(resampled.samples) == round(20 / 30 * 8_000)
    soundfile.write(tmp_path / "c.wav", samples[:4_000], 16_000)
    short = cut_sound(clip)
    assert short is not None
    assert short.silent_s == pytest.approx(20 / 30 - 0.25)
    assert not short.samples[4_000:].any()
    (tmp_path / "c.wav").write_bytes(b"RIFF nonsense")
    with pytest.raises(InputError, match="no readable sound"):
        cut_sound(clip)
    assert open_clip(path, with_take=False).wav is None


def test_who_has_withdrawn_is_not_exported(tmp_path: Path) -> None:
    path = write_spoken(tmp_path)
    write_json(tmp_path / "takes" / "one" / MARK, {"format": 1, "subject": "P01", "withdrawn": "2026-01-01"})
    with pytest.raises(ConsentError):
        open_clip(path)
    assert neutral().shape == (144, 3)
