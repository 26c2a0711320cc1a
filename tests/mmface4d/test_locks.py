"""Locks: one holder at a time, named to the others; a dead one's is taken over."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmface4d.errors import BusyError
from mmface4d.locks import locked

HOLD = """
import sys, time
from pathlib import Path
from mmface4d.locks import locked
with locked(Path(sys.argv[1]), what="x"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "lock")], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.communicate()


def test_the_other_process_is_named(tmp_path: Path, holder) -> None:
    with pytest.raises(BusyError, match=f"out.npz is being written by process {holder.pid} on "):  # noqa: SIM117
        with locked(tmp_path / "lock", what="out.npz"):
            pass
    assert (tmp_path / "lock").exists()  # still the other one's


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path, holder) -> None:
    holder.kill()
    holder.wait()
    assert (tmp_path / "lock").exists()
    with locked(tmp_path / "lock", what="out.npz"):
        assert f"process {os.getpid()} on" in (tmp_path / "lock").read_text()
    assert not (tmp_path / "lock").exists()


def test_a_lock_is_given_back_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="boom"), locked(tmp_path / "lock", what="x"):
        raise ValueError("boom")
    with locked(tmp_path / "lock", what="x"):
        pass
