"""Speech in files: mono, as float32; whatever libsndfile reads."""

from pathlib import Path

import numpy as np

from animation.data.clip import Sound
from mmface4d.errors import InputError
from mmface4d.files import atomic_path

MOST_SAMPLES = 1 << 30  # 18 hours at 16 kHz
BLOCK_SAMPLES = 1 << 20


def read_sound(path: Path, *, start_s: float = 0.0) -> Sound:
    """The mean of all channels; samples that are no numbers stay. Raises InputError that names the file."""
    import soundfile

    if not path.is_file():
        raise InputError(f"{path} does not exist", hint="give the sound file itself")
    try:
        with soundfile.SoundFile(path) as file:
            if file.frames > MOST_SAMPLES:
                raise InputError(f"{path} has {file.frames} samples", hint="cut it into sentences")
            # not file.blocks, which fills a block that ends early with what the one before it had
            blocks = []
            while len(block := file.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)):
                blocks.append(block.mean(axis=1))
            samples = np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
            if len(samples) < file.frames:
                raise InputError(f"{path} is cut short: {len(samples)} of {file.frames} samples", hint=_AGAIN)
            return Sound(samples.astype(np.float32), int(file.samplerate), start_s)
    except (soundfile.SoundFileError, RuntimeError, OSError, ValueError) as error:
        raise InputError(f"{path} is no readable sound: {error}", hint=_AGAIN) from error


def write_sound(path: Path, sound: Sound) -> None:
    """32-bit float WAV, so that what is read is what was written, bit by bit; `start_s` is for the caller to keep."""
    import soundfile

    with atomic_path(path) as partial:
        soundfile.write(partial, sound.samples, sound.rate_hz, subtype="FLOAT", format="WAV")


_AGAIN = "the file is damaged or no sound; fetch or make it again"
