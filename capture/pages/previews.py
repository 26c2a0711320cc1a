"""Small pictures of what cameras see now, made when a page asks, never more than ten a second."""

import threading
import time

import numpy as np

from capture.recorder.recorder import Recorder

KEPT_S = 0.1
QUALITY = 70


class Previews:
    """The latest picture of each camera, a quarter of its size."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._kept: dict[str, tuple[float, bytes]] = {}
        self._lock = threading.Lock()

    def jpeg(self, serial: str) -> bytes | None:
        """None where the camera is unknown or has not delivered yet."""
        capture = self._recorder.latest.get(serial)
        if capture is None or not capture.color_jpeg:
            return None
        with self._lock:
            made_s, small = self._kept.get(serial, (0.0, b""))
            if time.monotonic() - made_s > KEPT_S:
                small = _reduced(capture.color_jpeg)
                self._kept[serial] = (time.monotonic(), small)
        return small or None


def _reduced(jpeg: bytes) -> bytes:
    """Empty where the picture is damaged."""
    import cv2

    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_REDUCED_COLOR_4)
    return b"" if image is None else cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
