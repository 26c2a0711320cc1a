"""`calibration.json`: where the cameras of a rig stand, and how they see."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from mmface4d.arrays import Transform
from mmface4d.cameras import IntrinsicsRecord, RgbdCamera, TransformRecord
from mmface4d.errors import CalibrationError
from mmface4d.files import read_json, write_json

FORMAT = 1


class _CameraRecord(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    world_from_camera: TransformRecord
    color: IntrinsicsRecord
    depth: IntrinsicsRecord
    color_from_depth: TransformRecord


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: int
    master: str
    cameras: dict[str, _CameraRecord]
    report: dict[str, Any] = {}


@dataclass(frozen=True)
class RigCalibration:
    """Cameras by serial number and their poses; the world is the master's colour camera.

    `world_from_camera[serial]` is a 4x4 matrix in metres; a camera's frame is its colour imager's.
    """

    master: str
    cameras: dict[str, RgbdCamera]
    world_from_camera: dict[str, Transform]
    report: dict[str, Any] = field(default_factory=dict)

    def world_from_depth(self, serial: str) -> Transform:
        """Pose of a device's depth imager."""
        return self.world_from_camera[serial] @ self.cameras[serial].color_from_depth

    def record(self) -> dict[str, Any]:
        """How the calibration stands in a JSON file."""
        cameras = {
            serial: {
                "world_from_camera": self.world_from_camera[serial].tolist(),
                "color": camera.color.to_json(),
                "depth": camera.depth.to_json(),
                "color_from_depth": camera.color_from_depth.tolist(),
            }
            for serial, camera in self.cameras.items()
        }
        return {"format": FORMAT, "master": self.master, "cameras": cameras, "report": self.report}

    def save(self, path: Path) -> None:
        """Writes the file by way of a temporary name."""
        write_json(path, self.record())


def load_calibration(path: Path) -> RigCalibration:
    """Reads `calibration.json`; raises CalibrationError or InputError with what is wrong."""
    return parse_calibration(read_json(path), name=str(path))


def parse_calibration(content: Any, *, name: str) -> RigCalibration:
    """A calibration from the content of its JSON; `name` says in errors where that came from."""
    try:
        record = _Record.model_validate(content)
    except ValidationError as error:
        raise CalibrationError(
            f"{name} is no calibration: {error.error_count()} mistakes, first: {error.errors()[0]['loc']}: "
            f"{error.errors()[0]['msg']}",
            hint="make it again with: mmface4d calibrate TAKE -o calibration.json",
        ) from error
    if record.format != FORMAT:
        raise CalibrationError(
            f"{name} has format {record.format}, this program reads {FORMAT}", hint="update mmface4d"
        )
    if record.master not in record.cameras:
        raise CalibrationError(f"{name}: its master {record.master} is not among its cameras", hint="make it again")
    return RigCalibration(
        master=record.master,
        cameras={
            serial: RgbdCamera(
                serial=serial,
                color=camera.color.to_intrinsics(),
                depth=camera.depth.to_intrinsics(),
                color_from_depth=np.array(camera.color_from_depth),
            )
            for serial, camera in record.cameras.items()
        },
        world_from_camera={serial: np.array(camera.world_from_camera) for serial, camera in record.cameras.items()},
        report=record.report,
    )
