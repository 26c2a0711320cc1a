"""Where in a sound somebody speaks: short-time level against the room's own."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mmface4d.errors import TakeError

HOP_S = 0.01
ABOVE_ROOM_DB = 15.0
LEAST_DBFS = -50.0  # quieter than this nobody speaks into a microphone
LEAST_RANGE_DB = 6.0  # a hum is as loud all the time
LEAST_SPEECH_S = 0.12  # shorter is a click
BRIDGED_S = 0.35  # closures of plosives and breaths inside a sentence
FLOOR_DBFS = -120.0


@dataclass(frozen=True)
class SpeechFound:
    """Seconds from the first sample; None where nobody speaks. Levels in dBFS, of hops of 10 ms."""

    begin_s: float | None
    end_s: float | None
    duration_s: float
    room_dbfs: float
    loudest_dbfs: float


def find_speech(levels_dbfs: Float[np.ndarray, "n_hops"]) -> SpeechFound:
    """The stretch from the first to the last speech."""
    duration_s = len(levels_dbfs) * HOP_S
    if not len(levels_dbfs):
        return SpeechFound(None, None, 0.0, FLOOR_DBFS, FLOOR_DBFS)
    room, loudest = float(np.percentile(levels_dbfs, 10)), float(levels_dbfs.max())
    # where nobody pauses there is no room to be heard, so half the way to the loudest is enough
    threshold = max(LEAST_DBFS, min(room + ABOVE_ROOM_DB, 0.5 * (room + loudest)))
    runs = [run for run in _runs(levels_dbfs > threshold) if (run[1] - run[0]) * HOP_S >= LEAST_SPEECH_S]
    if not runs or loudest < LEAST_DBFS or loudest - room < LEAST_RANGE_DB:
        return SpeechFound(None, None, duration_s, room, loudest)
    return SpeechFound(runs[0][0] * HOP_S, runs[-1][1] * HOP_S, duration_s, room, loudest)


def _runs(loud: np.ndarray) -> list[tuple[int, int]]:
    """Stretches that are loud, those with short pauses between them joined."""
    steps = np.diff(np.pad(loud.astype(np.int8), 1))
    runs: list[tuple[int, int]] = []
    for begin, end in zip(np.flatnonzero(steps == 1), np.flatnonzero(steps == -1), strict=True):
        if runs and (begin - runs[-1][1]) * HOP_S < BRIDGED_S:
            runs[-1] = (runs[-1][0], int(end))
        else:
            runs.append((int(begin), int(end)))
    return runs


def levels_of(path: Path) -> Float[np.ndarray, "n_hops"]:
    """Levels of a sound file; raises TakeError where it cannot be read."""
    import soundfile

    try:
        with soundfile.SoundFile(path) as sound:
            hop = round(sound.samplerate * HOP_S)
            blocks = sound.blocks(hop * 1000, dtype="float32", always_2d=True)
            return np.concatenate([levels_dbfs(block, hop) for block in blocks] or [np.empty(0)])
    except (soundfile.SoundFileError, RuntimeError, OSError) as error:
        raise TakeError(f"{path} is no readable sound: {error}") from error


def levels_dbfs(samples: Float[np.ndarray, "n_samples n_channels"], hop: int) -> Float[np.ndarray, "n_hops"]:
    """RMS of whole hops of the loudest channel."""
    whole = len(samples) // hop * hop
    power = (samples[:whole].astype(np.float64) ** 2).reshape(-1, hop, samples.shape[1]).mean(1).max(1, initial=0.0)
    return np.maximum(10 * np.log10(power + 1e-12), FLOOR_DBFS)


class VoiceMonitor:
    """Follows levels as they come: has somebody spoken, and for how long has it been quiet since?"""

    def __init__(self, room_dbfs: float) -> None:
        self.threshold = max(LEAST_DBFS, room_dbfs + ABOVE_ROOM_DB)
        self.loud_s = 0.0
        self.quiet_s = 0.0

    def add(self, levels: Iterable[float]) -> None:
        """Takes further hops."""
        for level in levels:
            if level > self.threshold:
                self.loud_s += HOP_S
                self.quiet_s = 0.0
            else:
                self.quiet_s += HOP_S

    @property
    def spoken(self) -> bool:
        """Whether there has been speech."""
        return self.loud_s >= LEAST_SPEECH_S
