"""A small source-filter voice: glottal pulses and noise through formants that follow the mouth."""

import numpy as np
from jaxtyping import Float

from capture.virtual.speech import Speech
from mmface4d.source_filter import HOLD_S, band_noise, glottal_pulses, levelled, loudness, resonate

SAMPLE_RATE = 48_000
BLOCK = round(HOLD_S * SAMPLE_RATE)  # samples over which the formants are held
PITCH_HZ = 118.0
BANDWIDTHS_HZ = (80.0, 100.0, 140.0)
HIGHER_FORMANTS_HZ = ((3500.0, 220.0), (4500.0, 300.0))
HISS_HZ = (3500.0, 9000.0)
LOUDEST = 0.5  # of full scale
FRICATION_LEVEL = 0.04  # of the loudest voiced sample
NOISE_FLOOR = 2e-4


def synthesise(speech: Speech, *, start_s: float, duration_s: float, seed: int = 0) -> Float[np.ndarray, "n_samples"]:
    """The sound of some speech, mono at 48 kHz in -1..1, beginning at `start_s` on the speech's own clock.

    Its loudness follows the opening of the jaw at every sample, without a delay.
    """
    rng = np.random.default_rng(seed)
    times_s = start_s + np.arange(round(duration_s * SAMPLE_RATE)) / SAMPLE_RATE
    curves = {name: _resample(speech, name, times_s) for name in ("jawOpen", "voicing", "frication")}
    formants = np.stack([_resample(speech, name, times_s) for name in ("f1_hz", "f2_hz", "f3_hz")], 1)
    pulses = glottal_pulses(_melody_hz(times_s, rng), SAMPLE_RATE)
    widths_hz = (*BANDWIDTHS_HZ, *(width for _, width in HIGHER_FORMANTS_HZ))
    resonant = resonate(pulses, _all_formants_hz(formants), bandwidths_hz=widths_hz, rate_hz=SAMPLE_RATE)
    voiced = levelled(resonant, SAMPLE_RATE)
    voiced *= curves["voicing"] * np.clip(curves["jawOpen"], 0, 1)
    noise = band_noise(rng, len(times_s), HISS_HZ, rate_hz=SAMPLE_RATE)
    hiss = FRICATION_LEVEL * noise * curves["frication"]
    sound = LOUDEST * voiced / max(float(np.abs(voiced).max(initial=0)), 1e-9) + hiss
    return sound + NOISE_FLOOR * rng.standard_normal(len(sound))


def envelope(sound: Float[np.ndarray, "n_samples"]) -> Float[np.ndarray, "n_samples"]:
    """Loudness over time."""
    return loudness(sound, SAMPLE_RATE)


def _resample(speech: Speech, name: str, times_s: np.ndarray) -> np.ndarray:
    coarse_s = np.arange(times_s[0], times_s[-1] + 2e-3, 1e-3)
    return np.interp(times_s, coarse_s, speech.curves(coarse_s)[name])


def _melody_hz(times_s: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    wobble = np.interp(times_s, times_s[::4800], rng.standard_normal(len(times_s[::4800]))) if len(times_s) else times_s
    return PITCH_HZ * (1.06 - 0.05 * (times_s - times_s[0]) + 0.03 * np.sin(2 * np.pi * 0.9 * times_s) + 0.01 * wobble)


def _all_formants_hz(moving_hz: np.ndarray) -> np.ndarray:
    """The three that follow the mouth, and the two higher ones that do not."""
    fixed = np.array([hz for hz, _ in HIGHER_FORMANTS_HZ])
    return np.concatenate([moving_hz, np.broadcast_to(fixed, (len(moving_hz), len(fixed)))], axis=1)
