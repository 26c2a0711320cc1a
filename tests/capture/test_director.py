"""The session's state machine: what is recorded, kept, repeated and skipped, and going on after a crash."""

import errno
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from capture.recorder.director import Command, Director, DirectorSettings, Look
from capture.recorder.verdict import judge
from mmface4d.errors import BusyError, ConsentError, DeviceError, DiskFullError, InputError
from mmface4d.session import ScriptItem, Session, create_session, held, open_session
from mmface4d.take import open_take
from tests.capture.live_devices import LiveDevices, recorder

SCRIPT = [ScriptItem(id=f"00_{n:04d}", text=f"Sentence number {n}.") for n in range(1, 4)]


class Speaker:
    """An actor that says every sentence for a while after the green light; silent on the tries named."""

    def __init__(self, devices: LiveDevices, *, silent_tries: set[int] = frozenset()) -> None:  # type: ignore[assignment]
        self.devices, self.silent_tries, self.tries = devices, silent_tries, 0
        self.prepared: list[str] = []

    def prepare(self, item: ScriptItem) -> None:
        self.prepared.append(item.id)

    def go(self, item: ScriptItem) -> None:
        self.tries += 1
        if self.tries not in self.silent_tries:
            threading.Timer(0.3, self.devices.say, (0.5,)).start()


@pytest.fixture
def devices() -> Iterator[LiveDevices]:
    machine = recorder(pre_roll_s=0.3, post_roll_s=0.2)
    live = LiveDevices(machine, speaks=True)
    time.sleep(0.5)
    yield live
    live.close()
    machine.close()


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return create_session(tmp_path / "s", subject="P01", script=SCRIPT)


def director(session: Session, devices: LiveDevices, speaker: Speaker, **settings: Any) -> Director:
    chosen = DirectorSettings(countdown_s=0.3, quiet_s=0.4, **settings)
    return Director(
        session, devices.target, judge=lambda path, faults: judge(path, faults=faults), performers=(speaker,),
        settings=chosen,
    )  # fmt: skip


def wait_for(made: Director, phase: str, *, seconds: float = 10.0) -> Look:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if made.look().phase == phase:
            return made.look()
        time.sleep(0.01)
    raise AssertionError(f"{made.look()} never became {phase}")


def test_a_script_records_itself(session: Session, devices: LiveDevices) -> None:
    speaker = Speaker(devices)
    director(session, devices, speaker, auto=True).run()
    again = open_session(session.path)
    assert [state.status for state in again.states.values()] == ["kept"] * 3
    assert speaker.prepared == [item.id for item in SCRIPT]
    for state in again.states.values():
        with open_take(again.takes / str(state.kept_take)) as take:
            assert take.info.source["item"]["text"] == state.item.text
            assert 0.5 < len(take) / 30 < 3.5
    assert again.next_item() is None


def test_failed_takes_are_repeated_and_nothing_is_overwritten(session: Session, devices: LiveDevices) -> None:
    made = director(session, devices, Speaker(devices, silent_tries={1}), auto=True, longest_s=1.5)
    made.run()
    state = open_session(session.path).states[SCRIPT[0].id]
    assert state.status == "kept"
    assert state.takes == ["001-00_0001-v1", "001-00_0001-v2"]
    assert state.kept_take == "001-00_0001-v2"
    assert all((session.takes / name / "take.json").is_file() for name in state.takes)


def test_what_fails_again_and_again_goes_on_the_retake_list(session: Session, devices: LiveDevices) -> None:
    speaker = Speaker(devices, silent_tries={1, 2})
    director(session, devices, speaker, auto=True, longest_s=1.2, most_tries=2).run()
    again = open_session(session.path)
    assert [state.status for state in again.states.values()] == ["retake", "kept", "kept"]
    assert any("nobody speaks" in reason for reason in again.states[SCRIPT[0].id].reasons)
    following = again.next_item()
    assert following is not None
    assert following.id == SCRIPT[0].id


def test_what_an_earlier_run_left_to_be_repeated_is_tried_again(session: Session, devices: LiveDevices) -> None:
    session.append("retake", SCRIPT[0].id)
    session.append("skipped", SCRIPT[1].id)
    director(session, devices, Speaker(devices), auto=True).run()
    assert [state.status for state in open_session(session.path).states.values()] == ["kept", "skipped", "kept"]


def test_what_was_pressed_before_the_take_began_does_not_end_it(session: Session, devices: LiveDevices) -> None:
    made = director(session, devices, Speaker(devices))
    thread = threading.Thread(target=made.run)
    thread.start()
    for command in ("record", "record", "keep", "retake", "next"):
        made.press(command)  # type: ignore[arg-type]
    wait_for(made, "recording")
    time.sleep(1.2)
    assert made.look().phase == "recording"
    made.press("quit")
    thread.join(10)
    assert not thread.is_alive()
    state = open_session(session.path).states[SCRIPT[0].id]
    assert state.takes == ["001-00_0001-v1"]
    assert state.kept_take is None


@pytest.mark.parametrize(("command", "then"), [("stop", "idle"), ("quit", "finished")])
def test_a_take_is_called_off_before_it_begins(
    session: Session, devices: LiveDevices, command: Command, then: str
) -> None:
    made = director(session, devices, Speaker(devices))
    thread = threading.Thread(target=made.run)
    thread.start()
    made.press("record")
    wait_for(made, "countdown")
    made.press("note", "coughed")
    made.press(command)
    wait_for(made, then)
    made.press("quit")
    thread.join(10)
    state = open_session(session.path).states[SCRIPT[0].id]
    assert state.takes == []
    assert state.notes == ["coughed"]
    assert not any(session.takes.iterdir())


def test_an_operator_leads(session: Session, devices: LiveDevices) -> None:
    made = director(session, devices, Speaker(devices))
    thread = threading.Thread(target=made.run)
    thread.start()
    assert wait_for(made, "idle").number == 1
    made.press("record")
    wait_for(made, "recording")
    time.sleep(1.2)
    made.press("stop")
    seen = wait_for(made, "verdict")
    assert seen.passed, seen.reasons
    made.press("note", "smiled at the end")
    made.press("retake")
    wait_for(made, "recording")
    time.sleep(1.2)
    made.press("stop")
    wait_for(made, "verdict")
    made.press("keep")
    wait_for(made, "idle")
    made.press("skip")
    made.press("back")
    made.press("quit")
    thread.join(10)
    assert not thread.is_alive()
    states = open_session(session.path).states
    assert states[SCRIPT[0].id].kept_take == "001-00_0001-v2"
    assert states[SCRIPT[0].id].notes == ["smiled at the end"]
    assert states[SCRIPT[1].id].status == "skipped"
    assert states[SCRIPT[2].id].status == "pending"


def test_a_camera_that_stops_makes_the_take_bad(session: Session, devices: LiveDevices) -> None:
    made = director(session, devices, Speaker(devices))
    thread = threading.Thread(target=made.run)
    thread.start()
    made.press("record")
    wait_for(made, "recording")
    devices.dead.add("right")
    devices.target.on_fault("camera right stopped delivering")
    time.sleep(1.2)
    made.press("stop")
    seen = wait_for(made, "verdict")
    assert not seen.passed
    assert any("camera right stopped delivering" in reason for reason in seen.reasons)
    made.press("quit")
    thread.join(10)
    assert open_session(session.path).states[SCRIPT[0].id].status == "retake"


def test_a_session_is_held_by_one_process(session: Session) -> None:
    with held(session.path), pytest.raises(BusyError, match="session"), held(session.path):
        pass


def test_a_log_cut_short_goes_on(session: Session) -> None:
    session.append("kept", SCRIPT[0].id, take="001-00_0001-v1")
    log = session.path / "log.jsonl"
    log.write_bytes(log.read_bytes() + b'{"what": "kept", "item": "00_00')
    with held(session.path) as again:
        assert again.states[SCRIPT[0].id].status == "kept"
        again.append("skipped", SCRIPT[1].id)
    assert open_session(session.path).done == 2


def test_a_damaged_line_is_named(session: Session) -> None:
    session.append("kept", SCRIPT[0].id)
    log = session.path / "log.jsonl"
    log.write_bytes(b"nonsense\n" + log.read_bytes())
    with pytest.raises(InputError, match="line 1 is damaged"):
        open_session(session.path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"id": "../x", "text": "a"}', "line 1: id"),
        ('{"id": "a", "text": ""}', "line 1: text"),
        ('{"id": "a", "text": "b", "emotion": "bored"}', "line 1: emotion"),
        ("{", "line 1: no JSON"),
        ('{"id": "a", "text": "b"}\n{"id": "A", "text": "c"}', "stands twice"),
    ],
)
def test_broken_scripts_name_the_line(session: Session, line: str, said: str) -> None:
    (session.path / "script.jsonl").write_text(line)
    with pytest.raises(InputError, match=said):
        open_session(session.path)


def test_a_log_keeps_its_lines_where_the_disk_takes_only_a_part(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    session.append("kept", SCRIPT[0].id)
    before = (session.path / "log.jsonl").read_bytes()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(DiskFullError):
            session.append("skipped", SCRIPT[1].id)
    assert (session.path / "log.jsonl").read_bytes() == before
    assert session.states[SCRIPT[1].id].status == "pending"
    session.append("skipped", SCRIPT[1].id)
    assert open_session(session.path).done == 2


def test_an_automatic_session_waits_a_while_for_a_device_and_then_ends(session: Session, devices: LiveDevices) -> None:
    made = director(session, devices, Speaker(devices), auto=True, device_wait_s=1.5)
    asked: list[float] = []
    seen: list[str] = []

    def ready(*, back_after: int) -> None:
        asked.append(time.monotonic())
        if len(asked) <= back_after:
            raise DeviceError("camera left is gone", hint="plug it in")

    made.listeners.append(lambda look: seen.append(look.message))
    made._ready = lambda: ready(back_after=2)
    made.run()
    assert open_session(session.path).done == 3
    assert "camera left is gone; waiting for it" in seen

    session.append("pending", SCRIPT[0].id)
    asked.clear()
    made._ready = lambda: ready(back_after=1000)
    with pytest.raises(DeviceError, match="camera left is gone"):
        made.run()
    assert asked[-1] - asked[0] == pytest.approx(1.5, abs=0.7)
    assert made.look().message == "camera left is gone. plug it in"


def test_a_camera_that_stops_unnoticed_makes_the_take_bad(session: Session, devices: LiveDevices) -> None:
    made = director(session, devices, Speaker(devices))
    thread = threading.Thread(target=made.run)
    thread.start()
    made.press("record")
    wait_for(made, "recording")
    time.sleep(0.5)
    devices.dead.add("right")
    time.sleep(0.8)
    made.press("stop")
    seen = wait_for(made, "verdict")
    assert not seen.passed
    assert any("camera right lacks" in reason for reason in seen.reasons)
    made.press("quit")
    thread.join(10)


def test_a_fault_is_told_at_once_and_ends_an_automatic_take(session: Session, devices: LiveDevices) -> None:
    made = director(session, devices, Speaker(devices, silent_tries={1, 2}), auto=True, most_tries=1, longest_s=9.0)
    told: list[float] = []

    def watch(look: Look) -> None:
        if look.phase == "recording" and not told:
            threading.Timer(0.4, devices.target.on_fault, ("camera right is gone; check its USB cable",)).start()
        if look.phase == "recording" and "right is gone" in look.message:
            told.append(time.monotonic() - look.phase_since)

    made.listeners.append(watch)
    made.run()
    assert told
    assert told[0] < 1.0
    reasons = open_session(session.path).states[SCRIPT[0].id].reasons
    assert [reason for reason in reasons if "right is gone" in reason] == [
        "device: camera right is gone; check its USB cable"
    ]


def test_without_any_sound_the_take_is_bad(session: Session, devices: LiveDevices) -> None:
    devices.mute = True
    made = director(session, devices, Speaker(devices), auto=True, most_tries=1, longest_s=0.5)
    time.sleep(1.5)  # until what was heard before is forgotten
    made.run()
    reasons = open_session(session.path).states[SCRIPT[0].id].reasons
    assert any("the microphone delivered nothing" in reason for reason in reasons)


def run_until_refused(made: Director) -> tuple[threading.Thread, list[str]]:
    """The director in a thread, and what it is refused with."""
    refusals: list[str] = []

    def run() -> None:
        try:
            made.run()
        except ConsentError as error:
            refusals.append(error.message)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, refusals


def test_a_take_in_which_the_actor_withdraws_is_withdrawn(session: Session, devices: LiveDevices) -> None:
    made = director(session, devices, Speaker(devices))
    thread, refusals = run_until_refused(made)
    made.press("record")
    wait_for(made, "recording")
    (session.path / "withdrawn.json").write_text("{}")  # as by another process
    time.sleep(0.5)
    made.press("stop")
    thread.join(10)
    assert not thread.is_alive()
    take = session.takes / "001-00_0001-v1"
    assert refusals == [f"{take} is withdrawn: the person took their consent back"]
    assert (take / "take.json").is_file()  # nothing is deleted
    assert open_session(session.path).states[SCRIPT[0].id].status == "pending"


def test_nobody_is_recorded_who_withdraws_in_mid_session(session: Session, devices: LiveDevices) -> None:
    made = director(session, devices, Speaker(devices))
    thread, refusals = run_until_refused(made)
    made.press("record")
    wait_for(made, "recording")
    time.sleep(1.2)
    made.press("stop")
    wait_for(made, "verdict")

    def refuse() -> None:
        raise ConsentError("P01 took their consent back", hint="do not record them")

    made._ready = refuse
    made.press("retake")
    thread.join(10)
    assert not thread.is_alive()
    assert refusals == ["P01 took their consent back"]
    assert made.look().phase == "fault"
    assert [path.name for path in session.takes.iterdir()] == ["001-00_0001-v1"]


def test_files_that_are_damaged_in_mid_session_are_a_fault_to_mend(session: Session, devices: LiveDevices) -> None:
    """As a lab.toml that is being edited: the operator is told, and goes on when it is whole."""
    made = director(session, devices, Speaker(devices))

    def refuse() -> None:
        raise InputError("lab.toml, line 3: no TOML", hint="mend the lines named")

    made._ready = refuse
    thread, refusals = run_until_refused(made)
    made.press("record")
    assert wait_for(made, "fault").message == "lab.toml, line 3: no TOML. mend the lines named"
    made._ready = lambda: None
    made.press("record")
    wait_for(made, "recording")
    made.press("quit")
    thread.join(10)
    assert not thread.is_alive()
    assert refusals == []


def test_takes_say_where_they_come_from(session: Session, devices: LiveDevices) -> None:
    consent: dict[str, Any] = {"version": "1", "scopes": ["mesh", "rgb"]}
    made = Director(
        session, devices.target, judge=lambda path, faults: judge(path, faults=faults),
        performers=(Speaker(devices),), source=lambda: {"consent": consent},
        settings=DirectorSettings(auto=True, countdown_s=0.3, quiet_s=0.4, most_tries=1),
    )  # fmt: skip
    consent.update(version="2", scopes=["mesh"])  # renewed while the session is open
    made.run()
    with open_take(session.takes / "001-00_0001-v1") as take:
        source = take.info.source
    assert (source["consent"], source["subject"], source["item"]["id"]) == (consent, "P01", "00_0001")
