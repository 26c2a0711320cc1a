"""The verdict on a take, a moment after it ended: what `take check` finds, and whether the sentence can be used."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from capture.check import CheckReport, Reason, check_take
from capture.gaps import present_frames
from capture.speech_activity import SpeechFound, find_speech, levels_of
from mmface4d.arrays import ColorImage, DepthImage
from mmface4d.cameras import RgbdCamera
from mmface4d.errors import TakeError
from mmface4d.take import Take, open_take

# whether a face is seen in a camera's picture
FaceFinder = Callable[[ColorImage, DepthImage | None, RgbdCamera], bool]
LOOKED_AT = (0.2, 0.5, 0.8)  # of the take, for faces
QUIET_EDGE_S = 0.1  # speech that is nearer to an end may be cut
LOW_DBFS = -36.0
MOST_RAGGED_S, LEAST_RAGGED = 0.25, 2  # of a camera at the ends of a take; frames, where they are rare
MOST_LONGER_S = 1.0  # of the sound than the pictures


@dataclass(frozen=True)
class Verdict:
    """Whether a take can be kept, and what speaks against it."""

    passed: bool
    reasons: tuple[Reason, ...]
    figures: dict[str, Any]

    @property
    def texts(self) -> list[str]:
        """What failed, then what to look at."""
        ordered = sorted(self.reasons, key=lambda reason: reason.severity != "fail")
        return [f"{reason.about}: {reason.text}" for reason in ordered]


def judge(path: Path, *, faults: Sequence[str] = (), find_face: FaceFinder | None = None) -> Verdict:
    """Judges a finished take; `faults` of devices during it make it bad. Raises TakeError where there is none."""
    report = check_take(path)
    # the faults are among the take's notes too
    report.reasons = [reason for reason in report.reasons if reason.about != "note" or reason.text not in faults]
    for fault in dict.fromkeys(faults):
        report.fail("device", fault)
    _judge_ends(path, report)
    if any(reason.about == "drops" for reason in report.reasons):
        report.warn("drops", "see whether USB ports and the disk keep up with: mmface4d doctor")
    if report.good:
        with open_take(path) as take:
            _judge_speech(take, report)
            if find_face is not None:
                _judge_faces(take, report, find_face)
    return Verdict(report.good, tuple(report.reasons), report.figures)


def _judge_ends(path: Path, report: CheckReport) -> None:
    """A camera that stops in mid-take loses nothing between its pictures, and everything after them."""
    try:
        take = open_take(path)
    except TakeError:
        return  # the report says so
    with take:
        for serial in take.cameras:
            index = np.flatnonzero(present_frames(take, serial))
            ragged = max(int(index[0]), len(take) - 1 - int(index[-1])) if len(index) else 0
            if ragged > max(MOST_RAGGED_S * take.fps, LEAST_RAGGED):
                report.fail("cameras", f"camera {serial} lacks {ragged / take.fps:.1f} s at an end of the take")
    longer_s = report.figures.get("audio", {}).get("beyond_last_frame_s", 0.0)
    if longer_s > MOST_LONGER_S:
        report.fail("cameras", f"the pictures end {longer_s:.1f} s before the sound")


def _judge_speech(take: Take, report: CheckReport) -> None:
    if take.audio_path is None:
        return
    try:
        speech = find_speech(levels_of(take.audio_path))
    except TakeError as error:
        report.fail("speech", error.message)
        return
    report.figures["speech"] = asdict(speech)
    if report.figures.get("audio", {}).get("clipped_runs"):
        report.fail("speech", "the voice is clipped; lower the microphone's gain")
    if speech.begin_s is None or speech.end_s is None:
        report.fail("speech", "nobody speaks; is the microphone on?")
        return
    if speech.loudest_dbfs < LOW_DBFS:
        report.warn("speech", f"the voice is weak ({speech.loudest_dbfs:.0f} dBFS); raise the microphone's gain")
    _judge_edges(speech, report)


def _judge_edges(speech: SpeechFound, report: CheckReport) -> None:
    if speech.begin_s is not None and speech.begin_s < QUIET_EDGE_S:
        report.fail("speech", "the speech touches the start; wait for the green light")
    if speech.end_s is not None and speech.duration_s - speech.end_s < QUIET_EDGE_S:
        report.fail("speech", "the speech touches the end; stop later")


def _judge_faces(take: Take, report: CheckReport, find_face: FaceFinder) -> None:
    frames = np.unique((np.array(LOOKED_AT) * (len(take) - 1)).round().astype(int))
    for serial, camera in take.cameras.items():
        looks = [take.views(int(frame)).get(serial) for frame in frames]
        seen = [find_face(look.color, look.depth_mm, camera.rgbd) for look in looks if look is not None]
        report.figures["cameras"][serial]["faces"] = f"{sum(seen)}/{len(frames)}"
        if not any(seen):
            report.fail("face", f"camera {serial} sees no face")
        elif not all(seen):
            report.warn("face", f"camera {serial} sees the face in {sum(seen)} of {len(seen)} pictures")
