"""Packs depth as it comes, beside the cameras' own threads, and hands pictures on to the tape."""

import queue
import threading
from collections.abc import Callable

from capture.devices.camera import Capture
from capture.recorder.tape import Picture
from mmface4d.depth_codec import encode_depth

MOST_WAITING = 90  # captures of all cameras: a second of three


class Packer:
    """Threads that compress; `submit` never waits. What comes while all are busy for too long is lost, and counted."""

    def __init__(self, put: Callable[[Picture], None], *, threads: int = 2) -> None:
        self._put = put
        self._waiting: queue.Queue[Capture | None] = queue.Queue(MOST_WAITING)
        self._threads = [threading.Thread(target=self._work, name="packer", daemon=True) for _ in range(threads)]
        self.lost = 0
        self.most_waiting = 0
        for thread in self._threads:
            thread.start()

    def submit(self, capture: Capture) -> None:
        """Takes a capture from any thread."""
        try:
            self._waiting.put_nowait(capture)
        except queue.Full:
            self.lost += 1
        self.most_waiting = max(self.most_waiting, self._waiting.qsize())

    def close(self) -> None:
        """Packs what waits and ends the threads."""
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (capture := self._waiting.get()) is not None:
            packed = None if capture.depth_mm is None else encode_depth(capture.depth_mm)
            self._put(
                Picture(
                    capture.serial, capture.host_nsec, capture.color_jpeg, capture.color_usec, packed,
                    capture.depth_usec,
                )
            )  # fmt: skip
