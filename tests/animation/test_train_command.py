"""`mmface4d train` as people run it."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from animation.data.folder import write_folder
from mmface4d.cli import main
from tests.animation.toy_corpus import toy_corpus

SMALL = """
data = "toy"
[options]
channels = 8
driver_channels = 8
decoder_stages = 1
[budget]
updates = 8
[batches]
size = 2
crop_frames = 8
[validation]
every_updates = 4
clips = 1
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with data and settings."""
    write_folder(toy_corpus(sentences=2, n_frames=16), tmp_path / "toy")
    (tmp_path / "train.toml").write_text(SMALL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def called(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The command line in this process: exit code, output, and what was told beside it."""

    def call(*words: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        told = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, told.out, told.err

    return call


def test_it_trains_goes_on_and_says_how_it_ended(place: Path, called: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = called("train", "train.toml", "-o", "run", "--seed", 3, "--json")
    assert code == 0, err
    assert (json.loads(out)["updates"], json.loads(out)["folder"]) == (8, "run")
    assert "validation loss" in err
    code, out, err = called("train", "train.toml", "-o", "run")
    assert (code, out) == (2, "")
    assert "--resume" in err
    code, out, err = called("train", "--resume", "-o", "run", "--updates", 12)
    assert code == 0, err
    assert out.startswith("run: 12 updates in ")
    code, _, err = called("evaluate", "run", "--data", "toy", "--card", "--json")
    assert code == 0, err
    card = Path("run/README.md").read_text()
    assert "same-subject-other-clip" in card
    # a training that has ended leaves the card alone
    assert called("train", "--resume", "-o", "run")[0] == 0
    assert Path("run/README.md").read_text() == card


def test_one_that_is_interrupted_tells_how_to_go_on(
    place: Path, called: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("animation.training.loop.Loop.run", interrupted)
        code, out, err = called("train", "train.toml", "-o", "my run")
    assert (code, out) == (130, "")
    words = next(line for line in err.splitlines() if "--resume" in line).partition("Go on with: mmface4d ")[2]
    assert called(*shlex.split(words))[0] == 0


@pytest.mark.slow
def test_ctrl_c_saves_what_was_reached(place: Path, run_cli) -> None:
    words = [sys.executable, "-m", "mmface4d.cli", "train", "train.toml", "-o", "run", "--set", "budget.updates=100000"]
    words += ["--set", "validation.patience=0"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    assert process.stderr is not None
    for line in process.stderr:
        if "validation" in line:
            break
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "Go on with: mmface4d train --resume -o run" in told
    reached = json.loads(Path("run/curves.json").read_text())
    assert reached["running"]
    done = run_cli("train", "--resume", "-o", "run", "--set", "budget.updates=8", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["updates"] >= 8


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["train"], 2, "Missing option"),
        (["train", "-o", "run"], 2, "nothing to train on"),
        (["train", "-o", "run", "--data", "nowhere"], 3, "nowhere"),
        (["train", "-o", "run", "--data", "toy", "--model", "face"], 2, "no model 'face'"),
        (["train", "no.toml", "-o", "run"], 3, "no.toml does not exist"),
        (["train", "-o", "run", "--set", "budget.update=3"], 3, "no such setting"),
    ],
)
def test_wrong_ones_are_told(
    place: Path, called: Callable[..., tuple[int, str, str]], words: list[str], code: int, message: str
) -> None:
    ended, out, err = called(*words)
    assert (ended, out) == (code, "")
    assert message in err
    assert not (place / "run").exists()
