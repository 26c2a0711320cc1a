"""A verdict on a take, with reasons: is everything there, whole, in time, and does it show and sound like something?"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from capture.check_pictures import (
    BLACK,
    WHITE,
    PicturesFound,
    check_chunks,
    check_pictures,
    frames_to_decode,
    missing_messages,
)
from capture.check_sound import SILENT_DBFS, SOUND_TOLERANCE_S, measure_sound
from capture.check_timing import laser_gaps_usec
from capture.gaps import camera_gaps, present_frames
from mmface4d.cameras import Intrinsics
from mmface4d.errors import TakeError
from mmface4d.progress import progress
from mmface4d.take import Take, open_take

SYNC_P99_USEC, SYNC_MAX_USEC = 50.0, 110.0
LASER_GAP_USEC = 125.0  # pulses of two cameras that are nearer spoil each other's depth
MOST_DROPS = 0.001  # of the captures
LEAST_DEPTH, LITTLE_DEPTH = 0.05, 0.2  # share of valid pixels around the centre
FOCAL_LENGTHS = (0.2, 5.0)  # in picture widths
BASELINE_M = 0.2  # between the two imagers of one device; a Kinect's is 0.032
MOST_FAULTS_LISTED = 5

Severity = Literal["fail", "warn"]


@dataclass(frozen=True)
class Reason:
    """Something that speaks against a take; one that fails makes it bad."""

    severity: Severity
    about: str
    text: str


@dataclass
class CheckReport:
    """The verdict, its reasons, and the figures behind them."""

    path: Path
    reasons: list[Reason] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether nothing fails."""
        return not any(reason.severity == "fail" for reason in self.reasons)

    def fail(self, about: str, text: str) -> None:
        """Adds a reason that makes the take bad."""
        self.reasons.append(Reason("fail", about, text))

    def warn(self, about: str, text: str) -> None:
        """Adds a reason to look at the take."""
        self.reasons.append(Reason("warn", about, text))


def check_take(path: Path) -> CheckReport:
    """Checks a take; one that is unfinished or damaged gets a bad report, TakeError is for what is no take at all."""
    report = CheckReport(path)
    try:
        take = open_take(path)
    except TakeError as error:
        if not any((path / name).is_file() for name in ("take.json", "streams.mcap")):
            raise
        report.fail("take", f"{error.message}; {error.hint}")
        return report
    with take:
        report.figures |= {"frames": len(take), "fps": take.fps, "cameras": {serial: {} for serial in take.cameras}}
        if not len(take):
            report.fail("frames", "the take has no frames")
            return report
        for note in take.info.notes:  # recovered, truncated, converted: no fault by itself, but not as recorded
            report.warn("note", note)
        _check_calibration(take, report)
        _check_drops(take, report)
        _check_sync(take, report)
        _check_laser(take, report)
        _check_streams(take, report)
        _check_sound(take, report)
    return report


def _check_calibration(take: Take, report: CheckReport) -> None:
    for serial, camera in take.cameras.items():
        for name, lens in (("colour", camera.rgbd.color), ("depth", camera.rgbd.depth)):
            for fault in _lens_faults(lens):
                report.fail("calibration", f"camera {serial}, {name}: {fault}")
        baseline_m = float(np.linalg.norm(camera.rgbd.color_from_depth[:3, 3]))
        if baseline_m > BASELINE_M:
            text = f"camera {serial}: {baseline_m:.3f} m between colour and depth imager; the unit is metres"
            report.fail("calibration", text)


def _lens_faults(lens: Intrinsics) -> Iterator[str]:
    shortest, longest = (factor * max(lens.size) for factor in FOCAL_LENGTHS)
    if not (shortest <= lens.fx <= longest and 0.8 <= lens.fy / lens.fx <= 1.25):
        yield f"focal lengths {lens.fx:.0f}, {lens.fy:.0f} px do not fit a picture of {lens.width}x{lens.height}"
    if not (0 < lens.cx < lens.width and 0 < lens.cy < lens.height):
        yield f"the principal point {lens.cx:.0f}, {lens.cy:.0f} lies outside the picture"


def _check_drops(take: Take, report: CheckReport) -> None:
    """Lost captures between a camera's first and last; what a camera lacks at the ends is only worth a look."""
    lost = captures = 0
    losers = []
    for serial in take.cameras:
        gaps, index = camera_gaps(take, serial), np.flatnonzero(present_frames(take, serial))
        here = sum(gap.lost for gap in gaps)
        lost, captures = lost + here, captures + here + len(index)
        losers += [f"camera {serial}: {here}"] * bool(here)
        report.figures["cameras"][serial] |= {"captures": len(index), "lost": here, "gaps": len(gaps)}
        if not len(index):
            report.fail("cameras", f"camera {serial} has no capture")
            continue
        if gaps:
            longest = max(gaps, key=lambda gap: gap.duration_ms)
            report.figures["cameras"][serial]["longest_gap_ms"] = round(longest.duration_ms, 1)
        late, early = int(index[0]), len(take) - 1 - int(index[-1])
        if late or early:
            parts = [f"starts {late} frames late"] * bool(late) + [f"ends {early} frames early"] * bool(early)
            report.warn("cameras", f"camera {serial} {' and '.join(parts)}")
    share = lost / max(captures, 1)
    report.figures["lost_share"] = round(share, 6)
    if lost:
        say = report.fail if share > MOST_DROPS else report.warn
        text = f"{lost} of {captures} captures were lost ({share:.2%}; {MOST_DROPS:.1%} is tolerable)"
        say("drops", f"{text}; {', '.join(losers)}")
    if take.info.unmatched:
        halves = Counter(one.reason for one in take.info.unmatched if "without" in one.reason)
        listed = "".join(f", {count} of them {reason}" for reason, count in halves.items())
        report.warn(
            "unmatched", f"{len(take.info.unmatched)} captures belong to no frame{listed}; they are kept in the streams"
        )


def _check_sync(take: Take, report: CheckReport) -> None:
    if len(take.cameras) == 1:
        return
    sync = take.info.sync
    report.figures["sync"] = {key: getattr(sync, key) for key in ("pairs", "median_usec", "p99_usec", "max_usec")}
    if not sync.pairs:
        report.fail("sync", "the cameras' synchrony was not measured")
    if sync.p99_usec > SYNC_P99_USEC:
        report.fail(
            "sync", f"99 % of the exposures are within {sync.p99_usec:.0f} µs, should be {SYNC_P99_USEC:.0f} µs"
        )
    if sync.max_usec > SYNC_MAX_USEC:
        report.fail("sync", f"exposures are up to {sync.max_usec:.0f} µs apart, {SYNC_MAX_USEC:.0f} µs is the limit")
    if sync.violations:
        report.fail("sync", f"{len(sync.violations)} captures are farther than {SYNC_MAX_USEC:.0f} µs from any frame")


def _check_laser(take: Take, report: CheckReport) -> None:
    """Only a Kinect's depth is known to be spoilt by its neighbours' lasers; others get a warning."""
    gaps_usec = laser_gaps_usec(take)
    if not len(gaps_usec):
        return
    near = float((gaps_usec < LASER_GAP_USEC).mean())
    report.figures["laser_gap_usec"] = {
        "median": round(float(np.median(gaps_usec)), 1),
        "min": round(float(gaps_usec.min()), 1),
    }
    if near:
        kinect = all("depth_mode" in camera.settings for camera in take.cameras.values())
        text = (
            f"depth exposures of two cameras are only {gaps_usec.min():.0f} µs apart, nearer than "
            f"{LASER_GAP_USEC:.0f} µs in {near:.0%} of the frames; set the depth delays to -160, 0, 160"
        )
        # timestamps jitter, so single frames prove nothing
        (report.fail if kinect and near > 0.01 else report.warn)("laser", text)


def _check_streams(take: Take, report: CheckReport) -> None:
    try:
        streams = take.streams
    except TakeError as error:
        report.fail("streams", f"{error.message}; {error.hint}")
        return
    total = len(streams.chunks) + sum(len(frames_to_decode(take, serial)[0]) for serial in take.cameras)
    with progress(f"check {take.name}", total) as bar:
        _list_faults("streams", check_chunks(take, bar), report)
        _list_faults("streams", missing_messages(take), report)
        for serial in take.cameras:
            _judge_pictures(serial, check_pictures(take, serial, bar), report)


def _judge_pictures(serial: str, found: PicturesFound, report: CheckReport) -> None:
    report.figures["cameras"][serial] |= {key: value for key, value in asdict(found).items() if key != "faults"}
    _list_faults("pictures", found.faults, report)
    if found.valid_share is not None and found.valid_share < LITTLE_DEPTH:
        text = f"camera {serial}: only {found.valid_share:.0%} of the pixels around the centre have a depth"
        (report.fail if found.valid_share < LEAST_DEPTH else report.warn)("depth", text)
    if found.bright_level is not None and found.bright_level < BLACK:
        report.fail("colour", f"camera {serial}: the colour pictures are black")
    if found.dark_level is not None and found.dark_level > WHITE:
        report.fail("colour", f"camera {serial}: the colour pictures are white")


def _list_faults(about: str, faults: list[str], report: CheckReport) -> None:
    for fault in faults[:MOST_FAULTS_LISTED]:
        report.fail(about, fault)
    if len(faults) > MOST_FAULTS_LISTED:
        report.fail(about, f"and {len(faults) - MOST_FAULTS_LISTED} more of this kind")


def _check_sound(take: Take, report: CheckReport) -> None:
    audio, path = take.info.audio, take.audio_path
    if audio is None or path is None:
        report.warn("audio", "the take has no sound")
        return
    try:
        found = measure_sound(path)
    except TakeError as error:
        report.fail("audio", error.message)
        return
    report.figures["audio"] = asdict(found) | {"duration_s": round(found.samples / found.rate, 6)}
    if (found.samples, found.rate) != (audio.samples, audio.rate):
        text = (
            f"{path.name} has {found.samples} samples at {found.rate} Hz, should have {audio.samples} at {audio.rate}"
        )
        report.fail("audio", text)
    if audio.start_source == "assumed":
        report.warn("audio", "when the sound starts is not known; it is assumed to start with the first frame")
    _check_coverage(take, found.samples / found.rate, report)
    if not found.finite:
        report.fail("audio", "the sound holds samples that are no numbers")
    if found.peak_dbfs < SILENT_DBFS:
        report.warn("audio", f"the sound is silent (peak {found.peak_dbfs:.0f} dBFS)")
    if found.clipped_runs:
        report.warn("audio", f"the sound is clipped in {found.clipped_runs} places; lower the microphone's gain")


def _check_coverage(take: Take, duration_s: float, report: CheckReport) -> None:
    first_usec, last_usec = int(take.timestamps_usec[0]), int(take.timestamps_usec[-1])
    start_usec = take.audio_start_usec if take.audio_start_usec is not None else first_usec
    late_s = (start_usec - first_usec) / 1e6
    short_s = (last_usec - start_usec) / 1e6 - duration_s
    report.figures["audio"] |= {"start_s": round(late_s, 6), "beyond_last_frame_s": round(-short_s, 6)}
    if late_s > SOUND_TOLERANCE_S:
        report.fail("audio", f"the sound starts {late_s:.3f} s after the first frame")
    if short_s > SOUND_TOLERANCE_S:
        report.fail("audio", f"the sound ends {short_s:.3f} s before the last frame")


def report_json(report: CheckReport) -> dict[str, Any]:
    """The report as plain values."""
    return {
        "take": str(report.path),
        "good": report.good,
        "reasons": [asdict(reason) for reason in report.reasons],
        "figures": report.figures,
    }


def report_text(report: CheckReport) -> str:
    """The report for a person: the verdict, then what fails, then what to look at."""
    lines = [f"{report.path}: {'good' if report.good else 'BAD'}"]
    ordered = sorted(report.reasons, key=lambda reason: reason.severity != "fail")
    lines += [f"  {reason.severity}  {reason.about}: {reason.text}" for reason in ordered]
    cameras = report.figures.get("cameras", {}).values()
    step = max((camera.get("every", 1) for camera in cameras), default=1)
    if step > 1:
        lines.append(f"  note  one of {step} pictures was decoded; all of them were read and their checksums verified")
    return "\n".join(lines)
