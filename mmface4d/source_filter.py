"""A voice in two steps: a source (pulses of the glottis, noise) through the resonances of a mouth.

After Klatt, "Software for a cascade/parallel formant synthesizer" (1980), reduced to the least.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

Samples = Float[np.ndarray, "n_samples"]
HOLD_S = 0.005  # for which formants are held


def glottal_pulses(pitch_hz: Samples, rate_hz: int) -> Samples:
    """Rosenberg's pulse, differentiated: opens over 60 % of a period, closes over 20 %."""
    phase = np.cumsum(pitch_hz / rate_hz) % 1.0
    opening = 0.5 - 0.5 * np.cos(np.pi * phase / 0.6)
    closing = np.cos(0.5 * np.pi * (phase - 0.6) / 0.2)
    flow = np.where(phase < 0.6, opening, np.where(phase < 0.8, closing, 0.0))
    return np.diff(flow, prepend=flow[0])


def resonate(
    source: Samples, formants_hz: Float[np.ndarray, "n_samples n_formants"], *, bandwidths_hz: Sequence[float],
    rate_hz: int,
) -> Samples:  # fmt: skip
    """The source through resonances one after the other; their state is carried from block to block."""
    from scipy.signal import sosfilt

    out, block = np.array(source), round(HOLD_S * rate_hz)
    begins = np.arange(0, len(out), block)
    lengths = np.diff(begins, append=len(out))
    centres_hz = np.add.reduceat(formants_hz, begins, axis=0) / lengths[:, None] if len(out) else formants_hz
    state = np.zeros((len(bandwidths_hz), 2))
    for begin, sections in zip(begins, _resonances(centres_hz, np.asarray(bandwidths_hz), rate_hz), strict=True):
        part = slice(begin, begin + block)
        out[part], state = sosfilt(sections, out[part], zi=state)
    return out


def _resonances(
    centres_hz: Float[np.ndarray, "n_blocks n_formants"], widths_hz: Float[np.ndarray, "n_formants"], rate_hz: int
) -> Float[np.ndarray, "n_blocks n_formants 6"]:
    """Klatt's resonators as second-order sections."""
    radius = np.exp(-np.pi * widths_hz / rate_hz)
    b = 2 * radius * np.cos(2 * np.pi * centres_hz / rate_hz)
    c = np.broadcast_to(-radius * radius, b.shape)
    zero = np.zeros_like(b)
    return np.stack([1 - b - c, zero, zero, zero + 1, -b, -c], axis=-1)


def loudness(sound: Samples, rate_hz: int, *, window_s: float = 0.03) -> Samples:
    """Loudness over time: the RMS in a symmetric window, which does not shift in time."""
    width = round(window_s * rate_hz) | 1
    kernel = np.hanning(width + 2)[1:-1]
    return np.sqrt(np.convolve(sound**2, kernel / kernel.sum(), mode="same").clip(0))


def levelled(sound: Samples, rate_hz: int) -> Samples:
    """Takes the formants' own loudness out, so that somebody else decides it; silence stays silence."""
    heard = loudness(sound, rate_hz)
    return sound / (heard + 0.05 * heard.max(initial=1e-9))


def band_noise(rng: np.random.Generator, count: int, band_hz: tuple[float, float], *, rate_hz: int) -> Samples:
    """Noise between two frequencies, of standard deviation 1."""
    from scipy.signal import butter, sosfilt

    filters = butter(2, band_hz, btype="bandpass", fs=rate_hz, output="sos")
    noise = np.asarray(sosfilt(filters, rng.standard_normal(count)))
    return noise / max(float(np.std(noise)), 1e-9)
