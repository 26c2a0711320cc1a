"""Reading a streams file that has no index: record by record from its head, as far as it is whole.

Layout: https://mcap.dev/spec. A record is an opcode, a length and that many bytes; pictures lie in chunks with a CRC.
"""

import io
import json
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Attachment, Channel, Chunk, McapRecord, Message, Metadata
from mcap.stream_reader import MAGIC_SIZE, breakup_chunk, read_magic
from pydantic import ValidationError

from capture.clocks import HostTimes
from capture.pairing import CaptureTimes
from capture.sound_track import SoundBlock, SoundFormat
from mmface4d.errors import TakeError
from mmface4d.take import CAMERA_METADATA, TAKE_METADATA, TakeCamera, camera_of
from mmface4d.take_record import CameraRecord
from mmface4d.take_streams import (
    DAMAGE,
    DEPTH_ENCODING,
    DEPTH_ENCODING_KEY,
    KINDS,
    MAX_CHUNK_BYTES,
    RECORD_HEAD_BYTES,
    SOUND_CHANNEL,
    SOUND_HEAD,
)

READ = {Opcode.METADATA: Metadata, Opcode.ATTACHMENT: Attachment, Opcode.CHUNK: Chunk}
KNOWN = {int(opcode) for opcode in Opcode}


@dataclass
class Salvage:
    """What a streams file holds that is whole; times are of pictures, by channel name."""

    path: Path
    cameras: dict[str, TakeCamera] = field(default_factory=dict)
    metadata: dict[str, dict[str, str]] = field(default_factory=dict)
    attachments: dict[str, bytes] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)  # of channels
    device_nsec: dict[str, array] = field(default_factory=dict)
    host_nsec: dict[str, array] = field(default_factory=dict)
    sound_blocks: int = 0
    chunks: int = 0
    damaged_chunks: int = 0
    damaged_bytes: int = 0
    file_bytes: int = 0
    whole_bytes: int = 0  # from the file's head, up to the end of its last whole record
    ended: bool = False  # the record that ends the pictures is there; only an index may follow
    tail_opcode: int = 0  # what the record that is not whole would have been

    @property
    def pictures(self) -> int:
        """How many pictures are whole."""
        return sum(len(times) for times in self.device_nsec.values())

    @property
    def tail_bytes(self) -> int:
        """Bytes at the end that may have belonged to pictures."""
        if self.ended or self.tail_opcode == Opcode.MESSAGE_INDEX:
            return 0
        return self.file_bytes - self.whole_bytes

    @property
    def sound_format(self) -> SoundFormat | None:
        """Of the sound among the pictures; None where there is none."""
        try:
            return SoundFormat.from_metadata(self.metadata[TAKE_METADATA]) if self.sound_blocks else None
        except (KeyError, ValueError) as error:
            raise TakeError(f"{self.path} does not tell its sound's rate", hint=_NO_HEAD) from error

    @property
    def depth_encoding(self) -> str:
        """How its depth pictures are packed."""
        return self.metadata.get(TAKE_METADATA, {}).get(DEPTH_ENCODING_KEY, DEPTH_ENCODING)

    @property
    def fps(self) -> float:
        """The frame rate the take was begun with."""
        try:
            return float(self.metadata[TAKE_METADATA]["fps"])
        except (KeyError, ValueError) as error:
            raise TakeError(f"{self.path} does not tell its frame rate", hint=_NO_HEAD) from error

    @property
    def source(self) -> dict[str, Any]:
        """Where the take was begun from."""
        try:
            value = json.loads(self.metadata[TAKE_METADATA]["source"])
        except (KeyError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def times(self) -> dict[str, CaptureTimes]:
        """Device times of the pictures by camera."""
        return {
            serial: CaptureTimes(self._usec(serial, "color"), self._usec(serial, "depth")) for serial in self.cameras
        }

    def _usec(self, serial: str, kind: str) -> np.ndarray:
        return np.unique(np.array(self.device_nsec.get(f"/{serial}/{kind}", ()), dtype=np.int64) // 1000)

    def host_times(self) -> dict[str, HostTimes]:
        """Arrival on the host of the colour pictures, of the cameras for which it was recorded."""
        out = {}
        for serial in self.cameras:
            name = f"/{serial}/color"
            device = np.array(self.device_nsec.get(name, ()), dtype=np.int64)
            host = np.array(self.host_nsec.get(name, ()), dtype=np.int64)
            known = np.flatnonzero(device != host)
            order = known[np.argsort(device[known], kind="stable")]
            if len(order):
                out[serial] = HostTimes(device[order] // 1000, host[order])
        return out


def scan(path: Path) -> Salvage:
    """Reads everything that is whole; raises TakeError where not even the cameras are there."""
    out = Salvage(path)
    for record in _records(path, out):
        if isinstance(record, Metadata):
            out.metadata[record.name] = record.metadata
            if record.name.startswith(CAMERA_METADATA):
                # the channels are declared in the first chunk only, which may be damaged; their order is known
                serial = record.name.removeprefix(CAMERA_METADATA)
                names = [name for name in out.names.values() if name != SOUND_CHANNEL]
                names += [f"/{serial}/{kind}" for kind in KINDS] + [SOUND_CHANNEL]
                out.names = dict(enumerate(names, 1))
        elif isinstance(record, Attachment):
            out.attachments[record.name] = record.data
    out.cameras = _cameras(out)
    return out


def sound_blocks(salvage: Salvage) -> Iterator[SoundBlock]:
    """Every whole block of sound in the order of the file."""
    return (as_sound(message) for name, message in whole_messages(salvage) if name == SOUND_CHANNEL)


def as_sound(message: Message) -> SoundBlock:
    """What a message of the sound's channel holds; raises TakeError where it is too short."""
    if len(message.data) < SOUND_HEAD.size:
        raise TakeError("a block of sound is cut short", hint=_NO_HEAD)
    first, lost = SOUND_HEAD.unpack_from(message.data)
    return SoundBlock(message.log_time, first, lost, message.data[SOUND_HEAD.size :])


def whole_messages(salvage: Salvage) -> Iterator[tuple[str, Message]]:
    """Every whole picture and block of sound in the order of the file, with its channel; one chunk in memory."""
    for record in _records(salvage.path, Salvage(salvage.path, names=dict(salvage.names))):
        if isinstance(record, Chunk):
            for inner in breakup_chunk(record):
                if isinstance(inner, Message) and inner.channel_id in salvage.names:
                    yield salvage.names[inner.channel_id], inner


def _records(path: Path, out: Salvage) -> Iterator[McapRecord]:
    """Metadata, attachments and undamaged chunks, as far as the file is whole; notes in `out` what it saw."""
    size = out.file_bytes = path.stat().st_size
    with path.open("rb") as file:
        if not _starts_well(file):
            raise TakeError(f"{path} is no streams file: its first bytes are of another kind", hint=_NO_HEAD)
        out.whole_bytes = MAGIC_SIZE
        while not out.ended:
            head = file.read(RECORD_HEAD_BYTES)
            out.tail_opcode = head[0] if head else 0
            length = int.from_bytes(head[1:], "little")
            end = out.whole_bytes + RECORD_HEAD_BYTES + length
            if len(head) < RECORD_HEAD_BYTES or end > size or head[0] not in KNOWN:
                return
            record = _read(file, head[0], length)
            if isinstance(record, Chunk) and not _note_chunk(record, out):
                record = None
            if record is None and head[0] == Opcode.CHUNK:
                out.damaged_chunks += 1
                out.damaged_bytes += length
            out.whole_bytes, out.ended = end, head[0] == Opcode.DATA_END
            file.seek(end)
            if record is not None:
                yield record


def _starts_well(file: BinaryIO) -> bool:
    try:
        return read_magic(ReadDataStream(file))
    except DAMAGE:
        return False


def _read(file: BinaryIO, opcode: int, length: int) -> McapRecord | None:
    """A record of a kind that matters, or None where it does not or is damaged."""
    kind = READ.get(Opcode(opcode))
    if kind is None or length > MAX_CHUNK_BYTES:
        return None
    try:
        return kind.read(ReadDataStream(io.BytesIO(file.read(length))))
    except DAMAGE:
        return None


def _note_chunk(chunk: Chunk, out: Salvage) -> bool:
    """Notes the times of a chunk's pictures; False where the chunk is damaged."""
    records = _unpack(chunk)
    if records is None:
        return False
    out.chunks += 1
    for record in records:
        if isinstance(record, Channel):
            out.names[record.id] = record.topic
        elif isinstance(record, Message) and record.channel_id in out.names:
            name = out.names[record.channel_id]
            if name == SOUND_CHANNEL:
                out.sound_blocks += 1
                continue
            out.device_nsec.setdefault(name, array("q")).append(record.log_time)
            out.host_nsec.setdefault(name, array("q")).append(record.publish_time)
    return True


def _unpack(chunk: Chunk) -> list[McapRecord] | None:
    """The records in a chunk, or None where it is damaged."""
    whole = not chunk.compression and len(chunk.data) == chunk.uncompressed_size
    if not whole or zlib.crc32(chunk.data) != chunk.uncompressed_crc:
        return None
    try:
        records = breakup_chunk(chunk)
    except DAMAGE:
        return None
    times = (time for r in records if isinstance(r, Message) for time in (r.log_time, r.publish_time))
    return None if any(time >= 1 << 63 for time in times) else records


def _cameras(salvage: Salvage) -> dict[str, TakeCamera]:
    cameras = {}
    for name, values in salvage.metadata.items():
        if name.startswith(CAMERA_METADATA):
            serial = name.removeprefix(CAMERA_METADATA)
            try:
                cameras[serial] = camera_of(serial, CameraRecord.model_validate_json(values.get("json", "")))
            except ValidationError as error:
                raise TakeError(f"{salvage.path}: the record of camera {serial} is damaged", hint=_NO_HEAD) from error
    if not cameras:
        raise TakeError(f"{salvage.path} ends before it tells its cameras; nothing can be saved", hint=_NO_HEAD)
    return cameras


_NO_HEAD = "nothing was changed; import the recordings again"
