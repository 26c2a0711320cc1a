"""Speech in files: mono, as float32; whatever libsndfile reads."""

from pathlib import Path

import numpy as np

from animation.data.clip import Sound
from mmface4d.errors import InputError
from mmface4d.files import atomic_path
from mmface4d.sound_blocks import open_sound, whole_blocks

MOST_SAMPLES = 1 << 30  # 18 hours at 16 kHz
BLOCK_SAMPLES = 1 << 20


def read_sound(path: Path, *, start_s: float = 0.0) -> Sound:
    """The mean of all channels; samples that are no numbers stay. Raises InputError that names the file."""
    with open_sound(path, hint="the file is damaged or no sound; fetch or make it again") as file:
        if file.frames > MOST_SAMPLES:
            raise InputError(f"{path} has {file.frames} samples", hint="cut it into sentences")
        blocks = [block.mean(axis=1, dtype=np.float32) for block in whole_blocks(file, size=BLOCK_SAMPLES)]
        samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
        return Sound(samples, int(file.samplerate), start_s)


def write_sound(path: Path, sound: Sound) -> None:
    """32-bit float WAV, so that what is read is what was written, bit by bit; `start_s` is for the caller to keep."""
    import soundfile

    with atomic_path(path) as partial:
        soundfile.write(partial, sound.samples, sound.rate_hz, subtype="FLOAT", format="WAV")
