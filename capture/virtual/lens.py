"""Factory calibrations for virtual Kinects, in the JSON form that a device hands out.

The numbers are our own, of the size that real devices show: NFOV depth 504 px, 1080p colour 911 px focal length.
"""

import json
from typing import Any

import numpy as np

from mmface4d.azure_kinect import parse_factory_calibration
from mmface4d.cameras import RgbdCamera
from mmface4d.transforms import rotation_from_rotvec

DEPTH_MODE = "NFOV_UNBINNED"
COLOR_MODE = "1080P"
BROWN_CONRADY = "CALIBRATION_LensDistortionModelBrownConrady"
# normalised by the calibration images' sizes, 1024x1024 and 1920x1440: cx, cy, fx, fy
DEPTH_PINHOLE = (0.5005, 0.5003, 0.4922, 0.4923)
COLOR_PINHOLE = (0.4985, 0.5010, 0.4745, 0.6327)
PINHOLE_SPREAD = (0.003, 0.003, 0.0008, 0.0008)  # between devices
# k1 k2 k3 k4 k5 k6
DEPTH_RADIAL = (0.561, -0.018, -0.0021, 0.902, 0.091, -0.0132)
COLOR_RADIAL = (0.315, -2.42, 1.41, 0.195, -2.24, 1.335)
RADIAL_SPREAD = 0.002
TANGENTIAL_SPREAD = 1.5e-4
COLOR_FROM_DEPTH_M = (-0.0320, -0.0021, 0.0039)
COLOR_TILT_DEG = 4.9
POSE_SPREAD_M, POSE_SPREAD_DEG = 0.0003, 0.15
DEPTH_RADIUS = 1.74
# what the SDK's own reader insists on, though nothing here depends on it
DEPTH_PLACE, COLOR_PLACE = ("D0", 1024, 1024), ("PV0", 4096, 3072)
INERTIAL_SENSORS = ("Gyro", "Accelerometer")


def factory_calibration(serial: str, rng: np.random.Generator) -> bytes:
    """The calibration blob of one device; every device is a little different."""
    turn = np.radians([COLOR_TILT_DEG, 0, 0] + POSE_SPREAD_DEG * rng.standard_normal(3))
    shift = np.array(COLOR_FROM_DEPTH_M) + POSE_SPREAD_M * rng.standard_normal(3)
    unmoved = {"Rotation": np.eye(3).ravel().tolist(), "Translation": [0.0, 0.0, 0.0]}
    # the file's pose of the colour imager leads from the depth imager's frame into its own
    tilted = {"Rotation": rotation_from_rotvec(turn).ravel().tolist(), "Translation": shift.tolist()}
    cameras = [
        _imager("Depth", DEPTH_PINHOLE, DEPTH_RADIAL, pose=unmoved, radius=DEPTH_RADIUS, rng=rng)
        | _place(*DEPTH_PLACE),
        _imager("PhotoVideo", COLOR_PINHOLE, COLOR_RADIAL, pose=tilted, radius=0.0, rng=rng) | _place(*COLOR_PLACE),
    ]
    inertial = [_inertial_sensor(kind, unmoved) for kind in INERTIAL_SENSORS]
    information = {"Cameras": cameras, "InertialSensors": inertial, "Metadata": {"SerialId": serial}}
    return json.dumps({"CalibrationInformation": information}).encode() + b"\0"


def parse(blob: bytes) -> RgbdCamera:
    """The cameras that a blob describes, in the modes that the virtual rig runs in."""
    return parse_factory_calibration(blob, depth_mode=DEPTH_MODE, color_mode=COLOR_MODE)


def _imager(
    purpose: str,
    pinhole: tuple[float, ...],
    radial: tuple[float, ...],
    *,
    pose: dict[str, list[float]],
    radius: float,
    rng: np.random.Generator,
) -> dict[str, object]:
    centre_and_focal = np.array(pinhole) + np.array(PINHOLE_SPREAD) * rng.standard_normal(4)
    bend = np.array(radial) + RADIAL_SPREAD * rng.standard_normal(6) * (1, 0, 0, 0, 0, 0)
    p2, p1 = TANGENTIAL_SPREAD * rng.standard_normal(2)
    parameters = [*centre_and_focal, *bend, 0.0, 0.0, p2, p1]
    return {
        "Intrinsics": {
            "ModelParameterCount": len(parameters),
            "ModelParameters": [float(value) for value in parameters],
            "ModelType": BROWN_CONRADY,
        },
        "Purpose": f"CALIBRATION_CameraPurpose{purpose}",
        "MetricRadius": radius,
        "Rt": pose,
    }


def _place(location: str, width: int, height: int) -> dict[str, object]:
    return {
        "Location": f"CALIBRATION_CameraLocation{location}",
        "SensorWidth": width,
        "SensorHeight": height,
        "Shutter": "CALIBRATION_ShutterTypeUndefined",
        "ThermalAdjustmentParams": {"Params": [0.0] * 12},
    }


def _inertial_sensor(kind: str, pose: dict[str, Any]) -> dict[str, object]:
    """A sensor without any error; it never runs."""
    return {
        "BiasTemperatureModel": [0.0] * 12,
        "BiasUncertainty": [1e-4] * 3,
        "Id": "CALIBRATION_InertialSensorId_LSM6DSM",
        "MixingMatrixTemperatureModel": np.kron(np.eye(3).ravel(), [1.0, 0, 0, 0]).tolist(),
        "ModelTypeMask": 16,
        "Noise": [1e-3] * 6,
        "Rt": pose,
        "SecondOrderScaling": [0.0] * 9,
        "SensorType": f"CALIBRATION_InertialSensorType_{kind}",
        "TemperatureBounds": [5.0, 60.0],
        "TemperatureC": 0.0,
    }
