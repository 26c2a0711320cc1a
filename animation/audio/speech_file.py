"""A sound file as speech at 16 kHz, without ever having all of it in memory."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Float32

from animation.audio.encoder import SPEECH_RATE_HZ
from animation.audio.features import TOO_LOUD
from animation.audio.long_speech import LongSpeech
from animation.data.check import LEAST_RATE_HZ, LOUDEST, MOST_RATE_HZ, SILENT
from animation.data.sound_files import MOST_SAMPLES
from mmface4d.errors import InputError, MissingBackendError
from mmface4d.files import atomic_path, disk_full_is_an_error
from mmface4d.sound_blocks import open_sound, whole_blocks

BLOCK_SAMPLES = 1 << 16
BYTES_A_SAMPLE = 4


@dataclass(frozen=True)
class SpeechFile:
    """What a file says, and for how long."""

    speech: LongSpeech
    duration_s: float
    rate_hz: int  # the file's own


@contextmanager
def open_speech_file(path: Path) -> Iterator[SpeechFile]:
    """The mean of all channels, as `speech_samples` gives it; kept in a temporary file while the block runs.

    Raises InputError that names the file where it is no sound, silent, cut short, or has samples that are no numbers.
    """
    with tempfile.TemporaryFile() as kept:
        told = _Told()
        with disk_full_is_an_error(Path(tempfile.gettempdir())):  # and not what the block writes elsewhere
            duration_s, rate_hz = _convert(path, kept, told)
            kept.flush()
        if told.loudest < SILENT:
            raise InputError(f"{path} is silent", hint="give a recording of somebody who speaks")
        if told.loudest > LOUDEST:
            raise InputError(f"{path} reaches {told.loudest:g}, where full scale is 1", hint=TOO_LOUD)

        def read(first: int, stop: int) -> Float32[np.ndarray, "n_read"]:
            kept.seek(first * BYTES_A_SAMPLE)
            data = kept.read(max(stop - first, 0) * BYTES_A_SAMPLE)
            return np.frombuffer(data, np.float32).copy()  # torch wants arrays that may be written to

        yield SpeechFile(LongSpeech(told.count, read, told.mean, told.variance), duration_s, rate_hz)


@dataclass
class _Told:
    """Sums over samples as they pass."""

    count: int = 0
    loudest: float = 0.0
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0])

    def add(self, samples: Float32[np.ndarray, "n"]) -> None:
        exact = samples.astype(np.float64)
        self.count += len(samples)
        self.loudest = max(self.loudest, float(np.abs(samples).max(initial=0.0)))
        self.sums = [self.sums[0] + float(exact.sum()), self.sums[1] + float(np.square(exact).sum())]

    @property
    def mean(self) -> float:
        return self.sums[0] / max(self.count, 1)

    @property
    def variance(self) -> float:
        return max(self.sums[1] / max(self.count, 1) - self.mean**2, 0.0)


def sound_blocks(path: Path, *, size: int = BLOCK_SAMPLES) -> Iterator[tuple[Float32[np.ndarray, "n_block"], int]]:
    """Blocks of a file's samples, the mean of all channels, and their rate; raises InputError that names the file."""
    with open_sound(path, hint="the file is damaged, or no sound") as file:
        rate, wanted = int(file.samplerate), int(file.frames)
        if wanted > MOST_SAMPLES or not LEAST_RATE_HZ <= rate <= MOST_RATE_HZ:
            raise InputError(f"{path} has {wanted} samples at {rate} Hz", hint="that is no recording of speech")
        for block in whole_blocks(file, size=size):
            mono = block.mean(axis=1, dtype=np.float32)
            if not np.isfinite(mono).all():
                raise InputError(f"{path} has samples that are no numbers", hint="the recording is damaged")
            yield mono, rate


def _convert(path: Path, kept: BinaryIO, told: _Told) -> tuple[float, int]:
    """Writes samples at 16 kHz; how long the file lasts, and its own rate."""
    resampler, heard, rate = None, 0, SPEECH_RATE_HZ
    for block, rate in sound_blocks(path):
        heard += len(block)
        if rate != SPEECH_RATE_HZ:
            resampler = resampler or _resampler(rate)
            block = resampler.resample_chunk(block)
        told.add(block)
        kept.write(block.tobytes())
    if resampler is not None:
        rest = resampler.resample_chunk(np.zeros(0, np.float32), last=True)
        told.add(rest)
        kept.write(rest.tobytes())
    if not told.count:
        raise InputError(f"{path} has no samples", hint="the recording is empty")
    return heard / rate, rate


def _resampler(rate_hz: int) -> Any:
    try:
        import soxr
    except ImportError as error:
        raise MissingBackendError(
            "resampling sound needs the package soxr", hint="pip install 'mmface4d[animation]'"
        ) from error
    return soxr.ResampleStream(rate_hz, SPEECH_RATE_HZ, 1, dtype="float32", quality="VHQ")


def write_wav_of(source: Path, target: Path) -> None:
    """A sound file as mono WAV of 16 bits at its own rate, block by block; a WAV is copied as it is."""
    import soundfile

    with atomic_path(target) as partial:
        if source.suffix.lower() == ".wav":
            shutil.copyfile(source, partial)
            return
        blocks = sound_blocks(source)
        first, rate = next(blocks, (np.zeros(0, np.float32), SPEECH_RATE_HZ))
        with soundfile.SoundFile(partial, "w", rate, 1, subtype="PCM_16", format="WAV") as file:
            file.write(first)
            for block, _ in blocks:
                file.write(block)
