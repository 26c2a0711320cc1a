"""The numbers of a scene, and a verdict in words an operator can act on."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from mmface4d.sequence import FIT, STATUS
from mmface4d.transforms import rotation_angle_deg
from reconstruct.view.heatmap import Residuals
from reconstruct.view.scene import Scene

Level = Literal["good", "look", "poor"]
LEVELS: tuple[Level, ...] = ("good", "look", "poor")
OWN_MESH = (0, 1)  # status of frames whose mesh is their own
# what: (name in a sentence, unit, good up to, poor beyond)
LIMITS = {
    "depth_residual_mm": ("median distance to the measured depth", "mm", 1.0, 2.0),
    "landmark_residual_mm": ("median distance to the face landmarks", "mm", 4.0, 8.0),
}
COVERAGE_LIMITS = (0.6, 0.35)
CAMERA_OFFSET_LIMITS_MM = (1.0, 3.0)
FAILED_LIMITS = (0.02, 0.2)
MISSING_LIMITS = (0.01, 0.5)
SYNC_LIMITS_USEC = (110.0, 1000.0)


@dataclass
class Verdict:
    """The worst level of all that was looked at, with the reasons for it."""

    level: Level = "good"
    reasons: list[str] = field(default_factory=list)

    def judge(self, value: float, limits: tuple[float, float], reason: str) -> None:
        """Takes a value into account that is better the smaller it is; `limits` end what is good and what is usable."""
        level: Level = "good" if value <= limits[0] else "look" if value <= limits[1] else "poor"
        if level != "good":
            self.reasons.append(reason)
        self.level = LEVELS[max(LEVELS.index(self.level), LEVELS.index(level))]


def verdict(scene: Scene, residuals: Residuals | None) -> Verdict:
    """What to think of a sequence or a take."""
    result = Verdict()
    if scene.sequence is not None:
        _judge_sequence(result, scene, residuals)
    if scene.take is not None:
        _judge_take(result, scene)
    return result


def _judge_sequence(result: Verdict, scene: Scene, residuals: Residuals | None) -> None:
    status = per_frame(scene, "status")
    if status is not None:
        failed = int((~np.isin(status, OWN_MESH)).sum())
        result.judge(failed / len(status), FAILED_LIMITS, f"{failed} of {len(status)} frames have no mesh of their own")
    for name, (words, unit, good, poor) in LIMITS.items():
        value = median(scene, name)
        if value is not None:
            result.judge(value, (good, poor), f"{words} is {value:.2g} {unit}")
    coverage = median(scene, "coverage")
    if coverage is not None:
        limits = (1 - COVERAGE_LIMITS[0], 1 - COVERAGE_LIMITS[1])
        result.judge(1 - coverage, limits, f"depth supports only {coverage:.0%} of the face")
    for serial, offset_mm in (residuals.by_camera_mm if residuals else {}).items():
        reason = f"the mesh lies {offset_mm:+.1f} mm off what camera {serial} measures: calibrate again"
        result.judge(abs(offset_mm), CAMERA_OFFSET_LIMITS_MM, reason)
    if status is None and median(scene, "depth_residual_mm") is None and residuals is None:
        result.judge(1.0, (0.0, 1.0), "the sequence carries no figures of quality")


def _judge_take(result: Verdict, scene: Scene) -> None:
    assert scene.take is not None  # the caller's condition
    for serial in scene.take.cameras:
        count = missing_frames(scene, serial)
        share = count / len(scene.frames)
        result.judge(share, MISSING_LIMITS, f"camera {serial} lacks {count} of {len(scene.frames)} frames")
    sync = scene.take.info.sync
    if sync.pairs:
        reason = f"cameras are up to {sync.max_usec:.0f} µs apart"
        result.judge(sync.max_usec, SYNC_LIMITS_USEC, reason)


def missing_frames(scene: Scene, serial: str) -> int:
    """How many shown frames a camera of the take has no picture of."""
    assert scene.take is not None
    device_usec = scene.take.info.frames.color_usec[serial]
    return sum(1 for frame in scene.take_frames.tolist() if frame < 0 or device_usec[frame] is None)


def per_frame(scene: Scene, name: str) -> np.ndarray | None:
    """A per-frame member of the sequence, the shown frames of it; None where it is absent or of another shape."""
    if scene.sequence is None or name not in scene.sequence:
        return None
    values = np.asarray(scene.sequence[name])
    if values.shape != (len(scene.sequence),) or values.dtype.kind not in "fiu":
        return None
    return values[scene.frames.start : scene.frames.stop]


def fit_counts(scene: Scene) -> dict[str, int] | None:
    """How many of the shown frames were tracked, refitted, carried over and started."""
    codes = per_frame(scene, "fit")
    return None if codes is None else {name: int((codes == code).sum()) for code, name in FIT.items()}


def median(scene: Scene, name: str) -> float | None:
    """Median of a per-frame figure over the frames that have one."""
    return _percentile(scene, name, 50)


def _percentile(scene: Scene, name: str, percent: int) -> float | None:
    values = per_frame(scene, name)
    finite = None if values is None else values[np.isfinite(values)]
    return float(np.percentile(finite, percent)) if finite is not None and len(finite) else None


def duration_s(scene: Scene) -> float:
    """Time from the first shown frame to the end of the last."""
    times_usec = scene.timestamps_usec
    return float(times_usec[-1] - times_usec[0]) / 1e6 + 1 / scene.fps


def frame_gaps(scene: Scene) -> int:
    """How many instants no camera has a frame of, by the nominal frame rate."""
    steps = np.diff(scene.timestamps_usec) * scene.fps / 1e6
    return int(np.maximum(np.round(steps) - 1, 0).sum())


def camera_place(scene: Scene, serial: str) -> tuple[float, float] | None:
    """How far a camera stands from the master in mm, and how much it is turned against it in degrees."""
    if scene.calibration is None or serial not in scene.calibration.world_from_camera:
        return None
    pose = scene.calibration.world_from_camera[serial]
    return float(np.linalg.norm(pose[:3, 3])) * 1000, rotation_angle_deg(pose[:3, :3])


def figures(scene: Scene, residuals: Residuals | None) -> dict[str, Any]:
    """Everything that a script would want to read, ready for JSON."""
    judged = verdict(scene, residuals)
    out: dict[str, Any] = {
        "kind": "take" if scene.sequence is None else "sequence",
        "verdict": judged.level,
        "reasons": judged.reasons,
        "notes": scene.notes,
        "frames": len(scene.frames),
        "duration_s": duration_s(scene),
        "frame_gaps": frame_gaps(scene),
        "cameras": list(scene.take.cameras) if scene.take is not None else [],
    }
    status = per_frame(scene, "status")
    if status is not None:
        out["status"] = {
            STATUS.get(code, str(code)): int((status == code).sum()) for code in np.unique(status).tolist()
        }
    how = fit_counts(scene)
    if how is not None:
        out["fit"] = how
    for name in ("depth_residual_mm", "coverage", "landmark_residual_px", "landmark_residual_mm"):
        value = median(scene, name)
        if value is not None:
            out[name] = {"median": value, "p95": _percentile(scene, name, 95)}
    if residuals is not None:
        out["mesh_to_depth"] = {**residuals.figures(), "by_camera_mm": residuals.by_camera_mm}
    return out
