"""A rig from take to take: what was lost comes back or is said, and a rig that has changed is refused."""

import time
from collections.abc import Iterator

import pytest

pytest.importorskip("pyk4a", reason="pyk4a is not installed")

from capture.devices.azure_kinect import AzureKinects
from capture.recorder import rig_keeper
from capture.recorder.rig_keeper import RigKeeper
from capture.virtual.bench import Bench
from mmface4d.errors import DeviceError
from tests.capture.virtual_bench import WANTED, bench_of, exact_rig, wait_until


@pytest.fixture
def bench() -> Iterator[Bench]:
    with bench_of(exact_rig()) as bench:
        yield bench


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def keeper(bench: Bench, told: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[RigKeeper]:
    monkeypatch.setattr(rig_keeper, "FIRST_PICTURE_S", 0.6)
    monkeypatch.setattr(rig_keeper, "FRESH_S", 0.3)
    made = RigKeeper(AzureKinects(), WANTED, cameras=3, on_capture=lambda capture: None, on_fault=told.append)
    made.open()
    yield made
    made.close()


def test_a_rig_that_delivers_is_ready(keeper: RigKeeper, told: list[str]) -> None:
    keeper.ready()
    assert set(keeper.status().values()) == {"ok"}
    assert not told


def test_a_camera_that_comes_back_is_used_again(bench: Bench, keeper: RigKeeper, told: list[str]) -> None:
    serial = bench.rig.devices[0].serial
    bench.fault(f"unplug:{serial}@0+0.4")
    wait_until(lambda: told)
    assert f"camera {serial} is gone; check its USB cable" in told[0]
    assert "gone" in keeper.status()[serial]
    time.sleep(0.5)
    keeper.ready()
    assert set(keeper.status().values()) == {"ok"}


def test_a_camera_that_stays_away_is_named(bench: Bench, keeper: RigKeeper, told: list[str]) -> None:
    serial = bench.rig.devices[2].serial
    bench.fault(f"unplug:{serial}")
    wait_until(lambda: told)
    for _ in range(2):
        with pytest.raises(DeviceError, match=f"camera {serial} is gone; now: 2 cameras found"):
            keeper.ready()
    bench.repair()
    keeper.ready()


def test_a_camera_that_is_there_but_delivers_nothing_stops_the_next_take(bench: Bench, keeper: RigKeeper) -> None:
    serial = bench.rig.devices[2].serial
    keeper.ready()
    bench.fault(f"stall:{serial}")
    time.sleep(0.5)
    with pytest.raises(DeviceError, match=f"camera {serial} delivers nothing") as caught:
        keeper.ready()
    assert "unplug it and plug it in again" in str(caught.value.hint)
    bench.repair()
    keeper.ready()


def test_cables_that_are_swapped_while_a_camera_is_away_are_refused(
    bench: Bench, keeper: RigKeeper, told: list[str]
) -> None:
    serial = bench.rig.devices[2].serial
    bench.fault(f"unplug:{serial}@0+0.2")
    wait_until(lambda: told)
    time.sleep(0.3)
    bench.fault("swap")
    with pytest.raises(DeviceError, match="the rig has changed: it was"):
        keeper.ready()
    bench.repair()
    keeper.ready()


def test_a_camera_that_hangs_while_it_is_opened_does_not_hang_us(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig_keeper, "OPEN_S", 0.3)
    made = RigKeeper(AzureKinects(), WANTED, on_capture=lambda capture: None, on_fault=lambda text: None)
    bench.fault(f"hang:{bench.rig.devices[1].serial}@0+0.8")
    with pytest.raises(DeviceError, match="a camera has not answered"):
        made.open()
    time.sleep(0.8)  # until what was opened too late is given back
    monkeypatch.setattr(rig_keeper, "OPEN_S", 5.0)
    assert len(made.open()) == 3
    made.close()
