"""`mmface4d lab`, and the commands whose defaults a lab gives."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import mmface4d.record_session
from mmface4d.cli import main
from mmface4d.lab import Lab, create_lab, open_lab
from mmface4d.record_session import RecordOptions
from mmface4d.session import ScriptItem, create_session

Run = Callable[..., tuple[int, str, str]]
OURS = """\
[cameras]
front = "1"
left = "2"
[rig]
master = "1"
fps = 15
exposure_usec = 20000
[sound]
microphone = "Scarlett"
av_offset_ms = 12
[recording]
countdown_s = 2
post_roll_s = 1.5
[reconstruction]
model = "ict"
solver = "paper"
"""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """The program in this process: code, stdout, stderr."""

    def call(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return call


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.delenv("MMFACE4D_LANDMARKER", raising=False)
    monkeypatch.setenv("MMFACE4D_MODELS", str(tmp_path / "no models"))
    create_lab(tmp_path / "lab").file.write_text(OURS)
    return open_lab(tmp_path / "lab")


def test_init_then_show_then_check(tmp_path: Path, run: Run) -> None:
    folder = tmp_path / "my lab"
    code, out, _ = run("lab", "init", folder)
    assert (code, out.splitlines()[0].split(": ")[0]) == (0, str(folder / "lab.toml"))
    assert out.rstrip().endswith(f"mmface4d lab check '{folder}'")
    code, out, _ = run("lab", "show", folder)
    assert code == 0
    assert all(line.endswith(("built-in", "environment MMFACE4D_CACHE")) for line in out.splitlines()[1:])
    code, out, _ = run("lab", "check", folder)
    assert code == 0, out
    assert {line.split()[0] for line in out.splitlines()} <= {"ok", "warning", "do:"}
    code, _, err = run("lab", "init", folder)
    assert (code, "already holds a lab" in err) == (3, True)


def test_init_from_the_virtual_rig(tmp_path: Path, run: Run) -> None:
    code, _, _ = run("lab", "init", tmp_path / "lab", "--from-rig", "--virtual")
    assert code == 0
    settings = open_lab(tmp_path / "lab").settings
    assert settings.cameras.positions == {
        "900000000000": "left", "900000000001": "front", "900000000002": "right",
    }  # fmt: skip
    assert settings.rig.master == settings.cameras.front
    assert run("lab", "init", tmp_path / "other", "--virtual")[0] == 2


def test_init_without_any_camera_makes_nothing(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmface4d.lab_rig._connected_cameras", lambda: ([], None))
    code, _, err = run("lab", "init", tmp_path / "lab", "--from-rig")
    assert (code, "0 cameras are connected" in err) == (3, True)
    assert not (tmp_path / "lab").exists()


def test_show_says_where_settings_come_from(lab: Lab, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMFACE4D_LANDMARKER", "/there.task")
    code, out, _ = run("lab", "show", lab.sessions / "P01", "--set", "rig.mains_hz=60", "--json")
    assert code == 0
    shown = json.loads(out)
    assert shown["lab"] == str(lab.path)
    sources = {setting["name"]: (setting["value"], setting["source"]) for setting in shown["settings"]}
    assert sources["rig.fps"] == (15, "lab.toml:6")
    assert sources["rig.mains_hz"] == (60, "command line")
    assert sources["rig.white_balance_k"] == (4500, "built-in")
    assert sources["reconstruction.landmarker"] == ("/there.task", "environment MMFACE4D_LANDMARKER")
    assert sources["cache"][1] == "environment MMFACE4D_CACHE"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rig.fps=20"], "it can be 5, 15 or 30"),
        (
            ["rig.fsp=20", "sound.av_offset_ms=x"],
            'sound.av_offset_ms is "x"; it must be a number, without quotes, in ms; there is no setting rig.fsp',
        ),
        (["fps"], "is no setting"),
        (["fps=30"], "is no setting"),
    ],
)
def test_show_refuses_what_no_option_could_set(lab: Lab, run: Run, words: list[str], said: str) -> None:
    code, _, err = run("lab", "show", lab.path, *(f"--set={word}" for word in words))
    assert (code, said in err) == (2, True), err


def test_outside_any_lab(tmp_path: Path, run: Run) -> None:
    for command in ("show", "check"):
        code, _, err = run("lab", command, tmp_path)
        assert (code, "is in no lab" in err) == (3, True)


def test_check_finds_what_is_wrong(lab: Lab, run: Run) -> None:
    lab.releases.rmdir()
    (lab.sessions / "P01" / "takes").mkdir(parents=True)
    (lab.sessions / "P01" / "session.json").write_text('{"subject": "P0')
    (lab.subjects / "P07.json").write_text("{}")
    (lab.path / "withdrawn.jsonl").write_text('{"subject": "P01", "withdrawn": "2026-11-21"}\n{"subj')
    code, out, _ = run("lab", "check", lab.path, "--json")
    found = {finding["name"]: (finding["verdict"], finding["found"]) for finding in json.loads(out)}
    assert code == 5
    assert {name for name, (verdict, _) in found.items() if verdict == "problem"} == {
        "releases", "session folders", "subject records", "model", "withdrawals",
    }  # fmt: skip
    assert "P01" in found["session folders"][1]
    assert "P07" in found["subject records"][1]
    assert "withdrawn.jsonl, line 2 is damaged" in found["withdrawals"][1]


def test_check_says_which_exposure_will_be_taken(lab: Lab, run: Run) -> None:
    lab.file.write_text("[rig]\nexposure_usec = 26000\nmains_hz = 60\n")
    _, out, _ = run("lab", "check", lab.path)
    assert "warning  exposure         33330 µs at 30 frames a second, mains of 60 Hz, not 26000 µs" in out


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[RecordOptions]:
    """The options of every call of `record_session`, which does nothing."""
    seen: list[RecordOptions] = []

    def record(path: Path, options: RecordOptions, **_: Any) -> SimpleNamespace:
        seen.append(options)
        return SimpleNamespace(states={}, done=0)

    monkeypatch.setattr(mmface4d.record_session, "record_session", record)
    return seen


def test_record_takes_the_labs_settings(lab: Lab, run: Run, recorded: list[RecordOptions]) -> None:
    code, _, err = run("record", lab.sessions / "P01")
    assert code == 0
    assert recorded == [
        RecordOptions(
            fps=15, exposure_usec=20_000, positions={"2": "left", "1": "front"}, master="1", microphone="Scarlett",
            av_offset_usec=12_000.0, countdown_s=2.0, post_roll_s=1.5,
        )
    ]  # fmt: skip
    assert err.startswith(f"from {lab.file}: rig.fps 15 (line 6), rig.master 1 (line 5), sound.microphone Scarlett")


def test_what_is_typed_comes_before_the_lab(lab: Lab, run: Run, recorded: list[RecordOptions]) -> None:
    code, _, err = run("record", lab.sessions / "P01", "--fps", 30, "--microphone", "Rode", "--av-offset-ms", 0)
    assert code == 0
    (options,) = recorded
    assert (options.fps, options.microphone, options.av_offset_usec, options.master) == (30, "Rode", 0, "1")
    assert "rig.fps" not in err
    assert "rig.master" in err


def test_virtual_devices_are_not_the_labs(lab: Lab, run: Run, recorded: list[RecordOptions]) -> None:
    assert run("record", lab.sessions / "P01", "--virtual")[0] == 0
    (options,) = recorded
    assert (options.fps, options.microphone, options.av_offset_usec, options.master) == (15, None, 0, None)


def test_without_a_lab_all_is_as_it_was(tmp_path: Path, run: Run, recorded: list[RecordOptions]) -> None:
    code, _, err = run("record", tmp_path / "P01", "--token", "long enough"[:4])
    assert (code, err) == (0, "")
    assert recorded == [RecordOptions(exposure_usec=10_000, token="long")]


def test_record_refuses_a_bad_token_before_anything_is_opened(tmp_path: Path, run: Run) -> None:
    pytest.importorskip("starlette")
    session = create_session(tmp_path / "P01", subject="P01", script=[ScriptItem(id="a", text="Hello.")])
    code, _, err = run("record", session.path, "--token", "short")
    assert (code, "this is no token" in err) == (2, True), err


def test_a_broken_lab_stops_its_commands(lab: Lab, run: Run, recorded: list[RecordOptions]) -> None:
    lab.file.write_text("[rig]\nfps = 25\n")
    take = lab.sessions / "P01" / "takes" / "a"
    for words in (
        ["record", lab.sessions / "P01"], ["reconstruct", take, "--calibration", "c.json", "-o", "x.npz"],
        ["calibrate", take, "-o", "c.json"], ["doctor", lab.path],
        ["lab", "show", lab.path], ["lab", "check", lab.path],
    ):  # fmt: skip
        code, _, err = run(*words)
        assert (code, "lab.toml, line 2: rig.fps is 25" in err) == (3, True), (words, err)
    assert recorded == []


def test_reconstruct_takes_the_labs_settings(lab: Lab, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("mmface4d.rig_calibration.load_calibration", lambda path: None)
    monkeypatch.setattr("reconstruct.models.library.load_model", lambda name: name)
    monkeypatch.setattr("reconstruct.batch.reconstruct_takes", lambda outputs, **given: seen.append(given) or [])
    words = ["reconstruct", lab.sessions / "P01" / "takes" / "a", "--calibration", "c.json", "-o", "x.npz"]
    assert run(*words)[0] == 0
    assert run(*words, "--solver", "fast", "--model", "canonical")[0] == 0
    assert [(given["model"], given["settings"].solver) for given in seen] == [("ict", "paper"), ("canonical", "fast")]


def test_doctor_compares_the_rig_with_the_lab() -> None:
    from capture.doctor.kinect import Kinect, Kinects, check_kinects

    there = Kinects(tuple(Kinect(serial, sync_in=None, sync_out=None, firmware=None) for serial in ("1", "3")))
    found = check_kinects(there, positions={"2": "left", "1": "front"})
    assert (found.verdict, found.found) == ("problem", "not connected: 2 (left); not named in lab.toml: 3")
    found = check_kinects(there, positions={"3": "left", "1": "front"})
    assert (found.verdict, found.found) == ("ok", "2: 1 (front), 3 (left)")
    assert check_kinects(Kinects(()), positions={"1": "front"}).found == "not connected: 1 (front)"
