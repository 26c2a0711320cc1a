"""Speech features at the frames' instants: what every model of this project hears."""

import numpy as np
from jaxtyping import Float, Float32

from animation.audio.align import align
from animation.audio.cache import FeatureCache
from animation.audio.encoder import SPEECH_RATE_HZ, AudioEncoder, Tokens
from animation.data.check import LEAST_RATE_HZ, LOUDEST, MOST_RATE_HZ
from animation.data.clip import Sound
from mmface4d.errors import InputError, MissingBackendError

TOO_LOUD = "these are whole numbers that nobody divided by 32 768, or the recording is damaged"


def speech_features(
    sound: Sound, times_s: Float[np.ndarray, "n_frames"], *, encoder: AudioEncoder, cache: FeatureCache | None = None
) -> Float32[np.ndarray, "n_frames n_audio"]:
    """One row a frame. `times_s` count from the clip's first frame on, as `sound.start_s` does.

    Raises InputError where the sound is damaged or shorter than 25 ms. With a cache, a sound that was heard before by
    the same encoder is not encoded again, whatever the frames' rate.
    """
    check_sound(sound)
    tokens = cache.tokens(sound, encoder) if cache is not None else encode(sound, encoder)
    return align(tokens, np.asarray(times_s, np.float64) - sound.start_s)


def encode(sound: Sound, encoder: AudioEncoder) -> Tokens:
    """The encoder's tokens of a sound at any rate, with times from the sound's first sample on."""
    tokens = encoder.tokens(speech_samples(sound))
    if not np.isfinite(tokens.values).all():
        raise InputError(
            f"{encoder.name} gave features that are no numbers", hint="check the encoder's weights, then the sound"
        )
    return tokens


def speech_samples(sound: Sound) -> Float32[np.ndarray, "n_samples"]:
    """At 16 kHz. The resampler's filter has no delay: sample k is at k / 16 000 s, as before."""
    if sound.rate_hz == SPEECH_RATE_HZ:
        return np.ascontiguousarray(sound.samples, np.float32)
    try:
        import soxr
    except ImportError as error:
        raise MissingBackendError(
            "resampling sound needs the package soxr", hint="pip install 'mmface4d[animation]'"
        ) from error
    return soxr.resample(sound.samples, sound.rate_hz, SPEECH_RATE_HZ, quality="VHQ").astype(np.float32)


def check_sound(sound: Sound) -> None:
    """Raises InputError where a sound has no samples, some that cannot be, or a rate that cannot be."""
    if not LEAST_RATE_HZ <= sound.rate_hz <= MOST_RATE_HZ:
        raise InputError(
            f"a sound has {sound.rate_hz} samples a second", hint=f"speech has {LEAST_RATE_HZ} to {MOST_RATE_HZ}"
        )
    if not np.isfinite(sound.start_s):
        raise InputError("a sound begins at no time that is a number", hint="check where the clip comes from")
    if not len(sound.samples):
        raise InputError("a sound has no samples", hint="the recording is empty; leave the clip out")
    if not np.isfinite(sound.samples).all():
        raise InputError("a sound has samples that are no numbers", hint="the recording is damaged; leave it out")
    if (largest := float(np.abs(sound.samples).max())) > LOUDEST:
        raise InputError(f"a sound reaches {largest:g}, where full scale is 1", hint=TOO_LOUD)
