"""The Azure Kinect's factory calibration, read without the SDK.

Source of layout and conventions: Azure-Kinect-Sensor-SDK, calibration.c and intrinsic_transformation.c (MIT).
"""

import json
from typing import Any

import numpy as np
from pydantic import BaseModel, ValidationError

from mmface4d.cameras import Intrinsics, RgbdCamera
from mmface4d.errors import RecordingError
from mmface4d.transforms import is_rigid, rigid

# mode -> (calibration image, offset of the crop, output image), in pixels
DEPTH_MODES = {
    "NFOV_2X2BINNED": ((512, 512), (96, 90), (320, 288)),
    "NFOV_UNBINNED": ((1024, 1024), (192, 180), (640, 576)),
    "WFOV_2X2BINNED": ((512, 512), (0, 0), (512, 512)),
    "WFOV_UNBINNED": ((1024, 1024), (0, 0), (1024, 1024)),
    "PASSIVE_IR": ((1024, 1024), (0, 0), (1024, 1024)),
}
COLOR_MODES = {
    "720P": ((1280, 960), (0, 120), (1280, 720)),
    "1080P": ((1920, 1440), (0, 180), (1920, 1080)),
    "1440P": ((2560, 1920), (0, 240), (2560, 1440)),
    "1536P": ((2048, 1536), (0, 0), (2048, 1536)),
    "2160P": ((3840, 2880), (0, 360), (3840, 2160)),
    "3072P": ((4096, 3072), (0, 0), (4096, 3072)),
}
MIXED_TERM = {
    "CALIBRATION_LensDistortionModelBrownConrady": 2.0,
    "CALIBRATION_LensDistortionModelRational6KT": 1.0,
}
MAX_BLOB_BYTES = 1 << 20
RECORD_AGAIN = "record again with k4arecorder"


class _Pose(BaseModel):
    Rotation: list[float]
    Translation: list[float]


class _Lens(BaseModel):
    ModelParameters: list[float]
    ModelType: str


class _Camera(BaseModel):
    Intrinsics: _Lens
    Purpose: str
    MetricRadius: float = 0.0
    Rt: _Pose


class _Information(BaseModel):
    Cameras: list[_Camera]
    Metadata: dict[str, Any] = {}


class _Blob(BaseModel):
    CalibrationInformation: _Information


def parse_factory_calibration(
    blob: bytes, *, depth_mode: str, color_mode: str, serial: str | None = None
) -> RgbdCamera:
    """The device's two cameras for a depth mode ("NFOV_UNBINNED") and a colour mode ("1080P").

    Raises RecordingError where the blob is no factory calibration or the mode is unknown.
    """
    for mode, known in ((depth_mode, DEPTH_MODES), (color_mode, COLOR_MODES)):
        if mode not in known:
            raise RecordingError(f"unknown camera mode {mode!r}", hint=f"known modes: {', '.join(known)}")
    information = _read(blob)
    depth, color = _camera(information, "Depth"), _camera(information, "PhotoVideo")
    return RgbdCamera(
        serial=serial or str(information.Metadata.get("SerialId", "unknown")),
        color=_intrinsics(color, COLOR_MODES[color_mode]),
        depth=_intrinsics(depth, DEPTH_MODES[depth_mode]),
        color_from_depth=_matrix(color.Rt) @ np.linalg.inv(_matrix(depth.Rt)),
    )


def _read(blob: bytes) -> _Information:
    hint = "the recording was made without a device's calibration; record again with k4arecorder"
    if len(blob) > MAX_BLOB_BYTES:
        raise RecordingError(f"the factory calibration has {len(blob)} bytes, which is no calibration", hint=hint)
    try:
        return _Blob.model_validate(json.loads(blob.rstrip(b"\0").decode("utf-8-sig"))).CalibrationInformation
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RecordingError(f"the factory calibration cannot be read: {where}: {first['msg']}", hint=hint) from error
    except (ValueError, RecursionError) as error:
        raise RecordingError(f"the factory calibration cannot be read: {error}", hint=hint) from error


def _camera(information: _Information, purpose: str) -> _Camera:
    for camera in information.Cameras:
        if camera.Purpose.endswith(purpose):
            return camera
    raise RecordingError(f"the factory calibration has no {purpose} camera", hint=RECORD_AGAIN)


def _intrinsics(camera: _Camera, mode: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]) -> Intrinsics:
    (full_width, full_height), (left, top), (width, height) = mode
    lens = camera.Intrinsics
    if lens.ModelType not in MIXED_TERM or len(lens.ModelParameters) < 14:
        raise RecordingError(
            f"lens model {lens.ModelType} with {len(lens.ModelParameters)} parameters is not known",
            hint="known: " + ", ".join(MIXED_TERM),
        )
    cx, cy, fx, fy, k1, k2, k3, k4, k5, k6, center_x, center_y, p2, p1 = parameters = lens.ModelParameters[:14]
    if not np.isfinite(parameters).all() or min(fx, fy) <= 0:
        raise RecordingError(f"the factory calibration has a damaged {camera.Purpose} lens", hint=RECORD_AGAIN)
    return Intrinsics(
        width=width, height=height,
        fx=fx * full_width, fy=fy * full_height,
        # the file counts from the image's corner, pixels from the first pixel's centre
        cx=cx * full_width - 0.5 - left, cy=cy * full_height - 0.5 - top,
        distortion=(k1, k2, p1, p2, k3, k4, k5, k6),
        tangential_cross=MIXED_TERM[lens.ModelType],
        distortion_center=(center_x, center_y),
        max_radius=camera.MetricRadius or 1.7,
    )  # fmt: skip


def _matrix(pose: _Pose) -> np.ndarray:
    if len(pose.Rotation) != 9 or len(pose.Translation) != 3:
        raise RecordingError("the factory calibration has a damaged pose", hint=RECORD_AGAIN)
    out = rigid(np.reshape(pose.Rotation, (3, 3)), np.array(pose.Translation))
    if not is_rigid(out, tolerance=1e-3):
        raise RecordingError("the factory calibration has a damaged pose", hint=RECORD_AGAIN)
    left, _, right = np.linalg.svd(out[:3, :3])  # the file rounds the rotation
    out[:3, :3] = left @ right
    return out
