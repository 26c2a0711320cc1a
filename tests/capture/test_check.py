"""A good take passes; each planted fault is found, and nothing else is."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from capture.check import check_take, report_json, report_text
from capture.check_sound import measure_sound
from mmface4d.errors import EXIT_PRECONDITION, EXIT_VERIFICATION, TakeError
from mmface4d.take import open_take
from mmface4d.take_record import SyncRecord
from tests.capture.small_take import HEIGHT, PERIOD_USEC, START_USEC, WIDTH, frame_table, jpeg, write_take
from tests.conftest import RunCli


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_take(tmp_path_factory.mktemp("takes") / "whole")


@pytest.fixture
def path(whole: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(whole, tmp_path / "take"))


def found(path: Path, severity: str) -> set[str]:
    """What the check complains about."""
    report = check_take(path)
    assert report.good == all(reason.severity != "fail" for reason in report.reasons)
    return {reason.about for reason in report.reasons if reason.severity == severity}


def test_a_good_take_passes_without_a_word(whole: Path) -> None:
    report = check_take(whole)
    assert report.good
    assert report.reasons == []
    assert report_text(report) == f"{whole}: good"
    figures = json.loads(json.dumps(report_json(report)))["figures"]
    assert figures["frames"] == 20
    assert figures["cameras"]["left"]["valid_share"] == 1.0
    assert figures["laser_gap_usec"] == {"median": 160.0, "min": 160.0}
    assert figures["audio"]["start_s"] == 0.0


SOME_DEPTH = np.zeros((HEIGHT, WIDTH), np.uint16)
SOME_DEPTH[::3, ::3] = 700  # a ninth
CUT_JPEG = jpeg(1)[:-900]


@pytest.mark.parametrize(
    ("about", "severity", "asked"),
    [
        ("drops", "fail", {"lost": {"left": {5}}}),
        ("cameras", "fail", {"lost": {"right": set(range(20))}}),
        ("cameras", "warn", {"lost": {"right": {0, 1, 19}}}),
        ("sync", "fail", {"sync": SyncRecord(pairs=40, median_usec=9, p99_usec=50.5, max_usec=60)}),
        ("sync", "fail", {"sync": SyncRecord(pairs=40, median_usec=9, p99_usec=40, max_usec=111)}),
        ("sync", "fail", {"sync": SyncRecord(pairs=40, violations=[{"serial": "left"}])}),
        ("sync", "fail", {"sync": SyncRecord()}),
        ("depth", "fail", {"depth": np.zeros((HEIGHT, WIDTH), np.uint16)}),
        ("depth", "warn", {"depth": SOME_DEPTH}),
        ("colour", "fail", {"color": jpeg(0, level=3)}),
        ("colour", "fail", {"color": jpeg(0, level=252)}),
        ("pictures", "fail", {"color": CUT_JPEG}),
        ("pictures", "fail", {"color": jpeg(0, size=(WIDTH + 8, HEIGHT))}),
        ("pictures", "fail", {"color": b"no picture"}),
        ("note", "warn", {"notes": ("recovered",)}),
        ("audio", "warn", {"sound_s": None}),
        ("audio", "fail", {"sound_s": 19 * PERIOD_USEC / 1e6 - 0.06}),
        ("audio", "fail", {"sound_start_usec": START_USEC + 60_000}),
        ("audio", "fail", {"sound_start_usec": START_USEC - 1_500_000}),
        ("audio", "warn", {"sound_level": 0.001}),
        ("audio", "warn", {"sound_level": 1.3}),
    ],
)  # fmt: skip
def test_a_planted_fault_is_found(tmp_path: Path, about: str, severity: str, asked: dict[str, Any]) -> None:
    path = write_take(tmp_path / "take", **asked)
    assert found(path, severity) == {about}
    assert check_take(path).good == (severity == "warn")


@pytest.mark.parametrize(
    "asked", [{"sound_s": 19 * PERIOD_USEC / 1e6 - 0.04}, {"sound_start_usec": START_USEC + 40_000}]
)
def test_sound_may_end_or_start_a_little_off(tmp_path: Path, asked: dict[str, Any]) -> None:
    assert not found(write_take(tmp_path / "take", **asked), "fail")


def test_lasers_that_meet_are_found(tmp_path: Path) -> None:
    table = frame_table(20)
    table.depth_usec["left"][:] += 50  # 110 µs before the front camera's
    assert found(write_take(tmp_path / "take", table=table), "fail") == {"laser"}


def change_record(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    record = json.loads((path / "take.json").read_text())
    change(record)
    (path / "take.json").write_text(json.dumps(record))


def clock(record: dict[str, Any]) -> None:
    record["clocks"]["left"]["offset_usec"] = 100.0


def focal_length(record: dict[str, Any]) -> None:
    record["cameras"]["left"]["color"]["fx"] = 1.5  # as if in units of the picture


def principal_point(record: dict[str, Any]) -> None:
    record["cameras"]["left"]["depth"]["cx"] = -4.0


def millimetres(record: dict[str, Any]) -> None:
    record["cameras"]["left"]["color_from_depth"][0][3] = 32.0


def foreign_frame(record: dict[str, Any]) -> None:
    record["frames"]["depth_usec"]["left"][3] += 1


def more_samples(record: dict[str, Any]) -> None:
    record["audio"]["samples"] += 1


def assumed(record: dict[str, Any]) -> None:
    record["audio"]["start_source"] = "assumed"


def unmatched(record: dict[str, Any]) -> None:
    record["unmatched"] = [{"serial": "left", "color_usec": 5, "reason": "colour without depth"}]


@pytest.mark.parametrize(
    ("change", "severity", "about"),
    [
        (clock, "fail", {"laser"}),
        (focal_length, "fail", {"calibration"}),
        (principal_point, "fail", {"calibration"}),
        (millimetres, "fail", {"calibration"}),
        (foreign_frame, "fail", {"streams", "pictures"}),
        (more_samples, "fail", {"audio"}),
        (assumed, "warn", {"audio"}),
        (unmatched, "warn", {"unmatched"}),
    ],
)
def test_a_wrong_record_is_found(
    path: Path, change: Callable[[dict[str, Any]], None], severity: str, about: set[str]
) -> None:
    change_record(path, change)
    assert found(path, severity) == about


def test_a_flipped_bit_is_found_wherever_it_is(path: Path) -> None:
    data = (path / "streams.mcap").read_bytes()
    with open_take(path) as take:
        chunks = [(chunk.chunk_start_offset, chunk.chunk_length) for chunk in take.streams.chunks]
    for start, length in chunks:
        damaged = bytearray(data)
        damaged[start + 60 + length // 2] ^= 1
        (path / "streams.mcap").write_bytes(damaged)
        assert "streams" in found(path, "fail")


@pytest.mark.parametrize("name", ["streams.mcap", "take.json", "audio.wav"])
def test_missing_and_cut_files_make_a_bad_report(path: Path, name: str) -> None:
    data = (path / name).read_bytes()
    (path / name).write_bytes(data[: len(data) // 2])
    assert not check_take(path).good
    (path / name).unlink()
    assert not check_take(path).good
    assert "BAD" in report_text(check_take(path))


def test_an_unfinished_take_says_how_to_go_on(path: Path) -> None:
    (path / "take.json").unlink()
    assert "take recover" in report_text(check_take(path))


def test_what_is_no_take_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TakeError):
        check_take(tmp_path / "nothing")
    with pytest.raises(TakeError):
        check_take(tmp_path)


def test_of_a_long_take_every_nth_picture_is_decoded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capture.check_pictures.MOST_DECODED", 7)
    report = check_take(path)
    assert report.good
    assert report.figures["cameras"]["front"]["every"] == 3
    assert report.figures["cameras"]["front"]["decoded"] == 8  # and the last
    assert "one of 3 pictures" in report_text(report)


def test_levels_of_a_known_sound(tmp_path: Path) -> None:
    """A full-scale square wave: 0 dBFS peak and RMS; a run at full scale in each channel is one place."""
    block = np.zeros((48_000, 2), np.float32)
    block[100:104, 0] = 1.0
    block[200:202, 1] = 1.0  # too short
    block[300:303, 1] = -1.0
    soundfile.write(tmp_path / "a.wav", block, 48_000, subtype="FLOAT")
    sound = measure_sound(tmp_path / "a.wav")
    assert (sound.samples, sound.rate, sound.channels, sound.clipped_runs) == (48_000, 48_000, 2, 2)
    soundfile.write(tmp_path / "b.wav", np.sign(np.sin(np.arange(48_000))), 48_000, subtype="PCM_24")
    sound = measure_sound(tmp_path / "b.wav")
    assert sound.peak_dbfs == pytest.approx(0, abs=0.1)
    assert sound.rms_dbfs == pytest.approx(0, abs=0.1)


def test_the_commands_answer_a_script(whole: Path, path: Path, run_cli: RunCli) -> None:
    shown = run_cli("take", "show", whole, "--json")
    assert (shown.returncode, json.loads(shown.stdout)["frames"]) == (0, 20)
    (path / "take.json").unlink()
    checked = run_cli("take", "check", whole, path, "--json")
    assert checked.returncode == EXIT_VERIFICATION
    assert [report["good"] for report in json.loads(checked.stdout)] == [True, False]
    recovered = run_cli("take", "recover", path, "--json")
    assert (recovered.returncode, json.loads(recovered.stdout)["frames"]) == (0, 20)
    assert run_cli("take", "check", path).returncode == 0
    assert run_cli("take", "recover", path / "nothing").returncode == EXIT_PRECONDITION
