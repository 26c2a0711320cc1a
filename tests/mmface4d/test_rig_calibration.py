import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmface4d.cameras import Intrinsics, RgbdCamera
from mmface4d.errors import CalibrationError, InputError
from mmface4d.rig_calibration import RigCalibration, load_calibration, parse_calibration
from mmface4d.transforms import rigid, rotation_from_rotvec


def rig() -> RigCalibration:
    color = Intrinsics(1920, 1080, 914.2, 912.7, 958.1, 551.3, distortion=(0.3, -2.5, 1e-4, -2e-4, 1.4, 0.2, -2.3, 1.3))
    depth = Intrinsics(640, 576, 504.6, 504.4, 320.5, 330.1, tangential_cross=1.0, distortion_center=(1e-3, -1e-3))
    color_from_depth = rigid(rotation_from_rotvec(np.array([0.1, 0.0, 0.001])), np.array([-0.032, -0.002, 0.004]))
    serials = ["000000000011", "000000000022"]
    lenses: dict[str, Any] = {"color": color, "depth": depth, "color_from_depth": color_from_depth}
    return RigCalibration(
        master=serials[1],
        cameras={name: RgbdCamera(name, **lenses) for name in serials},
        world_from_camera={
            serials[0]: rigid(rotation_from_rotvec(np.array([0.0, -0.78, 0.01])), np.array([0.5, 0.01, 0.2])),
            serials[1]: np.eye(4),
        },
        report={"pairs": [{"rms_mm": 0.2}], "note": "gut"},
    )  # fmt: skip


def content(**changes: Any) -> dict[str, Any]:
    """The JSON of `rig()`, with changes of the first camera (or of the whole, for names it has)."""
    camera = {
        "world_from_camera": np.eye(4).tolist(),
        "color": rig().cameras["000000000011"].color.to_json(),
        "depth": rig().cameras["000000000011"].depth.to_json(),
        "color_from_depth": np.eye(4).tolist(),
    }
    whole: dict[str, Any] = {"format": 1, "master": "11", "cameras": {"11": camera}, "report": {}}
    for name, value in changes.items():
        (whole if name in whole else camera)[name] = value
    return whole


def test_a_calibration_comes_back_bit_by_bit(tmp_path: Path) -> None:
    rig().save(tmp_path / "calibration.json")
    back = load_calibration(tmp_path / "calibration.json")
    assert (back.master, back.report, list(back.cameras)) == (rig().master, rig().report, list(rig().cameras))
    for serial, camera in rig().cameras.items():
        assert (back.cameras[serial].color, back.cameras[serial].depth) == (camera.color, camera.depth)
        np.testing.assert_array_equal(back.cameras[serial].color_from_depth, camera.color_from_depth)
        np.testing.assert_array_equal(back.world_from_camera[serial], rig().world_from_camera[serial])


def test_the_file_is_as_documented(tmp_path: Path) -> None:
    rig().save(tmp_path / "calibration.json")
    file = json.loads((tmp_path / "calibration.json").read_text())
    assert set(file) == {"format", "master", "cameras", "report"}
    assert set(file["cameras"]["000000000011"]) == {"world_from_camera", "color", "depth", "color_from_depth"}
    # row-major, metres: the position stands in the last column
    assert [row[3] for row in file["cameras"]["000000000011"]["world_from_camera"]] == [0.5, 0.01, 0.2, 1.0]


def test_the_depth_imagers_pose_chains_through_the_colour_imager() -> None:
    calibration = rig()
    serial = "000000000011"
    expected = calibration.world_from_camera[serial] @ calibration.cameras[serial].color_from_depth
    np.testing.assert_array_equal(calibration.world_from_depth(serial), expected)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ([], "no calibration"),
        ({}, "3 mistakes"),
        (content(format=2), "format 2, this program reads 1"),
        (content(master="12"), "master 12 is not among its cameras"),
        (content(cameras={}), "master 11 is not among its cameras"),
        (content(world_from_camera=np.diag([1, 1, -1, 1.0]).tolist()), "not a 4x4 rigid transform"),
        (content(world_from_camera=(np.eye(4) * 1000).tolist()), "not a 4x4 rigid transform"),
        (content(color_from_depth=np.eye(3).tolist()), "not a 4x4 rigid transform"),
        (content(color_from_depth=[[1.0], [0.0, 1.0], [], []]), "color_from_depth"),
        (content(color_from_depth=[[float("nan")] * 4] * 4), "color_from_depth"),
        (content(color={**rig().cameras["000000000011"].color.to_json(), "fx": -1}), "'fx'.*must be positive"),
        (content(depth={"width": 640}), "mistakes"),
        (content(exposure=3), "exposure"),
    ],
)
def test_each_mistake_is_named(damage: Any, message: str) -> None:
    with pytest.raises(CalibrationError, match=message) as caught:
        parse_calibration(damage, name="rig.json")
    assert caught.value.message.startswith("rig.json")
    assert caught.value.hint


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load_calibration(tmp_path / "calibration.json")


def test_numbers_that_json_cannot_hold_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        replace(rig(), report={"rms_mm": float("nan")}).save(tmp_path / "calibration.json")
    assert not list(tmp_path.iterdir())
