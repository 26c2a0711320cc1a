"""From speech to frames: chunks against the whole, files against memory, styles, and what is refused."""

import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from animation.audio.align import align
from animation.audio.encoder import Tokens
from animation.audio.features import speech_features, speech_samples
from animation.audio.long_speech import LongSpeech, joined, token_pieces
from animation.audio.mel import LogMel
from animation.audio.speech_file import open_speech_file, write_wav_of
from animation.data.batch import Style
from animation.data.batches import clip_batch
from animation.data.clip import Sound
from animation.data.prepared import prepare
from animation.data.sound_files import read_sound
from animation.metrics.evaluate import predict
from animation.training.checkpoint import Trained
from animation.training.styles import STYLES_FILE, read_styles, write_styles
from animation.use import generate
from animation.use.features import FrameFeatures
from animation.use.generate import Drawer, animate, frames_of
from animation.use.style import style_of_clip, style_of_subject, usual_style
from mmface4d.errors import InputError, UsageError
from mmface4d.files import file_sha256
from mmface4d.npz import write_npz
from tests.animation.toy_corpus import RATE_HZ, ToyEncoder, grid, toy_clip, toy_corpus
from tests.animation.toy_trained import SUBJECTS, audio2face, saved, toy_trained

TEMPLATE = grid()[0]
SAME_M = 1e-6


def voice(seconds: float, *, rate_hz: int = RATE_HZ, seed: int = 0) -> np.ndarray:
    """Noise with a melody: every frame's features differ."""
    times_s = np.arange(round(seconds * rate_hz)) / rate_hz
    noise = np.random.default_rng(seed).normal(size=len(times_s))
    loud = 0.1 + 0.1 * np.sin(7 * times_s)
    return (loud * (0.2 * noise + np.sin(2 * np.pi * (200 + 80 * np.sin(3 * times_s)) * times_s))).astype(np.float32)


def random_style(*, frames: int = 40, seed: int = 0) -> Style:
    generator = torch.Generator().manual_seed(seed)
    driver = 0.1 * torch.randn(1, frames, len(TEMPLATE), 3, generator=generator)
    return Style(driver, torch.ones(1, frames, dtype=torch.bool), torch.tensor([-1]))


def whole(trained: Trained, sound: Sound, style: Style, *, n_frames: int) -> np.ndarray:
    """All at once, as literally as can be."""
    about = trained.preprocessing
    rows = speech_features(sound, np.arange(n_frames) / about.fps, encoder=LogMel())
    seen = torch.from_numpy(about.normalisation.positions(TEMPLATE))[None]
    with torch.no_grad():
        moved = trained.model.generate(torch.from_numpy(rows)[None], seen, style)[0].numpy()
    return TEMPLATE + moved * np.float32(about.normalisation.std)


@pytest.mark.parametrize("options", [{}, {"norm": "frame"}, {"decoder_stages": 2, "composite": False}], ids=str)
@pytest.mark.parametrize("seconds", [0.1, 1.0, 3.0])
def test_chunks_are_the_whole(seconds: float, options: dict) -> None:
    trained, sound, style = toy_trained(**options), Sound(voice(seconds), RATE_HZ), random_style()
    n_frames = frames_of(seconds, fps=30.0)
    wanted = whole(trained, sound, style, n_frames=n_frames)
    assert n_frames == 1 or np.abs(np.diff(wanted, axis=0)).max() > 1e-4  # it does move
    for chunk_frames in (1, 7, 33, 1000, None):
        blocks = list(animate(trained, sound, template=TEMPLATE, style=style, chunk_frames=chunk_frames))
        assert len(blocks) == (1 if chunk_frames is None else -(-n_frames // chunk_frames))
        np.testing.assert_allclose(np.concatenate(blocks), wanted, atol=SAME_M)


def test_the_halo_is_needed() -> None:
    trained, style = toy_trained(), random_style()
    rows = speech_features(Sound(voice(3.0), RATE_HZ), np.arange(90) / 30, encoder=LogMel())
    drawer = Drawer(trained, TEMPLATE, style)
    halo = drawer.halo_frames
    assert halo == 16
    wanted = drawer.draw(rows)[40:50]
    assert np.abs(drawer.draw(rows[40 - halo : 50 + halo])[halo:-halo] - wanted).max() < SAME_M
    for before, after in ((8, halo), (halo, 8)):  # its last frames count little
        less = drawer.draw(rows[40 - before : 50 + after])[before : before + 10]
        assert np.abs(less - wanted).max() > 1e-5


def test_what_is_animated_is_what_is_evaluated(tmp_path: Path) -> None:
    corpus, trained = toy_corpus(), toy_trained()
    scale = trained.preprocessing.normalisation
    prepared = prepare(corpus, encoder=LogMel(), fps=30.0, normalisation=scale, cache=tmp_path)
    clip, driver = prepared.clips[0], prepared.clips[1]
    raw = {each.name: each for each in corpus.clips}
    style = style_of_clip(trained, raw[driver.name], template=corpus.templates[driver.subject])
    batch = clip_batch(prepared, [clip], drivers=[driver])
    np.testing.assert_array_equal(style.driver, batch.style.driver)
    blocks = animate(trained, raw[clip.name].sound(), template=corpus.templates[clip.subject], style=style)
    wanted = predict(trained.model, prepared, clip, driver=driver)
    np.testing.assert_allclose(np.concatenate(list(blocks)), wanted, atol=SAME_M)


@pytest.mark.parametrize(
    ("name", "options"), [("faceformer", {}), ("meshtalk", {}), ("audio2face", {"instance_norm": True})]
)
def test_models_without_a_halo_fade_from_window_to_window(
    name: str, options: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate, "WINDOW_S", 1.0)
    monkeypatch.setattr(generate, "FADE_S", 0.2)
    trained, style = toy_trained(name, **options), random_style()
    sound = Sound(voice(2.5), RATE_HZ)
    short = replace(sound, samples=sound.samples[: round(0.9 * RATE_HZ)])
    alone = np.concatenate(list(animate(trained, short, template=TEMPLATE, style=style)))
    np.testing.assert_allclose(alone, whole(trained, short, style, n_frames=27), atol=SAME_M)
    frames = np.concatenate(list(animate(trained, sound, template=TEMPLATE, style=style)))
    assert len(frames) == 75
    rows = speech_features(sound, np.arange(75) / 30, encoder=LogMel())
    drawer = Drawer(trained, TEMPLATE, style)
    first, second, third = drawer.draw(rows[:30]), drawer.draw(rows[24:54]), drawer.draw(rows[48:75])
    np.testing.assert_allclose(frames[:24], first[:24], atol=SAME_M)
    np.testing.assert_allclose(frames[30:48], second[6:24], atol=SAME_M)
    np.testing.assert_allclose(frames[54:], third[6:], atol=SAME_M)
    share = (np.arange(6) + 1)[:, None, None] / 7
    np.testing.assert_allclose(frames[24:30], (1 - share) * first[24:] + share * second[:6], atol=SAME_M)


@settings(max_examples=25, deadline=None)
@given(
    n_tokens=st.integers(1, 60), start_s=st.floats(-0.5, 0.5), seed=st.integers(0, 1000),
    steps=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 20)), min_size=1, max_size=8),
)  # fmt: skip
def test_stretches_of_features_are_those_of_the_whole(
    n_tokens: int, start_s: float, seed: int, steps: list[tuple[int, int]]
) -> None:
    random = np.random.default_rng(seed)
    tokens = Tokens(random.normal(size=(n_tokens, 3)).astype(np.float32), (np.arange(n_tokens) * 320 + 200) / 16_000)
    cuts = sorted({0, n_tokens, *random.integers(0, n_tokens + 1, 3).tolist()})
    pieces = (Tokens(tokens.values[a:b], tokens.times_s[a:b]) for a, b in pairwise(cuts))
    features, first = FrameFeatures(pieces, fps=30.0, start_s=start_s), 0
    for ahead, length in steps:
        first += ahead
        wanted = align(tokens, np.arange(first, first + length) / 30.0 - start_s)
        np.testing.assert_allclose(features.rows(first, first + length), wanted, atol=1e-6)
    with pytest.raises(UsageError):
        features.rows(first - 1, first + 1)


@pytest.mark.parametrize(("rate_hz", "channels"), [(16_000, 1), (48_000, 2), (44_100, 1), (8_000, 1)])
def test_a_file_is_heard_as_in_memory(tmp_path: Path, rate_hz: int, channels: int) -> None:
    samples = voice(2.3, rate_hz=rate_hz)
    stereo = np.stack([samples * (1 - 0.1 * k) for k in range(channels)], 1)
    path = tmp_path / "speech.wav"
    soundfile.write(path, stereo, rate_hz, subtype="FLOAT")
    wanted = speech_samples(Sound(stereo.mean(axis=1, dtype=np.float32), rate_hz))
    with open_speech_file(path) as heard:
        assert (heard.duration_s, heard.rate_hz) == (pytest.approx(2.3), rate_hz)
        assert heard.speech.n_samples == len(wanted)
        np.testing.assert_allclose(heard.speech.read(100, 900), wanted[100:900], atol=1e-6)
        assert (heard.speech.mean, heard.speech.variance) == (
            pytest.approx(float(wanted.mean()), abs=1e-6), pytest.approx(float(wanted.var()), rel=1e-4))  # fmt: skip
        found = joined(token_pieces(heard.speech, LogMel()))
    np.testing.assert_allclose(found.values, LogMel().tokens(wanted).values, atol=1e-5)


def test_encoders_that_know_no_pieces_hear_all() -> None:
    samples = voice(1.0)
    (piece,) = token_pieces(LongSpeech.of(samples), ToyEncoder())
    np.testing.assert_array_equal(piece.values, ToyEncoder().tokens(samples).values)

    class Broken(ToyEncoder):
        def tokens(self, samples: np.ndarray) -> Tokens:
            found = super().tokens(samples)
            return replace(found, values=found.values * np.float32(np.nan))

    with pytest.raises(InputError, match="toy gave features"):
        list(token_pieces(LongSpeech.of(samples), Broken()))


def test_other_formats_become_a_wav(tmp_path: Path) -> None:
    samples = soxr.resample(voice(1.0), RATE_HZ, 22_050)
    soundfile.write(tmp_path / "a.flac", np.stack([samples, samples], 1), 22_050)
    write_wav_of(tmp_path / "a.flac", tmp_path / "a.wav")
    read, rate = soundfile.read(tmp_path / "a.wav")
    assert (read.shape, rate) == (samples.shape, 22_050)
    np.testing.assert_allclose(read, samples, atol=1e-4)
    write_wav_of(tmp_path / "a.wav", tmp_path / "b.wav")
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


@pytest.mark.parametrize(
    ("samples", "said"),
    [(np.zeros(16_000), "silent"), (np.zeros(0), "no samples"), (np.full(16_000, np.nan), "no numbers")],
)
def test_bad_sounds_are_refused_by_name(tmp_path: Path, samples: np.ndarray, said: str) -> None:
    path = tmp_path / "bad.wav"
    soundfile.write(path, samples, 16_000, subtype="FLOAT")
    with pytest.raises(InputError, match=f"bad.wav.*{said}"), open_speech_file(path):
        pass


def test_damaged_sounds_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.flac"
    soundfile.write(path, voice(2.0), 16_000)
    data = path.read_bytes()
    for broken in (data[: len(data) // 2], b"fLaC nonsense", b""):
        path.write_bytes(broken)
        with pytest.raises(InputError, match=r"bad.flac"), open_speech_file(path):
            pass
    with pytest.raises(InputError, match="does not exist"), open_speech_file(tmp_path / "gone.wav"):
        pass
    trained = toy_trained()
    with pytest.raises(InputError, match="too short"):
        list(animate(trained, Sound(voice(0.02), RATE_HZ), template=TEMPLATE, style=random_style()))


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_a_wav_that_is_cut_short_is_told_and_one_of_unknown_length_is_read(tmp_path: Path, subtype: str) -> None:
    path, samples = tmp_path / "a.wav", voice(1.0)
    soundfile.write(path, samples, 16_000, subtype=subtype)
    data = bytearray(path.read_bytes())
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"a\.wav is cut short"), open_speech_file(path):
        pass
    with pytest.raises(InputError, match=r"a\.wav is cut short"):
        read_sound(path)
    place = data.index(b"data") + 4
    data[4:8] = data[place : place + 4] = b"\xff" * 4  # what a program writes into a pipe
    path.write_bytes(data)
    with open_speech_file(path) as heard:
        assert heard.speech.n_samples == len(samples)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["wav", "flac", "ogg"]),
    changes=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, 4000),
)
def test_hostile_sounds_are_read_or_refused(
    tmp_path: Path, kind: str, changes: list[tuple[int, int]], cut: int
) -> None:
    path = tmp_path / f"hostile.{kind}"
    if not (good := tmp_path / f"good.{kind}").exists():
        soundfile.write(good, voice(0.2), 16_000)
    data = bytearray(good.read_bytes())
    for place, value in changes:
        data[place % len(data)] = value
    path.write_bytes(bytes(data[: cut or None]))
    with suppress(InputError), open_speech_file(path) as heard:  # and nothing else
        list(token_pieces(heard.speech, LogMel()))


@pytest.mark.parametrize(
    ("template", "said"),
    [
        (TEMPLATE[:-1], "24 vertices"), (TEMPLATE * np.float32(np.nan), "no numbers"),
        (1000 * TEMPLATE, "160 m large"), (TEMPLATE + np.float32(0.5), "m from the faces of the training"),
    ],
)  # fmt: skip
def test_faces_that_cannot_be_moved_are_refused(template: np.ndarray, said: str) -> None:
    with pytest.raises(InputError, match=said):
        animate(toy_trained(), Sound(voice(1.0), RATE_HZ), template=template, style=random_style())


def test_a_model_of_another_encoder_is_refused() -> None:
    trained = toy_trained()
    record = replace(trained.preprocessing.encoder, identity="mel-0")
    other = replace(trained, preprocessing=replace(trained.preprocessing, encoder=record))
    with pytest.raises(InputError, match="not the one of the training"):
        animate(other, Sound(voice(1.0), RATE_HZ), template=TEMPLATE, style=random_style())


def test_a_model_that_blows_up_is_told() -> None:
    trained = toy_trained()
    with torch.no_grad():
        audio2face(trained).audio.weight.fill_(float("nan"))
    with pytest.raises(InputError, match="predicts no numbers"):
        list(animate(trained, Sound(voice(1.0), RATE_HZ), template=TEMPLATE, style=random_style()))


def test_styles_of_subjects_are_means_of_their_clips(tmp_path: Path) -> None:
    corpus, trained = toy_corpus(), toy_trained()
    scale = trained.preprocessing.normalisation
    prepared = prepare(corpus, encoder=LogMel(), fps=30.0, normalisation=scale, cache=tmp_path / "cache")
    folder = saved(tmp_path / "run", trained)
    sha256 = file_sha256(folder / "model.safetensors")
    assert read_styles(folder, trained) is None
    write_styles(folder, trained.model, prepared)
    codes = read_styles(folder, trained)
    assert codes is not None
    raw = [clip for clip in corpus.clips if clip.subject == "s2"]
    with torch.no_grad():
        each = [
            audio2face(trained).encode_style(style_of_clip(trained, clip, template=corpus.templates["s2"]))
            for clip in raw
        ]
    found = style_of_subject(trained, "s2", codes=codes)
    torch.testing.assert_close(found, torch.cat(each).mean(dim=0, keepdim=True))
    torch.testing.assert_close(usual_style(trained, codes=codes), codes.values.mean(dim=0, keepdim=True))
    sound = Sound(voice(1.0), RATE_HZ)
    one, other = (
        np.concatenate(list(animate(trained, sound, template=TEMPLATE, style=style)))
        for style in (found, usual_style(trained, codes=codes))
    )
    assert one.shape == (30, 25, 3)
    assert np.abs(one - other).max() > 1e-5
    with torch.no_grad():  # other weights: the codes are not theirs
        audio2face(trained).audio.weight.add_(1.0)
    again = saved(tmp_path / "again", trained)
    (again / STYLES_FILE).write_bytes((folder / STYLES_FILE).read_bytes())
    assert read_styles(again, trained) is None
    good = (folder / STYLES_FILE).read_bytes()
    random, fresh = np.random.default_rng(0), toy_trained()
    for _ in range(60):
        data = bytearray(good[: int(random.integers(len(good) + 1))])
        for place in random.integers(0, max(len(data), 1), 3).tolist():
            data[place : place + 1] = bytes([int(random.integers(256))])
        (folder / STYLES_FILE).write_bytes(bytes(data))
        with suppress(InputError):  # and nothing else
            read_styles(folder, fresh)
    write_npz(folder / STYLES_FILE, {"codes": codes.values.numpy()[:1], "weights_sha256": np.array(sha256)})
    with pytest.raises(InputError, match="does not hold the styles of 2 subjects"):
        read_styles(folder, fresh)


def test_who_is_not_known_has_no_style() -> None:
    trained, rival = toy_trained(), toy_trained("faceformer")
    with pytest.raises(UsageError, match="knows no usual one"):
        usual_style(trained)
    with pytest.raises(UsageError, match="does not know its subjects"):
        style_of_subject(trained, "s1")
    with pytest.raises(UsageError, match="not trained on a subject s9"):
        style_of_subject(rival, "s9")
    known = style_of_subject(rival, SUBJECTS[1])
    assert isinstance(known, Style)
    assert known.subject.tolist() == [1]
    clip = toy_clip("s2_00", TEMPLATE)
    assert style_of_clip(rival, clip, template=TEMPLATE).subject.tolist() == [1]


def test_bad_driving_clips_are_refused_by_name() -> None:
    trained, clip = toy_trained(), toy_clip("s9_00", TEMPLATE)
    with pytest.raises(InputError, match="s9_00 has 3 frames"):
        style_of_clip(trained, replace(clip, n_frames=3), template=TEMPLATE)
    with pytest.raises(InputError, match="template of s9_00 has 24 vertices"):
        style_of_clip(trained, clip, template=TEMPLATE[:-1])
    broken = replace(clip, frames=lambda start, stop: clip.frames(start, stop) * np.float32(np.nan))
    with pytest.raises(InputError, match="s9_00: frame 0 has vertices that are no numbers"):
        style_of_clip(trained, broken, template=TEMPLATE)
    slow = toy_clip("s9_00", TEMPLATE, fps=15.0)
    style = style_of_clip(trained, slow, template=TEMPLATE)
    assert style.driver.shape[1] == 79  # brought to the model's 30 frames a second


MEMORY = """
import resource, sys
from pathlib import Path
from animation.audio.speech_file import open_speech_file
from animation.use.generate import animate, frames_of
from animation.use.sequence_file import write_animation
from tests.animation.test_generate import TEMPLATE, random_style
from tests.animation.toy_trained import toy_trained

trained = toy_trained()
with open_speech_file(Path(sys.argv[1])) as heard:
    n_frames = frames_of(heard.duration_s, fps=30.0)
    frames = animate(trained, heard.speech, template=TEMPLATE, style=random_style(), n_frames=n_frames)
    write_animation(Path(sys.argv[2]), frames, n_frames=n_frames, about=trained.preprocessing)
sys.stdout.write(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
"""


@pytest.mark.slow
def test_ten_minutes_need_hardly_more_memory_than_one(tmp_path: Path) -> None:
    peaks = []
    for minutes in (1, 10):
        path = tmp_path / f"{minutes}.wav"
        with soundfile.SoundFile(path, "w", 48_000, 1) as file:
            for _ in range(minutes):
                file.write(voice(60.0, rate_hz=48_000))
        words = [sys.executable, "-c", MEMORY, str(path), str(tmp_path / f"{minutes}.npz")]
        done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout))
    assert peaks[1] < 1.1 * peaks[0]
