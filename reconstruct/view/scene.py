"""What there is to look at: a take, a sequence, or a sequence with its take and calibration."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Int

from mmface4d.arrays import ColorImage, DepthImage
from mmface4d.errors import CalibrationError, InputError, TakeError, UsageError
from mmface4d.rig_calibration import RigCalibration, load_calibration, parse_calibration
from mmface4d.sequence import MeshSequence, load_sequence
from mmface4d.take import Take, open_take
from mmface4d.withdrawal import refuse_withdrawn

DEFAULT_FPS = 30.0


@dataclass(frozen=True)
class Scene:
    """What is shown. `frames` counts in the sequence where there is one, else in the take.

    `take_frames[k]` is the take's frame of `frames[k]`, -1 where it has none. `notes` say what is missing and why.
    """

    path: Path
    take: Take | None
    sequence: MeshSequence | None
    calibration: RigCalibration | None
    frames: range
    take_frames: Int[np.ndarray, "n_frames"]
    notes: list[str] = field(default_factory=list)

    @property
    def timestamps_usec(self) -> Int[np.ndarray, "n_frames"]:
        """Device time of the shown frames."""
        source = self.sequence if self.sequence is not None else self.take
        assert source is not None  # open_scene gives at least one
        return np.asarray(source.timestamps_usec)[self.frames.start : self.frames.stop].astype(np.int64)

    @property
    def fps(self) -> float:
        """Nominal frames a second."""
        if self.take is not None:
            return float(self.take.fps)
        assert self.sequence is not None
        fps = np.asarray(self.sequence.arrays.get("fps", DEFAULT_FPS))
        return float(fps) if fps.shape == () and fps.dtype.kind in "fiu" and 0 < fps < np.inf else DEFAULT_FPS

    @property
    def serials(self) -> list[str]:
        """The cameras that can be shown, from left to right as the scene has them; the master's is the middle."""
        known = list(self.take.rgbd) if self.take is not None else []
        if self.calibration is None:
            return known
        poses = self.calibration.world_from_camera
        known = [serial for serial in known if serial in poses]
        return sorted(known, key=lambda serial: float(poses[serial][0, 3]))

    def spread(self, count: int) -> list[int]:
        """Up to `count` positions in `frames`, evenly spread, the ends left out."""
        total = len(self.frames)
        return sorted({int((k + 0.5) * total / count) for k in range(count)} if total > count else range(total))

    def vertices(self, position: int) -> np.ndarray | None:
        """float32 [N,3] of a shown frame in the world frame; None where the frame could not be aligned."""
        if self.sequence is None:
            return None
        vertices = np.array(self.sequence.vertices[self.frames[position]], dtype=np.float32)
        return vertices if np.isfinite(vertices).all() else None

    def color(self, position: int, serial: str) -> ColorImage | None:
        """A camera's colour picture of a shown frame; None where there is none or it is damaged, which is noted."""
        frame = int(self.take_frames[position])
        if self.take is None or frame < 0:
            return None
        try:
            return self.take.color(frame, serial)
        except TakeError as error:
            self._note(error.message)
            return None

    def depth_mm(self, position: int, serial: str) -> DepthImage | None:
        """A camera's depth picture of a shown frame; None where there is none or it is damaged, which is noted."""
        frame = int(self.take_frames[position])
        if self.take is None or frame < 0:
            return None
        try:
            return self.take.depth_mm(frame, serial)
        except TakeError as error:
            self._note(error.message)
            return None

    def __enter__(self) -> "Scene":
        return self

    def __exit__(self, *_: object) -> None:
        if self.take is not None:
            self.take.close()

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def open_scene(path: Path, *, take: Path | None, calibration: Path | None, frames: str | None) -> Scene:
    """Opens a take's folder or a sequence's file, and what belongs to it.

    Raises InputError where the path is neither, CalibrationError where the calibration is of other cameras,
    ConsentError where whom it shows has withdrawn.
    """
    if path.is_dir():
        return _open_take_scene(path, calibration=calibration, frames=frames)
    if path.suffix != ".npz":
        what = "does not exist" if not path.exists() else "is neither a take's folder nor a sequence's .npz"
        raise InputError(f"{path} {what}", hint="give a folder made by `take import` or a file made by `reconstruct`")
    refuse_withdrawn(path)  # it may lie in a withdrawn session, whatever it says of its take
    sequence = load_sequence(path)
    _check_faces(sequence)
    notes: list[str] = []
    footage = _take_of(sequence, take, notes)
    rig = _calibration_of(sequence, calibration, notes)
    if footage is not None and rig is not None:
        _check_rig(rig, footage, notes)
    chosen = _range(frames, len(sequence))
    timestamps_usec = np.asarray(sequence.timestamps_usec)[chosen.start : chosen.stop]
    found = np.full(len(chosen), -1, dtype=np.int64)
    if footage is not None:
        found = _match(timestamps_usec, footage, path)
    return Scene(path, footage, sequence, rig, chosen, found, notes)


def _open_take_scene(path: Path, *, calibration: Path | None, frames: str | None) -> Scene:
    footage = open_take(path)
    rig = load_calibration(calibration) if calibration else None
    notes: list[str] = []
    if rig is not None:
        _check_rig(rig, footage, notes)
    chosen = _range(frames, len(footage))
    return Scene(path, footage, None, rig, chosen, np.arange(chosen.start, chosen.stop), notes)


def _take_of(sequence: MeshSequence, given: Path | None, notes: list[str]) -> Take | None:
    named = sequence.take_name
    if named:
        refuse_withdrawn(sequence.path.parent / named)  # whatever else is given in its place
    if given is not None:
        return open_take(given)
    if not named:
        notes.append("The sequence does not name its take: shown without pictures and sound. Give --take TAKE.")
        return None
    try:
        return open_take(sequence.path.parent / named)
    except TakeError as error:
        notes.append(
            f"The take could not be opened ({error.message}): shown without pictures and sound. Give --take TAKE."
        )
        return None


def _calibration_of(sequence: MeshSequence, given: Path | None, notes: list[str]) -> RigCalibration | None:
    if given is not None:
        return load_calibration(given)
    text = str(sequence["calibration_json"]) if "calibration_json" in sequence else ""
    if not text:
        notes.append("The sequence holds no calibration: shown without overlays. Give --calibration calibration.json.")
        return None
    try:
        content = json.loads(text)
    except ValueError as error:
        raise CalibrationError(
            f"the calibration inside {sequence.path} is damaged: {error}", hint="give it with --calibration"
        ) from error
    return parse_calibration(content, name=f"the calibration inside {sequence.path}")


def _check_rig(rig: RigCalibration, footage: Take, notes: list[str]) -> None:
    missing = [serial for serial in footage.rgbd if serial not in rig.cameras]
    if footage.master not in rig.cameras or len(missing) == len(footage.rgbd):
        raise CalibrationError(
            f"the calibration is of the cameras {', '.join(rig.cameras)}, the take of {', '.join(footage.rgbd)}",
            hint="give the calibration of this rig, or make one with: mmface4d calibrate TAKE -o calibration.json",
        )
    for serial in set(footage.rgbd) & set(rig.cameras):
        ours, theirs = rig.cameras[serial], footage.rgbd[serial]
        if ours.color.size != theirs.color.size or ours.depth.size != theirs.depth.size:
            raise CalibrationError(
                f"the calibration of camera {serial} is for other picture sizes than the take's",
                hint="calibrate in the modes that the take was recorded in",
            )
    if missing:
        notes.append(f"Not calibrated, so not shown with the mesh: {', '.join(missing)}.")


def _check_faces(sequence: MeshSequence) -> None:
    faces, count = sequence.faces, sequence.vertices.shape[1]
    whole = faces.ndim == 2 and faces.shape[1] == 3 and faces.size and faces.min() >= 0 and faces.max() < count
    shaped = sequence.vertices.shape[2:] == (3,) and np.asarray(sequence.timestamps_usec).ndim == 1
    if not whole or not shaped or not len(sequence):
        raise InputError(
            f"{sequence.path}: its faces do not fit its vertices", hint="the file is damaged; make it again"
        )


def _range(text: str | None, total: int) -> range:
    if text is None:
        return range(total)
    start, colon, end = text.partition(":")
    try:
        chosen = range(int(start or 0), min(int(end) if end else total, total))
    except ValueError:
        chosen = range(0)
    if not colon or chosen.start < 0 or not len(chosen):
        raise UsageError(
            f"--frames {text} names none of {total} frames", hint="for example --frames 0:30 for the first 30"
        )
    return chosen


def _match(timestamps_usec: Sequence[int] | np.ndarray, footage: Take, path: Path) -> np.ndarray:
    """For every time the take's frame within half a frame interval, or -1."""
    times = np.asarray(footage.timestamps_usec, dtype=np.int64)
    wanted = np.asarray(timestamps_usec, dtype=np.int64)
    order = np.argsort(times, kind="stable")
    right = np.clip(np.searchsorted(times[order], wanted), 1, max(len(times) - 1, 1))
    left_is_nearer = np.abs(times[order][right - 1] - wanted) <= np.abs(
        times[order][np.minimum(right, len(times) - 1)] - wanted
    )
    nearest = order[np.where(left_is_nearer, right - 1, np.minimum(right, len(times) - 1))]
    found = np.where(np.abs(times[nearest] - wanted) <= 0.5e6 / footage.fps, nearest, -1)
    if (found < 0).mean() > 0.5:
        raise InputError(
            f"the times of {path} are not those of the take", hint="give the take it was made from with --take"
        )
    return found
