"""`streams.mcap`: per camera a colour channel (JPEG) and a depth channel, readable at random and append-only.

Chunks are stored as they are, because JPEG and packed depth do not shrink again. `log_time` is the device's time in
nanoseconds; `publish_time` is the host's arrival time, or equal to `log_time` where it was not recorded. Sound that was
recorded with the pictures is a channel of its own: blocks of 24-bit samples, whose `log_time` is the host's.
"""

import fcntl
import io
import os
import struct
import threading
import zlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
from jaxtyping import Int
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.reader import make_reader
from mcap.records import ChunkIndex, Message, MessageIndex
from mcap.writer import CompressionType, Writer

from mmface4d.depth_codec import ENCODING as DEPTH_ENCODING
from mmface4d.errors import TakeError
from mmface4d.files import sync

PROFILE = "mmface4d"
CHUNK_BYTES = 2 << 20
CACHED_CHUNKS = 8
MAX_CHUNK_BYTES = 256 << 20
MAX_RECORD_BYTES = 512 << 20
RECORD_HEAD_BYTES = 9  # opcode and length
MESSAGE_HEAD_BYTES = 22  # channel, sequence, two times
MESSAGE_TIMES = struct.Struct("<QQ")  # the end of that head
KINDS = {"color": "jpeg", "depth": DEPTH_ENCODING}
DEPTH_ENCODING_KEY = "depth_encoding"  # in the take's metadata, where it is another than DEPTH_ENCODING
SOUND_CHANNEL, SOUND_ENCODING = "/sound", "pcm-s24le"
SOUND_HEAD = struct.Struct("<qi")  # number of the block's first sample, and how many were lost before it
# what the mcap package raises on bytes that are no MCAP
DAMAGE = (McapError, ValueError, KeyError, IndexError, OverflowError, OSError, EOFError, MemoryError, struct.error)


class StreamsWriter:
    """Appends pictures to a new MCAP file; everything written so far survives a kill but for the chunk in progress."""

    def __init__(
        self, path: Path, *, metadata: dict[str, dict[str, str]], attachments: dict[str, bytes], serials: list[str],
        depth_encoding: str = DEPTH_ENCODING,
    ) -> None:  # fmt: skip
        self._file = path.open("xb")
        self._path = path
        self._handed_over = 0
        lock(self._file.fileno(), path)
        self._writer = Writer(self._file, chunk_size=CHUNK_BYTES, compression=CompressionType.NONE)
        self._writer.start(profile=PROFILE)
        # cameras come first, so that a truncated file still tells whose pictures it holds
        for name, values in metadata.items():
            self._writer.add_metadata(name, values)
        for name, data in attachments.items():
            self._writer.add_attachment(0, 0, name, "application/json", data)
        self._channels = {
            (serial, kind): self._writer.register_channel(f"/{serial}/{kind}", encoding, 0)
            for serial in serials
            for kind, encoding in {**KINDS, "depth": depth_encoding}.items()
        }
        self._sound = self._writer.register_channel(SOUND_CHANNEL, SOUND_ENCODING, 0)

    def write(self, serial: str, kind: str, data: bytes, *, device_usec: int, host_nsec: int | None = None) -> None:
        """Appends one picture."""
        time_nsec = device_usec * 1000
        publish_nsec = time_nsec if host_nsec is None else host_nsec
        self._writer.add_message(self._channels[serial, kind], time_nsec, data, publish_nsec)
        self._hand_over()

    def write_sound(self, pcm: bytes, *, first: int, host_nsec: int, lost: int = 0) -> None:
        """Appends a block of interleaved 24-bit samples."""
        self._writer.add_message(self._sound, host_nsec, SOUND_HEAD.pack(first, lost) + pcm, host_nsec)
        self._hand_over()

    def _hand_over(self) -> None:
        if self._file.tell() != self._handed_over:
            self._file.flush()  # a chunk has ended; its last bytes must not wait for the next one's
            self._handed_over = self._file.tell()

    def add_metadata(self, name: str, values: dict[str, str]) -> None:
        """Adds a named table of texts."""
        self._writer.add_metadata(name, values)

    def flush(self) -> None:
        """Ends the chunk in progress and hands everything to the system."""
        self._writer.flush()

    def finish(self) -> None:
        """Writes the index and makes the file durable."""
        self._writer.finish()
        self.close()
        sync(self._path)

    def close(self) -> None:
        """Closes the file without an index, as a kill would."""
        self._file.close()


def lock(handle: int, path: Path) -> None:
    """Claims an open streams file until it is closed or its process ends; raises TakeError where another has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise TakeError(f"{path} is being written", hint="wait for the recording or import to end") from error
    except OSError:
        return  # a file system without locks


@dataclass(frozen=True)
class Channel:
    """Where the pictures of one channel are; times in microseconds of the device, in the order of time."""

    device_usec: Int[np.ndarray, "n_messages"]
    chunk: Int[np.ndarray, "n_messages"]
    offset: Int[np.ndarray, "n_messages"]


class StreamsReader:
    """Random access by channel and device time; verifies the CRC of every chunk it reads; may be shared by threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle = -1
        try:
            with path.open("rb") as file:  # once: `take pack` may put another file in its place at any time
                self._handle = os.dup(file.fileno())
                self._open(file)
        except FileNotFoundError as error:
            raise TakeError(f"{path} does not exist", hint="the take is not whole; import it again") from error
        except DAMAGE as error:
            self.close()
            raise TakeError(f"{path} is damaged: {error or type(error).__name__}", hint=_RECOVER) from error
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def _open(self, file: BinaryIO) -> None:
        summary = make_reader(file).get_summary()
        if summary is None:
            raise McapError("it has no index")
        self.chunks: list[ChunkIndex] = sorted(summary.chunk_indexes, key=lambda chunk: chunk.chunk_start_offset)
        names = {number: channel.topic for number, channel in summary.channels.items()}
        self.channels = self._index(names)

    def _index(self, names: dict[int, str]) -> dict[str, Channel]:
        entries: dict[int, list[tuple[int, int, int]]] = {number: [] for number in names}
        for position, chunk in enumerate(self.chunks):
            if chunk.compression or chunk.chunk_length > MAX_CHUNK_BYTES:
                raise McapError(f"chunk {position} is compressed or too large")
            start = chunk.chunk_start_offset + chunk.chunk_length
            for index in _message_indexes(os.pread(self._handle, chunk.message_index_length, start)):
                entries[index.channel_id] += [(time, position, offset) for time, offset in index.records]
        channels = {}
        for number, name in names.items():
            table = np.array(sorted(entries[number]), dtype=np.int64).reshape(-1, 3)
            channels[name] = Channel(table[:, 0] // 1000, table[:, 1], table[:, 2])
        return channels

    def read(self, name: str, device_usec: int) -> bytes:
        """The picture of a channel at a device time; raises TakeError where it is missing or damaged."""
        return self.read_with_arrival(name, device_usec)[0]

    def read_with_arrival(self, name: str, device_usec: int) -> tuple[bytes, int | None]:
        """Like `read`, with the picture's arrival on the host in nanoseconds, or None where that was not recorded."""
        channel = self.channels.get(name)
        position = -1 if channel is None else int(np.searchsorted(channel.device_usec, device_usec))
        if channel is None or position >= len(channel.device_usec) or channel.device_usec[position] != device_usec:
            raise TakeError(f"{self.path}: {name} has nothing at {device_usec} µs", hint=_RECOVER)
        chunk, offset = int(channel.chunk[position]), int(channel.offset[position])
        data = self.chunk(chunk)
        length = int.from_bytes(data[offset + 1 : offset + RECORD_HEAD_BYTES], "little")
        start, end = offset + RECORD_HEAD_BYTES + MESSAGE_HEAD_BYTES, offset + RECORD_HEAD_BYTES + length
        if end > len(data) or start > end:
            raise TakeError(f"{self.path}: chunk {chunk} has a damaged index", hint=_RECOVER)
        log_nsec, publish_nsec = MESSAGE_TIMES.unpack_from(data, start - MESSAGE_TIMES.size)
        return data[start:end], None if publish_nsec == log_nsec else publish_nsec

    def chunk(self, position: int) -> bytes:
        """The content of a chunk, its CRC verified; the last few are kept."""
        with self._lock:
            if position in self._cache:
                self._cache.move_to_end(position)
                return self._cache[position]
        data = self._read_chunk(position)
        with self._lock:
            self._cache[position] = data
            while len(self._cache) > CACHED_CHUNKS:
                self._cache.popitem(last=False)
        return data

    def _read_chunk(self, position: int) -> bytes:
        index = self.chunks[position]
        record = os.pread(self._handle, index.chunk_length, index.chunk_start_offset)
        # opcode, length, two times, size | CRC | length of the compression's name (none) | length | data
        crc = int.from_bytes(record[33:37], "little")
        data = record[49:]
        if len(data) != index.uncompressed_size or zlib.crc32(data) != crc:
            raise TakeError(f"{self.path}: chunk {position} of {len(self.chunks)} is damaged", hint=_RECOVER)
        return data

    def metadata(self) -> dict[str, dict[str, str]]:
        """The named tables of texts."""
        with self.path.open("rb") as file:
            return {record.name: record.metadata for record in make_reader(file).iter_metadata()}

    def attachments(self) -> dict[str, bytes]:
        """The attached files."""
        with self.path.open("rb") as file:
            return {record.name: record.data for record in make_reader(file).iter_attachments()}

    def messages(self) -> Iterator[tuple[str, Message]]:
        """Every message in the order of the file, with its channel's name."""
        with self.path.open("rb") as file:
            for _, channel, message in make_reader(file, validate_crcs=True).iter_messages(log_time_order=False):
                yield channel.topic, message

    def close(self) -> None:
        """Closes the file."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> "StreamsReader":
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_handle", -1) >= 0:
            self.close()


def _message_indexes(data: bytes) -> Iterator[MessageIndex]:
    stream = ReadDataStream(io.BytesIO(data))
    while stream.count < len(data):
        stream.read(RECORD_HEAD_BYTES)
        yield MessageIndex.read(stream)


_RECOVER = "save what is whole with: mmface4d take recover TAKE"
