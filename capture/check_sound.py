"""Whether a take's sound is there, covers its frames, and was recorded at a sane level."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmface4d.errors import TakeError

BLOCK_SAMPLES = 1 << 16
CLIPPED_LEVEL = 0.999
CLIPPED_RUN = 3  # samples in a row at full scale; a single one may be a peak
SILENT_DBFS = -50.0
SOUND_TOLERANCE_S = 0.05  # by which sound may miss the first or the last frame
FLOOR_DBFS = -120.0


@dataclass(frozen=True)
class SoundFound:
    """Length and levels of a sound file; `clipped_runs` counts stretches at full scale."""

    samples: int
    rate: int
    channels: int
    peak_dbfs: float
    rms_dbfs: float
    clipped_runs: int
    finite: bool


def measure_sound(path: Path) -> SoundFound:
    """Reads the whole file block by block; raises TakeError where it cannot be read."""
    import soundfile

    samples, peak, power, clipped, finite = 0, 0.0, 0.0, 0, True
    try:
        with soundfile.SoundFile(path) as sound:
            for block in sound.blocks(BLOCK_SAMPLES, dtype="float32", always_2d=True):
                finite = finite and bool(np.isfinite(block).all())
                level = np.abs(np.nan_to_num(block))
                samples += len(block)
                peak = max(peak, float(level.max(initial=0.0)))
                power += float((level.astype(np.float64) ** 2).sum())
                clipped += _clipped_runs(level)
            rate, channels = sound.samplerate, sound.channels
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        raise TakeError(f"{path} is no readable sound: {error}") from error
    rms = np.sqrt(power / max(samples * channels, 1))
    return SoundFound(samples, rate, channels, _dbfs(peak), _dbfs(float(rms)), clipped, finite)


def _clipped_runs(level: np.ndarray) -> int:
    """Stretches of CLIPPED_RUN or more samples at full scale, of all channels [samples, channels]."""
    full = np.pad((level >= CLIPPED_LEVEL).astype(np.int8), ((1, 1), (0, 0)))
    steps = np.diff(full, axis=0).T
    starts, ends = np.nonzero(steps == 1)[1], np.nonzero(steps == -1)[1]
    return int((ends - starts >= CLIPPED_RUN).sum())


def _dbfs(level: float) -> float:
    return round(max(20 * float(np.log10(level)), FLOOR_DBFS), 1) if level > 0 else FLOOR_DBFS
