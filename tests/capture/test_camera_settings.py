"""Exposure under electric light, roles from sync jacks, delays between lasers, and what a fault is written like."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.devices.camera import CameraInfo, CameraSettings
from capture.devices.exposure import choose_exposure, flicker_free_exposures
from capture.devices.roles import assign_roles, depth_delays_usec, rig_settings
from capture.virtual.faults import Faults, parse_faults
from capture.virtual.rig import in_ticks_usec
from mmface4d.errors import DeviceError, UsageError

WIRED = [(True, True), (False, True), (True, False)]  # IN and OUT of left, front and right
SERIALS = ["left", "front", "right"]


def info(serial: str, jack_in: bool | None = None, jack_out: bool | None = None) -> CameraInfo:
    return CameraInfo(serial, "Azure Kinect", "1.6.110079014", jack_in, jack_out, b"{}")


def infos(*jacks: tuple[bool | None, bool | None]) -> list[CameraInfo]:
    return [info(serial, *jack) for serial, jack in zip(SERIALS, jacks, strict=True)]


def test_exposures_are_those_of_the_mains():
    assert flicker_free_exposures(50) == (10_000, 20_000, 30_000)
    assert flicker_free_exposures(60) == (8_330, 16_670, 33_330)


@given(hz=st.sampled_from([50, 60]), wanted=st.integers(1, 200_000), fps=st.sampled_from([5, 15, 30]))
def test_a_chosen_exposure_fits_the_frame_and_is_the_nearest(hz, wanted, fps):
    chosen = choose_exposure(wanted, powerline_hz=hz, fps=fps)
    assert chosen <= 1e6 / fps
    assert min(abs(usec - wanted) for usec in flicker_free_exposures(hz, fps=fps)) == abs(chosen - wanted)
    periods = chosen * 2 * hz / 1e6
    assert periods == pytest.approx(round(periods), abs=1e-3)


def test_without_a_wish_the_shortest_exposure_is_chosen():
    assert choose_exposure(None, powerline_hz=50) == 10_000
    assert choose_exposure(None, powerline_hz=60) == 8_330


@pytest.mark.parametrize(("hz", "fps"), [(0, 30), (55, 30), (50, 0)])
def test_impossible_mains_and_rates_are_refused(hz, fps):
    with pytest.raises(UsageError):
        choose_exposure(10_000, powerline_hz=hz, fps=fps)


def test_roles_follow_the_cables():
    assert assign_roles(infos(*WIRED)) == {"left": "subordinate", "front": "master", "right": "subordinate"}
    assert assign_roles(infos(*WIRED), master="front")["front"] == "master"


def test_one_camera_stands_alone():
    assert assign_roles([info("front", False, False)]) == {"front": "standalone"}


@pytest.mark.parametrize("jacks", [(None, None), (False, False)])
def test_where_jacks_say_nothing_the_caller_does(jacks):
    silent = infos(jacks, jacks, jacks)
    assert assign_roles(silent, master="front")["front"] == "master"
    with pytest.raises(DeviceError, match="do not say") as caught:
        assign_roles(silent)
    assert "serial number" in (caught.value.hint or "")


def test_swapped_cables_are_told_with_both_serials():
    swapped = infos((False, True), (True, True), (True, False))
    with pytest.raises(DeviceError, match="left the master, but it should be front"):
        assign_roles(swapped, master="front")


@pytest.mark.parametrize(
    ("jacks", "told"),
    [
        ([(True, True), (False, True), (False, False)], "right"),
        ([(True, True), (True, True), (True, True)], "every camera"),
        ([(False, True), (False, True), (True, False)], "left, front"),
    ],
)
def test_wrong_cables_are_told(jacks, told):
    with pytest.raises(DeviceError, match=told):
        assign_roles(infos(*jacks))


def test_a_master_that_is_not_there_is_told():
    with pytest.raises(DeviceError, match="top is not connected"):
        assign_roles(infos(*WIRED), master="top")
    with pytest.raises(DeviceError, match="same serial"):
        assign_roles([info("a"), info("a")], master="a")
    with pytest.raises(DeviceError, match="0 cameras"):
        assign_roles([])


@given(count=st.integers(1, 8), data=st.data())
def test_no_two_lasers_overlap(count, data):
    serials = [f"camera{index}" for index in range(count)]
    master = data.draw(st.sampled_from(serials))
    delays = depth_delays_usec(serials, master=master)
    assert delays[master] == 0
    real = [in_ticks_usec(delay) for delay in delays.values()]
    assert all(abs(a - b) >= 125 for a, b in combinations(real, 2))


def test_three_cameras_have_the_usual_delays():
    settings = rig_settings(infos(*WIRED), CameraSettings(role="standalone", exposure_usec=20_000))
    assert [settings[s].depth_delay_usec for s in SERIALS] == [-160, 0, 160]
    assert [settings[s].role for s in SERIALS] == ["subordinate", "master", "subordinate"]
    assert {replace(s, role="standalone", depth_delay_usec=0).exposure_usec for s in settings.values()} == {20_000}
    assert np.allclose([in_ticks_usec(d) for d in (-160, 0, 160)], [-155.6, 0, 155.6], atol=0.05)


def test_faults_are_read_from_a_text():
    text = "unplug:ght@12.5, stall:front@3+2,drop:left@5x4,refuse:exposure,unread:gain:left,swap"
    faults = parse_faults(text, serials=SERIALS)
    assert [(f.kind, f.serial, f.setting) for f in faults] == [
        ("unplug", "right", None), ("stall", "front", None), ("drop", "left", None),
        ("refuse", None, "exposure"), ("unread", "left", "gain"), ("swap", None, None),
    ]  # fmt: skip
    assert [f.at_s for f in faults] == [12.5, 3, 5, 0, 0, 0]
    assert (faults[1].for_s, faults[2].count) == (2, 4)
    assert parse_faults("", serials=SERIALS) == ()


@pytest.mark.parametrize(
    "text",
    [
        "burn",
        "unplug",
        "unplug:nobody",
        "unplug:t",
        "refuse:colour",
        "swap:left",
        "stall:left@1x3",
        "drop:left@1+3",
        "@",
    ],
)
def test_a_fault_that_cannot_be_meant_is_refused(text):
    with pytest.raises(UsageError):
        parse_faults(text, serials=SERIALS)


def test_faults_hold_when_they_should():
    faults = Faults(SERIALS, fps=30)
    faults.add("stall:left@3+2,drop:front@5x4,refuse:exposure@1+1,unplug:right@2+1", now_s=10.0)
    assert [faults.active("stall", "left", s) for s in (12.9, 13.0, 14.9, 15.0)] == [False, True, True, False]
    assert [t for t in range(440, 470) if faults.of_tick("drop", "front", t)] == [450, 451, 452, 453]
    assert faults.of_setting("refuse", "right", "exposure", now_s=11.5)
    assert not faults.of_setting("refuse", "right", "gain", now_s=11.5)
    assert faults.happened("unplug", "right", 11.0, 20.0)
    assert not faults.happened("unplug", "right", 13.0, 20.0)
    assert faults.next_change_s("left", 0.0) == 11.0
    faults.clear()
    assert not faults.active("stall", "left", 13.5)
