"""Heads found in depth, and the landmark cache: what is done stays done, what is damaged is made again."""

from pathlib import Path

import numpy as np
import pytest

from calibration.head import Crop, head_center, head_crop
from calibration.landmarks import LandmarkDetector, detector_version, take_landmarks
from mmface4d.errors import InputError
from mmface4d.progress import Progress
from mmface4d.take import FrameTable, Take, TakeCamera, TakeWriter
from mmface4d.transforms import rigid
from tests.calibration.virtual_head import depth_image, kinect_like

CAMERA = kinect_like("cam")
FRAMES = 4


@pytest.fixture
def faceless_take(tmp_path: Path) -> Take:
    """A grey wall, four frames."""
    import cv2

    jpeg = cv2.imencode(".jpg", np.full((CAMERA.color.height, CAMERA.color.width, 3), 128, np.uint8))[1].tobytes()
    wall_mm = np.full((CAMERA.depth.height, CAMERA.depth.width), 1500, np.uint16)
    usec = np.arange(FRAMES) * 33_333
    with TakeWriter(tmp_path / "wall", [TakeCamera("cam", "standalone", CAMERA)], fps=30.0) as writer:
        for time in usec:
            writer.write("cam", color_jpeg=jpeg, depth_mm=wall_mm, color_usec=int(time), depth_usec=int(time))
        return writer.finish(FrameTable(usec, {"cam": usec}, {"cam": usec}))


class _Stopping(Progress):
    def advance(self, count: int = 1) -> None:
        super().advance(count)
        if self.done == 2:
            raise KeyboardInterrupt


def done_frames(take: Take) -> list[int]:
    [path] = take.cache_dir.glob("landmarks-*.npz")
    with np.load(path, allow_pickle=False) as file:
        return np.flatnonzero(file["done"]).tolist()


def test_no_face_is_not_a_number_and_is_remembered(faceless_take: Take) -> None:
    found = take_landmarks(faceless_take)
    assert found["cam"].shape == (FRAMES, 478, 2)
    assert np.isnan(found["cam"]).all()
    assert done_frames(faceless_take) == [0, 1, 2, 3]


def test_a_stopped_run_keeps_what_it_found_and_goes_on(faceless_take: Take) -> None:
    with pytest.raises(KeyboardInterrupt):
        take_landmarks(faceless_take, report=_Stopping("landmarks", FRAMES))
    assert done_frames(faceless_take) == [0, 1]
    take_landmarks(faceless_take, frames=[3])
    assert done_frames(faceless_take) == [0, 1, 3]


def test_a_damaged_cache_is_made_again(faceless_take: Take) -> None:
    take_landmarks(faceless_take, frames=[0])
    [path] = faceless_take.cache_dir.glob("landmarks-*.npz")
    path.write_bytes(path.read_bytes()[:200])
    assert np.isnan(take_landmarks(faceless_take, frames=[1])["cam"]).all()
    assert done_frames(faceless_take) == [1]


def test_cached_landmarks_come_back_as_they_were(faceless_take: Take) -> None:
    take_landmarks(faceless_take)
    [path] = faceless_take.cache_dir.glob("landmarks-*.npz")
    kept = np.random.default_rng(0).uniform(0, 900, (FRAMES, 1, 478, 2)).astype(np.float32)
    np.savez(path, done=np.ones(FRAMES, bool), pixels=kept)
    np.testing.assert_array_equal(take_landmarks(faceless_take, frames=[2, 0])["cam"], kept[[2, 0], 0])
    assert np.isnan(take_landmarks(faceless_take, use_cache=False)["cam"]).all()


def test_unknown_frames_and_missing_landmarkers_are_told(faceless_take: Take, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no frame 9"):
        take_landmarks(faceless_take, frames=[0, 9])
    with pytest.raises(InputError, match="does not exist"):
        detector_version(tmp_path / "none.task")
    (tmp_path / "bad.task").write_bytes(b"no model")
    with pytest.raises(InputError, match="no face landmarker"):
        LandmarkDetector(tmp_path / "bad.task")


@pytest.mark.parametrize("distance_m", [0.45, 0.75, 1.3])
@pytest.mark.parametrize("sideways_m", [-0.15, 0.0, 0.12])
def test_the_head_is_found_and_lies_in_its_crop(distance_m: float, sideways_m: float) -> None:
    middle = np.array([sideways_m, -0.05, distance_m])
    depth_mm = depth_image(CAMERA, rigid(np.eye(3), middle))
    center = head_center(CAMERA, depth_mm)
    assert center is not None
    assert np.linalg.norm(center - (middle - [0, 0, 0.08])) < 0.04
    crop = head_crop(CAMERA, depth_mm)
    assert crop is not None
    corners = CAMERA.color.project(middle + np.array([(x, y, 0) for x in (-0.08, 0.08) for y in (-0.11, 0.11)]))
    assert (corners >= [crop.left, crop.top]).all()
    assert (corners < np.array([crop.left, crop.top]) + crop.size).all()


def test_no_head_no_crop() -> None:
    shape = (CAMERA.depth.height, CAMERA.depth.width)
    assert head_crop(CAMERA, np.zeros(shape, np.uint16)) is None
    assert head_crop(CAMERA, np.full(shape, 900, np.uint16)) is None


def test_a_crop_over_the_border_is_black_outside() -> None:
    color = np.full((40, 60, 3), 200, np.uint8)
    cut = Crop(-10, 30, 20).cut(color)
    assert cut.shape == (20, 20, 3)
    assert (cut[:10, 10:] == 200).all()
    assert not cut[:, :10].any()
    assert not cut[10:].any()
    assert not Crop(100, 100, 8).cut(color).any()
