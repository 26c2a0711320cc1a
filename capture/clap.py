"""How much later pictures are placed than sound: measured from flashes with a beep, or from claps of the hands.

A single event says only between which two exposures it happened; sound is exact to a millisecond. Events fall on all
phases of the frames, so the offsets that are possible for every one of them are few: with n events about a frame's
time / (n + 1). A flash that begins while a picture is exposed says more: how bright that picture is.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from mmface4d.errors import RecordingError
from mmface4d.take import Take

HOP_S = 0.001
RISE_DB, BEFORE_S, APART_S = 15.0, 0.08, 0.4
REACH_S = 0.25  # sound and picture of one event are never farther apart than this
LEAST_EVENTS, LEAST_AGREEING = 3, 0.7
MOST_SPREAD_USEC = 10_000.0
SLACK_USEC = 1_500.0  # of both times together
THUMBNAIL = 8
FLASH_STEP = 6.0  # grey levels
STOP_PART = 0.45  # of its motion is left when hands have met
MOTION_OVER_REST = 4.0


@dataclass(frozen=True)
class Event:
    """Something seen: it happened between two instants, microseconds of the master's clock."""

    earliest_usec: float
    latest_usec: float


@dataclass(frozen=True)
class Offset:
    """By how much the pictures come later than the sound says, and from how many events; all in microseconds."""

    kind: str
    offset_usec: float
    spread_usec: float  # half the range that is possible
    events: int
    agreeing: int
    av_offset_usec: float  # what a recording should be told

    def json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def measure_offset(take: Take) -> Offset:
    """The offset of a take; raises RecordingError where it shows too few clear events, or they disagree."""
    audio = take.info.audio
    if audio is None or take.audio_path is None or audio.start_usec is None:
        raise RecordingError(f"{take.path} has no sound with a known start", hint="record a take with claps")
    heard = audio.start_usec + (1 + audio.rate_ppm * 1e-6) * 1e6 * sound_onsets_s(take.audio_path)
    times, pictures = _thumbnails(take)
    exposure_usec = float(take.cameras[take.master].settings.get("exposure_usec") or 0.0)
    found = {
        "flash": flashes(times, pictures.mean((1, 2)), exposure_usec=exposure_usec),
        "clap": stops(times, pictures),
    }
    results = [(kind, *agreeing(pair(heard, events)), len(events)) for kind, events in found.items()]
    kind, offset, spread, count, of, seen = max(results, key=lambda result: result[3])
    if count < LEAST_EVENTS:
        raise RecordingError(
            f"{take.path}: {len(heard)} sharp sounds and {seen} sudden changes in the picture, of which {count} belong "
            f"together; {LEAST_EVENTS} are needed",
            hint="clap ten times before the master camera, a second apart, in a quiet room",
        )
    if count < LEAST_AGREEING * of or spread > MOST_SPREAD_USEC:
        raise RecordingError(
            f"{take.path}: {count} of {of} claps agree, to {spread / 1000:.1f} ms; that is too vague",
            hint="clap ten times or more, sharply and not in a rhythm",
        )
    return Offset(kind, offset, spread, of, count, audio.av_offset_usec + offset)


def sound_onsets_s(path: Path) -> Float[np.ndarray, "n_onsets"]:
    """When the sound jumps up, seconds from the first sample."""
    import soundfile
    from scipy.signal import butter, sosfilt

    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    hop = round(rate * HOP_S)
    sharp = sosfilt(butter(2, 800.0, "highpass", fs=rate, output="sos"), np.asarray(samples).mean(1))
    whole = len(sharp) // hop * hop
    level = 10 * np.log10((np.asarray(sharp)[:whole].reshape(-1, hop) ** 2).mean(1) + 1e-11)
    back = round(BEFORE_S / HOP_S)
    if len(level) <= 2 * back:
        return np.zeros(0)
    before = np.array([np.percentile(level[i - back : i - 1], 90) for i in range(back, len(level))])
    rises = np.flatnonzero(level[back:] > before + RISE_DB) + back
    loud = rises[level[rises] > np.percentile(level, 99.5) - 20.0]
    first = np.r_[True, np.diff(loud) * HOP_S > APART_S] if len(loud) else np.zeros(0, bool)
    return loud[first] * HOP_S


def _thumbnails(take: Take) -> tuple[Float[np.ndarray, "n_pictures"], Float[np.ndarray, "n_pictures height width"]]:
    """The master's pictures, small and grey, and when they were exposed (the middle), by its own clock."""
    from capture.check_pictures import gray_thumbnail

    size = take.cameras[take.master].rgbd.color.size
    times, pictures = [], []
    for frame, usec in enumerate(take.info.frames.color_usec[take.master]):
        jpeg = None if usec is None else take.color_jpeg(frame, take.master)
        if usec is not None and jpeg is not None:
            times.append(usec)
            pictures.append(gray_thumbnail(jpeg, size=size).astype(np.float64))
    return np.array(times, dtype=np.float64), np.array(pictures)


def flashes(
    times_usec: Float[np.ndarray, "n"], brightness: Float[np.ndarray, "n"], *, exposure_usec: float
) -> list[Event]:
    """Sudden brightenings: after the last dark exposure and before the first fully bright one.

    A picture in between was exposed while the light came on; the part of its brightness tells when.
    """
    events = []
    for k in range(1, len(brightness) - 1):
        dark, now, after = brightness[k - 1], brightness[k], brightness[k + 1]
        top = max(now, after)
        if top - dark < FLASH_STEP or (k > 1 and dark - brightness[k - 2] > 0.2 * (top - dark)):
            continue
        part = (now - dark) / (top - dark)
        if part < 0.05 or now - dark < 0.3 * FLASH_STEP:
            continue  # the step comes with the next picture
        begin, end = times_usec[k] - exposure_usec / 2, times_usec[k] + exposure_usec / 2
        if part > 0.9:
            events.append(Event(times_usec[k - 1] + exposure_usec / 2, begin + 0.15 * exposure_usec))
        else:
            at = end - part * exposure_usec
            events.append(Event(at - 0.15 * exposure_usec, at + 0.15 * exposure_usec))
    return events


def stops(times_usec: Float[np.ndarray, "n"], pictures: Float[np.ndarray, "n height width"]) -> list[Event]:
    """Ends of fast movements: between the last two pictures that differ much and the next, which hardly differ."""
    if len(pictures) < 5:
        return []
    motion = np.abs(np.diff(pictures, axis=0)).mean((1, 2))
    rest = float(np.median(motion)) + 1e-6
    events = []
    for k in range(1, len(motion) - 1):
        peak = motion[k] > MOTION_OVER_REST * rest and motion[k] >= motion[k - 1] * 0.8
        if peak and motion[k + 1] < STOP_PART * motion[k]:
            events.append(Event(times_usec[k], times_usec[k + 1]))
    return events


def pair(heard_usec: Float[np.ndarray, "n_heard"], seen: list[Event]) -> list[Event]:
    """Possible offsets (picture minus sound) of events that belong together without a doubt."""
    offsets = []
    for sound in heard_usec:
        near = [
            event
            for event in seen
            if event.earliest_usec - REACH_S * 1e6 < sound < event.latest_usec + REACH_S * 1e6
        ]  # fmt: skip
        if len(near) == 1:
            offsets.append(Event(near[0].earliest_usec - sound, near[0].latest_usec - sound))
    return offsets


def agreeing(offsets: list[Event]) -> tuple[float, float, int, int]:
    """The offset that most events allow: its middle, half its range, how many allow it, and how many there are."""
    if not offsets:
        return 0.0, float("inf"), 0, 0
    low = np.array([event.earliest_usec for event in offsets]) - SLACK_USEC
    high = np.array([event.latest_usec for event in offsets]) + SLACK_USEC
    edges = np.unique(np.r_[low, high])
    middles = (edges[:-1] + edges[1:]) / 2
    votes = ((low[:, None] <= middles) & (middles <= high[:, None])).sum(0)
    best = np.flatnonzero(votes == votes.max())
    begin, end = edges[best[0]], edges[best[-1] + 1]
    return float(begin + end) / 2, float(end - begin) / 2, int(votes.max()), len(offsets)
