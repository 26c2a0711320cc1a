"""`mmface4d model` on the real command line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmface4d.errors import ModelError, UsageError
from reconstruct.models.library import load_model, model_path, models_folder

RunCli = Callable[..., Any]


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MMFACE4D_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def test_the_built_in_model_is_always_there(library: Path, run_cli: RunCli) -> None:
    result = run_cli("model", "list", "--json")
    assert result.returncode == 0, result.stderr
    cards = json.loads(result.stdout)
    assert [card["name"] for card in cards] == ["canonical"]
    assert cards[0]["vertices"] > 1000
    assert models_folder() == library


def test_show_draws_a_picture(library: Path, run_cli: RunCli, tmp_path: Path) -> None:
    result = run_cli("model", "show", "canonical", "--json", "-o", tmp_path / "sheet.png")
    assert result.returncode == 0, result.stderr
    details = json.loads(result.stdout)
    assert details["landmarks"]["eye"] > 10
    assert (tmp_path / "sheet.png").read_bytes()[:4] == b"\x89PNG"


def test_wrong_folders_and_names_say_what_was_looked_for(library: Path, run_cli: RunCli, tmp_path: Path) -> None:
    result = run_cli("model", "add", "ict", tmp_path)
    assert result.returncode == 3
    assert "generic_neutral_mesh.obj" in result.stderr
    assert not library.exists()
    assert run_cli("model", "show", "nobody").returncode == 3
    assert run_cli("model", "add", "ict", tmp_path, "--name", "../x").returncode == 2
    assert run_cli("model", "add", "smpl", tmp_path).returncode == 2


def test_a_damaged_model_is_listed_as_such(library: Path, run_cli: RunCli) -> None:
    library.mkdir()
    (library / "broken.npz").write_bytes(b"PK\x03\x04 half")
    (library / ".other.1234abcd.partial.npz").write_bytes(b"")  # what a killed writer leaves
    result = run_cli("model", "list", "--json")
    assert result.returncode == 0, result.stderr
    cards = json.loads(result.stdout)
    assert [card["name"] for card in cards] == ["canonical", "broken"]
    assert "damaged" in cards[1]["problem"]
    with pytest.raises(ModelError):
        load_model("broken")


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("name", ["", "../ict", ".hidden", "a/b", "x" * 80])
def test_names_cannot_leave_the_library(name: str) -> None:
    with pytest.raises(UsageError):
        model_path(name)
