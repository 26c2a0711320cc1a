"""Three virtual Kinects driven by the code that drives real ones: order, settings, sync, faults, and no hanging."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("pyk4a", reason="pyk4a is not installed")

from capture.clocks import HostTimes
from capture.devices.azure_kinect import AzureKinects
from capture.devices.rig import CameraRig
from capture.devices.roles import rig_settings
from capture.pairing import CaptureTimes, pair_captures
from capture.virtual.bench import Bench, BenchSettings, Device
from capture.virtual.controls import EXPOSURE, MANUAL
from mmface4d.errors import DeviceError
from tests.capture.virtual_bench import (
    QUICK,
    WANTED,
    Heard,
    bench_of,
    exact_rig,
    rig_with_rates,
    running,
    ticking,
    wait_until,
)


@pytest.fixture
def bench():
    with bench_of(exact_rig()) as bench:
        yield bench


def serials_of(bench: Bench) -> tuple[str, str, str]:
    left, front, right = (kinect.serial for kinect in bench.rig.devices)
    return left, front, right


def paired(rig: CameraRig, heard: Heard, *, host: bool = False):
    cameras = {camera.serial: camera for camera in rig.take_cameras()}
    times, arrivals = {}, {}
    for serial in cameras:
        captures = heard.of(serial)
        color = np.array([c.color_usec for c in captures], dtype=np.int64)
        times[serial] = CaptureTimes(color, np.array([c.depth_usec for c in captures], dtype=np.int64))
        arrivals[serial] = HostTimes(color, np.array([c.host_nsec for c in captures], dtype=np.int64))
    return pair_captures(cameras, times, host=arrivals if host else None)


@pytest.mark.parametrize("rates_ppm", [{}, {0: 60.0, 2: -60.0}])
def test_a_second_of_the_rig_is_in_sync(rates_ppm):
    with bench_of(rig_with_rates(rates_ppm)) as bench, running(bench) as (rig, heard):
        wait_until(lambda: min(c.captures for c in rig.counters.values()) >= 36)
        rig.stop()
        pairing = paired(rig, heard)
        assert rig.master == bench.rig.master.serial
    assert not heard.faults
    assert not pairing.unmatched[3:]
    assert pairing.sync.pairs >= 70
    assert pairing.sync.p99_usec <= 50
    assert pairing.sync.max_usec <= 110
    for index, delay_usec in enumerate((-156, 0, 156)):
        serial = serials_of(bench)[index]
        assert {(c.depth_usec or 0) - (c.color_usec or 0) for c in heard.of(serial)} == {delay_usec}


def test_sync_holds_with_clocks_that_drift_by_400_ppm():
    with bench_of(rig_with_rates({0: 400.0, 2: -400.0})) as bench, running(bench) as (rig, heard):
        wait_until(lambda: min(c.captures for c in rig.counters.values()) >= 45)
        rig.stop()
        pairing = paired(rig, heard, host=True)
        left, _, right = serials_of(bench)
    assert pairing.sync.p99_usec <= 50
    assert pairing.clocks[left].rate_ppm == pytest.approx(-400, abs=15)
    assert pairing.clocks[right].rate_ppm == pytest.approx(400, abs=15)


def test_subordinates_start_first_and_every_device_has_one_thread(bench, monkeypatch):
    calls: list[tuple[str, str, str]] = []

    def noted(name, real):
        def call(device, *arguments):
            calls.append((name, device.serial, threading.current_thread().name))
            return real(device, *arguments)

        return call

    for name in ("start", "stop", "capture"):
        monkeypatch.setattr(Device, name, noted(name, getattr(Device, name)))
    with running(bench) as (rig, heard):
        wait_until(lambda: len(heard.captures) > 6)
        rig.stop()
        starts = [serial for name, serial, _ in calls if name == "start"]
        assert starts[-1] == rig.master
        assert sorted(starts) == sorted(serials_of(bench))
        for serial in serials_of(bench):
            threads = {thread for _, of, thread in calls if of == serial}
            assert threads == {f"camera {serial}"}


def test_settings_are_read_back_and_reported(bench):
    with running(bench) as (rig, _):
        for serial, report in rig.reports.items():
            assert report["exposure_usec"] == "10000"
            assert report["white_balance_k"] == "4500"
            assert (report["color_mode"], report["depth_mode"]) == ("MJPG_1080P", "NFOV_UNBINNED")
            assert report["firmware"] == "1.6.110079014"
            assert (report["color_firmware"], report["depth_firmware"]) == ("1.6.110", "1.6.79")
            assert bench.devices[serial].controls.get(EXPOSURE)[0] == MANUAL
        cameras = {camera.serial: camera for camera in rig.take_cameras()}
    left, front, _ = serials_of(bench)
    assert cameras[front].role == "master"
    assert cameras[left].depth_delay_usec == -160
    assert cameras[left].rgbd.color.fx == pytest.approx(bench.rig.devices[0].camera.color.fx)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("refuse:exposure", "refuses exposure 10000"),
        ("refuse:white_balance", "refuses white balance 4500"),
        ("unread:exposure", "exposure cannot be read back"),
        ("unread:powerline", "powerline frequency cannot be read back"),
    ],
)
def test_a_refused_setting_is_told_with_its_serial_and_nothing_runs(bench, fault, told):
    left = serials_of(bench)[0]
    bench.fault(f"{fault}:{left}")
    with running(bench, start=False) as (rig, heard):
        with pytest.raises(DeviceError, match=told) as caught:
            rig.start()
        assert left in caught.value.message
        assert caught.value.hint
        time.sleep(0.1)
        assert not heard.captures
        bench.repair()
        rig.start()
        wait_until(lambda: len(heard.captures) > 6)


def test_a_setting_that_does_not_stick_is_told(bench):
    camera = AzureKinects().open_all()[0]
    settings = rig_settings([camera.info], WANTED)[camera.info.serial]
    with pytest.raises(DeviceError, match="flicker at 60 Hz"):
        camera.configure(replace(settings, powerline_hz=60))
    with pytest.raises(DeviceError, match="infrared"):
        camera.configure(replace(settings, ir=True))
    with pytest.raises(DeviceError, match="refuses white balance 4503"):
        camera.configure(replace(settings, white_balance_k=4503))
    with pytest.raises(DeviceError, match="mode"):
        camera.configure(replace(settings, color_resolution="1081P"))
    with pytest.raises(DeviceError, match="not set"):
        camera.start()
    camera.close()
    camera.close()


def test_a_device_that_cannot_be_opened_is_told_and_the_others_are_given_back(bench):
    left, front, right = serials_of(bench)
    bench.fault(f"busy:{front}")
    with pytest.raises(DeviceError, match="camera 2 of 3") as caught:
        AzureKinects().open_all()
    assert left in caught.value.message
    assert right in caught.value.message
    bench.repair()
    cameras = AzureKinects().open_all()
    assert [camera.info.serial for camera in cameras] == [left, front, right]
    for camera in cameras:
        camera.close()


def test_no_device_is_no_error():
    assert AzureKinects().open_all() == []


def test_swapped_cables_are_told_before_anything_starts(bench):
    bench.fault("swap")
    left, front, _ = serials_of(bench)
    cameras = AzureKinects().open_all()
    with pytest.raises(DeviceError, match=f"{left} the master, but it should be {front}"):
        rig_settings([camera.info for camera in cameras], WANTED, master=front)
    for camera in cameras:
        camera.close()


def test_without_jacks_a_wrong_cable_shows_as_a_silent_subordinate():
    with bench_of(exact_rig(), replace(QUICK, jacks=False)) as bench:
        bench.fault("swap")
        left = serials_of(bench)[0]
        with running(bench, stall_s=0.3) as (_, heard):
            wait_until(lambda: heard.faults)
            time.sleep(0.3)
        assert [serial for serial, _ in heard.faults] == [left]
        assert "since it was started" in heard.faults[0][1].message
        assert "SYNC IN" in (heard.faults[0][1].hint or "")


def test_other_firmware_is_refused():
    rig = exact_rig()
    settings = replace(QUICK, firmware={rig.devices[2].serial: "1.6.108079014"})
    with bench_of(rig, settings) as bench:
        with pytest.raises(DeviceError, match="firmware") as caught, running(bench, start=False):
            pass
        assert rig.devices[2].serial in caught.value.message


def test_two_masters_and_unequal_settings_are_refused(bench):
    cameras = AzureKinects().open_all()
    settings = rig_settings([camera.info for camera in cameras], WANTED)
    left, _, _ = serials_of(bench)

    def rig(changed):
        return CameraRig(cameras, changed, on_capture=lambda _: None, on_fault=lambda *_: None)

    with pytest.raises(DeviceError, match="one master"):
        rig({**settings, left: replace(settings[left], role="master")})
    with pytest.raises(DeviceError, match="differ in settings"):
        rig({**settings, left: replace(settings[left], exposure_usec=20_000)})
    with pytest.raises(DeviceError, match=f"{left} has no settings"):
        rig({serial: value for serial, value in settings.items() if serial != left})
    for camera in cameras:
        camera.close()


def test_an_unplugged_camera_is_told_once_and_can_come_back(bench):
    _, _, right = serials_of(bench)
    with running(bench, stall_s=1.0) as (rig, heard):
        wait_until(lambda: len(heard.of(right)) > 3)
        bench.fault(f"unplug:{right}@0+0.3")
        wait_until(lambda: heard.faults)
        assert heard.faults[0][0] == right
        assert right in heard.faults[0][1].message
        assert "gone" in heard.faults[0][1].message
        with pytest.raises(DeviceError, match=f"{right} is not connected"):
            AzureKinects().open(right)
        time.sleep(0.4)
        rig.restart(AzureKinects().open(right))
        before = len(heard.of(right))
        wait_until(lambda: len(heard.of(right)) > before + 3)
        assert len(heard.faults) == 1
        rig.stop()
        pairing = paired(
            rig, Heard([c for c in heard.captures if c.serial != right or c in heard.of(right)[before:]]), host=True
        )
    assert pairing.sync.pairs > 10


def test_a_stall_is_told_once_each_time(bench):
    left, _, _ = serials_of(bench)
    with running(bench, stall_s=0.25) as (rig, heard):
        wait_until(lambda: len(heard.of(left)) > 3)
        bench.fault(f"stall:{left}@0+0.6,stall:{left}@1+0.5")
        time.sleep(1.8)
        assert [serial for serial, _ in heard.faults] == [left, left]
        assert left in heard.faults[0][1].message
        assert "delivered nothing for 0.25 s" in heard.faults[0][1].message
        assert rig.counters[left].longest_wait_s > 0.4
        assert rig.counters[left].lost_frames == pytest.approx(33, abs=3)
        assert all(rig.counters[serial].lost_frames == 0 for serial in rig.counters if serial != left)


def test_losses_are_counted_and_no_fault(bench):
    _, front, right = serials_of(bench)
    with running(bench) as (rig, heard):
        wait_until(lambda: len(heard.of(front)) > 3)
        bench.fault(f"drop:{front}@0.1x4,half:{right}@0.1x3")
        time.sleep(0.6)
        rig.stop()
        assert not heard.faults
        assert rig.counters[front].lost_frames == 4
        assert rig.counters[right].missing_depth == 3
        assert rig.counters[right].missing_color == 0
        assert rig.counters[right].captures == len(heard.of(right))
    halves = [c for c in heard.of(right) if c.depth_mm is None]
    assert all(c.depth_usec is None and c.color_jpeg for c in halves)


def test_a_device_that_hangs_does_not_keep_the_rig(bench):
    left, front, right = serials_of(bench)
    with running(bench, stall_s=0.3) as (rig, heard):
        wait_until(lambda: len(heard.captures) > 9)
        bench.fault(f"hang:{left}")
        wait_until(lambda: heard.faults)
        assert [serial for serial, _ in heard.faults] == [left]
        begin = time.monotonic()
        rig.stop(timeout_s=0.3)
        assert time.monotonic() - begin < 0.6
        assert heard.faults[-1][0] == left
        assert "does not answer while it is stopped" in heard.faults[-1][1].message
        count = len(heard.of(front)) + len(heard.of(right))
        time.sleep(0.1)
        assert len(heard.of(front)) + len(heard.of(right)) == count
        bench.repair()


def test_a_device_that_hangs_at_the_start_is_told():
    with bench_of(exact_rig()) as bench, running(bench, start=False) as (rig, _):
        left = serials_of(bench)[0]
        rig._answer_s = 0.3
        bench.fault(f"hang:{left}")
        begin = time.monotonic()
        with pytest.raises(DeviceError, match=f"{left} does not answer while it is set"):
            rig.start()
        assert time.monotonic() - begin < 1.5
        bench.repair()


def test_stop_and_start_again(bench):
    with running(bench) as (rig, heard):
        wait_until(lambda: len(heard.captures) > 9)
        rig.stop()
        rig.stop()
        heard.captures.clear()
        rig.start()
        wait_until(lambda: min(len(heard.of(serial)) for serial in serials_of(bench)) > 3)
        assert all(heard.of(serial)[0].color_usec == 1_000_000 for serial in serials_of(bench))
        assert not heard.faults


def test_a_recorder_that_fails_is_told_once_and_cameras_go_on(bench):
    cameras = AzureKinects().open_all()
    settings = rig_settings([camera.info for camera in cameras], WANTED)
    heard = Heard()

    def refuse(capture) -> None:
        heard.captures.append(capture)
        raise ValueError("no room")

    rig = CameraRig(cameras, settings, on_capture=refuse, on_fault=lambda s, e: heard.faults.append((s, e)))
    rig.start()
    wait_until(lambda: len(heard.captures) > 12)
    rig.close()
    assert sorted(serial for serial, _ in heard.faults) == sorted(serials_of(bench))
    assert "no room" in heard.faults[0][1].message


def test_waiting_for_the_master_keeps_nobody_waiting(bench):
    cameras = AzureKinects().open_all()
    settings = rig_settings([camera.info for camera in cameras], WANTED)
    camera = cameras[0]
    camera.configure(settings[camera.info.serial])
    camera.start()
    with ticking() as times:
        assert camera.read(0.5) is None
    assert len(times) > 40
    for other in cameras:
        other.close()


def test_arrivals_are_the_devices_and_not_the_readers():
    settings = BenchSettings(startup_s=0.02, latency_s=0.02, jitter_s=0.0)
    with bench_of(exact_rig(), settings) as bench, running(bench) as (rig, heard):
        wait_until(lambda: len(heard.captures) > 30)
        rig.stop()
        for capture in heard.captures:
            exposed = (capture.host_nsec - bench.stage.host_nsec(0.0)) / 1e9 - 0.02
            assert exposed * 30 == pytest.approx(round(exposed * 30), abs=1e-3)
