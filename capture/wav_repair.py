"""Mending the header of a WAV file whose writer was killed: sizes that were to be filled in at the end."""

import os
import struct
from dataclasses import dataclass
from pathlib import Path

from mmface4d.files import disk_full_is_an_error, sync

CHUNK_HEAD_BYTES = 8
MOST_SIZE = 0xFFFFFFFF


@dataclass(frozen=True)
class StaleHeader:
    """A WAV header that does not agree with the file: where its samples start, and how many bytes there really are."""

    data_start: int
    data_bytes: int


def stale_header(path: Path) -> StaleHeader | None:
    """What is wrong with the sizes in a WAV header; None where they are right or the file is of another kind."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return None
        position, frame_bytes = 12, 0
        while position + CHUNK_HEAD_BYTES <= size:
            file.seek(position)
            name, length = struct.unpack("<4sI", file.read(CHUNK_HEAD_BYTES))
            start = position + CHUNK_HEAD_BYTES
            if name == b"fmt " and length >= 16:
                frame_bytes = struct.unpack("<12xH", file.read(14))[0]
            if name == b"data":
                if not frame_bytes or _ends_well(path, start + length, size=size):
                    return None
                whole = min(size - start, MOST_SIZE - start) // frame_bytes * frame_bytes
                return None if whole == length else StaleHeader(start, whole)
            position = start + length + length % 2
    return None


def _ends_well(path: Path, end: int, *, size: int) -> bool:
    """Whether the file ends where the samples do, or whole chunks of other kinds follow."""
    with path.open("rb") as file:
        while end + end % 2 + CHUNK_HEAD_BYTES <= size:
            file.seek(end + end % 2)
            name, length = struct.unpack("<4sI", file.read(CHUNK_HEAD_BYTES))
            if not name.isascii() or not name.decode("ascii").isprintable():
                return False
            end += end % 2 + CHUNK_HEAD_BYTES + length
    return size - 1 <= end <= size


def repair_header(path: Path, wrong: StaleHeader) -> None:
    """Writes the right sizes into the header, in place; no sample is touched."""
    with disk_full_is_an_error(path), path.open("r+b") as file:
        file.seek(wrong.data_start - 4)
        file.write(struct.pack("<I", wrong.data_bytes))
        file.seek(4)
        file.write(struct.pack("<I", wrong.data_start - CHUNK_HEAD_BYTES + wrong.data_bytes))
        file.flush()
        os.fsync(file.fileno())
    sync(path.parent)
