"""A take as cameras: what was recorded comes again, at its pace or as fast as it is read."""

import time

import numpy as np
import pytest

from capture.devices.camera import CameraSettings
from capture.devices.replay import Replay
from capture.devices.rig import CameraRig
from mmface4d.errors import DeviceError, TakeError
from mmface4d.take import open_take
from tests.capture.small_take import DELAYS, PERIOD_USEC, write_take

FRAMES = 8


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_take(tmp_path_factory.mktemp("take") / "take", FRAMES, lost={"right": {3}}, sound_s=None)


def settings(serial: str) -> CameraSettings:
    return CameraSettings(role="master" if serial == "front" else "subordinate")


def read_all(camera):
    captures = []
    while True:
        try:
            capture = camera.read(0.5)
        except DeviceError:
            return captures
        captures.append(capture)


def test_everything_comes_again(path):
    take = open_take(path)
    cameras = Replay(path, real_time=False).open_all()
    assert [camera.info.serial for camera in cameras] == list(DELAYS)
    for camera in cameras:
        serial = camera.info.serial
        assert camera.info.sync_in is None
        assert camera.info.factory_calibration == b'{"of": "%s"}' % serial.encode()
        assert camera.configure(settings(serial)) == take.cameras[serial].settings
        camera.start()
        frames = [f for f in range(FRAMES) if take.info.frames.color_usec[serial][f] is not None]
        captures = read_all(camera)
        assert len(captures) == len(frames) == (7 if serial == "right" else 8)
        for frame, capture in zip(frames, captures, strict=True):
            assert capture.color_usec == take.info.frames.color_usec[serial][frame]
            assert capture.depth_usec - capture.color_usec == DELAYS[serial]
            assert capture.color_jpeg == take.color_jpeg(frame, serial)
            stored = take.depth_mm(frame, serial)
            assert stored is not None
            assert capture.depth_mm is not None
            assert np.array_equal(capture.depth_mm, stored)
        camera.start()
        again = camera.read(0.1)
        assert again is not None
        assert again.color_usec == captures[0].color_usec
        camera.close()
        camera.close()


def test_in_real_time_it_takes_its_time(path):
    camera = Replay(path).open_all()[0]
    camera.configure(settings("front"))
    camera.start()
    begin = time.monotonic()
    captures = read_all(camera)
    assert time.monotonic() - begin >= (FRAMES - 1) * PERIOD_USEC * 1e-6
    assert np.abs(np.diff([c.host_nsec for c in captures]) / 1000 - PERIOD_USEC).max() <= 1
    camera.start()
    camera.read(0.1)
    begin = time.monotonic()
    assert camera.read(0.005) is None
    assert time.monotonic() - begin < 0.03
    camera.close()


def test_a_loop_goes_on_and_on(path):
    camera = Replay(path, real_time=False, loop=True).open_all()[1]
    camera.configure(settings("left"))
    camera.start()
    captures = [camera.read(0.1) for _ in range(3 * FRAMES)]
    times = [capture.color_usec or 0 for capture in captures if capture is not None]
    assert len(times) == 3 * FRAMES
    assert set(np.diff(times)) == {PERIOD_USEC}
    camera.close()


def test_a_rig_of_replayed_cameras(path):
    cameras = Replay(path).open_all()
    heard, faults = [], []
    rig = CameraRig(
        cameras,
        {s: settings(s) for s in DELAYS},
        on_capture=heard.append,
        on_fault=lambda s, e: faults.append(e.message),
    )
    rig.start()
    time.sleep((FRAMES + 6) * PERIOD_USEC * 1e-6)
    rig.close()
    assert len(heard) == 3 * FRAMES - 1
    assert rig.counters["right"].lost_frames == 1
    assert sorted(faults) == sorted(f"camera {serial}: the take is at its end" for serial in DELAYS)


def test_what_cannot_be_replayed(path, tmp_path):
    with pytest.raises(TakeError):
        Replay(tmp_path / "none").open_all()
    camera = Replay(path).open_all()[0]
    with pytest.raises(DeviceError, match="recorded as master"):
        camera.configure(settings("left"))
    with pytest.raises(DeviceError, match="not running"):
        camera.read(0.1)
    camera.close()
