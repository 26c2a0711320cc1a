"""A delivery as sound: formants, pitch and noise say which phoneme it is and where the accents are."""

import numpy as np
from jaxtyping import Float, Float32

from animation.data.synthetic.delivery import Delivery, Spoken, Voice, bursts
from animation.data.synthetic.sounds import BURSTS, NOISE_BANDS_HZ
from mmface4d.source_filter import band_noise, glottal_pulses, levelled, resonate
from mmface4d.speech_curves import Times, blend, outside_s

RATE_HZ = 16_000
GRID_S = 0.002  # on which the curves are worked out
CORE = 0.6  # of a sound's time, in its middle, in which it is purely itself
WIDTH_S = 0.012  # over which one sound goes over into the next
BANDWIDTHS_HZ = (80.0, 100.0, 140.0, 220.0, 300.0)
HIGHER_FORMANTS_HZ = (3500.0, 4500.0)
# a rising accent is higher, louder and brighter (Sluijter and van Heuven 1996, on spectral balance), a falling one
# lower, softer and breathier
RISE_PITCH, FALL_PITCH, RISE_DB, FALL_DB, RISE_BRIGHT, FALL_BREATH = 0.30, 0.20, 6.0, -6.0, 4.0, 0.15
DECLINATION = 0.10  # by which the pitch falls over a phrase
VOICED_LEVEL, NOISE_LEVEL, FLOOR = 0.08, 0.08, 2e-4


def speak(delivery: Delivery, voice: Voice, rng: np.random.Generator) -> Float32[np.ndarray, "n_samples"]:
    """Mono at 16 kHz, from the delivery's first instant to its last, between -1 and 1."""
    times_s = np.arange(round(delivery.duration_s * RATE_HZ)) / RATE_HZ
    grid_s = np.arange(0, delivery.duration_s + GRID_S, GRID_S)
    curves = _sounds(delivery, grid_s)
    rise, fall = (delivery.stress_curve(accent, grid_s) for accent in ("rise", "fall"))
    pitch_hz = voice.pitch_hz * (_declination(delivery, grid_s) + RISE_PITCH * rise - FALL_PITCH * fall)
    effort = 10 ** ((RISE_DB * rise + FALL_DB * fall) / 20)
    voicing = curves[:, 3] * effort
    noise = _noise_levels(curves[:, 4:], delivery, grid_s)
    noise[:, 1] += FALL_BREATH * fall * curves[:, 3]
    formants_hz = np.stack([np.interp(times_s, grid_s, voice.tract * curve) for curve in curves[:, :3].T], axis=1)
    pulses = glottal_pulses(np.interp(times_s, grid_s, pitch_hz), RATE_HZ)
    voiced = levelled(_through_the_mouth(pulses, formants_hz), RATE_HZ)
    voiced += RISE_BRIGHT * np.interp(times_s, grid_s, rise) * np.diff(voiced, prepend=0.0)
    sound = VOICED_LEVEL * np.interp(times_s, grid_s, voicing) * voiced
    for band_hz, level in zip(NOISE_BANDS_HZ, noise.T, strict=True):
        hiss = band_noise(rng, len(times_s), band_hz, rate_hz=RATE_HZ)
        sound += NOISE_LEVEL * np.interp(times_s, grid_s, level) * hiss
    sound += FLOOR * rng.standard_normal(len(sound))
    return np.clip(sound, -1, 1).astype(np.float32)


def _sounds(delivery: Delivery, times_s: Times) -> Float[np.ndarray, "n_times 7"]:
    """Three formants, voicing and the levels of three bands of noise."""
    begins_s, ends_s = delivery.edges_s()
    margin_s = 0.5 * (1 - CORE) * (ends_s - begins_s)
    targets = [[*each.sound.formants_hz, each.sound.voicing, *each.sound.noise] for each in delivery.spoken]
    widths_s = np.full(len(begins_s), WIDTH_S)
    return blend(
        times_s, begins_s=begins_s + margin_s, ends_s=ends_s - margin_s, widths_s=widths_s, targets=np.array(targets)
    )  # fmt: skip


def _noise_levels(
    levels: Float[np.ndarray, "n_times 3"], delivery: Delivery, times_s: Times
) -> Float[np.ndarray, "n_times 3"]:
    """With the bursts of the stops."""
    out = levels.copy()
    for burst in bursts(delivery):
        out = np.maximum(out, _near(burst, times_s)[:, None] * np.array(BURSTS[burst.sound.letter]))
    return out


def _near(burst: Spoken, times_s: Times) -> Times:
    away_s = outside_s(times_s, np.array([burst.begin_s]), np.array([burst.end_s]))[:, 0]
    return np.exp(-away_s / 0.004)


def _declination(delivery: Delivery, times_s: Times) -> Times:
    """1 at the middle of every phrase, a little more before, a little less after it."""
    edges_s = np.array([0.0, *delivery.phrase_ends_s])
    phrase = np.clip(np.searchsorted(edges_s, times_s, side="right"), 1, len(edges_s) - 1)
    within = (times_s - edges_s[phrase - 1]) / (edges_s[phrase] - edges_s[phrase - 1])
    return 1 + DECLINATION * (0.5 - np.clip(within, 0, 1))


def _through_the_mouth(
    source: Float[np.ndarray, "n_samples"], formants_hz: Float[np.ndarray, "n_samples 3"]
) -> Float[np.ndarray, "n_samples"]:
    higher = np.broadcast_to(HIGHER_FORMANTS_HZ, (len(source), len(HIGHER_FORMANTS_HZ)))
    return resonate(
        source, np.concatenate([formants_hz, higher], axis=1), bandwidths_hz=BANDWIDTHS_HZ, rate_hz=RATE_HZ
    )  # fmt: skip
