"""ARKit's weights: known ones come back, the least squares are the least, and files read as Live Link Face's."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear

from animation.use.arkit import ARKIT_NAMES, RIDGE, ArkitFitter, arkit_shapes, timecode, write_arkit_csv
from mmface4d.errors import InputError, UsageError

# as the app writes them
HEADER = (
    "Timecode,BlendShapeCount,EyeBlinkLeft,EyeLookDownLeft,EyeLookInLeft,EyeLookOutLeft,EyeLookUpLeft,EyeSquintLeft,"
    "EyeWideLeft,EyeBlinkRight,EyeLookDownRight,EyeLookInRight,EyeLookOutRight,EyeLookUpRight,EyeSquintRight,"
    "EyeWideRight,JawForward,JawRight,JawLeft,JawOpen,MouthClose,MouthFunnel,MouthPucker,MouthRight,MouthLeft,"
    "MouthSmileLeft,MouthSmileRight,MouthFrownLeft,MouthFrownRight,MouthDimpleLeft,MouthDimpleRight,MouthStretchLeft,"
    "MouthStretchRight,MouthRollLower,MouthRollUpper,MouthShrugLower,MouthShrugUpper,MouthPressLeft,MouthPressRight,"
    "MouthLowerDownLeft,MouthLowerDownRight,MouthUpperUpLeft,MouthUpperUpRight,BrowDownLeft,BrowDownRight,BrowInnerUp,"
    "BrowOuterUpLeft,BrowOuterUpRight,CheekPuff,CheekSquintLeft,CheekSquintRight,NoseSneerLeft,NoseSneerRight,"
    "TongueOut,HeadYaw,HeadPitch,HeadRoll,LeftEyeYaw,LeftEyePitch,LeftEyeRoll,RightEyeYaw,RightEyePitch,RightEyeRoll"
)
N_VERTS = 60


def shapes(*, seed: int = 0, gone: tuple[str, ...] = ("tongueOut",)) -> tuple[tuple[str, ...], np.ndarray]:
    """Random ones, in an order of their own."""
    random = np.random.default_rng(seed)
    names = tuple(random.permutation([name for name in ARKIT_NAMES if name not in gone]).tolist())
    return names, random.normal(size=(len(names), N_VERTS, 3)) * random.uniform(1e-3, 1e-2, (len(names), 1, 1))


def test_known_weights_come_back() -> None:
    found = arkit_shapes(*shapes())
    random = np.random.default_rng(1)
    weights = random.uniform(0, 1, (40, 52)) * (random.uniform(size=(40, 52)) < 0.3)
    weights[:, [not shape.any() for shape in found.shapes_m]] = 0
    fitter = ArkitFitter(found)
    again = fitter.weights(np.tensordot(weights, found.shapes_m, 1))
    np.testing.assert_allclose(again, weights, atol=2e-3)  # the small r
    assert fitter.told_share > 0.9999
    assert fitter.left_rms_mm < 0.01
    gaze = [name.startswith("eyeLook") for name in ARKIT_NAMES]
    assert not again[:, gaze].any()
    assert set(found.missing) == {name for name in ARKIT_NAMES if name.startswith("eyeLook")} | {"tongueOut"}


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.sampled_from([0.0, 1e-3, 1e-2, 1.0]))
def test_they_are_the_least_squares_within_their_bounds(seed: int, size: float) -> None:
    found = arkit_shapes(*shapes(seed=seed))
    matrix = found.shapes_m.reshape(52, -1)
    used = np.flatnonzero(matrix.any(axis=1))
    moved = size * np.random.default_rng(seed).normal(size=(1, N_VERTS, 3))
    lengths = np.linalg.norm(matrix[used], axis=1)
    left = np.concatenate([matrix[used].T, np.sqrt(RIDGE) * np.diag(lengths)])
    right = np.concatenate([moved.reshape(-1), np.zeros(len(used))])
    wanted = lsq_linear(left * 1e3, right * 1e3, (0, 1), method="bvls").x
    weights = ArkitFitter(found).weights(moved)[0]
    np.testing.assert_allclose(weights[used], wanted, atol=1e-5)
    assert weights.min() >= 0
    assert weights.max() <= 1


def test_opposites_are_not_used_together() -> None:
    names, values = shapes()
    values[names.index("jawLeft")] = -values[names.index("jawRight")]
    fitter = ArkitFitter(arkit_shapes(names, values))
    weights = fitter.weights(0.4 * values[names.index("jawRight")][None])[0]
    assert weights[ARKIT_NAMES.index("jawRight")] == pytest.approx(0.4, abs=1e-3)
    assert weights[ARKIT_NAMES.index("jawLeft")] == 0


def test_sides_may_be_letters() -> None:
    names, values = shapes(gone=("tongueOut", "browInnerUp", "cheekPuff"))
    letters = [name.replace("Left", "_L").replace("Right", "_R") if name[-4:] in ("Left", "ight") else name
               for name in names]  # fmt: skip
    plain = [name if name not in ("jaw_L", "jaw_R", "mouth_L", "mouth_R") else names[k]
             for k, name in enumerate(letters)]  # fmt: skip
    halves = np.random.default_rng(3).normal(size=(2, N_VERTS, 3))
    found = arkit_shapes([*plain, "browInnerUp_L", "browInnerUp_R"], np.concatenate([values, halves]))
    wanted = arkit_shapes(names, values).shapes_m
    wanted[ARKIT_NAMES.index("browInnerUp")] = halves.sum(axis=0)
    np.testing.assert_array_equal(found.shapes_m, wanted)


def test_other_models_are_refused() -> None:
    with pytest.raises(InputError, match="only 0 of the face model's 5"):
        arkit_shapes([f"expression {k}" for k in range(5)], np.ones((5, N_VERTS, 3)))
    with pytest.raises(UsageError, match="two meshes"):
        ArkitFitter(arkit_shapes(*shapes())).weights(np.zeros((2, 7, 3)))


def test_files_read_as_live_link_faces(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).uniform(0, 1, (35, 52)).astype(np.float32)
    write_arkit_csv(tmp_path / "a.csv", iter([weights[:20], weights[20:]]), fps=30.0)
    assert (tmp_path / "a.csv").read_text().partition("\n")[0] == HEADER
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 35
    assert {row["BlendShapeCount"] for row in rows} == {"61"}
    assert [row["Timecode"] for row in rows[28:32]] == [
        "00:00:00:28.000", "00:00:00:29.000", "00:00:01:00.000", "00:00:01:01.000"]  # fmt: skip
    assert float(rows[7]["JawOpen"]) == pytest.approx(weights[7, ARKIT_NAMES.index("jawOpen")], abs=1e-6)
    assert float(rows[7]["TongueOut"]) == pytest.approx(weights[7, 51], abs=1e-6)
    assert {row["HeadYaw"] for row in rows} == {"0.000000"}


@pytest.mark.parametrize("fps", [25.0, 29.97, 30.0, 60.0, 1000 / 33])
def test_time_codes_tell_the_time(fps: float) -> None:
    for frame in (0, 1, 29, 30, 1799, 17_982, 107_892, 2_592_000):
        hours, minutes, seconds, frames = timecode(frame, fps).split(":")
        told = int(hours) * 3600 + int(minutes) * 60 + int(seconds) + float(frames) / fps
        assert told == pytest.approx(frame / fps % 86_400, abs=1e-3)
        assert float(frames) < fps
        assert int(seconds) < 60
