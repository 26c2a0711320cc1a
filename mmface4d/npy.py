"""`.npy` files that are larger than memory: written in blocks, read by mapping, never as pickles."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mmface4d.errors import InputError
from mmface4d.files import atomic_path


def write_npy(path: Path, blocks: Iterable[np.ndarray], *, shape: tuple[int, ...], dtype: str = "<f4") -> None:
    """Writes an array that comes in blocks along its first axis; raises ValueError where they are not of its shape."""
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
        count = 0
        for block in blocks:
            if block.shape[1:] != shape[1:]:
                raise ValueError(f"a block has the shape {block.shape}, the array {shape}")
            file.write(np.ascontiguousarray(block, dtype=dtype).tobytes())
            count += len(block)
        if count != shape[0]:
            raise ValueError(f"{count} rows came, {shape[0]} were told")


def map_npy(path: Path, *, hint: str) -> np.ndarray:
    """The array of a file, read as its parts are used; raises InputError where there is none or it is cut short."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist", hint=hint) from error
    except Exception as error:  # numpy raises a dozen kinds on damaged and hostile files
        raise InputError(f"{path} is no readable array: {error}", hint=hint) from error
    if not isinstance(found, np.ndarray):  # numpy opens archives by their content, whatever they are called
        found.close()
        raise InputError(f"{path} is no readable array but an archive", hint=hint)
    return found
