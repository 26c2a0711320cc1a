"""Which captures of several cameras belong together: by device time minus configured delays, never by index.

Wired cameras expose at the same instant, so a subordinate's clock is fitted to the master's on the captures themselves;
host arrival times only tell which captures are near each other when the clocks share no origin.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int

from capture.clocks import (
    LEAST_PAIRS_FOR_RATE,
    LEAST_SPAN_USEC,
    ClockLine,
    HostTimes,
    lower_envelope,
    robust_line,
)
from mmface4d.errors import RecordingError
from mmface4d.take import MISSING, FrameTable, TakeCamera
from mmface4d.take_record import ClockRecord, SyncRecord, UnmatchedRecord

TOLERANCE_USEC = 110.0
# clocks that were reset together agree to a millisecond, and drift apart by at most so much
COMMON_ORIGIN_USEC = 1000.0
MOST_DRIFT = 100e-6
SAME_INSTANT = 0.4  # of a frame period: nearer is the same frame, however badly timed
FIRST_REACH_USEC = 2_000_000.0  # clocks drift by far less than half a frame period in this time
RATE_WANDERS = 1e-6  # by temperature
DEPTH_SLACK = 0.25  # of a frame period: a depth picture this near its due time belongs to its colour


@dataclass(frozen=True)
class CaptureTimes:
    """Device times of a camera's pictures, sorted."""

    color_usec: Int[np.ndarray, "n_color"]
    depth_usec: Int[np.ndarray, "n_depth"]


@dataclass(frozen=True)
class Pairing:
    """The frames of a take, and how they were found."""

    frames: FrameTable
    clocks: dict[str, ClockRecord]
    sync: SyncRecord
    unmatched: list[UnmatchedRecord]
    notes: list[str] = field(default_factory=list)


@dataclass
class _Device:
    """Whole captures (colour with depth) of one camera."""

    serial: str
    color_usec: np.ndarray
    depth_usec: np.ndarray
    master_usec: np.ndarray = field(default_factory=lambda: np.empty(0))  # colour exposure on the master's clock


def pair_captures(
    cameras: dict[str, TakeCamera], times: dict[str, CaptureTimes], *, host: dict[str, HostTimes] | None = None
) -> Pairing:
    """Frames on the master's clock; raises RecordingError where clocks cannot be brought together."""
    period = _period_usec(times)
    unmatched: list[UnmatchedRecord] = []
    devices = {serial: _whole_captures(cameras[serial], times[serial], period, unmatched) for serial in cameras}
    master = master_of(cameras)
    reference = devices[master].color_usec.astype(np.float64)
    devices[master].master_usec = reference
    clocks, errors, violations, notes = {}, [], [], []
    for serial, device in devices.items():
        if serial == master or not len(device.color_usec):
            continue
        due = device.color_usec - cameras[serial].subordinate_delay_usec
        coarse = _coarse_line(master, serial, host)
        line = _fit_clock(due, reference, coarse, period, serial=serial)
        device.master_usec = line(due)
        if coarse is None:
            notes += _doubts(line, due, reference, period, serial=serial)
        clocks[serial], error = _clock_record(line, device.master_usec, reference, period)
        errors.append(error)
    frames = _assemble(devices, master, period, unmatched, violations)
    return Pairing(frames, clocks, _sync_record(errors, violations), unmatched, notes)


def master_of(cameras: dict[str, TakeCamera]) -> str:
    """The camera whose clock counts: the master, or the only one; raises RecordingError."""
    masters = [serial for serial, camera in cameras.items() if camera.role == "master"]
    if len(cameras) == 1:
        return next(iter(cameras))
    roles = ", ".join(f"{serial}: {camera.role}" for serial, camera in cameras.items())
    if len(masters) != 1:
        what = "no master" if not masters else f"{len(masters)} masters"
        raise RecordingError(
            f"the recordings have {what} ({roles})",
            hint="give the recordings of one rig: one master and its subordinates, or a single camera",
        )
    alone = [serial for serial, camera in cameras.items() if camera.role == "standalone"]
    if alone:
        raise RecordingError(
            f"camera {alone[0]} was not wired to the others ({roles})",
            hint="leave it out, or record it as a subordinate",
        )
    return masters[0]


def _period_usec(times: dict[str, CaptureTimes]) -> float:
    gaps = np.concatenate([np.diff(t.color_usec) for t in times.values()] or [np.empty(0)])
    return float(np.median(gaps)) if len(gaps) else 1e6 / 30


def _nearest(values: np.ndarray, sorted_values: np.ndarray) -> np.ndarray:
    """Index of the nearest of `sorted_values` (not empty) to each value."""
    right = np.searchsorted(sorted_values, values).clip(1, max(len(sorted_values) - 1, 1))
    left = right - 1
    right = right.clip(0, len(sorted_values) - 1)
    return np.where(np.abs(values - sorted_values[left]) <= np.abs(sorted_values[right] - values), left, right)


def _mutual(a: np.ndarray, b: np.ndarray, within: float) -> tuple[np.ndarray, np.ndarray]:
    """Indices of pairs that are each other's nearest and no farther than `within`."""
    if not len(a) or not len(b):
        return np.empty(0, int), np.empty(0, int)
    to_b = _nearest(a, b)
    index = np.arange(len(a))
    keep = (_nearest(b, a)[to_b] == index) & (np.abs(a - b[to_b]) <= within)
    return index[keep], to_b[keep]


def _whole_captures(
    camera: TakeCamera, times: CaptureTimes, period: float, unmatched: list[UnmatchedRecord]
) -> _Device:
    """Colour and depth that belong together; halves go to `unmatched`."""
    color, depth = times.color_usec.astype(np.int64), times.depth_usec.astype(np.int64)
    due = color + camera.depth_delay_usec
    in_color, in_depth = _mutual(due.astype(float), depth.astype(float), DEPTH_SLACK * period)
    for index in np.setdiff1d(np.arange(len(color)), in_color):
        record = UnmatchedRecord(serial=camera.serial, color_usec=int(color[index]), reason="colour without depth")
        unmatched.append(record)
    for index in np.setdiff1d(np.arange(len(depth)), in_depth):
        record = UnmatchedRecord(serial=camera.serial, depth_usec=int(depth[index]), reason="depth without colour")
        unmatched.append(record)
    return _Device(camera.serial, color[in_color], depth[in_depth])


def _coarse_line(master: str, serial: str, host: dict[str, HostTimes] | None) -> ClockLine | None:
    """The subordinate's clock on the master's, by arrival on the host; None where that was not recorded of both."""
    if not host or serial not in host or master not in host:
        return None
    theirs, ours = lower_envelope(host[serial]), lower_envelope(host[master])
    middle = float(host[serial].device_usec.mean())
    at_host = float(theirs(np.array([middle]))[0])
    # invert the master's line, whose rate is far below one
    on_master = (at_host - ours.offset_usec + ours.rate * ours.reference_usec) / (1.0 + ours.rate)
    return ClockLine(middle, on_master - middle, (1.0 + theirs.rate) / (1.0 + ours.rate) - 1.0)


def _outwards(due: np.ndarray, reference: np.ndarray, line: ClockLine, period: float) -> ClockLine:
    """Follows the drift from where a line is good, twice as far each time, so that it never reaches half a period."""
    away = np.abs(due - line.reference_usec)
    reach = FIRST_REACH_USEC
    while reach < away.max():
        near = due[away <= reach]
        mine, theirs = _mutual(line(near), reference, 0.5 * period)
        if len(mine):
            line = robust_line(near[mine], reference[theirs])
        reach *= 2
    return line


def _fit_clock(
    due: np.ndarray, reference: np.ndarray, coarse: ClockLine | None, period: float, *, serial: str
) -> ClockLine:
    """A device's clock on the master's: from a coarse line or a common origin, refined on each other's nearest."""
    # a common origin holds best at the start of what both recorded, where the clocks have drifted least
    line = coarse or ClockLine(float(max([due[0], *reference[:1]])), 0.0, 0.0)
    line = _outwards(due, reference, line, period)
    for _ in range(4):
        mine, theirs = _mutual(line(due), reference, 0.5 * period)
        if not len(mine):
            raise RecordingError(
                f"no capture of camera {serial} falls into the master's recording",
                hint="give recordings of one take; where the clocks share no origin, add host_clock.csv beside them",
            )
        line = robust_line(due[mine], reference[theirs])
    start = float(due[0])
    apart = abs(float(line(np.array([start]))[0]) - start)
    if coarse is None and apart > min(COMMON_ORIGIN_USEC + MOST_DRIFT * start, 0.45 * period):
        raise RecordingError(
            f"the clock of camera {serial} does not share the master's origin (off by {apart / 1000:.1f} ms "
            "or more), and nothing tells by how much",
            hint="put host_clock.csv (serial,color_timestamp_usec,host_monotonic_nsec) beside the recordings",
        )
    return line


def _doubts(line: ClockLine, due: np.ndarray, reference: np.ndarray, period: float, *, serial: str) -> list[str]:
    """Whether a common origin, taken for granted, fits the drift that was seen: clocks that ran long can be frames off.

    The line's rate has the standard deviation of a slope through equally spaced times with the residuals' noise.
    """
    mine, theirs = _mutual(line(due), reference, 0.5 * period)
    span = float(np.ptp(due[mine]))
    if len(mine) < LEAST_PAIRS_FOR_RATE or span < LEAST_SPAN_USEC:
        return []
    noise = float(np.std(line(due[mine]) - reference[theirs]))
    rate_std = noise * (12 / len(mine)) ** 0.5 / span
    unsure = line.reference_usec * (3 * rate_std + RATE_WANDERS)
    off = abs(float(line(np.zeros(1))[0]))
    if unsure > 0.25 * period or off < 0.5 * period:
        return []
    return [
        f"camera {serial}: its clock's drift says that it may be paired {off / period:.0f} frames off; "
        "host_clock.csv beside the recordings would tell"
    ]


def _clock_record(
    line: ClockLine, master_usec: np.ndarray, reference: np.ndarray, period: float
) -> tuple[ClockRecord, np.ndarray]:
    mine, theirs = _mutual(master_usec, reference, SAME_INSTANT * period)
    error = np.abs(master_usec[mine] - reference[theirs])
    record = ClockRecord(
        reference_usec=line.reference_usec,
        offset_usec=line.offset_usec,
        rate_ppm=line.rate * 1e6,
        pairs=len(mine),
        residual_median_usec=_quantile(error, 0.5),
        residual_p99_usec=_quantile(error, 0.99),
        residual_max_usec=_quantile(error, 1.0),
    )
    return record, error


def _sync_record(errors: list[np.ndarray], violations: list[dict]) -> SyncRecord:
    error = np.concatenate(errors) if errors else np.empty(0)
    return SyncRecord(
        pairs=len(error),
        median_usec=_quantile(error, 0.5),
        p99_usec=_quantile(error, 0.99),
        max_usec=_quantile(error, 1.0),
        violations=violations,
    )


def _quantile(values: np.ndarray, part: float) -> float:
    return round(float(np.quantile(values, part)), 3) if len(values) else 0.0


def _assemble(
    devices: dict[str, _Device],
    master: str,
    period: float,
    unmatched: list[UnmatchedRecord],
    violations: list[dict],
) -> FrameTable:
    """A row for every instant of the master, and for instants that only subordinates have."""
    instants = _instants(devices, master, period)
    color = {serial: np.full(len(instants), MISSING, np.int64) for serial in devices}
    depth = {serial: np.full(len(instants), MISSING, np.int64) for serial in devices}
    for serial, device in devices.items():
        mine, row = _mutual(device.master_usec, instants, TOLERANCE_USEC)
        color[serial][row], depth[serial][row] = device.color_usec[mine], device.depth_usec[mine]
        for index in np.setdiff1d(np.arange(len(device.color_usec)), mine):
            error = float(np.abs(instants - device.master_usec[index]).min())
            reason = f"{error:.0f} us away from the nearest frame"
            color_usec, depth_usec = int(device.color_usec[index]), int(device.depth_usec[index])
            unmatched.append(
                UnmatchedRecord(serial=serial, color_usec=color_usec, depth_usec=depth_usec, reason=reason)
            )
            violations.append({"serial": serial, "color_usec": color_usec, "error_usec": round(error, 1)})
    kept = np.flatnonzero(np.any([column != MISSING for column in color.values()], axis=0))
    return FrameTable(
        np.rint(instants[kept]).astype(np.int64),
        {serial: column[kept] for serial, column in color.items()},
        {serial: column[kept] for serial, column in depth.items()},
    )


def _instants(devices: dict[str, _Device], master: str, period: float) -> np.ndarray:
    """The master's exposures, and the others' where the master has none near."""
    instants = np.unique(devices[master].master_usec)
    others = [device.master_usec for serial, device in devices.items() if serial != master]
    extra = np.sort(np.concatenate(others)) if others else np.empty(0)
    if len(instants):
        extra = (
            extra[np.abs(extra - instants[_nearest(extra, instants)]) > SAME_INSTANT * period] if len(extra) else extra
        )
    if not len(extra):
        return instants
    groups = np.split(extra, np.flatnonzero(np.diff(extra) > 2 * TOLERANCE_USEC) + 1)
    return np.unique(np.concatenate([instants, [float(group.mean()) for group in groups]]))
