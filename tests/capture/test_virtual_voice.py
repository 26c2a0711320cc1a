"""The virtual actor's speech: mouth and sound tell the same story at the same time."""

import numpy as np
import pytest

from capture.virtual.speech import ARTICULATORS, LIPS_MEET, SOUNDS, SYLLABLE_S, speak
from capture.virtual.voice import BLOCK, SAMPLE_RATE, envelope, synthesise
from mmface4d.speech_curves import blinks

LEAD_S = 0.3


@pytest.fixture(scope="module")
def speech():
    return speak(3.0)


@pytest.fixture(scope="module")
def sound(speech):
    return synthesise(speech, start_s=-LEAD_S, duration_s=3.0 + 2 * LEAD_S, seed=2)


def test_loudness_follows_the_jaw_without_delay(speech, sound):
    times_s = -LEAD_S + np.arange(0, len(sound), 48) / SAMPLE_RATE
    jaw, loudness = speech.curves(times_s)["jawOpen"], envelope(sound)[::48]
    lags = range(-60, 61)  # milliseconds
    match = [np.corrcoef(jaw[100:-100], np.roll(loudness, -lag)[100:-100])[0, 1] for lag in lags]
    assert max(match) > 0.9
    assert match[60] > max(match) - 0.005
    assert abs(lags[int(np.argmax(match))]) <= 5


def test_it_is_silent_before_and_after(sound):
    lead = round(0.9 * LEAD_S * SAMPLE_RATE)
    loud = np.sqrt(np.mean(sound**2))
    for silence in (sound[:lead], sound[-lead:]):
        assert np.sqrt(np.mean(silence**2)) < 0.02 * loud
    assert np.abs(sound).max() <= 1


def test_vowels_sound_like_themselves():
    """The strongest band of a held vowel is at its first formant."""
    for vowel, low_hz, high_hz in (("a", 550, 950), ("i", 150, 420)):
        syllables = ("m" + vowel,)
        speech = speak(1.0, syllables=syllables)
        sound = synthesise(speech, start_s=0.0, duration_s=1.0, seed=1)
        spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
        hz = np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE)
        # the source falls off with frequency: lift it again
        lifted = spectrum * hz
        band = (hz > 100) & (hz < 1000)
        mean_hz = (hz * lifted**2)[band].sum() / (lifted**2)[band].sum()
        assert low_hz < mean_hz < high_hz, vowel


def test_lips_meet_for_m_and_b(speech):
    middles = np.array([sound.middle_s for sound in speech.sounds if sound.letter in LIPS_MEET])
    curves = speech.curves(middles)
    assert len(middles) >= 3
    assert np.allclose(curves["mouthClose"], curves["jawOpen"])
    assert curves["jawOpen"].max() < 0.15


def test_curves_are_weights_and_smooth(speech):
    times_s = np.arange(0, 3, 1e-3)
    curves = speech.curves(times_s)
    for name in ARTICULATORS:
        assert curves[name].min() >= 0
        assert curves[name].max() <= 1
        assert np.abs(np.diff(curves[name])).max() < 0.04
    assert curves["jawOpen"].max() > 0.4
    assert curves["mouthPucker"].max() > 0.4
    assert curves["mouthSmile"].max() > 0.4


def test_neighbours_colour_a_vowel():
    """Coarticulation: the same vowel has rounder lips after w than after s."""
    round_lips = [speak(1.0, syllables=(f"{first}a",)).curves(np.array([0.5]))["mouthPucker"][0] for first in "ws"]
    assert round_lips[0] > round_lips[1] + 0.01


def test_any_length_gets_whole_syllables():
    for duration_s in (0.5, 1.0, 7.7):
        speech = speak(duration_s)
        times_s = np.array([sound.middle_s for sound in speech.sounds])
        assert (np.diff(times_s) > 0).all()
        assert 0 < times_s[0] < times_s[-1] < duration_s
        assert len(times_s) == 2 + 2 * max(1, int((duration_s - 0.36) / SYLLABLE_S))


def test_voice_is_decided_by_its_seed(speech):
    first, again, other = (synthesise(speech, start_s=0.0, duration_s=0.4, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(first) % BLOCK == 0


def test_blinks_close_the_lids_and_open_them_again():
    times_s = np.arange(0, 2, 1 / 120)
    closed = blinks(times_s, (0.6, 1.7))
    assert closed.max() > 0.95
    assert closed[np.abs(times_s - 1.2) < 0.2].max() == 0
    assert not blinks(times_s, ()).any()


def test_every_sound_sets_every_parameter():
    assert len({len(targets) for targets in SOUNDS.values()}) == 1
