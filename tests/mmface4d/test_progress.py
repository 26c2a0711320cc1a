import os
import pty
import subprocess
import sys

import pytest

import mmface4d.progress
from mmface4d.progress import progress

STEP = """
from mmface4d.progress import progress

with progress("landmarks", 3) as bar:
    for frame in range(3):
        bar.advance()
        if frame == 1:
            bar.note("frame 1 of [take 7] has no face")
print("data")
"""


def test_without_a_terminal_there_are_lines_on_stderr_only(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("landmarks", 60) as bar:
        bar.advance(60)
        bar.note("camera 2 saw no face")
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0] == "landmarks: camera 2 saw no face"
    assert lines[1].startswith("landmarks: 60/60 done in ")
    assert len(lines) == 2


def test_a_long_step_prints_its_progress_with_an_estimate(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mmface4d.progress, "PLAIN_INTERVAL_S", 0.0)
    with progress("fit", 4) as bar:
        for _ in range(4):
            bar.advance()
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines[:4]] == ["fit: 1/4", "fit: 2/4", "fit: 3/4", "fit: 4/4"]
    assert "left" in lines[0]


def test_a_short_step_is_silent_until_its_end(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("fit", 100) as bar:
        for _ in range(99):
            bar.advance()
        assert capsys.readouterr().err == ""


def test_on_a_terminal_a_bar_is_drawn_and_stdout_stays_clean() -> None:
    terminal, its_other_end = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    command = [sys.executable, "-c", STEP]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=its_other_end, env=environment, check=True, timeout=60
    )
    os.close(its_other_end)
    drawn = os.read(terminal, 1 << 16).decode()
    os.close(terminal)
    assert done.stdout == b"data\n"
    assert "landmarks" in drawn
    assert "3/3" in drawn
    assert "frame 1 of [take 7] has no face" in drawn
