"""Whether a release fits on the disk: said before hours of work, not after."""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from corpus.release.layout import SPLITS
from corpus.release.mini import ITEMS_A_SPLIT, MOST_BYTES
from corpus.release.plan import Planned
from mmface4d.errors import DiskFullError, InputError
from mmface4d.take import Take, open_take

SPARE_BYTES = 64 << 20  # tables, texts and topology


def check_space(folder: Path, item_bytes: Sequence[int], *, what: Path) -> None:
    """Raises DiskFullError where the disk of an existing folder has no room for items of these sizes."""
    needed, free = needed_bytes(item_bytes), shutil.disk_usage(folder).free
    if needed > free:
        raise DiskFullError(
            f"{what} needs about {needed / 1e6:,.0f} MB, its disk has {free / 1e6:,.0f} MB left",
            hint="free some space, choose another disk, or leave components out",
        )


def needed_bytes(item_bytes: Sequence[int]) -> int:
    """Of the shards, the mini set, the largest item's files on their way into a shard, and all the rest."""
    mini = min(sum(sorted(item_bytes)[-len(SPLITS) * ITEMS_A_SPLIT :]), MOST_BYTES)
    return sum(item_bytes) + mini + max(item_bytes, default=0) + SPARE_BYTES


def estimated_bytes(planned: Planned, *, encoding: str) -> int:
    """About how much an item takes in the shards: from the sizes of its files, and the first picture of each camera."""
    total = _size(planned.sequence) // (2 if encoding == "int16" else 1)
    if "audio" in planned.components:
        total += _size(planned.take / "audio.wav")
    if "landmarks" in planned.components:
        total += max(map(_size, (planned.take / "cache").glob("landmarks-*.npz")), default=0)
    if {"depth", "rgb"} & set(planned.components):
        total += _picture_bytes(planned)
    return total


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _picture_bytes(planned: Planned) -> int:
    try:
        with open_take(planned.take) as take:
            depth = len(take) * sum(_first(take, "depth")) if "depth" in planned.components else 0
            # of a preview, a picture a second
            count = len(take) / take.fps if planned.preview else len(take)
            return depth + round(count * sum(_first(take, "color")) if "rgb" in planned.components else 0)
    except InputError:
        return 0  # it will be listed as missing


def _first(take: Take, kind: str) -> Iterable[int]:
    """The size of the first picture that each camera has, as it is stored."""
    table = take.info.frames.color_usec if kind == "color" else take.info.frames.depth_usec
    for serial, column in table.items():
        device_usec = next((each for each in column if each is not None), None)
        if device_usec is not None:
            yield len(take.streams.read(f"/{serial}/{kind}", device_usec))
