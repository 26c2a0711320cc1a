"""Labs: made, found from what lies in them, and what is in force."""

import re
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mmface4d.errors import BusyError, InputError, UsageError
from mmface4d.lab import BUILT_IN, LANDMARKER, Lab, create_lab, effective, find_lab
from mmface4d.lab_defaults import lab_of_all
from mmface4d.lab_settings import TABLES, LabSettings
from mmface4d.lab_template import lab_toml
from mmface4d.record_session import RecordOptions


def uncommented(text: str) -> str:
    return re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE)


def sources(lab: Lab | None, **overrides: object) -> dict[str, str]:
    return {s.name: s.source for s in effective(lab, {name.replace("__", "."): v for name, v in overrides.items()})}


def test_every_commented_setting_is_the_built_in_one() -> None:
    text = lab_toml()
    assert tomllib.loads(text) == {"format": 1, **{table: {} for table in TABLES}}
    assert tomllib.loads(uncommented(text)) == LabSettings().model_dump()
    assert max(map(len, text.splitlines())) <= 120


def test_what_is_chosen_is_set_and_nothing_else() -> None:
    chosen = {"cameras.left": "1", "rig.fps": 15}
    text = lab_toml(chosen)
    assert tomllib.loads(text)["cameras"] == {"left": "1"}
    assert tomllib.loads(text)["rig"] == {"fps": 15}
    assert tomllib.loads(uncommented(text)) == tomllib.loads(uncommented(lab_toml())) | {
        "cameras": {"front": "", "left": "1", "right": ""},
        "rig": LabSettings().rig.model_dump() | {"fps": 15},
    }


def test_built_in_settings_are_those_of_the_recorder() -> None:
    from capture.devices.camera import CameraSettings
    from capture.devices.exposure import choose_exposure
    from capture.recorder.director import DirectorSettings
    from capture.recorder.recorder import RecorderSettings

    lab, camera, director, recorder = LabSettings(), CameraSettings("master"), DirectorSettings(), RecorderSettings()
    options = RecordOptions()
    assert lab.rig.fps == camera.fps == recorder.fps == options.fps
    assert lab.rig.mains_hz == camera.powerline_hz == options.powerline_hz
    assert lab.rig.exposure_usec == camera.exposure_usec
    assert lab.rig.white_balance_k == camera.white_balance_k == options.white_balance_k
    assert lab.recording.countdown_s == director.countdown_s == options.countdown_s
    assert lab.recording.pre_roll_s == recorder.pre_roll_s == options.pre_roll_s
    assert lab.recording.post_roll_s == recorder.post_roll_s == options.post_roll_s
    assert 1000 * lab.sound.av_offset_ms == recorder.av_offset_usec == options.av_offset_usec
    for hz in (50, 60):  # recording outside a lab wants no exposure
        assert choose_exposure(lab.rig.exposure_usec, powerline_hz=hz) == choose_exposure(None, powerline_hz=hz)


def test_built_in_settings_are_the_commands_own() -> None:
    from mmface4d.record_command import OPTIONS, record
    from reconstruct.commands import OPTIONS as RECONSTRUCT_OPTIONS
    from reconstruct.commands import reconstruct

    built_in = {setting.name: setting.value for setting in effective(None)}
    shortest = ["take", "--calibration", "c.json", "-o", "out.npz"]
    for command, options, words in (
        (record, OPTIONS, ["session"]), (reconstruct, RECONSTRUCT_OPTIONS, shortest),
    ):  # fmt: skip
        defaults = command.make_context(command.name, words).params
        assert {name: str(defaults[name] or "") for name in options} == {
            name: str(built_in[setting] or "") for name, setting in options.items()
        }


def test_making_a_lab(tmp_path: Path) -> None:
    lab = create_lab(tmp_path / "lab", {"cameras.front": "7"})
    assert sorted(path.name for path in lab.path.iterdir()) == [
        "corpus",
        "lab.toml",
        "releases",
        "sessions",
        "subjects",
    ]
    assert lab.settings.cameras.positions == {"7": "front"}
    before = lab.file.read_text()
    for folder in (lab.path, lab.sessions / "P01" / "lab"):
        with pytest.raises(InputError, match="lab"):
            create_lab(folder)
    assert lab.file.read_text() == before


def test_a_folder_that_holds_something_becomes_a_lab(tmp_path: Path) -> None:
    (tmp_path / "sessions").mkdir()
    (tmp_path / "sessions" / "notes").write_text("mine")
    create_lab(tmp_path)
    assert (tmp_path / "sessions" / "notes").read_text() == "mine"


def test_a_lab_is_found_from_what_lies_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_lab(tmp_path / "lab") is None
    lab = create_lab(tmp_path / "lab")
    for path in (lab.path, lab.sessions, lab.sessions / "not" / "yet", lab.file):
        assert find_lab(path) == lab
    monkeypatch.chdir(lab.sessions)
    assert find_lab(Path()) == find_lab(Path("P01/..")) == lab
    assert find_lab(tmp_path) is None


def test_sessions_on_another_disk(tmp_path: Path) -> None:
    lab = create_lab(tmp_path / "lab")
    disk = tmp_path / "disk"
    (disk / "P01").mkdir(parents=True)
    lab.sessions.rmdir()
    lab.sessions.symlink_to(disk)
    assert find_lab(lab.sessions / "P01") == lab
    assert find_lab(disk / "P01") is None
    (tmp_path / "short").symlink_to(lab.path / "subjects")
    found = find_lab(tmp_path / "short")
    assert found is not None
    assert found.path == lab.path.resolve()
    (tmp_path / "circle").symlink_to("circle")
    assert find_lab(tmp_path / "circle" / "x") is None


def test_a_broken_lab_is_not_passed_over(tmp_path: Path) -> None:
    create_lab(tmp_path).file.write_text("[rig]\nfps = 25\n")
    with pytest.raises(InputError, match="line 2"):
        find_lab(tmp_path / "sessions" / "P01")


def test_where_settings_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MMFACE4D_LANDMARKER", raising=False)
    lab = create_lab(tmp_path)
    lab.file.write_text('[rig]\nfps = 15\nmains_hz = 50\n[reconstruction]\nlandmarker = "a.task"\n')
    lab = find_lab(tmp_path)
    assert lab is not None
    assert set(sources(None).values()) == {BUILT_IN}
    found = sources(lab, rig__fps=5)
    assert (found["rig.fps"], found["rig.mains_hz"]) == ("command line", "lab.toml:3")
    assert found["rig.exposure_usec"] == BUILT_IN
    values = {setting.name: setting.value for setting in effective(lab, {"rig.fps": 5})}
    assert values["rig.fps"] == 5
    assert values[LANDMARKER] == str(tmp_path / "a.task")
    monkeypatch.setenv("MMFACE4D_LANDMARKER", "b.task")
    (setting,) = [setting for setting in effective(lab) if setting.name == LANDMARKER]
    assert (setting.value, setting.source) == ("b.task", "environment MMFACE4D_LANDMARKER")


def test_takes_of_one_lab_at_a_time(tmp_path: Path) -> None:
    one, two = create_lab(tmp_path / "one"), create_lab(tmp_path / "two")
    assert lab_of_all([one.sessions / "a", one.sessions / "b"]) == one
    assert lab_of_all([tmp_path / "x"]) is None
    for others in ([two.sessions / "a"], [tmp_path / "a"]):
        with pytest.raises(UsageError, match="different labs"):
            lab_of_all([one.sessions / "a", *others])


def test_two_who_make_the_same_lab(tmp_path: Path) -> None:
    def make(fps: int) -> str:
        try:
            create_lab(tmp_path / "lab", {"rig.fps": fps})
        except (BusyError, InputError) as error:
            return error.message
        return "made"

    with ThreadPoolExecutor(8) as threads:
        told = list(threads.map(make, [5, 15] * 8))
    assert told.count("made") == 1
    lab = find_lab(tmp_path / "lab")
    assert lab is not None
    assert lab.settings.rig.fps == (5, 15)[told.index("made") % 2]
    assert not list(lab.path.glob(".*"))


def test_what_a_kill_left_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(source: object, target: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", killed)
        with pytest.raises(KeyboardInterrupt):
            create_lab(tmp_path / "lab")
    assert find_lab(tmp_path / "lab") is None
    assert create_lab(tmp_path / "lab") == find_lab(tmp_path / "lab")
