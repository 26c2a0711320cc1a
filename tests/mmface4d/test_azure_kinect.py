import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmface4d.azure_kinect import COLOR_MODES, parse_factory_calibration
from mmface4d.cameras import Intrinsics, RgbdCamera
from mmface4d.errors import RecordingError
from mmface4d.transforms import is_rigid, rotation_from_rotvec

BROWN_CONRADY, RATIONAL = "CALIBRATION_LensDistortionModelBrownConrady", "CALIBRATION_LensDistortionModelRational6KT"
# made up, of the size that devices have: cx cy fx fy k1..k6 codx cody p2 p1
DEPTH_LENS = [0.513, 0.517, 0.493, 0.493, 0.55, -0.021, -0.0027, 0.89, 0.086, -0.0139, 0, 0, -7.2e-5, 2.1e-5]
COLOR_LENS = [0.5, 0.507, 0.478, 0.637, 0.33, -2.49, 1.45, 0.21, -2.3, 1.38, 0, 0, -1.3e-4, -1.6e-4]


def camera_record(purpose: str, parameters: list[float], rotvec: tuple[float, ...], translation: list[float]) -> dict:
    return {
        "Intrinsics": {"ModelParameters": parameters, "ModelType": BROWN_CONRADY},
        "Purpose": f"CALIBRATION_CameraPurpose{purpose}",
        "MetricRadius": 1.74 if purpose == "Depth" else 0,
        "Rt": {"Rotation": rotation_from_rotvec(np.array(rotvec)).ravel().tolist(), "Translation": translation},
    }


def information() -> dict[str, Any]:
    cameras = [
        camera_record("Depth", DEPTH_LENS, (0.0, 0.0, 0.0), [0, 0, 0]),
        camera_record("PhotoVideo", COLOR_LENS, (-0.086, 5e-4, -1e-3), [-0.032, -0.0022, 0.0039]),
    ]
    return {"CalibrationInformation": {"Cameras": cameras, "Metadata": {"SerialId": "000123456789"}}}


def parse(content: Any, *, depth_mode: str = "NFOV_UNBINNED", color_mode: str = "1080P") -> RgbdCamera:
    blob = content if isinstance(content, bytes) else json.dumps(content).encode()
    return parse_factory_calibration(blob, depth_mode=depth_mode, color_mode=color_mode)


def test_the_serial_number_is_the_blobs_unless_the_recording_names_another() -> None:
    blob = json.dumps(information()).encode()
    assert parse(blob).serial == "000123456789"
    named = parse_factory_calibration(blob, depth_mode="NFOV_UNBINNED", color_mode="1080P", serial="7")
    assert named.serial == "7"


def test_byte_order_mark_and_trailing_zeros_are_expected() -> None:
    plain = json.dumps(information()).encode()
    assert parse(b"\xef\xbb\xbf" + plain + b"\0\0").color == parse(plain).color


@pytest.mark.parametrize("mode", COLOR_MODES)
def test_color_modes_are_one_lens_cut_and_scaled(mode: str) -> None:
    full, cut = parse(information(), color_mode="3072P").color, parse(information(), color_mode=mode).color
    (full_width, full_height), (left, top), size = COLOR_MODES[mode]
    points = np.random.default_rng(0).uniform([-0.4, -0.3, 0.5], [0.4, 0.3, 1.5], (50, 3))
    factor = np.array([full_width / 4096, full_height / 3072])
    expected = (full.project(points) + 0.5) * factor - 0.5 - [left, top]
    np.testing.assert_allclose(cut.project(points), expected, atol=1e-9)
    assert cut.size == size


@pytest.mark.parametrize(
    ("binned", "whole"), [("NFOV_2X2BINNED", "NFOV_UNBINNED"), ("WFOV_2X2BINNED", "WFOV_UNBINNED")]
)
def test_binned_depth_is_unbinned_depth_at_half_the_size(binned: str, whole: str) -> None:
    small, large = parse(information(), depth_mode=binned).depth, parse(information(), depth_mode=whole).depth
    points = np.random.default_rng(0).uniform([-0.4, -0.3, 0.5], [0.4, 0.3, 1.5], (50, 3))
    np.testing.assert_allclose(small.project(points), (large.project(points) + 0.5) / 2 - 0.5, atol=1e-9)


def damaged(path: list[Any], value: Any) -> dict[str, Any]:
    content = copy.deepcopy(information())
    place = content["CalibrationInformation"]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read"),
        (b"\xff\xfe\x00garbage", "cannot be read"),
        (b"[1, 2]", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b"{" * 2_000_000, "2000000 bytes"),
        ({"CalibrationInformation": {}}, "cannot be read"),
        (damaged(["Cameras"], []), "no Depth camera"),
        (damaged(["Cameras", 0, "Purpose"], "Other"), "no Depth camera"),
        (damaged(["Cameras", 1, "Purpose"], "Other"), "no PhotoVideo camera"),
        (damaged(["Cameras", 0, "Intrinsics", "ModelType"], "Fisheye"), "lens model Fisheye"),
        (damaged(["Cameras", 1, "Intrinsics", "ModelParameters"], [1.0] * 9), "9 parameters"),
        (damaged(["Cameras", 1, "Rt", "Rotation"], [1.0] * 8), "damaged pose"),
        (damaged(["Cameras", 1, "Rt", "Rotation"], [0.0] * 9), "damaged pose"),
        (damaged(["Cameras", 1, "Rt", "Rotation"], [1, 0, 0, 0, 1, 0, 0, 0, -1]), "damaged pose"),
        (damaged(["Cameras", 1, "Rt", "Translation"], [float("nan"), 0, 0]), "damaged pose"),
        (damaged(["Cameras", 1, "Intrinsics", "ModelParameters"], [float("nan")] * 14), "lens"),
        (damaged(["Cameras", 1, "Intrinsics", "ModelParameters"], [0.0] * 14), "lens"),
    ],
)
def test_what_is_no_calibration_is_refused_with_a_reason(content: Any, message: str) -> None:
    with pytest.raises(RecordingError, match=message) as caught:
        parse(content)
    assert caught.value.hint


def test_unknown_modes_name_the_known_ones() -> None:
    with pytest.raises(RecordingError, match="unknown camera mode 'NFOV'") as caught:
        parse(information(), depth_mode="NFOV")
    assert "NFOV_UNBINNED" in str(caught.value.hint)


FILES = ["calibration.json", "calibration_unit2_rational6kt.json"]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("color_mode", ["720P", "1080P", "1536P"])
def test_real_devices_round_trip_over_the_whole_image(shared_data: Path, file: str, color_mode: str) -> None:
    camera = parse((shared_data / "azure_kinect" / file).read_bytes(), color_mode=color_mode)
    assert is_rigid(camera.color_from_depth, tolerance=1e-9)
    for lens in (camera.color, camera.depth):
        u, v = np.meshgrid(np.arange(lens.width, dtype=float), np.arange(lens.height, dtype=float))
        pixels = np.stack([u, v], -1)
        assert np.abs(lens.project(lens.unproject(pixels, np.ones_like(u))) - pixels).max() < 1e-3


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(("color_mode", "depth_mode"), [("720P", "NFOV_UNBINNED"), ("1080P", "WFOV_2X2BINNED")])
def test_the_cameras_are_those_of_microsofts_library(
    shared_data: Path, file: str, color_mode: str, depth_mode: str
) -> None:
    pyk4a = pytest.importorskip("pyk4a")
    blob = (shared_data / "azure_kinect" / file).read_bytes()
    camera = parse(blob, depth_mode=depth_mode, color_mode=color_mode)
    theirs = pyk4a.Calibration.from_raw(
        json.dumps(json.loads(blob.decode("utf-8-sig"))),
        depth_mode=getattr(pyk4a.DepthMode, depth_mode),
        color_resolution=getattr(pyk4a.ColorResolution, f"RES_{color_mode}"),
    )
    color, depth = pyk4a.CalibrationType.COLOR, pyk4a.CalibrationType.DEPTH
    points = np.random.default_rng(2).uniform([-0.3, -0.25, 0.5], [0.3, 0.25, 1.2], (40, 3))

    def difference_px(lens: Intrinsics, kind: Any) -> float:
        expected = [theirs.convert_3d_to_2d(tuple(point * 1000), kind, kind) for point in points]
        return float(np.abs(lens.project(points) - expected).max())

    assert difference_px(camera.color, color) < 1e-3
    assert difference_px(camera.depth, depth) < 1e-3
    moved = [theirs.depth_to_color_3d(tuple(point * 1000)) for point in points]
    ours = points @ camera.color_from_depth[:3, :3].T + camera.color_from_depth[:3, 3]
    assert np.abs(ours * 1000 - moved).max() < 1e-2  # they compute in single precision
