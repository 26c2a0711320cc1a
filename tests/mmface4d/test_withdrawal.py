"""Withdrawal: everything of one person is marked, nothing of anybody else, and a kill at any moment is mended."""

import hashlib
import json
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from capture.check import check_take
from capture.recover import recover_take
from mmface4d.errors import BusyError, ConsentError, InputError
from mmface4d.lab import find_lab
from mmface4d.locks import locked
from mmface4d.permission import recording_permit
from mmface4d.rig_calibration import RigCalibration
from mmface4d.session import ScriptItem, Session, create_session, open_session
from mmface4d.subject import Consent, Subject, read_subject
from mmface4d.take import open_take
from mmface4d.withdrawal import MARK, is_withdrawn, refuse_withdrawn_person, withdraw, withdrawn_people
from tests.capture.small_take import DELAYS, camera, write_take
from tests.conftest import RunCli
from tests.mmface4d.killing import at_once, killed_at, let_go_together

TODAY = date(2026, 11, 21)
CONSENT = Consent(version="2", date=date(2026, 11, 2), scopes=("mesh", "audio"))
SCRIPT = [ScriptItem(id="00_0001", text="Good morning.")]


def person(name: str) -> Subject:
    return Subject(pseudonym=name, age=24, gender="female", language="zh", consent=CONSENT)


def session_of(name: str, path: Path, *, takes: int = 3) -> Session:
    made = create_session(path, subject=name, script=SCRIPT, person=person(name))
    for number in range(1, takes + 1):
        take = made.takes / f"001-00_0001-v{number}"
        take.mkdir()
        (take / "streams.mcap").write_bytes(b"as if recorded")
    return made


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Two sessions of P07, one of P08, one of the virtual actor."""
    lab = tmp_path / "lab"
    lab.mkdir()
    (lab / "lab.toml").touch()
    session_of("P07", lab / "sessions" / "first")
    session_of("P07", lab / "sessions" / "later" / "second")
    session_of("P08", lab / "sessions" / "other")
    create_session(lab / "sessions" / "try", subject="virtual", script=SCRIPT, virtual=True)
    return lab


def of_p07(lab: Path) -> list[Path]:
    return sorted([*lab.glob("sessions/first/takes/*"), *lab.glob("sessions/later/second/takes/*")])


def digests(lab: Path) -> dict[str, str]:
    """Of every file that is not about P07."""
    others = [path for path in lab.rglob("*") if path.is_file() and {"other", "try", "P08.json"} & set(path.parts)]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in others}


def assert_withdrawn(lab: Path) -> None:
    assert len(of_p07(lab)) == 6
    for take in of_p07(lab):
        assert json.loads((take / MARK).read_text())["subject"] == "P07"
        assert is_withdrawn(take)
    assert read_subject(lab / "subjects" / "P07.json").withdrawn == TODAY
    ledger = (lab / "withdrawn.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in ledger] == [{"subject": "P07", "withdrawn": "2026-11-21"}]
    assert not list(lab.rglob("*.partial*"))


def test_every_take_of_every_session_is_marked_and_nobody_elses(lab: Path) -> None:
    before = digests(lab)
    assert len(before) > 6
    done = withdraw(lab, "P07", today=TODAY)
    assert (done.marked, done.marked_before, done.failed, len(done.sessions)) == (6, 0, [], 2)
    assert_withdrawn(lab)
    assert digests(lab) == before
    assert not any(is_withdrawn(take) for take in lab.glob("sessions/other/takes/*"))


def test_doing_it_again_changes_nothing(lab: Path) -> None:
    withdraw(lab, "P07", today=TODAY)
    before = {path: path.read_bytes() for path in lab.rglob("*") if path.is_file()}
    again = withdraw(lab / "sessions" / "first", "P07", today=date(2027, 1, 1))  # from anywhere in the lab
    assert (again.marked, again.marked_before, again.day) == (0, 6, TODAY)
    assert {path: path.read_bytes() for path in lab.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("after", [False, True])
def test_a_kill_at_any_step_is_finished_by_the_next_run(lab: Path, tmp_path: Path, after: bool) -> None:
    steps = 0
    while True:
        copy = tmp_path / f"copy-{steps}"
        shutil.copytree(lab, copy)
        others = digests(copy)
        killed = killed_at(steps, lambda here=copy: withdraw(here, "P07", today=TODAY), after=after)
        if killed and (steps, after) != (0, False):
            for name in ("first", "later/second"):  # no take can begin any more
                with pytest.raises(ConsentError):
                    recording_permit(open_session(copy / "sessions" / name), virtual=False, today=TODAY)
        for stray in copy.rglob("*.partial*"):
            stray.unlink()  # of the killed process; never taken for a file
        withdraw(copy, "P07", today=TODAY)
        assert_withdrawn(copy)
        assert digests(copy) == others
        if not killed:
            break
        steps += 1
    assert steps == 10  # the record, the ledger, two sessions, six takes


def test_withdrawn_takes_are_used_by_nothing(tmp_path: Path) -> None:
    session = session_of("P07", tmp_path / "s", takes=0)
    take = write_take(session.takes / "001-00_0001-v1")
    unfinished = session.takes / "001-00_0001-v2"
    shutil.copytree(take, unfinished)
    (unfinished / "take.json").unlink()
    open_take(take).close()
    withdraw(tmp_path, "P07", today=TODAY)
    for use in (open_take, check_take, recover_take):
        for path in (take, unfinished):
            with pytest.raises(ConsentError, match="withdrawn"):
                use(path)
    assert not (unfinished / "take.json").exists()
    (tmp_path / "link").symlink_to(take)
    with pytest.raises(ConsentError):
        open_take(tmp_path / "link")
    shutil.move(take, tmp_path / "elsewhere")  # the take's own mark goes with it
    with pytest.raises(ConsentError):
        open_take(tmp_path / "elsewhere")


def test_a_take_that_came_to_a_withdrawn_session_is_withdrawn_too(lab: Path) -> None:
    withdraw(lab, "P07", today=TODAY)
    late = lab / "sessions" / "first" / "takes" / "001-00_0001-v4"
    late.mkdir()
    assert is_withdrawn(late)
    assert withdraw(lab, "P07", today=TODAY).marked == 1
    assert (late / MARK).is_file()


def test_takes_sorted_into_folders_of_a_withdrawn_session_are_withdrawn(lab: Path) -> None:
    sorted_out = lab / "sessions" / "first" / "takes" / "good" / "monday" / "v1"
    sorted_out.parent.mkdir(parents=True)
    (lab / "sessions" / "first" / "takes" / "001-00_0001-v1").rename(sorted_out)
    withdraw(lab, "P07", today=TODAY)
    assert is_withdrawn(sorted_out)
    elsewhere = lab / "elsewhere"
    elsewhere.symlink_to(sorted_out)
    assert is_withdrawn(elsewhere)


@pytest.mark.parametrize("damaged", [False, True])
def test_a_take_that_left_its_session_before_is_refused_by_whom_it_shows(lab: Path, damaged: bool) -> None:
    """Nobody looks for takes outside sessions, but `take.json` says whom they show, and the ledger who withdrew."""
    moved = {name: write_take(lab / "best" / name) for name in ("P07", "P08")}
    for name, take in moved.items():
        record = json.loads((take / "take.json").read_text())
        record["source"]["subject"] = name
        (take / "take.json").write_text(json.dumps(record))
    withdraw(lab, "P07", today=TODAY)
    (lab.parent / "link").symlink_to(moved["P07"])
    open_take(moved["P08"]).close()
    if damaged:
        (lab / "lab.toml").write_text("fps = ")
        shutil.rmtree(lab / "subjects")
    for path in (moved["P07"], lab.parent / "link"):
        with pytest.raises(ConsentError, match="it shows P07, who took their consent back"):
            open_take(path)
    (moved["P07"] / "take.json").rename(moved["P07"] / "take.json.former")
    before = {path: path.read_bytes() for path in moved["P07"].iterdir()}
    with pytest.raises(ConsentError, match="it shows P07"):
        recover_take(moved["P07"])
    assert {path: path.read_bytes() for path in moved["P07"].iterdir()} == before


def test_sessions_are_found_however_deep_and_round_links(lab: Path) -> None:
    deep = lab / "sessions" / Path(*"abcdefghij") / "third"
    session_of("P07", deep, takes=1)
    for number in range(6):
        (deep.parent / f"round-{number}").symlink_to(lab)
    done = withdraw(lab, "P07", today=TODAY)
    assert (done.marked, len(done.sessions), done.failed) == (7, 3, [])
    assert is_withdrawn(deep / "takes" / "001-00_0001-v1")


def test_a_session_without_its_record_is_named(lab: Path) -> None:
    for name in ("session.json", "session.copy.json"):
        (lab / "sessions" / "other" / name).unlink()
    (lab / "sessions" / "begun" / "takes").mkdir(parents=True)
    (lab / "sessions" / "begun" / "script.jsonl").touch()  # as a killed `session new` leaves it
    assert withdraw(lab, "P07", today=TODAY).failed == [f"whose session {lab / 'sessions/other'} is cannot be read"]


def test_a_session_that_is_being_recorded_is_marked_and_named(lab: Path) -> None:
    hold = (
        "import sys, time; from pathlib import Path; from mmface4d.session import held\nwith held(Path(sys.argv[1])):"
    )
    hold += " print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", hold, str(lab / "sessions/first")], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"held\n"
        done = withdraw(lab, "P07", today=TODAY)
    finally:
        holder.kill()
        holder.communicate()
    assert done.failed == [f"session {lab / 'sessions/first'} is being written by process {holder.pid} on "
                           f"{_host()}: end the recording"]  # fmt: skip
    assert_withdrawn(lab)
    assert withdraw(lab, "P07", today=TODAY).failed == []


def _host() -> str:
    import socket

    return socket.gethostname()


def test_nobody_is_recorded_in_a_session_that_was_made_during_the_withdrawal(tmp_path: Path) -> None:
    for number in range(8):
        lab = tmp_path / str(number)
        lab.mkdir()
        (lab / "lab.toml").touch()
        old, new = lab / "sessions" / "old", lab / "sessions" / "new"
        session_of("P07", old, takes=1)
        at_once(
            lambda new=new: session_of("P07", new, takes=1), lambda here=lab: withdraw(here, "P07", today=TODAY)
        )  # fmt: skip
        for path in (old, new):
            if (path / "session.json").is_file():
                with pytest.raises(ConsentError):
                    recording_permit(open_session(path), virtual=False, today=TODAY)
        assert withdraw(lab, "P07", today=TODAY).failed == []
        assert all(is_withdrawn(take) for take in lab.glob("sessions/*/takes/*"))


WITHDRAW = """
import sys
from datetime import date
from pathlib import Path
from mmface4d.errors import BusyError
from mmface4d.withdrawal import withdraw
print("ready", flush=True)
sys.stdin.readline()
try:
    done = withdraw(Path(sys.argv[1]), "P07", today=date(2026, 11, 21))
    print(done.marked, done.failed)
except BusyError:
    print("busy")
"""


def test_withdrawals_in_several_processes_do_not_disturb_each_other(lab: Path) -> None:
    before = digests(lab)
    running = [
        subprocess.Popen(
            [sys.executable, "-c", WITHDRAW, str(lab)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    let_go_together(running)
    said = [process.communicate(timeout=30)[0].strip() for process in running]
    assert [process.returncode for process in running] == [0] * 4
    assert said.count("6 []") == 1
    assert set(said) <= {"6 []", "0 []", "busy"}
    assert_withdrawn(lab)
    assert digests(lab) == before


def test_one_withdrawal_at_a_time(lab: Path) -> None:
    with locked(lab / ".withdrawal.lock", what="x"), pytest.raises(BusyError, match="a withdrawal in"):
        withdraw(lab, "P07", today=TODAY)
    assert not any(is_withdrawn(take) for take in of_p07(lab))


def test_damaged_files_are_named_and_the_rest_is_done(lab: Path) -> None:
    cut = lab / "sessions" / "first" / "session.json"
    cut.write_bytes(cut.read_bytes()[:40])  # its copy says whose it is
    for name in ("session.json", "session.copy.json"):
        lost = lab / "sessions" / "other" / name
        lost.write_bytes(lost.read_bytes()[:20])
    done = withdraw(lab, "P07", today=TODAY)
    assert done.failed == [f"whose session {lab / 'sessions/other'} is cannot be read"]
    assert_withdrawn(lab)


def test_a_damaged_record_does_not_keep_takes_from_being_marked(lab: Path) -> None:
    (lab / "subjects" / "P07.json").write_text("{")
    done = withdraw(lab, "P07", today=TODAY)
    assert len(done.failed) == 1
    assert done.marked == 6
    with pytest.raises(ConsentError):
        recording_permit(open_session(lab / "sessions" / "first"), virtual=False, today=TODAY)


def test_nobody_is_withdrawn_by_a_slip_of_the_pen(lab: Path) -> None:
    for name in ("P70", "p07", "", "../P07", "virtual"):
        with pytest.raises(InputError, match="nothing of"):
            withdraw(lab, name, today=TODAY)


def test_who_has_withdrawn_stays_so_when_the_record_is_gone(lab: Path) -> None:
    withdraw(lab, "P07", today=TODAY)
    (lab / "subjects" / "P07.json").unlink()
    again = create_session(lab / "sessions" / "again", subject="P07", script=SCRIPT, person=person("P07"))
    with pytest.raises(ConsentError, match="P07 withdrew their consent on 2026-11-21"):
        recording_permit(again, virtual=False, today=TODAY)
    with pytest.raises(ConsentError, match="p07 withdrew"):  # people and some disks do not tell them apart
        refuse_withdrawn_person(lab / "sessions" / "new", "p07")
    found = find_lab(lab)
    assert found is not None
    assert withdrawn_people(found) == {"P07": TODAY}
    (lab / "withdrawn.jsonl").write_text("[]\n")
    with pytest.raises(InputError, match=r"withdrawn\.jsonl, line 1"):
        withdrawn_people(found)


def test_a_ledger_that_a_crash_cut_short_keeps_its_lines(lab: Path) -> None:
    (lab / "withdrawn.jsonl").write_text('{"subject": "P01", "withdrawn": "2026-01-01"}\n{"subj')
    withdraw(lab, "P07", today=TODAY)
    lines = (lab / "withdrawn.jsonl").read_text().splitlines()
    assert lines[0] == '{"subject": "P01", "withdrawn": "2026-01-01"}'
    assert json.loads(lines[-1]) == {"subject": "P07", "withdrawn": "2026-11-21"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        "take show TAKE", "take check TAKE", "take export TAKE -o OUT", "take recover TAKE", "take clap TAKE",
        "calibrate TAKE -o OUT/calibration.json", "view TAKE -o OUT", "reconstruct TAKE --calibration CAL -o OUT/s.npz",
        "reconstruct TAKE --one-actor --calibration CAL -o OUT/s.npz",
    ],
)  # fmt: skip
def test_every_command_refuses_a_withdrawn_take(run_cli: RunCli, tmp_path: Path, words: str) -> None:
    session = session_of("P07", tmp_path / "s", takes=0)
    take = write_take(session.takes / "001-00_0001-v1")
    withdraw(tmp_path, "P07", today=TODAY)
    cameras = {serial: camera(serial).rgbd for serial in DELAYS}
    RigCalibration("front", cameras, {serial: np.eye(4) for serial in DELAYS}).save(tmp_path / "CAL")
    files = {path: path.read_bytes() for path in take.rglob("*") if path.is_file()}
    named = {"TAKE": take, "OUT": tmp_path / "OUT", "CAL": tmp_path / "CAL"}
    done = run_cli(*(named.get(word, word.replace("OUT/", f"{tmp_path}/OUT/")) for word in words.split()))
    assert done.returncode == 3, done.stderr
    assert f"{take} is withdrawn: the person took their consent back" in done.stderr
    assert not (tmp_path / "OUT").exists()
    assert {path: path.read_bytes() for path in take.rglob("*") if path.is_file()} == files
