"""The verdict on a take, a moment after it ended: what `take check` finds, and whether the sentence can be used."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from capture.check import CheckReport, Reason, check_take
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
    for fault in faults:
        report.fail("device", fault)
    if report.good:
        with open_take(path) as take:
            _judge_speech(take, report)
            if find_face is not None:
                _judge_faces(take, report, find_face)
    return Verdict(report.good, tuple(report.reasons), report.figures)


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
