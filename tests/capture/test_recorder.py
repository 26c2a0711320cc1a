"""The recorder: what the devices delivered is in the take, from the pre-roll on, and a kill costs a second at most."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from capture.recorder.recorder import Recorder
from capture.recover import recover_take
from mmface4d.errors import DiskFullError, RecordingError, TakeError
from mmface4d.take import TakeWriter, open_take
from tests.capture.live_devices import FORM, LiveDevices, recorder
from tests.capture.small_take import DELAYS, PERIOD_USEC, jpeg

PERIOD_S = PERIOD_USEC / 1e6


@pytest.fixture
def live() -> Iterator[tuple[Recorder, LiveDevices]]:
    machine = recorder(pre_roll_s=0.4, post_roll_s=0.2)
    devices = LiveDevices(machine)
    time.sleep(0.7)
    yield machine, devices
    devices.close()
    machine.close()


def heard(path: Path) -> tuple[np.ndarray, int]:
    """The take's sound, 32 bits left-justified, and its rate."""
    samples, rate = soundfile.read(path / "audio.wav", dtype="int32")
    return np.asarray(samples), rate


def record(machine: Recorder, path: Path, seconds: float) -> None:
    machine.begin(path, source={"item": "a"})
    time.sleep(seconds)
    machine.end()


def test_a_take_holds_every_picture_and_sample(live, tmp_path: Path) -> None:
    machine, _ = live
    record(machine, tmp_path / "take", 0.8)
    with open_take(tmp_path / "take") as take:
        assert len(take) == pytest.approx((0.4 + 0.8 + 0.2) / PERIOD_S, abs=3)
        assert (np.diff(take.timestamps_usec) == PERIOD_USEC).all()
        assert all(set(take.present(frame)) == set(DELAYS) for frame in range(1, len(take) - 1))
        first = round((take.timestamps_usec[1] - 1_000_000) / PERIOD_USEC)
        assert take.color_jpeg(1, "left") == jpeg(first % 8)
        assert not take.info.unmatched
        samples, rate = heard(take.path)
        assert rate == 48_000
        assert (np.diff(samples >> 8) == 1).all()
        assert take.info.audio is not None
        assert take.info.audio.start_source == "host clock"


def test_sound_lies_where_it_was_heard(live, tmp_path: Path) -> None:
    machine, _ = live
    record(machine, tmp_path / "take", 1.0)
    with open_take(tmp_path / "take") as take:
        samples, _ = heard(take.path)
        heard_usec = 1_000_000 + (int(samples[0]) >> 8) * 1e6 / 48_000  # devices and microphone opened together
        assert take.audio_start_usec == pytest.approx(heard_usec, abs=2_500)


def test_takes_follow_each_other_and_begin_before_they_were_asked_for(live, tmp_path: Path) -> None:
    machine, _ = live
    for name in ("one", "two"):
        before = time.monotonic_ns()
        record(machine, tmp_path / name, 0.3)
        with open_take(tmp_path / name) as take:
            channel = take.streams.channels["/front/color"].device_usec
            began_s = (channel[0] - 1_000_000) / 1e6
            assert began_s < (before - live[1].opened_nsec) / 1e9 - 0.3


def test_a_dead_camera_leaves_its_frames_missing(live, tmp_path: Path) -> None:
    machine, devices = live
    machine.begin(tmp_path / "take", source={})
    time.sleep(0.3)
    devices.dead.add("left")
    machine.on_fault("camera left stopped delivering")
    time.sleep(0.4)
    machine.end()
    with open_take(tmp_path / "take") as take:
        assert set(take.present(len(take) - 1)) == {"front", "right"}
        assert "camera left stopped delivering" in take.info.notes


def test_without_any_picture_the_streams_are_left_for_recovery(tmp_path: Path) -> None:
    machine = recorder(pre_roll_s=0.1, post_roll_s=0.0)
    machine.begin(tmp_path / "take", source={})
    with pytest.raises(RecordingError, match="no camera delivered"):
        machine.end()
    machine.close()
    assert (tmp_path / "take" / "streams.mcap").is_file()
    assert not (tmp_path / "take" / "take.json").exists()


def test_a_take_is_never_overwritten(live, tmp_path: Path) -> None:
    machine, _ = live
    record(machine, tmp_path / "take", 0.2)
    with pytest.raises(TakeError, match="never overwritten"):
        machine.begin(tmp_path / "take", source={})
    assert not machine.recording


def test_a_full_disk_is_told_and_what_was_written_can_be_recovered(
    live, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, _ = live
    machine.begin(tmp_path / "take", source={})
    time.sleep(0.9)

    def full(*args: object, **named: object) -> None:
        raise DiskFullError("no space left while writing", hint="free some space")

    monkeypatch.setattr(TakeWriter, "write_packed", full)
    deadline = time.monotonic() + 3
    while machine.failure is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert isinstance(machine.failure, DiskFullError)
    with pytest.raises(DiskFullError):
        machine.end()
    monkeypatch.undo()
    assert not (tmp_path / "take" / "take.json").exists()
    assert recover_take(tmp_path / "take").frames > 15
    record(machine, tmp_path / "next", 0.2)  # and the recorder goes on
    assert (tmp_path / "next" / "take.json").is_file()


KILLED = """
import sys, time
from pathlib import Path
from tests.capture.live_devices import LiveDevices, recorder
machine = recorder(pre_roll_s=0.3, post_roll_s=0.2)
devices = LiveDevices(machine)
time.sleep(0.5)
machine.begin(Path(sys.argv[1]), source={})
print("recording", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("after_s", [0.0, 0.45, 1.3])
def test_a_kill_costs_a_second_at_most(after_s: float, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "take")], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"recording\n"
    time.sleep(after_s)
    process.send_signal(signal.SIGKILL)
    process.wait()
    try:
        report = recover_take(tmp_path / "take")
    except TakeError:
        assert after_s < 1.0  # less than a second was recorded
        return
    assert report.frames * PERIOD_S > 0.3 + after_s - 1.0
    with open_take(tmp_path / "take") as take:
        samples, _ = heard(take.path)
        assert (np.diff(samples >> 8) == 1).all()
        assert len(samples) / FORM.rate == pytest.approx(len(take) * PERIOD_S, abs=0.5)
        assert take.info.audio is not None
        assert take.info.audio.start_source == "host clock"
        heard_usec = 1_000_000 + (int(samples[0]) >> 8) * 1e6 / FORM.rate
        assert take.audio_start_usec == pytest.approx(heard_usec, abs=10_000)
