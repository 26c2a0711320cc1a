"""The moving tape: the last moments are always held, so that a take begins before anybody asked for it.

Pictures and sound come in from many threads, ready to be written. Between takes they are held for the pre-roll and then
forgotten; during a take they go to its writer. One thread writes, so a slow disk never stops a camera.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from capture.sound_track import SoundBlock
from mmface4d.errors import DiskFullError, Mmface4dError
from mmface4d.take import TakeWriter

FOREVER = 1 << 62
GRACE_S = 0.6  # for pieces that arrived in time and are still being packed
FLUSH_S = 0.4  # how much a kill may cost
MOST_WAITING_BYTES = 1 << 30  # of what the disk has not taken yet


@dataclass(frozen=True)
class Picture:
    """A capture of a camera, its depth packed."""

    serial: str
    host_nsec: int
    color_jpeg: bytes | None
    color_usec: int | None
    depth_packed: bytes | None
    depth_usec: int | None

    @property
    def source(self) -> str:
        """Who delivered it."""
        return self.serial

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.color_jpeg or b"") + len(self.depth_packed or b"")

    def write(self, writer: TakeWriter) -> None:
        """To a take."""
        writer.write_packed(
            self.serial, color_jpeg=self.color_jpeg, depth_packed=self.depth_packed, color_usec=self.color_usec,
            depth_usec=self.depth_usec, host_nsec=self.host_nsec,
        )  # fmt: skip


Piece = Picture | SoundBlock


@dataclass
class TapeStatistics:
    """Of the take in progress, or of the last one."""

    pieces: int = 0
    bytes: int = 0
    most_waiting: int = 0  # pieces
    most_waiting_bytes: int = 0


@dataclass
class Written:
    """What a take has got so far: device times and arrivals of pictures, and its sound."""

    pictures: list[tuple[str, int | None, int | None, int]] = field(default_factory=list)
    sound: list[SoundBlock] = field(default_factory=list)

    def note(self, piece: Piece) -> None:
        """Remembers a piece that was written."""
        if isinstance(piece, SoundBlock):
            self.sound.append(piece)
        else:
            self.pictures.append((piece.serial, piece.color_usec, piece.depth_usec, piece.host_nsec))


class Tape:
    """Holds what came last; `record` sends it, and what follows, to a take until `end`."""

    def __init__(self, *, hold_s: float) -> None:
        self._hold_nsec = round(hold_s * 1e9)
        self._held: deque[Piece] = deque()
        self._waiting: deque[Piece] = deque()
        self._waiting_bytes = 0
        self._newest: dict[str, int] = {}  # arrival of each source's last piece
        self._recording = False
        self._until_nsec = FOREVER
        self._failure: Mmface4dError | None = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self.statistics, self.written = TapeStatistics(), Written()

    def put(self, piece: Piece) -> None:
        """Takes a piece from any thread; never waits for the disk."""
        with self._changed:
            self._newest[piece.source] = max(piece.host_nsec, self._newest.get(piece.source, 0))
            self._hold(piece)  # during a take too, for the next one's pre-roll
            if self._recording and piece.host_nsec <= self._until_nsec:
                self._enqueue(piece)
            self._changed.notify_all()

    def record(self, writer: TakeWriter, *, since_nsec: int, on_failure: Callable[[Mmface4dError], None]) -> None:
        """Begins a take with what has been held since then; `on_failure` is called when it cannot be written."""
        with self._changed:
            self._failure, self._until_nsec, self._recording = None, FOREVER, True
            self.statistics, self.written = TapeStatistics(), Written()
            for piece in self._held:
                if piece.host_nsec >= since_nsec:
                    self._enqueue(piece)
        self._thread = threading.Thread(target=self._write, args=(writer, on_failure), name="tape", daemon=True)
        self._thread.start()

    def end(self, *, until_nsec: int) -> None:
        """Ends the take at an instant; returns when all that arrived until then is written.

        Waits a moment for pieces that are still on their way. Raises what the writing raised; what was written before
        is in the take's streams.
        """
        with self._changed:
            self._until_nsec = until_nsec
            self._changed.wait_for(self._all_arrived, timeout=max(0.0, until_nsec / 1e9 - time.monotonic()) + GRACE_S)
            self._recording = False
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._failure is not None:
            raise self._failure

    @property
    def waiting(self) -> tuple[int, int]:
        """How many pieces, and bytes, the disk has not taken yet."""
        with self._changed:
            return len(self._waiting), self._waiting_bytes

    def _all_arrived(self) -> bool:
        return self._failure is not None or all(newest > self._until_nsec for newest in self._newest.values())

    def _hold(self, piece: Piece) -> None:
        self._held.append(piece)
        oldest = piece.host_nsec - self._hold_nsec
        while self._held and self._held[0].host_nsec < oldest:
            self._held.popleft()

    def _enqueue(self, piece: Piece) -> None:
        if self._failure is not None:
            return
        if self._waiting_bytes > MOST_WAITING_BYTES:
            self._failure = DiskFullError(
                f"the disk is too slow: {self._waiting_bytes >> 20} MiB wait to be written",
                hint="record to a faster disk; mmface4d doctor measures it",
            )
            return
        self._waiting.append(piece)
        self._waiting_bytes += piece.size
        seen = self.statistics
        seen.pieces, seen.bytes = seen.pieces + 1, seen.bytes + piece.size
        seen.most_waiting = max(seen.most_waiting, len(self._waiting))
        seen.most_waiting_bytes = max(seen.most_waiting_bytes, self._waiting_bytes)

    def _write(self, writer: TakeWriter, on_failure: Callable[[Mmface4dError], None]) -> None:
        try:
            self._drain(writer)
            writer.flush()
        except (Mmface4dError, OSError) as error:
            self._fail(error)
        if self._failure is not None:
            on_failure(self._failure)

    def _drain(self, writer: TakeWriter) -> None:
        flushed = time.monotonic()
        while self._wait():
            if (piece := self._next()) is not None:
                piece.write(writer)
                self.written.note(piece)
            if time.monotonic() - flushed > FLUSH_S:
                writer.flush()
                flushed = time.monotonic()

    def _wait(self) -> bool:
        """Until something is to be done; False where the take has ended and all is written."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or not self._recording, timeout=FLUSH_S)
            return bool(self._waiting) or (self._recording and self._failure is None)

    def _next(self) -> Piece | None:
        with self._changed:
            if not self._waiting:
                return None
            piece = self._waiting.popleft()
            self._waiting_bytes -= piece.size
            return piece

    def _fail(self, error: Exception) -> None:
        with self._changed:
            self._failure = error if isinstance(error, Mmface4dError) else DiskFullError(
                f"the take cannot be written: {error}", hint="look at the disk; what was written can be recovered"
            )  # fmt: skip
            self._waiting.clear()
            self._waiting_bytes = 0
            self._changed.notify_all()
