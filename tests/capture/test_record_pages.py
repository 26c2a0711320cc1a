"""`mmface4d record --virtual`, led by its own pages in a headless Chromium."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("pyk4a", reason="pyk4a is not installed")
pytest.importorskip("mediapipe", reason="mediapipe is not installed")
pytest.importorskip("espeakng_loader", reason="espeakng-loader is not installed")

from mmface4d.session import ScriptItem, Session, create_session, open_session
from mmface4d.take import open_take
from tests.capture.chromium import Chromium, Page

pytestmark = pytest.mark.slow
SCRIPT = [ScriptItem(id="a", text="We were away."), ScriptItem(id="b", text="It is late now.")]
WORD = "document.getElementById('word').textContent"
RENDERING_S = 120.0  # of a sentence, on a machine that has other work


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return create_session(tmp_path / "s", subject="P01", script=SCRIPT)


@pytest.fixture
def program(session: Session, tmp_path: Path) -> "Iterator[subprocess.Popen[str]]":
    """The program, recording."""
    started = subprocess.Popen(
        [sys.executable, "-m", "mmface4d.cli", "record", str(session.path), "--virtual", "--fps", "5"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"MMFACE4D_CACHE": str(tmp_path)},
    )  # fmt: skip
    yield started
    started.kill()
    started.communicate()


def addresses(program: "subprocess.Popen[str]") -> list[str]:
    """The operator's and the actor's page, as the program says them."""
    assert program.stderr is not None
    said = []
    for line in program.stderr:
        said.append(line)
        if line.startswith("actor's page:"):
            return [each.split(": ", 1)[1].strip() for each in said[-2:]]
    raise AssertionError("".join(said))


def recorded(page: Page, *, reload: bool = False) -> str:
    """From the press to the verdict; returns what the verdict is."""
    page.wait(f"{WORD} === 'recording'", seconds=RENDERING_S)
    if reload:
        page.reload()
        page.wait(f"{WORD} === 'recording'")
    time.sleep(3.0)  # the virtual actor says it
    page.key(" ")
    page.wait(f"['good', 'say it again'].includes({WORD})", seconds=60)
    return str(page.ask(WORD))


def test_record_retake_reload_keep_and_skip(program: "subprocess.Popen[str]", session: Session, tmp_path: Path) -> None:
    operator, actor = addresses(program)
    with Chromium(tmp_path / "chromium") as browser:
        page, prompt = browser.open(operator), browser.open(actor)
        page.wait(f"{WORD} === 'ready'")
        prompt.wait("document.body.innerText.includes('We were away.')")
        page.wait("[...document.querySelectorAll('img')].filter(each => each.naturalWidth > 0).length >= 3")
        page.key(" ")
        assert recorded(page) == "good"
        page.key("t")
        assert recorded(page, reload=True) == "good"
        page.key("k")
        page.wait("document.getElementById('text').textContent.startsWith('It is late')")
        prompt.wait("document.body.innerText.includes('It is late now.')")
        page.key("s")
        page.wait(f"{WORD} === 'finished'")
        for each in (page, prompt):
            assert each.foreign() == []
            assert each.errors == []
    stdout, stderr = program.communicate(timeout=30)
    assert program.returncode == 0, stderr
    assert stdout == f"{session.path}: 2 of 2 sentences done, 0 to be repeated\n"
    states = open_session(session.path).states
    assert [state.status for state in states.values()] == ["kept", "skipped"]
    assert states["a"].kept_take == "001-a-v2"
    for name in states["a"].takes:
        with open_take(session.takes / name) as take:
            assert len(take.cameras) == 3
            assert set(take.present(len(take) // 2)) == set(take.cameras)
