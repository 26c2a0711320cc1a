"""Sessions from the command line: made from people's own files, shown, and refused where something is wrong."""

import json
from pathlib import Path

import pytest

from corpus.script_file import load_script
from mmface4d.errors import InputError
from mmface4d.session import open_session
from tests.conftest import RunCli


def test_a_text_becomes_a_session(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("﻿Good morning.\n\n你好。\n", encoding="utf-8")
    made = run_cli("session", "new", tmp_path / "P07", "--subject", "P07", "--script", tmp_path / "s.txt")
    assert made.returncode == 0, made.stderr
    assert [item.text for item in open_session(tmp_path / "P07").script] == ["Good morning.", "你好。"]
    shown = json.loads(run_cli("session", "show", tmp_path / "P07", "--json").stdout)
    assert shown["counts"] == {"pending": 2}
    assert "2 pending" in run_cli("session", "show", tmp_path / "P07").stdout


def test_an_existing_session_is_left_alone(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "s.txt").write_text("One.\n")
    command = ("session", "new", tmp_path / "P07", "--subject", "P07", "--script", tmp_path / "s.txt")
    assert run_cli(*command).returncode == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "P07").glob("*.json*")}
    again = run_cli(*command)
    assert again.returncode == 3
    assert "not empty" in again.stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / "P07").glob("*.json*")} == before


@pytest.mark.parametrize("subject", ["Jane Doe", "../x", "", "a/b"])
def test_pseudonyms_are_plain(run_cli: RunCli, tmp_path: Path, subject: str) -> None:
    (tmp_path / "s.txt").write_text("One.\n")
    made = run_cli("session", "new", tmp_path / "P", "--subject", subject, "--script", tmp_path / "s.txt")
    assert made.returncode == 3
    assert "pseudonym" in made.stderr
    assert not (tmp_path / "P" / "session.json").exists()


@pytest.mark.parametrize(
    ("content", "said"), [(b"\xff\xfe\x00bad", "no UTF-8"), (b"\n \n", "no sentence"), (b"a\n" + b"x" * 1001, "line 2")]
)
def test_broken_texts_are_refused(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "s.txt").write_bytes(content)
    with pytest.raises(InputError, match=said):
        load_script(tmp_path / "s.txt")
