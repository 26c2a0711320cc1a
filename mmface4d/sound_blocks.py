"""Sound files in blocks, and which of them end before their head says."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Shaped

from mmface4d.errors import InputError

if TYPE_CHECKING:
    from soundfile import SoundFile


def whole_blocks(
    file: "SoundFile", *, size: int, dtype: Any = "float32"
) -> Iterator[Shaped[np.ndarray, "n_block n_channels"]]:
    """All samples of an open file; raises InputError after the last where its head says that there are more.

    SoundFile.blocks would fill a block that ends early with what was in memory.
    """
    read = 0
    while len(block := file.read(size, dtype=dtype, always_2d=True)):
        read += len(block)
        yield block
    if read < file.frames:
        raise InputError(f"{file.name} is cut short: {read} of {file.frames} samples", hint="fetch or make it again")
