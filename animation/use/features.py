"""Speech features of frames, stretch by stretch, from tokens that come piece by piece."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32

from animation.audio.align import align
from animation.audio.encoder import Tokens
from animation.audio.long_speech import joined
from mmface4d.errors import UsageError


class FrameFeatures:
    """Rows of features, equal to those of `speech_features`; stretches may overlap but only go forwards.

    `start_s` is when the first sample is heard, counted from frame 0. Only the tokens of the stretch are kept.
    """

    def __init__(self, pieces: Iterator[Tokens], *, fps: float, start_s: float = 0.0) -> None:
        self._pieces, self._fps, self._start_s = pieces, fps, start_s
        self._kept: Tokens | None = None
        self._first = 0

    def rows(self, first: int, stop: int) -> Float32[np.ndarray, "n_rows n_audio"]:
        """Of frames first to stop; raises UsageError where some before them have been given away."""
        if first < self._first or stop <= first:
            raise UsageError(f"frames {first} to {stop} after {self._first}", hint="ask for stretches in their order")
        times_s = np.arange(first, stop) / self._fps - self._start_s
        tokens = self._reaching(float(times_s[-1]))
        # one more before the first instant: between it and the next one the line is drawn
        start = max(int(np.searchsorted(tokens.times_s, times_s[0])) - 1, 0)
        self._kept = Tokens(tokens.values[start:], tokens.times_s[start:])
        self._first = first
        return align(self._kept, times_s)

    def _reaching(self, end_s: float) -> Tokens:
        """What is kept, and more until it reaches an instant or ends."""
        parts = [] if self._kept is None else [self._kept]
        while not parts or parts[-1].times_s[-1] < end_s:
            piece = next(self._pieces, None)
            if piece is None:
                break
            parts.append(piece)
        return parts[0] if len(parts) == 1 else joined(parts)
