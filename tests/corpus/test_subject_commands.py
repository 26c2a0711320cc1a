"""Subjects from the command line: listed, shown, renewed and withdrawn, inside a lab and outside."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from mmface4d.session import ScriptItem, create_session
from mmface4d.subject import Consent, Subject, read_subject
from mmface4d.withdrawal import is_withdrawn
from tests.corpus.in_process import run_here

CONSENT = Consent(version="2", date=date(2026, 1, 2), scopes=("mesh", "audio"))
SCRIPT = [ScriptItem(id="a", text="Good morning.")]
Run = Callable[..., str]


@pytest.fixture(params=["in a lab", "outside"])
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder with a session of P07 and one of P08, one of the virtual actor, and a take of P07."""
    if request.param == "in a lab":
        (tmp_path / "lab.toml").touch()
    for name, age in (("P07", 24), ("P08", 31)):
        person = Subject(pseudonym=name, age=age, gender="female", language="zh", consent=CONSENT)
        made = create_session(tmp_path / "sessions" / name, subject=name, script=SCRIPT, person=person)
        (made.takes / "001-a-v1").mkdir()
    create_session(tmp_path / "sessions" / "try", subject="virtual", script=SCRIPT, virtual=True)
    return tmp_path


@pytest.fixture
def run(lab: Path) -> Run:
    """Runs `mmface4d subject` in the lab; what it prints."""

    def run(*arguments: object, code: int = 0) -> str:
        done = run_here("subject", *arguments, "--folder", lab)
        assert done.returncode == code, done.stderr
        return done.stdout if code == 0 else done.stderr

    return run


def record(lab: Path) -> Subject:
    inside = lab / "subjects" / "P07.json"
    return read_subject(inside if inside.is_file() else lab / "sessions" / "P07" / "subject.json")


def test_people_are_listed_and_shown(run: Run) -> None:
    assert run("list").splitlines() == [
        "P07: 24, female, zh; consent 2 of 2026-01-02, without end: mesh, audio; 1 session",
        "P08: 31, female, zh; consent 2 of 2026-01-02, without end: mesh, audio; 1 session",
    ]
    assert [person["pseudonym"] for person in json.loads(run("list", "--json"))] == ["P07", "P08"]
    assert "sessions/P07" in run("show", "P07")
    assert json.loads(run("show", "P08", "--json"))["record"]["age"] == 31
    assert "nothing of 'P09'" in run("show", "P09", code=3)


def test_a_consent_is_renewed(run: Run, lab: Path) -> None:
    said = run("consent", "P07", "--consent", "3", "--consent-date", "2026-01-05", "--scopes", "mesh")
    assert "consent 3 of 2026-01-05, without end: mesh; 1 session" in said
    assert record(lab).former == (CONSENT,)
    assert "before  consent 2 of 2026-01-02" in run("show", "P07")
    older = run("consent", "P07", "--consent", "1", "--consent-date", "2026-01-01", "--scopes", "mesh", code=3)
    assert "newer consent, of 2026-01-05" in older
    assert "missing: --consent, --consent-date, --scopes" in run("consent", "P07", code=2)


def test_a_person_is_withdrawn_and_nobody_else(run: Run, lab: Path) -> None:
    said = run("withdraw", "P07")
    assert f"P07 is withdrawn since {date.today()}: 1 session, 1 take marked now, 0 before" in said
    assert (f"only {lab} was looked into" in said) != (lab / "lab.toml").is_file()
    assert is_withdrawn(lab / "sessions" / "P07" / "takes" / "001-a-v1")
    assert not is_withdrawn(lab / "sessions" / "P08" / "takes" / "001-a-v1")
    assert record(lab).withdrawn == date.today()
    again = json.loads(run("withdraw", "P07", "--json"))
    assert (again["takes_marked"], again["takes_marked_before"], again["failed"]) == (0, 1, [])
    assert f"P07: 24, female, zh; withdrawn on {date.today()}; 1 session" in run("list")
    refused = run("consent", "P07", "--consent", "3", "--consent-date", "2026-01-05", "--scopes", "mesh", code=3)
    assert "P07 withdrew their consent" in refused
    assert (lab / "withdrawn.jsonl").is_file() == (lab / "lab.toml").is_file()


@pytest.mark.parametrize(("answer", "code"), [("n", 130), ("y", 0)])
def test_on_a_terminal_a_withdrawal_is_asked_about(lab: Path, answer: str, code: int) -> None:
    operator, terminal = pty.openpty()
    command = [sys.executable, "-m", "mmface4d.cli", "subject", "withdraw", "P07", "--folder", str(lab)]
    running = subprocess.Popen(command, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    os.write(operator, f"{answer}\n".encode())
    _, said = running.communicate(timeout=60)
    os.close(operator)
    os.close(terminal)
    assert running.returncode == code, said
    assert "Withdraw P07 with 1 session? It cannot be undone" in said
    assert is_withdrawn(lab / "sessions" / "P07" / "takes" / "001-a-v1") == (answer == "y")


def test_what_cannot_be_read_is_told(run: Run, lab: Path) -> None:
    for name in ("session.json", "session.copy.json"):
        (lab / "sessions" / "P08" / name).write_text("{")
    assert "whose session" in run("list", code=4)
    assert "whose session" in run("withdraw", "P07", code=4)
    assert is_withdrawn(lab / "sessions" / "P07" / "takes" / "001-a-v1")
