"""Virtual Kinects as pyk4a sees them: what the SDK would say, refuse and deliver."""

import time

import numpy as np
import pytest

pytest.importorskip("pyk4a", reason="pyk4a is not installed")

import k4a_module
import pyk4a
from pyk4a import Config, DepthMode, ImageFormat, K4AException, K4ATimeoutException, PyK4A, WiredSyncMode

from capture.devices.k4a_version import firmware
from capture.export_mkv import export_take
from capture.virtual.bench import Bench, BenchSettings
from capture.virtual.k4a import installed
from capture.virtual.rig import virtual_rig
from capture.virtual.stage import Stage
from tests.capture.kinect_take import depth, jpeg, write_kinect_take
from tests.capture.virtual_bench import QUICK, bench_of, exact_rig, small_clip, ticking, wait_until

LEFT, FRONT, RIGHT = 0, 1, 2


@pytest.fixture
def bench():
    with bench_of(exact_rig()) as bench:
        yield bench


def config(mode: WiredSyncMode, **other: object) -> Config:
    return Config(
        color_resolution=pyk4a.ColorResolution.RES_1080P,
        color_format=ImageFormat.COLOR_MJPG,
        depth_mode=DepthMode.NFOV_UNBINNED,
        wired_sync_mode=mode,
        **other,  # type: ignore[arg-type]
    )


def opened(place: int, mode: WiredSyncMode = WiredSyncMode.STANDALONE, **other: object) -> PyK4A:
    device = PyK4A(config(mode, **other), device_id=place, thread_safe=False)
    device.open()
    return device


def started(place: int, mode: WiredSyncMode, **other: object) -> PyK4A:
    device = opened(place, mode, **other)
    device._start_cameras()
    return device


def test_the_real_functions_come_back():
    before = {name: getattr(k4a_module, name) for name in dir(k4a_module)}
    with pytest.raises(KeyError), bench_of(exact_rig()):
        raise KeyError(pyk4a.connected_device_count())
    assert {name: getattr(k4a_module, name) for name in dir(k4a_module)} == before
    assert pyk4a.connected_device_count() == 0


def test_devices_say_who_they_are(bench):
    serials = [kinect.serial for kinect in bench.rig.devices]
    devices = [opened(place) for place in range(3)]
    assert [device.serial for device in devices] == serials
    assert [device.sync_jack_status for device in devices] == [(True, True), (False, True), (True, False)]
    for device, kinect in zip(devices, bench.rig.devices, strict=True):
        assert device.calibration_raw.encode() == kinect.factory_blob.rstrip(b"\0")
        matrix = device.calibration.get_camera_matrix(pyk4a.CalibrationType.COLOR)  # by the SDK itself
        assert matrix[0, 0] == pytest.approx(kinect.camera.color.fx, rel=1e-6)
        assert matrix[1, 2] == pytest.approx(kinect.camera.color.cy, rel=1e-4)


def test_a_device_opens_once_and_again_after_it_was_closed(bench):
    device = opened(0)
    with pytest.raises(K4AException):
        opened(0)
    with pytest.raises(K4AException):
        opened(3)
    device.close()
    opened(0).close()


def test_jacks_can_be_silent():
    with bench_of(exact_rig(), BenchSettings(jacks=False)):
        assert [opened(place).sync_jack_status for place in range(3)] == [(False, False)] * 3
        started(1, WiredSyncMode.MASTER)


def test_color_controls_have_their_ranges_and_habits(bench):
    device = opened(0)
    assert (device.exposure_mode_auto, device.whitebalance_mode_auto) == (True, True)
    assert device._get_color_control_capabilities(pyk4a.ColorControlCommand.WHITEBALANCE) == {
        "color_control_command": 6, "supports_auto": True, "min_value": 2500, "max_value": 12500, "step_value": 10,
        "default_value": 4500, "default_mode": 0,
    }  # fmt: skip
    device.exposure = 10_000
    assert device.exposure == 16_670  # the mains are at 60 Hz until they are set
    device.powerline_frequency = 1
    device.exposure = 10_000
    assert device.exposure == 10_000
    assert not device.exposure_mode_auto
    device.exposure_mode_auto = False
    assert device.exposure == 2500
    for attribute, value in (("whitebalance", 4505), ("gain", 256), ("powerline_frequency", 0)):
        with pytest.raises(K4AException):
            setattr(device, attribute, value)
    device.reset_color_control_to_default()
    assert device.exposure_mode_auto


def test_a_refused_setting_and_a_read_that_fails(bench):
    device = opened(0)
    bench.fault("refuse:white_balance,unread:gain:" + bench.rig.devices[0].serial)
    with pytest.raises(K4AException):
        device.whitebalance = 5000
    assert device.gain == 0
    assert opened(1).gain == 128


@pytest.mark.parametrize(
    ("place", "mode", "other"),
    [
        (FRONT, WiredSyncMode.SUBORDINATE, {}),  # nothing in its IN jack
        (RIGHT, WiredSyncMode.MASTER, {}),  # nothing in its OUT jack
        (FRONT, WiredSyncMode.MASTER, {"subordinate_delay_off_master_usec": 100}),
        (FRONT, WiredSyncMode.MASTER, {"depth_delay_off_color_usec": 40_000}),
        (FRONT, WiredSyncMode.STANDALONE, {"disable_streaming_indicator": False, "synchronized_images_only": True}),
    ],
)
def test_start_rules(bench, place, mode, other):
    device = opened(place, mode, **other)
    if mode == WiredSyncMode.STANDALONE:
        device._start_cameras()
    with pytest.raises(K4AException):
        device._start_cameras()


def test_a_subordinate_waits_for_its_master(bench):
    left = started(LEFT, WiredSyncMode.SUBORDINATE)
    begin = time.monotonic()
    with pytest.raises(K4ATimeoutException):
        left.get_capture(timeout=150)
    assert 0.14 < time.monotonic() - begin < 0.4
    master = started(FRONT, WiredSyncMode.MASTER)
    assert left.get_capture(timeout=1000).color_timestamp_usec == master.get_capture(timeout=1000).color_timestamp_usec


def test_a_subordinate_started_late_has_a_late_clock(bench):
    master = started(FRONT, WiredSyncMode.MASTER)
    for _ in range(5):
        master.get_capture(timeout=1000)
    left = started(LEFT, WiredSyncMode.SUBORDINATE)
    late, reference = left.get_capture(timeout=1000), master.get_capture(timeout=1000)
    while reference.color_system_timestamp_nsec < late.color_system_timestamp_nsec - 15_000_000:
        reference = master.get_capture(timeout=1000)
    behind = (reference.color_timestamp_usec - late.color_timestamp_usec) / 33_333
    assert behind > 3
    assert behind == pytest.approx(round(behind), abs=0.01)


def test_a_wrongly_cabled_subordinate_hears_nothing():
    with bench_of(exact_rig(), BenchSettings(jacks=False, startup_s=0.02, latency_s=0.01)) as bench:
        bench.fault("swap")
        left, right = (started(place, WiredSyncMode.SUBORDINATE) for place in (LEFT, RIGHT))
        master = started(FRONT, WiredSyncMode.MASTER)
        master.get_capture(timeout=1000)
        right.get_capture(timeout=1000)
        with pytest.raises(K4ATimeoutException):
            left.get_capture(timeout=100)


def test_a_device_that_is_not_started_fails_at_once(bench):
    with pytest.raises(K4AException) as caught:
        opened(0).get_capture(timeout=1000)
    assert not isinstance(caught.value, K4ATimeoutException)


def test_pictures_are_the_stages(bench):
    device = started(FRONT, WiredSyncMode.MASTER, depth_delay_off_color_usec=160)
    capture = device.get_capture(timeout=1000)
    tick = round(
        (bench.devices[device.serial].exposed_nsec(capture.color_timestamp_usec) - bench.stage.host_nsec(0.0))
        / 1e9
        * 30
    )
    shot = bench.stage.shot(device.serial, tick)
    assert capture.color is not None
    assert capture.depth is not None
    assert capture.color.tobytes() == shot.color_jpeg
    assert capture.depth.dtype == np.uint16
    assert np.array_equal(capture.depth, shot.depth_mm)
    assert capture.depth_timestamp_usec - capture.color_timestamp_usec == 156
    assert 0 <= time.monotonic_ns() - capture.color_system_timestamp_nsec < 5e8
    assert capture.ir is None
    assert capture.color_exposure_usec == 16_670
    capture.color[0] = 0
    assert bench.stage.shot(device.serial, tick).color_jpeg[0] != 0


def test_arrivals_are_late_but_never_early():
    settings = BenchSettings(startup_s=0.02, latency_s=0.02, jitter_s=0.004)
    with bench_of(exact_rig(), settings) as bench:
        device = started(FRONT, WiredSyncMode.MASTER)
        captures = [device.get_capture(timeout=1000) for _ in range(20)]
        real = bench.devices[device.serial]
        late = [c.color_system_timestamp_nsec - real.exposed_nsec(c.color_timestamp_usec) for c in captures]
    assert min(late) >= 20e6
    assert max(late) < 20e6 + 0.7 * 33.4e6
    assert np.std(late) > 1e5


@pytest.mark.parametrize("rate_ppm", [-400.0, 0.0, 400.0])
def test_clocks_run_at_their_own_rate(rate_ppm):
    settings = BenchSettings(startup_s=0.02, latency_s=0.01, jitter_s=0.0, master_rate_ppm=rate_ppm)
    with bench_of(exact_rig(), settings):
        device = started(FRONT, WiredSyncMode.MASTER)
        captures = [device.get_capture(timeout=1000) for _ in range(20)]
        device_usec = captures[-1].color_timestamp_usec - captures[0].color_timestamp_usec
        host_usec = (captures[-1].color_system_timestamp_nsec - captures[0].color_system_timestamp_nsec) / 1000
    assert (device_usec / host_usec - 1) * 1e6 == pytest.approx(rate_ppm, abs=25)  # a tick in two thirds of a second


def test_a_queue_that_nobody_reads_loses_the_oldest():
    with bench_of(exact_rig(), BenchSettings(startup_s=0.02, latency_s=0.01, queue=3)) as bench:
        device = started(FRONT, WiredSyncMode.MASTER)
        first = device.get_capture(timeout=1000).color_timestamp_usec
        time.sleep(0.5)
        times = [device.get_capture(timeout=1000).color_timestamp_usec for _ in range(4)]
        assert times[0] - first > 5 * 33_000
        assert np.abs(np.diff(times) - 33_320).max() < 30
        assert bench.devices[device.serial].dropped >= 8


def test_stop_and_start_again(bench):
    device = started(FRONT, WiredSyncMode.MASTER)
    for _ in range(3):
        device.get_capture(timeout=1000)
    device._stop_cameras()
    with pytest.raises(K4AException):
        device.get_capture(timeout=10)
    device._start_cameras()
    assert device.get_capture(timeout=1000).color_timestamp_usec == 1_000_000  # its clock has begun anew


def test_a_device_that_is_unplugged_fails_and_its_handle_stays_dead(bench):
    device = started(FRONT, WiredSyncMode.MASTER)
    device.get_capture(timeout=1000)
    bench.fault(f"unplug:{device.serial}@0+0.2")
    begin = time.monotonic()
    while bench.devices[bench.rig.master.serial].alive:  # it may have had one to give
        device.get_capture(timeout=0)
    with pytest.raises(K4AException):
        device.get_capture(timeout=2000)
    assert time.monotonic() - begin < 0.15
    assert pyk4a.connected_device_count() == 2
    assert device.exposure == 0
    wait_until(lambda: pyk4a.connected_device_count() == 3)
    with pytest.raises(K4AException):
        device.get_capture(timeout=10)
    again = started(FRONT, WiredSyncMode.MASTER)
    device.close()  # of the dead handle; the new one is not touched
    assert again.get_capture(timeout=1000).color_timestamp_usec == 1_000_000


def test_lost_captures_and_halves(bench):
    device = started(FRONT, WiredSyncMode.MASTER, synchronized_images_only=False)
    device.get_capture(timeout=1000)
    bench.fault(f"drop:{device.serial}@0.1x2,half:{device.serial}@0.3x1")
    captures = [device.get_capture(timeout=1000) for _ in range(14)]
    steps = np.rint(np.diff([c.color_timestamp_usec for c in captures]) / 33_320)
    assert sorted(steps)[-2:] == [1, 3]
    assert [c.depth is None for c in captures].count(True) == 1


def test_a_device_in_use_elsewhere_does_not_open():
    with installed(Bench(rig := exact_rig(), Stage(small_clip(rig), fps=30), QUICK)) as bench:
        bench.fault(f"busy:{rig.devices[0].serial}")
        with pytest.raises(K4AException):
            opened(0)
        opened(1)


def test_only_a_call_that_is_not_thread_safe_lets_others_run(bench):
    ticks = []
    for thread_safe in (False, True):
        device = PyK4A(config(WiredSyncMode.SUBORDINATE), device_id=LEFT, thread_safe=thread_safe)
        device.open()
        device._start_cameras()
        with ticking() as times, pytest.raises(K4ATimeoutException):
            device.get_capture(timeout=500)
        ticks.append(len(times))
        device.close()
    assert ticks[0] > 2 * ticks[1]


def test_what_outlives_the_virtual_devices_does_no_harm():
    with bench_of(exact_rig()):
        device = started(FRONT, WiredSyncMode.MASTER)
        capture = device.get_capture(timeout=1000)
    assert capture.color is None
    assert firmware(k4a_module, device._device_handle) is None  # the SDK itself says that there is no such device
    with pytest.raises(K4AException):
        device.get_capture(timeout=0)
    with pytest.raises(K4AException):
        device.sync_jack_status  # noqa: B018
    device.close()
    with pytest.raises(K4AException):
        opened(0)


def test_recordings_are_played_back_as_ever(tmp_path, bench):
    done = export_take(write_kinect_take(tmp_path / "take", 2), tmp_path / "out")
    live = started(FRONT, WiredSyncMode.MASTER)
    with pyk4a.PyK4APlayback(tmp_path / "out" / done.cameras[1].file) as playback:
        recorded, seen = playback.get_next_capture(), live.get_capture(timeout=1000)
        assert recorded.color is not None
        assert recorded.depth is not None
        assert seen.color is not None
        assert bytes(recorded.color) == jpeg(1)
        assert np.array_equal(recorded.depth, depth(1))
        assert bytes(seen.color).startswith(b"\xff\xd8" + live.serial.encode())
        assert playback.get_next_capture().depth_timestamp_usec - recorded.depth_timestamp_usec == 33_333


def test_seeds_decide_jitter_and_clocks():
    def times() -> list[int]:
        with bench_of(virtual_rig(seed=7)) as bench:
            device = started(FRONT, WiredSyncMode.MASTER)
            del bench
            return [device.get_capture(timeout=1000).depth_timestamp_usec for _ in range(3)]

    assert times() == times()
