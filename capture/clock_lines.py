"""Clocks on the host's, all day long: lines through arrivals, kept up to date in bounded memory, and sound by them.

A device's picture or a block of samples carries the time of its own clock; the host notes when it came. That is late by
a varying delay and never early, so the clock is the lower envelope. Its constant part, the least delay, cannot be seen
by the host: a clap or a flash measures what it makes between sound and picture (`av_offset_usec`).
"""

import threading
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from capture.clocks import ClockLine, HostTimes, add_to_hull, envelope_line, lower_envelope, without_early
from capture.devices.camera import Capture
from capture.microphone.microphone import Block
from mmface4d.take_record import HostLineRecord

WINDOW_S = 600.0  # crystals wander by about 1 ppm in an hour of warming up; this is straight to 0.1 ms
BUCKET_USEC = 1_000_000
MOST_CORNERS = 16  # of a bucket's hull
RECENT = 2048  # arrivals whose delays are remembered, for the residuals
LEAST_POINTS = 8
STRAY_USEC = 20_000.0
EARLY_RUN = 5  # arrivals in a row that come too early: the clock was set anew
LATE_RUN_USEC = 10e6  # and for so long too late
GUESS_EVERY = 10  # buckets; it only has to tell strays, of 20 ms
SETTLED_S = 10.0
SAME_LINE_USEC = (-1_000.0, 5_000.0)


@dataclass(frozen=True)
class ClockFit:
    """A clock on the host's, microseconds: the line, from how much, and how late arrivals were against it."""

    line: ClockLine
    points: int
    span_s: float
    late_median_usec: float
    late_p99_usec: float

    @property
    def rate_ppm(self) -> float:
        """By how much the host's clock runs faster."""
        return self.line.rate * 1e6

    def record(self) -> HostLineRecord:
        """As it stands in `take.json`."""
        return HostLineRecord(
            reference_usec=self.line.reference_usec, offset_usec=round(self.line.offset_usec, 3),
            rate_ppm=round(self.rate_ppm, 4), points=self.points, span_s=round(self.span_s, 3),
            late_median_usec=round(self.late_median_usec, 1), late_p99_usec=round(self.late_p99_usec, 1),
        )  # fmt: skip


def fit_arrivals(times: HostTimes) -> ClockFit:
    """The line through all arrivals of a take; there is at least one."""
    line = lower_envelope(times)
    late_usec = times.host_nsec / 1000.0 - line(times.device_usec)
    span_s = float(np.ptp(times.device_usec)) / 1e6
    median, p99 = np.quantile(late_usec, [0.5, 0.99])
    return ClockFit(line, len(times.device_usec), span_s, float(median), float(p99))


def fit_of_take(times: HostTimes, session: ClockFit | None) -> ClockFit:
    """The session's line where it is longer than the take's own and holds for the take, else the take's."""
    own = fit_arrivals(times)
    if session is None or session.span_s < max(SETTLED_S, own.span_s):
        return own
    least = float(np.min(times.host_nsec / 1000.0 - session.line(times.device_usec)))
    return session if SAME_LINE_USEC[0] < least < SAME_LINE_USEC[1] else own


@dataclass
class _Bucket:
    """A second's arrivals: their number, the sum of their times, and the corners of their lower hull."""

    number: int
    count: int = 0
    sum_usec: float = 0.0
    hull: list[tuple[float, float]] = field(default_factory=list)

    def add(self, since_usec: float, delay_usec: float) -> None:
        self.count += 1
        self.sum_usec += since_usec
        add_to_hull(self.hull, (since_usec, delay_usec))
        if len(self.hull) > MOST_CORNERS:
            del self.hull[len(self.hull) // 2]


class OnlineClock:
    """The line of one clock over the last minutes. Safe to use from several threads; memory does not grow.

    A clock that is set anew (a device that was started again, samples that were lost unnoticed) begins a new line.
    """

    def __init__(self, *, window_s: float = WINDOW_S) -> None:
        self._lock = threading.Lock()
        self._buckets: deque[_Bucket] = deque(maxlen=max(round(window_s * 1e6 / BUCKET_USEC), 1))
        self._recent: deque[tuple[float, float]] = deque(maxlen=RECENT)
        self.restarts = -1
        self._begin(0, 0)

    def _begin(self, source_usec: int, host_nsec: int) -> None:
        self._buckets.clear()
        self._recent.clear()
        self._first, self._first_nsec = source_usec, host_nsec
        self._last_usec = -1.0
        self._guess: tuple[float, float] | None = None
        self._early: list[tuple[int, int]] = []
        self._late_since: float | None = None
        self.restarts += 1

    def add(self, source_usec: int, host_nsec: int) -> None:
        """An arrival; one that is older than the last is left out."""
        with self._lock:
            self._add(source_usec, host_nsec)

    def _add(self, source_usec: int, host_nsec: int) -> None:
        if not self._buckets:
            self._first, self._first_nsec = source_usec, host_nsec
        since = float(source_usec - self._first)
        if since <= self._last_usec:
            if since < self._last_usec - BUCKET_USEC:
                self._begin(source_usec, host_nsec)
                self._add(source_usec, host_nsec)
            return
        delay = (host_nsec - self._first_nsec) / 1000.0 - since
        if self._guess is not None and self._is_stray(since, delay, arrival=(source_usec, host_nsec)):
            return
        self._last_usec = since
        self._recent.append((since, delay))
        number = int(since // BUCKET_USEC)
        if not self._buckets or self._buckets[-1].number != number:
            self._buckets.append(_Bucket(number))
            if self._guess is None or number < GUESS_EVERY or number % GUESS_EVERY == 0:
                self._guess = self._line()
        self._buckets[-1].add(since, delay)

    def _is_stray(self, since: float, delay: float, *, arrival: tuple[int, int]) -> bool:
        """Whether an arrival is far from the line; begins anew where that stays so."""
        offset, rate = self._guess or (0.0, 0.0)
        late = delay - offset - rate * since
        if late < -STRAY_USEC:
            self._early.append(arrival)
            if len(self._early) >= EARLY_RUN:
                self._again(list(self._early))
            return True
        self._early.clear()
        if late < STRAY_USEC:
            self._late_since = None
        elif self._late_since is None:
            self._late_since = since
        elif since - self._late_since > LATE_RUN_USEC:
            self._again([arrival])
            return True
        return False

    def _again(self, arrivals: list[tuple[int, int]]) -> None:
        self._begin(*arrivals[0])
        for source_usec, host_nsec in arrivals:
            self._add(source_usec, host_nsec)

    def _line(self) -> tuple[float, float] | None:
        """Offset and rate of the envelope of what is in the window."""
        filled = [bucket for bucket in self._buckets if bucket.count]
        count = sum(bucket.count for bucket in filled)
        if count < LEAST_POINTS:
            return None
        corners = np.array([corner for bucket in filled for corner in bucket.hull])
        group = np.repeat(np.arange(len(filled)), [len(bucket.hull) for bucket in filled])
        since, delay = corners[:, 0].copy(), corners[:, 1].copy()
        kept = without_early(since, delay, group=group)
        middle = sum(bucket.sum_usec for bucket in filled) / count
        offset, rate = envelope_line(since[kept], delay[kept], middle_usec=middle)
        return (offset, rate) if len(filled) > 2 else (float(delay[kept].min()), 0.0)

    def fit(self) -> ClockFit | None:
        """The line as it is now; None where too little has arrived."""
        with self._lock:
            line = self._line()
            if line is None:
                return None
            recent = np.array(self._recent)
            points = sum(bucket.count for bucket in self._buckets)
            begin = next(corner[0] for bucket in self._buckets for corner in bucket.hull)
            first, first_usec, end = self._first, self._first_nsec / 1000.0, self._last_usec
        offset, rate = line
        late_usec = recent[:, 1] - offset - rate * recent[:, 0]
        median, p99 = np.quantile(late_usec, [0.5, 0.99])
        clock = ClockLine(float(first), offset + first_usec - first, rate)
        return ClockFit(clock, points, (end - begin) / 1e6, float(median), float(p99))

    @property
    def corners(self) -> int:
        """How many points are kept: what it costs in memory."""
        with self._lock:
            return sum(len(bucket.hull) for bucket in self._buckets) + len(self._recent)


class DeviceClock(OnlineClock):
    """A camera's clock on the host's."""

    def add_capture(self, capture: Capture) -> None:
        """Notes the arrival of a colour picture."""
        if capture.color_usec is not None:
            self.add(capture.color_usec, capture.host_nsec)


class SampleClock(OnlineClock):
    """A microphone's samples on the host's clock; its own time is microseconds since the stream was opened."""

    def __init__(self, rate: int, *, window_s: float = WINDOW_S) -> None:
        self.rate = rate
        super().__init__(window_s=window_s)

    def add_block(self, block: Block) -> None:
        """Notes when a block's first sample was in the air."""
        self.add(round(block.first * 1e6 / self.rate), block.host_nsec)


@dataclass(frozen=True)
class SessionLines:
    """Lines over the last minutes of a session, where they are known: of the samples and of the master camera."""

    samples: ClockFit | None = None
    master: ClockFit | None = None


class SessionClocks:
    """All clocks of a session. `add` and `lines` may be called from any thread."""

    def __init__(self, *, rate: int) -> None:
        self.samples = SampleClock(rate)
        self._devices: dict[str, DeviceClock] = {}
        self._lock = threading.Lock()

    def device(self, serial: str) -> DeviceClock:
        """The clock of a camera."""
        with self._lock:
            return self._devices.setdefault(serial, DeviceClock())

    def add(self, arrived: Capture | Block) -> None:
        """Notes what a camera or the microphone delivered."""
        if isinstance(arrived, Block):
            self.samples.add_block(arrived)
        else:
            self.device(arrived.serial).add_capture(arrived)

    def lines(self, master: str) -> SessionLines:
        """The lines as they are now."""
        return SessionLines(self.samples.fit(), self.device(master).fit())


@dataclass(frozen=True)
class SoundPlace:
    """Where a sound begins on the master's device clock, and by how much that clock runs faster than the samples'."""

    start_usec: int
    rate_ppm: float


def audio_start_usec(
    first_usec: float, *, samples: ClockFit, device: ClockFit, av_offset_usec: float = 0.0
) -> SoundPlace:
    """The master's device clock at a sample.

    `first_usec` is the sample's number over the nominal rate, in the samples' own time. `av_offset_usec` is how much
    longer pictures are on their way to the host than sound, as a clap check measures it.
    """
    host_usec = samples.line.at(first_usec) + av_offset_usec
    rate = (1.0 + samples.line.rate) / (1.0 + device.line.rate) - 1.0
    return SoundPlace(round(device.line.source_usec(host_usec)), rate * 1e6)
