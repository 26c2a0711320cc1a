"""Log-mel energies, their alignment to frames, and the cache, against plain formulas and known instants."""

import hashlib
import json
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float32

from animation.audio import mel
from animation.audio.align import align
from animation.audio.cache import MAGIC, FeatureCache, read_tokens, write_tokens
from animation.audio.encoder import Tokens
from animation.audio.features import speech_features, speech_samples
from animation.audio.mel import LogMel, hz_from_mel, mel_from_hz, token_count, token_times_s
from animation.audio.speech_file import open_speech_file
from animation.data.check import sound_mistakes
from animation.data.clip import Sound
from animation.data.sound_files import read_sound
from animation.use.features import FrameFeatures
from mmface4d.errors import InputError
from tests.animation.toy_corpus import toy_corpus

RNG = np.random.default_rng(7)


def noise(seconds: float, rate: int = 16_000) -> Float32[np.ndarray, "n_samples"]:
    return (0.1 * np.random.default_rng(1).normal(size=round(seconds * rate))).astype(np.float32)


def voice(seconds: float, rate: int) -> Float32[np.ndarray, "n_samples"]:
    """A few partials that come and go, well below half of every rate."""
    t = np.arange(round(seconds * rate)) / rate
    partials = [
        np.sin(2 * np.pi * hz * t) * (1 + np.sin(2 * np.pi * (k + 1) * t)) for k, hz in enumerate((150, 700, 1900))
    ]
    return (0.1 * np.sum(partials, axis=0)).astype(np.float32)


@dataclass
class Counting:
    """A log-mel encoder that counts how often it is asked."""

    inner: LogMel = field(default_factory=LogMel)
    asked: int = 0
    name: str = "counting"
    identity: str = "counting-1"
    n_audio: int = 80

    def tokens(self, samples: Float32[np.ndarray, "n_samples"]) -> Tokens:
        self.asked += 1
        return self.inner.tokens(samples)


def literal_token(samples: np.ndarray, number: int) -> np.ndarray:
    """One token by the definition: a windowed Fourier sum, triangles, a logarithm."""
    n = np.arange(400)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * n / 400)
    piece = window * samples[320 * number : 320 * number + 400]
    low_mel, high_mel = mel_from_hz(np.array([60.0, 7600.0]))
    edges_hz = hz_from_mel(np.linspace(low_mel, high_mel, 82))
    energy = np.zeros(80)
    for bin_number in range(257):
        value = np.sum(piece * np.exp(-2j * np.pi * bin_number * n / 512)) * 2 / window.sum()
        hz = bin_number * 16_000 / 512
        for band in range(80):
            low, middle, high = edges_hz[band : band + 3]
            weight = (hz - low) / (middle - low) if hz < middle else (high - hz) / (high - middle)
            energy[band] += max(weight, 0.0) * abs(value) ** 2
    return np.log10(np.maximum(energy, 1e-8)) / 4 + 1


def test_a_token_is_what_the_definition_says() -> None:
    samples = noise(0.2)
    tokens = LogMel().tokens(samples)
    assert tokens.values.shape == (9, 80)
    for number in (0, 4, 8):
        np.testing.assert_allclose(tokens.values[number], literal_token(samples, number), atol=2e-6)


def test_recorded_values_stay() -> None:
    """Features are a part of what a checkpoint means; a change of these numbers needs a new VERSION."""
    t = np.arange(1600) / 16_000
    samples = (0.5 * np.sin(2 * np.pi * 440 * t) + 0.25 * np.sin(2 * np.pi * 2500 * t)).astype(np.float32)
    found = LogMel().tokens(samples).values[1, [0, 5, 10, 11, 12, 20, 50]]
    np.testing.assert_allclose(found, RECORDED, atol=1e-5)


RECORDED = [-0.872564, -0.59857, 0.828313, 0.683723, 0.326772, -0.864618, 0.746522]


def test_every_band_hears_something_and_the_scale_is_straight_below_1000_hz() -> None:
    filters = LogMel().filters
    assert filters.shape == (257, 80)
    assert (filters.sum(axis=0) > 0).all()
    assert filters.max() <= 1
    hz = np.array([0.0, 250.0, 500.0, 1000.0, 6400.0])
    np.testing.assert_allclose(mel_from_hz(hz), [0, 3.75, 7.5, 15, 42], atol=1e-9)
    np.testing.assert_allclose(hz_from_mel(mel_from_hz(hz)), hz, atol=1e-9)


def test_silence_is_minus_one_and_loudness_shifts_everything() -> None:
    assert (LogMel().tokens(np.zeros(800, np.float32)).values == -1).all()
    samples = noise(0.5)
    loud, soft = LogMel().tokens(samples).values, LogMel().tokens(0.5 * samples).values
    np.testing.assert_allclose(loud - soft, np.log10(4) / 4, atol=1e-4)
    t = np.arange(4000) / 16_000
    assert LogMel().tokens(np.sin(2 * np.pi * 1000 * t).astype(np.float32)).values.max() == pytest.approx(1, abs=0.1)


def test_tokens_depend_on_their_own_sound_only(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = noise(1.0)
    whole = LogMel().tokens(samples)
    part = LogMel().tokens(samples[320 * 20 : 320 * 30 + 80])
    np.testing.assert_allclose(part.values, whole.values[20:30], atol=1e-6)
    monkeypatch.setattr(mel, "BLOCK", 7)
    np.testing.assert_allclose(LogMel().tokens(samples).values, whole.values, atol=1e-6)


@given(st.integers(0, 5000))
def test_the_count_of_tokens_is_the_extractors(n_samples: int) -> None:
    length = n_samples
    for kernel, stride in zip((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2), strict=True):
        length = max(0, (length - kernel) // stride + 1)
    assert token_count(n_samples) == length


def test_a_second_has_49_tokens_from_12_5_ms_on() -> None:
    times_s = token_times_s(token_count(16_000))
    assert len(times_s) == 49
    np.testing.assert_allclose(times_s[[0, 1, -1]], [0.0125, 0.0325, 0.9725])


def test_less_than_25_ms_is_an_error() -> None:
    with pytest.raises(InputError, match="399 samples are too short"):
        LogMel().tokens(np.zeros(399, np.float32))
    assert len(LogMel().tokens(np.zeros(400, np.float32)).values) == 1


def ramp(count: int) -> Tokens:
    """Tokens whose value is the instant that they stand for."""
    times_s = token_times_s(count)
    return Tokens(times_s[:, None].astype(np.float32), times_s)


class Telling(Counting):
    """Tokens whose value is the instant that they stand for."""

    def tokens(self, samples: Float32[np.ndarray, "n_samples"]) -> Tokens:
        return ramp(token_count(len(samples)))


@given(st.integers(2, 200), st.sampled_from([25.0, 29.97, 30.0, 60.0]), st.integers(1, 100))
def test_a_frame_gets_what_lies_around_its_instant(count: int, fps: float, n_frames: int) -> None:
    times_s = np.arange(n_frames) / fps
    expected = np.clip(times_s, 0.0125, token_times_s(count)[-1])
    np.testing.assert_allclose(align(ramp(count), times_s)[:, 0], expected, atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(
    n_samples=st.integers(400, 60_000), fps=st.sampled_from([25.0, 29.97, 30.0, 50.0, 60.0]),
    start_s=st.floats(-1, 1), step=st.integers(1, 50), piece=st.integers(1, 60),
)  # fmt: skip
def test_a_clip_of_any_length_hears_every_frame_at_its_instant(
    n_samples: int, fps: float, start_s: float, step: int, piece: int
) -> None:
    """In one and stretch by stretch, from pieces of tokens; before the first and after the last token, theirs."""
    tokens = ramp(token_count(n_samples))
    times_s = np.arange(max(round(n_samples / 16_000 * fps), 1)) / fps
    expected = np.clip(times_s - start_s, 0.0125, (320 * ((n_samples - 400) // 320) + 200) / 16_000)
    sound = Sound(np.zeros(n_samples, np.float32), 16_000, start_s)
    whole = speech_features(sound, times_s, encoder=Telling())
    np.testing.assert_allclose(whole[:, 0], expected, atol=1e-6)
    cuts = range(0, len(tokens.values), piece)
    pieces = (Tokens(tokens.values[k : k + piece], tokens.times_s[k : k + piece]) for k in cuts)
    features = FrameFeatures(pieces, fps=fps, start_s=start_s)
    stretches = [features.rows(k, min(k + step, len(times_s))) for k in range(0, len(times_s), step)]
    np.testing.assert_array_equal(np.concatenate(stretches), whole)


def test_a_token_on_an_instant_is_taken_bit_by_bit() -> None:
    tokens = Tokens(RNG.normal(size=(9, 5)).astype(np.float32), token_times_s(9))
    np.testing.assert_array_equal(align(tokens, tokens.times_s), tokens.values)
    np.testing.assert_array_equal(align(replace_one(tokens), np.arange(3.0)), np.repeat(tokens.values[:1], 3, axis=0))


def replace_one(tokens: Tokens) -> Tokens:
    return Tokens(tokens.values[:1], tokens.times_s[:1])


def test_alignment_needs_tokens_and_instants() -> None:
    with pytest.raises(InputError, match="no speech features"):
        align(Tokens(np.zeros((0, 4), np.float32), np.zeros(0)), np.zeros(3))
    with pytest.raises(InputError, match="time is no number"):
        align(ramp(5), np.array([0.0, np.nan]))


@pytest.mark.parametrize(("corners", "worst"), [(True, 0.375), (False, 0.565)])
def test_stretching_would_be_off_by_half_a_frame(corners: bool, worst: float) -> None:
    """What the module's docstring says of the other way, at 30 frames a second."""
    times_s = token_times_s(token_count(16_000))
    stretched = torch.nn.functional.interpolate(
        torch.from_numpy(times_s)[None, None], size=30, mode="linear", align_corners=corners
    )[0, 0].numpy()
    assert np.abs(stretched - np.arange(30) / 30).max() * 30 == pytest.approx(worst, abs=0.01)


@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
def test_the_rate_of_the_recording_does_not_matter(rate: int) -> None:
    times_s = np.arange(30) / 30
    same = speech_features(Sound(voice(1.0, 16_000), 16_000), times_s, encoder=LogMel())
    other = speech_features(Sound(voice(1.0, rate), rate), times_s, encoder=LogMel())
    heard = same > -0.4  # 56 dB down the resampler's own filter is heard
    assert np.abs(other - same)[heard].max() < 0.02
    assert len(speech_samples(Sound(voice(1.0, rate), rate))) == 16_000


@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_a_click_is_heard_at_its_frame(rate: int) -> None:
    """Sound that begins before and after the first frame; a click 0.5 s after the first frame."""
    for start_s in (-0.25, 0.0, 0.2):
        samples = np.zeros(2 * rate, np.float32)
        samples[round((0.5 - start_s) * rate)] = 0.9
        found = speech_features(Sound(samples, rate, start_s), np.arange(30) / 30, encoder=LogMel())
        loudness = 10 ** (2 * found.mean(axis=1))
        loudness -= loudness.min()
        middle = (loudness * np.arange(30)).sum() / loudness.sum()
        assert middle == pytest.approx(15, abs=0.3)


def test_a_later_start_is_an_earlier_instant() -> None:
    samples, times_s = noise(1.0), np.arange(20) / 30
    early = speech_features(Sound(samples, 16_000), times_s - 0.1, encoder=LogMel())
    late = speech_features(Sound(samples, 16_000, 0.1), times_s, encoder=LogMel())
    np.testing.assert_array_equal(early, late)


@pytest.mark.parametrize(
    ("sound", "told"),
    [
        (Sound(np.zeros(0, np.float32), 16_000), "no samples"),
        (Sound(np.array([0.0, np.nan], np.float32), 16_000), "no numbers"),
        (Sound(np.array([0.0, np.inf] * 400, np.float32), 16_000), "no numbers"),
        (Sound(np.zeros(800, np.float32), 0), "0 samples a second"),
        (Sound(np.full(800, -20_000.0, np.float32), 16_000), "reaches 20000"),
        (Sound(np.zeros(800, np.float32), 16_000, float("nan")), "begins at no time"),
        (Sound(np.zeros(300, np.float32), 16_000), "too short"),
    ],
)
def test_broken_sound_is_told(sound: Sound, told: str) -> None:
    with pytest.raises(InputError, match=told):
        speech_features(sound, np.arange(3) / 30, encoder=LogMel())


@settings(max_examples=40)
@given(
    n_samples=st.integers(1200, 6000), rate=st.sampled_from([8000, 11_025, 16_000, 22_050, 44_100, 48_000]),
    start_s=st.floats(-5, 5), n_frames=st.integers(1, 40), fps=st.floats(1, 120), level=st.floats(0, 10),
)  # fmt: skip
def test_any_sound_gives_a_finite_row_a_frame(
    n_samples: int, rate: int, start_s: float, n_frames: int, fps: float, level: float
) -> None:
    samples = (level * np.random.default_rng(n_samples).normal(size=n_samples)).astype(np.float32)
    found = speech_features(Sound(samples, rate, start_s), np.arange(n_frames) / fps, encoder=LogMel())
    assert found.shape == (n_frames, 80)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert found.min() >= -1


def test_a_sound_that_ends_early_is_told(tmp_path: Path) -> None:
    """The head of an MP3 says how long it is, whatever follows."""
    path = tmp_path / "a.mp3"
    soundfile.write(path, voice(3.0, 44_100), 44_100, format="MP3")
    assert len(read_sound(path).samples) == 3 * 44_100
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"a\.mp3 is cut short"), open_speech_file(path):
        pass
    with pytest.raises(InputError, match=r"a\.mp3 is cut short"):
        read_sound(path)


def test_an_mp3_whose_length_is_guessed_is_read(tmp_path: Path) -> None:
    """As programs write it into a pipe: without the first frame, which would say how long it is."""
    path = tmp_path / "a.mp3"
    soundfile.write(path, voice(3.0, 44_100), 44_100, format="MP3", bitrate_mode="CONSTANT", compression_level=0.5)
    data = path.read_bytes()
    path.write_bytes(data[data.index(data[:2], 4) :])
    samples = len(read_sound(path).samples)
    assert 3 * 44_100 <= samples < soundfile.info(path).frames  # the guess is too long
    with open_speech_file(path) as heard:
        assert heard.duration_s == samples / 44_100


@pytest.mark.parametrize("more", [1, 44])
def test_a_wav_whose_head_counts_itself_is_read(tmp_path: Path, more: int) -> None:
    path, samples = tmp_path / "a.wav", voice(1.0, 16_000)
    soundfile.write(path, samples, 16_000, subtype="PCM_16")
    data = bytearray(path.read_bytes())
    place = data.index(b"data") + 4
    data[place : place + 4] = struct.pack("<I", 2 * len(samples) + more)
    path.write_bytes(data)
    assert len(read_sound(path).samples) == len(samples)


def test_whole_numbers_kept_as_fractions_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, 32_768 * noise(1.0), 16_000, subtype="FLOAT")
    with pytest.raises(InputError, match=r"a\.wav reaches"), open_speech_file(path):
        pass
    clip = replace(toy_corpus().clips[0], sound=lambda: Sound(32_768 * noise(1.3), 16_000))
    assert any("full scale is 1" in said for said in sound_mistakes(clip, clip.sound()))


def test_a_sound_without_a_head_is_told(tmp_path: Path) -> None:
    """The package that reads sounds guesses by the name, and then wants a rate."""
    path = tmp_path / "a.raw"
    path.write_bytes(noise(1.0).tobytes())
    with pytest.raises(InputError, match=r"a\.raw is no readable sound"), open_speech_file(path):
        pass
    with pytest.raises(InputError, match=r"a\.raw is no readable sound"):
        read_sound(path)


def test_an_encoder_that_breaks_is_told() -> None:
    class Broken(Counting):
        def tokens(self, samples: Float32[np.ndarray, "n_samples"]) -> Tokens:
            tokens = super().tokens(samples)
            return replace(tokens, values=tokens.values * np.float32(np.nan))

    with pytest.raises(InputError, match="counting gave features that are no numbers"):
        speech_features(Sound(noise(0.1), 16_000), np.zeros(1), encoder=Broken())


def test_a_sound_is_encoded_once_whatever_the_frames(tmp_path: Path) -> None:
    cache, encoder = FeatureCache(tmp_path), Counting()
    sound = Sound(noise(1.0, 44_100), 44_100)
    first = speech_features(sound, np.arange(30) / 30, encoder=encoder, cache=cache)
    again = speech_features(sound, np.arange(30) / 30, encoder=encoder, cache=cache)
    speech_features(replace(sound, start_s=0.2), np.arange(25) / 25, encoder=encoder, cache=cache)
    assert encoder.asked == 1
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, speech_features(sound, np.arange(30) / 30, encoder=LogMel()))


def test_everything_that_matters_is_in_the_key(tmp_path: Path) -> None:
    cache, sound = FeatureCache(tmp_path), Sound(noise(0.1), 16_000)
    changed = sound.samples.copy()
    changed[-1] = np.nextafter(changed[-1], np.float32(1))
    paths = {
        cache.path(sound, "one"), cache.path(sound, "two"), cache.path(replace(sound, rate_hz=8000), "one"),
        cache.path(replace(sound, samples=changed), "one"),
        cache.path(replace(sound, samples=sound.samples[:-1]), "one"),
    }  # fmt: skip
    assert len(paths) == 5
    assert cache.path(sound, "one") == cache.path(replace(sound, start_s=1.0), "one")


def test_tokens_come_back_bit_by_bit(tmp_path: Path) -> None:
    tokens = LogMel().tokens(noise(0.3))
    write_tokens(tmp_path / "a.tokens", tokens)
    found = read_tokens(tmp_path / "a.tokens", n_audio=80)
    assert found is not None
    np.testing.assert_array_equal(found.values, tokens.values)
    np.testing.assert_array_equal(found.times_s, tokens.times_s)
    assert read_tokens(tmp_path / "a.tokens", n_audio=79) is None
    assert [path.name for path in tmp_path.iterdir()] == ["a.tokens"]


def test_a_damaged_entry_is_made_anew(tmp_path: Path) -> None:
    cache, encoder, sound = FeatureCache(tmp_path), Counting(), Sound(noise(0.1), 16_000)
    good = cache.tokens(sound, encoder)
    path = cache.path(sound, encoder.identity)
    whole = path.read_bytes()
    for damaged in (b"", whole[:10], whole[:40], whole[:-1], whole + b"x", b"x" + whole[1:], flipped(whole, -5)):
        path.write_bytes(damaged)
        np.testing.assert_array_equal(cache.tokens(sound, encoder).values, good.values)
        assert path.read_bytes() == whole
    assert encoder.asked == 8


def flipped(data: bytes, place: int) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 1
    return bytes(changed)


def entry(about: object, body: bytes = b"") -> bytes:
    head = json.dumps(about).encode()
    return MAGIC + struct.pack("<I", len(head)) + head + body


@pytest.mark.parametrize(
    "data",
    [
        entry({"shape": [1 << 60, 80], "sha256": ""}),
        entry({"shape": [-1, 80], "sha256": ""}),
        entry({"shape": [0, 80], "sha256": hashlib.sha256().hexdigest()}),
        entry({"shape": "80", "sha256": ""}),
        entry({"shape": [float("inf"), 80], "sha256": ""}),
        entry([1, 2]),
        MAGIC + struct.pack("<I", 0xFFFFFFFF),
        MAGIC + struct.pack("<I", 60_000) + b"[" * 60_000,
    ],
)
def test_a_hostile_entry_is_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a").write_bytes(data)
    assert read_tokens(tmp_path / "a", n_audio=80) is None
    assert read_tokens(tmp_path, n_audio=80) is None


@settings(max_examples=50)
@given(data=st.binary(max_size=200), known=st.booleans())
def test_any_bytes_are_none(tmp_path_factory: pytest.TempPathFactory, data: bytes, known: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.tokens"
    path.write_bytes(MAGIC + data if known else data)
    assert read_tokens(path, n_audio=2) is None
