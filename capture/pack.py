"""Making a finished take smaller: its depth becomes FFV1, and nothing else changes.

The fresh streams are written beside the old ones, read back from the disk, compared with them message by message, and
only then take their place, in one step. A kill at any moment leaves the old streams or the new, both whole.
"""

import os
import shutil
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from mcap.records import Message

from capture.recover import STREAMS, claimed
from capture.salvage import Salvage, as_sound, scan, whole_messages
from mmface4d.depth_codec import decode_depth
from mmface4d.depth_ffv1 import ENCODING, LEAST_SIDE, encode_ffv1
from mmface4d.errors import DiskFullError, TakeError, VerificationError
from mmface4d.files import atomic_path
from mmface4d.progress import Progress, progress
from mmface4d.take import TAKE_METADATA, Take, open_take
from mmface4d.take_streams import (
    DAMAGE,
    DEPTH_ENCODING_KEY,
    KINDS,
    SOUND_CHANNEL,
    StreamsReader,
    StreamsWriter,
)


@dataclass(frozen=True)
class PackReport:
    """What packing did; `packed` is False where the take was packed before, and then nothing was touched."""

    take: str
    packed: bool
    depth_pictures: int
    bytes_before: int
    bytes_after: int
    depth_bytes_before: int
    depth_bytes_after: int


@dataclass
class _Depth:
    """What has been counted of depth so far."""

    pictures: int = 0
    before: int = 0
    after: int = 0


def pack_take(path: Path) -> PackReport:
    """Packs a finished take; one that is packed already is left alone.

    Raises TakeError where it is no take, unfinished, damaged or in use, DiskFullError where the copy has no room, and
    VerificationError where the copy does not read back as the original; each of them leaves the take as it was.
    """
    with open_take(path) as take, claimed(path / STREAMS):
        before = (path / STREAMS).stat().st_size
        salvage = scan(path / STREAMS)
        if salvage.depth_encoding == ENCODING:
            return PackReport(str(path), False, 0, before, before, 0, 0)
        _refuse_damaged(take, salvage)
        _check_space(path, before)
        with atomic_path(path / STREAMS) as partial, progress(f"pack {take.name}", 2 * salvage.pictures) as bar:
            depth = _write(take, salvage, partial, bar)
            _verify(take, salvage, partial, bar)
        after = (path / STREAMS).stat().st_size
    return PackReport(str(path), True, depth.pictures, before, after, depth.before, depth.after)


def _refuse_damaged(take: Take, salvage: Salvage) -> None:
    """A copy of a damaged file would be whole, and hide the damage; one of a newer program's would lack something."""
    if salvage.damaged_chunks or not salvage.ended or salvage.tail_bytes or not _has_all_texts(take, salvage):
        raise TakeError(
            f"{salvage.path} is damaged; nothing was changed", hint=f"mend it first: mmface4d take recover {take.path}"
        )
    if set(salvage.cameras) != set(take.cameras):
        raise TakeError(
            f"{salvage.path} holds other cameras than take.json; nothing was changed",
            hint="these files do not belong together",
        )
    known = {SOUND_CHANNEL, *(f"/{serial}/{kind}" for serial in salvage.cameras for kind in KINDS)}
    strange = set(salvage.names.values()) - known
    if strange:
        raise TakeError(
            f"{salvage.path} holds {min(strange)!r}, which this program does not know; nothing was changed",
            hint="update mmface4d",
        )


def _has_all_texts(take: Take, salvage: Salvage) -> bool:
    """Whether all texts and attachments that the index names can be read: what cannot would be missing in the copy."""
    try:
        found = take.streams.metadata(), take.streams.attachments()
    except (TakeError, *DAMAGE):
        return False
    return found == (salvage.metadata, salvage.attachments)


def _check_space(path: Path, needed: int) -> None:
    free = shutil.disk_usage(path).free
    if free < needed:
        raise DiskFullError(
            f"packing {path} needs up to {needed / 1e6:.0f} MB for a while, {free / 1e6:.0f} MB are left",
            hint="free some space; the take was not touched",
        )


def _write(take: Take, salvage: Salvage, target: Path, bar: Progress) -> _Depth:
    """The copy: same messages in the same order, the same texts and attachments; only depth is other bytes."""
    metadata = {name: dict(values) for name, values in salvage.metadata.items()}
    metadata.setdefault(TAKE_METADATA, {})[DEPTH_ENCODING_KEY] = ENCODING
    writer = StreamsWriter(
        target, metadata=metadata, attachments=salvage.attachments, serials=list(salvage.cameras),
        depth_encoding=ENCODING,
    )  # fmt: skip
    depth = _Depth()
    try:
        for name, message in whole_messages(salvage):
            if name == SOUND_CHANNEL:
                block = as_sound(message)
                writer.write_sound(block.pcm, first=block.first, host_nsec=block.host_nsec, lost=block.lost)
            else:
                _write_picture(take, writer, name, message, depth)
                bar.advance()
        writer.finish()
    finally:
        writer.close()
    return depth


def _write_picture(take: Take, writer: StreamsWriter, name: str, message: Message, depth: _Depth) -> None:
    serial, kind = name.lstrip("/").rsplit("/", 1)
    data = message.data
    if kind == "depth":
        data = _smaller(take, serial, message.data)
        depth.pictures, depth.before = depth.pictures + 1, depth.before + len(message.data)
        depth.after += len(data)
    host_nsec = None if message.publish_time == message.log_time else message.publish_time
    writer.write(serial, kind, data, device_usec=message.log_time // 1000, host_nsec=host_nsec)


def _smaller(take: Take, serial: str, data: bytes) -> bytes:
    """The picture as FFV1, unless that is larger; a picture tells by its first bytes how it is packed."""
    width, height = take.cameras[serial].rgbd.depth.size
    if min(width, height) < LEAST_SIDE:
        return data
    packed = encode_ffv1(decode_depth(data, width=width, height=height))
    return packed if len(packed) < len(data) else data


def _verify(take: Take, salvage: Salvage, copy: Path, bar: Progress) -> None:
    """Reads the copy from the disk and compares everything; raises VerificationError at the first difference."""
    _forget_cached(copy)
    found = scan(copy)
    texts = {name: dict(values) for name, values in found.metadata.items()}
    texts.get(TAKE_METADATA, {}).pop(DEPTH_ENCODING_KEY, None)
    if not salvage.metadata.get(TAKE_METADATA):
        texts.pop(TAKE_METADATA, None)
    if not found.ended or found.damaged_chunks or texts != salvage.metadata or found.attachments != salvage.attachments:
        raise _differs(take)
    count = 0
    for old, new in zip_longest(whole_messages(salvage), whole_messages(found)):
        if old is None or new is None or not _same(take, old, new):
            raise _differs(take)
        count += 1
        if old[0] != SOUND_CHANNEL:
            bar.advance()
    with StreamsReader(copy) as reader:
        if sum(len(channel.device_usec) for channel in reader.channels.values()) != count:
            raise _differs(take)


def _same(take: Take, old: tuple[str, Message], new: tuple[str, Message]) -> bool:
    (name, before), (other_name, after) = old, new
    if (name, before.log_time, before.publish_time) != (other_name, after.log_time, after.publish_time):
        return False
    if before.data == after.data:
        return True
    serial, kind = name.lstrip("/").rsplit("/", 1) if name != SOUND_CHANNEL else ("", "")
    if kind != "depth":
        return False
    width, height = take.cameras[serial].rgbd.depth.size
    old_mm, new_mm = (decode_depth(message.data, width=width, height=height) for message in (before, after))
    return bool(np.array_equal(old_mm, new_mm))


def _forget_cached(path: Path) -> None:
    """Asks the system to drop its copy of the file, so that what is compared comes from the disk."""
    if hasattr(os, "posix_fadvise"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _differs(take: Take) -> VerificationError:
    return VerificationError(
        f"{take.path}: the packed streams do not read back as the old ones; the take was not touched",
        hint="look at this machine's disk and memory; mmface4d take check TAKE tells whether the take is whole",
    )


def report_json(report: PackReport) -> dict[str, Any]:
    """The figures for scripts."""
    return asdict(report)


def report_text(report: PackReport) -> str:
    """The figures for a person."""
    if not report.packed:
        return f"{report.take} is packed already ({report.bytes_before / 1e6:.1f} MB)"
    factor = report.depth_bytes_before / max(report.depth_bytes_after, 1)
    return (
        f"{report.take}: {report.bytes_before / 1e6:.1f} MB became {report.bytes_after / 1e6:.1f} MB; "
        f"{report.depth_pictures} depth pictures are {factor:.2f} times smaller, and read back bit by bit"
    )
