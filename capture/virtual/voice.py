"""A small source-filter voice: glottal pulses and noise through formants that follow the mouth.

Source of the method: Klatt, "Software for a cascade/parallel formant synthesizer" (1980), reduced to the least.
"""

import numpy as np
from jaxtyping import Float

from capture.virtual.speech import Speech

SAMPLE_RATE = 48_000
BLOCK = 240  # samples (5 ms) over which the formants are held
PITCH_HZ = 118.0
BANDWIDTHS_HZ = (80.0, 100.0, 140.0)
HIGHER_FORMANTS_HZ = ((3500.0, 220.0), (4500.0, 300.0))
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
    voiced = _level(_cascade(_glottal_pulses(times_s, rng), formants))
    voiced *= curves["voicing"] * np.clip(curves["jawOpen"], 0, 1)
    hiss = FRICATION_LEVEL * _hiss(rng, len(times_s)) * curves["frication"]
    sound = LOUDEST * voiced / max(float(np.abs(voiced).max(initial=0)), 1e-9) + hiss
    return sound + NOISE_FLOOR * rng.standard_normal(len(sound))


def envelope(sound: Float[np.ndarray, "n_samples"], *, window_s: float = 0.03) -> Float[np.ndarray, "n_samples"]:
    """Loudness over time: the RMS in a symmetric window, which does not shift in time."""
    width = round(window_s * SAMPLE_RATE) | 1
    kernel = np.hanning(width + 2)[1:-1]
    return np.sqrt(np.convolve(sound**2, kernel / kernel.sum(), mode="same").clip(0))


def _resample(speech: Speech, name: str, times_s: np.ndarray) -> np.ndarray:
    coarse_s = np.arange(times_s[0], times_s[-1] + 2e-3, 1e-3)
    return np.interp(times_s, coarse_s, speech.curves(coarse_s)[name])


def _glottal_pulses(times_s: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rosenberg's pulse, differentiated: opens over 60 % of a period, closes over 20 %."""
    wobble = np.interp(times_s, times_s[::4800], rng.standard_normal(len(times_s[::4800]))) if len(times_s) else times_s
    melody = PITCH_HZ * (
        1.06 - 0.05 * (times_s - times_s[0]) + 0.03 * np.sin(2 * np.pi * 0.9 * times_s) + 0.01 * wobble
    )
    phase = np.cumsum(melody / SAMPLE_RATE) % 1.0
    opening = 0.5 - 0.5 * np.cos(np.pi * phase / 0.6)
    closing = np.cos(0.5 * np.pi * (phase - 0.6) / 0.2)
    flow = np.where(phase < 0.6, opening, np.where(phase < 0.8, closing, 0.0))
    return np.diff(flow, prepend=flow[0])


def _cascade(source: np.ndarray, formants_hz: np.ndarray) -> np.ndarray:
    """The source through five resonances; their state is carried from block to block."""
    from scipy.signal import lfilter

    out = np.array(source)
    fixed = [(np.full(len(source), hz), width) for hz, width in HIGHER_FORMANTS_HZ]
    for centre_hz, width_hz in [*zip(formants_hz.T, BANDWIDTHS_HZ, strict=True), *fixed]:
        state = np.zeros(2)
        for begin in range(0, len(out), BLOCK):
            part = slice(begin, begin + BLOCK)
            numerator, denominator = _resonance(float(centre_hz[part].mean()), width_hz)
            out[part], state = lfilter(numerator, denominator, out[part], zi=state)
    return out


def _resonance(centre_hz: float, width_hz: float) -> tuple[list[float], list[float]]:
    radius = np.exp(-np.pi * width_hz / SAMPLE_RATE)
    b = 2 * radius * np.cos(2 * np.pi * centre_hz / SAMPLE_RATE)
    c = -radius * radius
    return [1 - b - c, 0.0, 0.0], [1.0, -b, -c]


def _level(sound: np.ndarray) -> np.ndarray:
    """Takes the formants' own loudness out, so that the jaw alone decides it."""
    loudness = envelope(sound)
    return sound / (loudness + 0.05 * loudness.max(initial=1e-9))


def _hiss(rng: np.random.Generator, count: int) -> np.ndarray:
    from scipy.signal import butter, sosfilt

    noise = sosfilt(butter(2, [3500, 9000], btype="bandpass", fs=SAMPLE_RATE, output="sos"), rng.standard_normal(count))
    return np.asarray(noise) / max(float(np.std(noise)), 1e-9)
