"""Sound files in blocks, and which of them end before their head says."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Shaped

from mmface4d.errors import InputError

if TYPE_CHECKING:
    from soundfile import SoundFile

AGAIN = "fetch or make it again"
# what libsndfile notes of a WAV that has fewer bytes of samples than its head says; it reads on without a word
SHORT_WAV = re.compile(r"^data\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)
UNKNOWN_LENGTH = 0x7FFF0000  # and above: a program that wrote into a pipe, and could not know
HEAD_BYTES = 100  # that some programs count as samples, or a byte that makes the number even
GUESSED_S = 1.0  # by which the length of an MP3 is off that does not say it: libsndfile guesses it from the file's size


@contextmanager
def open_sound(path: Path, *, hint: str = AGAIN) -> Iterator["SoundFile"]:
    """A file to be read in the block; raises InputError that names it where it is no sound, or turns out to be none."""
    import soundfile

    try:
        if not path.is_file():
            raise InputError(f"{path} does not exist", hint="give the sound file itself")
        with soundfile.SoundFile(path) as file:
            yield file
    # a TypeError of a file without a head, .raw
    except (soundfile.SoundFileError, RuntimeError, OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} is no readable sound: {error}", hint=hint) from error


def whole_blocks(
    file: "SoundFile", *, size: int, dtype: Any = "float32"
) -> Iterator[Shaped[np.ndarray, "n_block n_channels"]]:
    """All samples of an open file; raises InputError after the last where its head says that there are far more.

    SoundFile.blocks would fill a block that ends early with what was in memory.
    """
    read = 0
    while len(block := file.read(size, dtype=dtype, always_2d=True)):
        read += len(block)
        yield block
    if file.frames - read > (GUESSED_S * file.samplerate if file.subtype.startswith("MPEG") else 0):
        raise InputError(f"{file.name} is cut short: {read} of {file.frames} samples", hint=AGAIN)
    for said, found in SHORT_WAV.findall(file.extra_info):
        if int(found) + HEAD_BYTES < int(said) < UNKNOWN_LENGTH:
            raise InputError(f"{file.name} is cut short: {found} of {said} bytes", hint=AGAIN)
