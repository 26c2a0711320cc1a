"""A folder of pictures as a recording: `cameras.json`, and SERIAL/color and SERIAL/depth with a picture an instant.

A picture's name is its frame index or its time in microseconds, as `names` in cameras.json says. All cameras share one
clock; the pictures of one instant carry one name.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from capture.pairing import CaptureTimes, master_of
from mmface4d.cameras import IntrinsicsRecord, TransformRecord
from mmface4d.errors import InputError, RecordingError
from mmface4d.files import read_json
from mmface4d.take import TakeCamera, camera_of
from mmface4d.take_record import MAX_CAMERAS, SERIAL_PATTERN, CameraRecord, Role

CAMERAS_FILE = "cameras.json"
SUFFIXES = {"color": (".jpg", ".jpeg", ".png"), "depth": (".png",)}
LITTER = {"thumbs.db", "desktop.ini"}  # what file managers leave; names that begin with a dot are passed over too
MAX_PIXELS = 50_000_000
MAX_IMAGERS_APART_M = 0.5
MAX_DEPTH_UNIT_M = 0.01  # coarser depth shows no face
MAX_USEC = 9 * 10**15  # nanoseconds of it fit 64 bits; the year 2255
MAX_MISTAKES_SHOWN = 12
STEP_FACTOR = 200.0  # a name's unit is wrong by a thousand or more; frames left out make fewer

Kind = Literal["color", "depth"]


class _Camera(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    role: Role
    color: IntrinsicsRecord
    depth: IntrinsicsRecord
    color_from_depth: TransformRecord
    depth_unit_m: float = Field(default=0.001, gt=0, le=MAX_DEPTH_UNIT_M)

    @field_validator("color", "depth")
    @classmethod
    def _bounded(cls, value: IntrinsicsRecord) -> IntrinsicsRecord:
        if value.width * value.height > MAX_PIXELS:
            raise ValueError(f"{value.width}x{value.height} is more than {MAX_PIXELS // 1_000_000} megapixels")
        return value

    @field_validator("color_from_depth")
    @classmethod
    def _in_metres(cls, value: list[list[float]]) -> list[list[float]]:
        apart = math.hypot(*(row[3] for row in value[:3]))
        if apart > MAX_IMAGERS_APART_M:
            raise ValueError(
                f"the imagers are {apart:.4g} m apart; write its translation in metres, it looks like millimetres"
            )
        return value


class _Cameras(BaseModel):
    """The whole of `cameras.json`."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    fps: float = Field(gt=0, le=1000)
    names: Literal["index", "timestamps_usec"] = "index"
    cameras: dict[Annotated[str, StringConstraints(pattern=SERIAL_PATTERN)], _Camera] = Field(
        min_length=1, max_length=MAX_CAMERAS
    )


@dataclass(frozen=True)
class Pictures:
    """One camera's pictures by time in microseconds, in the order of time."""

    color: dict[int, Path]
    depth: dict[int, Path]

    @property
    def times(self) -> CaptureTimes:
        """When they were taken."""
        return CaptureTimes(np.array(list(self.color), np.int64), np.array(list(self.depth), np.int64))


@dataclass(frozen=True)
class ImageFolder:
    """What a folder of pictures holds; no picture is opened yet."""

    path: Path
    fps: float
    cameras: dict[str, TakeCamera]
    depth_unit_m: dict[str, float]
    pictures: dict[str, Pictures]


def open_image_folder(folder: Path) -> ImageFolder:
    """Reads cameras.json and lists the pictures; raises RecordingError where something is missing or amiss."""
    if not folder.is_dir():
        raise RecordingError(f"{folder} is no folder", hint=f"give the folder that holds {CAMERAS_FILE}")
    record = _read_cameras(folder)
    cameras = {
        serial: camera_of(serial, CameraRecord.model_validate(camera.model_dump(exclude={"depth_unit_m"})))
        for serial, camera in record.cameras.items()
    }
    try:
        master_of(cameras)
    except RecordingError as error:
        hint = 'give one camera the role "master" and the others "subordinate"'
        raise RecordingError(f"{folder / CAMERAS_FILE}: {error.message}", hint=hint) from error
    _refuse_other_folders(folder, set(cameras), hint=f"describe it in {CAMERAS_FILE}, or move it away")
    return ImageFolder(
        path=folder,
        fps=record.fps,
        cameras=cameras,
        depth_unit_m={serial: camera.depth_unit_m for serial, camera in record.cameras.items()},
        pictures={serial: _list_camera(folder, serial, record) for serial in cameras},
    )


def inside(root: Path, path: Path) -> Path:
    """The path itself; raises RecordingError where a symbolic link leads it out of the folder."""
    try:
        leads_inside = path.resolve().is_relative_to(root.resolve())
    except RuntimeError as error:  # a link to itself
        raise RecordingError(f"{path} leads nowhere", hint="put the file itself there, not a link") from error
    if not leads_inside:
        raise RecordingError(f"{path} leads out of {root}", hint="put the file itself there, not a link")
    return path


def _read_cameras(folder: Path) -> _Cameras:
    path = folder / CAMERAS_FILE
    if not path.is_file():
        hint = "write one: the layout is shown in docs/image-folders.md"
        raise RecordingError(f"{folder} has no {CAMERAS_FILE}", hint=hint)
    try:
        return _Cameras.model_validate(read_json(inside(folder, path)))
    except ValidationError as error:
        mistakes = [_mistake(item["loc"], item["msg"]) for item in error.errors()]
        shown = mistakes[:MAX_MISTAKES_SHOWN]
        if len(mistakes) > len(shown):
            shown.append(f"and {len(mistakes) - len(shown)} more")
        raise RecordingError(
            f"{path} has {len(mistakes)} mistake(s):\n  " + "\n  ".join(shown),
            hint="correct them; the layout is shown in docs/image-folders.md",
        ) from error
    except RecordingError:
        raise
    except InputError as error:
        raise RecordingError(error.message, hint=f"correct {path}") from error


def _mistake(place: tuple[int | str, ...], message: str) -> str:
    where = ".".join(str(part) for part in place) or "the file"
    return f"{where!r}: {message}" if not where.isprintable() else f"{where}: {message}"


def _refuse_other_folders(folder: Path, expected: set[str], *, hint: str) -> None:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name not in expected and not path.name.startswith("."):
            raise RecordingError(f"{path} belongs to no camera", hint=hint)


def _list_camera(folder: Path, serial: str, record: _Cameras) -> Pictures:
    home = folder / serial
    if not home.is_dir():
        raise RecordingError(
            f"{home} is missing: the folder of camera {serial}",
            hint=f"put its pictures there, or take the camera out of {CAMERAS_FILE}",
        )
    _refuse_other_folders(inside(folder, home), set(SUFFIXES), hint="only color and depth are read; move it away")
    color, depth = _list_pictures(folder, home / "color", record), _list_pictures(folder, home / "depth", record)
    return Pictures(color, depth)


def _list_pictures(root: Path, folder: Path, record: _Cameras) -> dict[int, Path]:
    if not folder.is_dir():
        raise RecordingError(f"{folder} is missing", hint="put the pictures there; a camera has color and depth")
    found: dict[int, Path] = {}
    for path in sorted(inside(root, folder).iterdir()):
        if path.name.startswith(".") or path.name.lower() in LITTER:
            continue
        _check_file(root, path, SUFFIXES[folder.name])
        usec = _time_of(path, record)
        if usec in found:
            raise RecordingError(
                f"{found[usec]} and {path.name} are of one instant", hint="leave one picture an instant"
            )
        found[usec] = path
    if not found:
        raise RecordingError(f"{folder} holds no picture", hint=f"put {' or '.join(SUFFIXES[folder.name])} files there")
    found = dict(sorted(found.items()))
    _check_step(folder, list(found), record)
    return found


def _check_file(root: Path, path: Path, suffixes: tuple[str, ...]) -> None:
    if path.suffix.lower() not in suffixes:
        hint = "save depth as 16-bit PNG in millimetres" if suffixes == SUFFIXES["depth"] else "save it as JPEG or PNG"
        raise RecordingError(f"{path} is none of: {', '.join(suffixes)}", hint=f"{hint}, or move it away")
    if path.is_symlink():
        inside(root, path)
    if not path.is_file():
        raise RecordingError(f"{path} is no file", hint="remove it")


def _time_of(path: Path, record: _Cameras) -> int:
    if not (path.stem.isascii() and path.stem.isdigit()):
        what = "frame index" if record.names == "index" else "time in microseconds"
        raise RecordingError(f"{path}: its name is no {what}", hint="names are digits only, as 000012.png")
    value = int(path.stem) if len(path.stem) <= 30 else MAX_USEC
    usec = round(value * 1e6 / record.fps) if record.names == "index" else value
    if usec >= MAX_USEC:
        raise RecordingError(f"{path}: its name is too large a number", hint=_NAMES_HINT)
    return usec


def _check_step(folder: Path, times_usec: list[int], record: _Cameras) -> None:
    """Refuses names in another unit than cameras.json says: times taken for indices, nanoseconds, milliseconds."""
    if len(times_usec) < 2:
        return
    step, period = float(np.median(np.diff(times_usec))), 1e6 / record.fps
    if not period / STEP_FACTOR <= step <= period * STEP_FACTOR:
        raise RecordingError(
            f"{folder}: by their names the pictures are {step / 1e6:.4g} s apart, "
            f"{record.fps:g} frames a second are {period / 1e6:.4g} s",
            hint=_NAMES_HINT,
        )


_NAMES_HINT = f'say in {CAMERAS_FILE} what names are: "names": "index" or "timestamps_usec" (microseconds)'
