"""The sound of an item: 16-bit WAV that begins with the first frame and ends with the last."""

import wave
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int16

from mmface4d.errors import InputError
from mmface4d.take import Take

SECONDS_AT_MOST = 3600


def write_sound(path: Path, take: Take, *, first_usec: int, duration_s: float) -> None:
    """Cuts a take's sound to its frames; where it begins late or ends early there is silence.

    Raises InputError where the take has no sound, none that is placed in time, or a damaged one.
    """
    samples, rate = cut(take, first_usec=first_usec, duration_s=duration_s)
    with wave.open(str(path), "wb") as file:  # no chunk with a date or a program's name, as libsndfile writes them
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())


def cut(take: Take, *, first_usec: int, duration_s: float) -> tuple[Int16[np.ndarray, "n_samples n_channels"], int]:
    """The samples from an instant of the master's clock on, and their rate."""
    import soundfile

    record = take.info.audio
    if record is None or record.start_usec is None or take.audio_path is None:
        raise InputError(f"{take.path} has no sound that is placed in time", hint="record it again")
    usec_a_sample = (1 + record.rate_ppm * 1e-6) * 1e6 / record.rate
    first = round((first_usec - record.start_usec) / usec_a_sample)
    count = round(min(duration_s, SECONDS_AT_MOST) * 1e6 / usec_a_sample)
    try:
        with soundfile.SoundFile(take.audio_path) as file:
            if file.samplerate != record.rate:
                raise ValueError(f"it has {file.samplerate} Hz, take.json says {record.rate}")
            begin, end = max(first, 0), min(first + count, file.frames)
            cutout = np.zeros((count, file.channels), np.int16)
            if end > begin:
                file.seek(begin)
                cutout[begin - first : end - first] = rounded(file.read(end - begin, dtype="float64", always_2d=True))
            return cutout, file.samplerate
    except (soundfile.SoundFileError, RuntimeError, OSError, ValueError) as error:
        raise InputError(f"the sound of {take.path} is damaged", hint="see: mmface4d take check TAKE") from error


def rounded(samples: Float64[np.ndarray, "n_samples n_channels"]) -> Int16[np.ndarray, "n_samples n_channels"]:
    """Samples of -1 to 1 as 16-bit ones, to the nearest; those that are no numbers become silence."""
    return np.clip(np.rint(np.nan_to_num(samples) * (1 << 15)), -(1 << 15), (1 << 15) - 1).astype(np.int16)
