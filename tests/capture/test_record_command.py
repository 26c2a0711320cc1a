"""`mmface4d record` on the virtual rig, end to end, in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyk4a", reason="pyk4a is not installed")
pytest.importorskip("mediapipe", reason="mediapipe is not installed")
pytest.importorskip("espeakng_loader", reason="espeakng-loader is not installed")

from capture.virtual.rig import virtual_rig
from mmface4d.session import ScriptItem, Session, create_session, open_session
from mmface4d.take import open_take

pytestmark = pytest.mark.slow
SCRIPT = [ScriptItem(id="a", text="We were away."), ScriptItem(id="b", text="It is late now.")]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For all runs, so that a sentence is rendered once."""
    return tmp_path_factory.mktemp("cache")


def run(cache: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "mmface4d.cli", *map(str, arguments)],
        capture_output=True, text=True, timeout=100, check=False, env=os.environ | {"MMFACE4D_CACHE": str(cache)},
    )  # fmt: skip


def record(cache: Path, session: Session, *arguments: object) -> "subprocess.CompletedProcess[str]":
    fixed = ("--virtual", "--auto", "--no-page", "--fps", 5)
    done = run(cache, "record", session.path, *fixed, *arguments)
    assert "Traceback" not in done.stderr, done.stderr
    assert len(done.stdout.splitlines()) <= 1, done.stdout
    return done


@pytest.fixture(scope="module")
def recorded(
    cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> "tuple[Session, subprocess.CompletedProcess[str]]":
    """A session of two sentences, and what the program said."""
    session = create_session(tmp_path_factory.mktemp("recorded") / "s", subject="P01", script=SCRIPT)
    return session, record(cache, session)


def test_a_script_of_two_sentences(cache: Path, recorded: "tuple[Session, subprocess.CompletedProcess[str]]") -> None:
    session, done = recorded
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{session.path}: 2 of 2 sentences done, 0 to be repeated\n"
    assert "900000000001 master" in done.stderr
    for state in open_session(session.path).states.values():
        assert state.status == "kept"
        with open_take(session.takes / str(state.kept_take)) as take:
            assert take.info.source["item"]["text"] == state.item.text
            assert take.info.source["virtual"] is True
            assert set(take.present(len(take) // 2)) == set(take.cameras)
            assert len(take.cameras) == 3
            assert take.info.audio is not None
            assert take.info.audio.start_source == "host clock"
    checked = run(cache, "take", "check", "--json", *sorted(session.takes.iterdir()))
    assert checked.returncode == 0, checked.stderr
    assert '"good": true' in checked.stdout


def test_its_takes_calibrate_and_reconstruct(
    cache: Path, recorded: "tuple[Session, subprocess.CompletedProcess[str]]", tmp_path: Path
) -> None:
    takes = sorted(recorded[0].takes.iterdir())
    calibrated = run(cache, "calibrate", *takes, "-o", tmp_path / "calibration.json")
    assert calibrated.returncode == 0, calibrated.stderr
    found = json.loads((tmp_path / "calibration.json").read_text())["cameras"]
    for device in virtual_rig(seed=0).devices:
        wrong = np.linalg.inv(device.world_from_camera) @ np.array(found[device.serial]["world_from_camera"])
        angle_deg = np.degrees(np.arccos(min((np.trace(wrong[:3, :3]) - 1) / 2, 1)))
        assert angle_deg < 0.3
        assert np.linalg.norm(wrong[:3, 3]) < 4e-3  # at the camera, 0.3 degrees of which the distance multiplies

    options = ("--calibration", tmp_path / "calibration.json", "--frames", "4:7", "-o", tmp_path / "sequence.npz")
    done = run(cache, "reconstruct", takes[0], *options, "--json")
    assert done.returncode == 0, done.stderr
    (figures,) = json.loads(done.stdout)
    assert figures["status"] == {"ok": 3}
    assert figures["depth_residual_mm"] < 0.8
    assert figures["coverage"] > 0.6


def test_a_camera_that_is_unplugged(cache: Path, tmp_path: Path) -> None:
    session = create_session(tmp_path / "s", subject="P01", script=SCRIPT[:1])
    done = record(cache, session, "--faults", "unplug:0@0.5")
    assert done.returncode == 3, done.stderr
    assert "BAD  001-a-v1" in done.stderr
    assert "device: camera 900000000000 is gone; check its USB cable" in done.stderr
    assert "error: camera 900000000000 is gone; now: 2 cameras found" in done.stderr
    again = open_session(session.path)
    assert again.states["a"].status == "retake"
    assert (session.takes / "001-a-v1" / "take.json").is_file()

    done = record(cache, session)
    assert done.returncode == 0, done.stderr
    assert open_session(session.path).states["a"].kept_take == "001-a-v2"
    events = [json.loads(line)["what"] for line in (session.path / "log.jsonl").read_text().splitlines()]
    assert events == ["rig", "recorded", "retake", "failed", "recorded", "kept"]
