import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmface4d.errors import DiskFullError, InputError
from mmface4d.files import atomic_path, read_json, write_json

FULL_DISK = Path("/dev/full")  # every write to it fails as on a full disk
needs_full_disk = pytest.mark.skipif(not FULL_DISK.exists(), reason="this system has no /dev/full")

HALF_WRITER = """
import sys, time
from pathlib import Path
from mmface4d.files import atomic_path

with atomic_path(Path(sys.argv[1])) as partial, partial.open("w") as file:
    file.write("half of the new con")
    file.flush()
    print("half", flush=True)
    time.sleep(60)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_whole_file_takes_its_place(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "folder" / "report.html"
    with atomic_path(target) as partial:
        assert (partial.parent, partial.suffix) == (target.parent, ".html")
        partial.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert names(target.parent) == ["report.html"]


def write_half_and_raise(path: Path, failure: type[BaseException]) -> None:
    path.write_text("half")
    raise failure


@pytest.mark.parametrize("old", [None, "old"])
@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_what_was_there(tmp_path: Path, old: str | None, failure: type[BaseException]) -> None:
    target = tmp_path / "sequence.npz"
    if old:
        target.write_text(old)
    with pytest.raises(failure), atomic_path(target) as partial:
        write_half_and_raise(partial, failure)
    assert names(tmp_path) == (["sequence.npz"] if old else [])
    assert not old or target.read_text() == old


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_writer_leaves_nothing_that_looks_whole(tmp_path: Path, how: signal.Signals) -> None:
    target = tmp_path / "take.json"
    target.write_text("old")
    writer = subprocess.Popen(
        [sys.executable, "-c", HALF_WRITER, str(target)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"half\n"
        writer.send_signal(how)
    assert target.read_text() == "old"
    left_over = [name for name in names(tmp_path) if name != "take.json"]
    assert all(name.startswith(".") and ".partial" in name for name in left_over)
    with atomic_path(target) as partial:  # and nothing stands in the way of the next run
        partial.write_text("new")
    assert target.read_text() == "new"


@needs_full_disk
def test_a_full_disk_is_a_clear_error(tmp_path: Path) -> None:
    target = tmp_path / "streams.mcap"
    target.write_text("old")
    with (
        pytest.raises(DiskFullError, match=r"no space left while writing .*streams\.mcap") as caught,
        atomic_path(target),
    ):
        FULL_DISK.write_text("much")
    assert caught.value.hint
    assert (target.read_text(), names(tmp_path)) == ("old", ["streams.mcap"])


def test_other_system_errors_keep_their_name(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError), atomic_path(tmp_path / "file"):
        tmp_path.read_text()


def test_two_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a.json") as first, atomic_path(tmp_path / "a.json") as second:
        assert first != second
        first.write_text("1")
        second.write_text("2")
    assert names(tmp_path) == ["a.json"]


plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
content = st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10)


@given(content)
def test_json_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    path = tmp_path_factory.mktemp("json") / "value.json"
    write_json(path, value)
    assert read_json(path) == value


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {"a": object()}])
def test_what_json_cannot_hold_is_not_written(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "value.json"
    path.write_text("{}")
    with pytest.raises((ValueError, TypeError)):
        write_json(path, value)
    assert (path.read_text(), names(tmp_path)) == ("{}", ["value.json"])


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe", b'{"a": 1}}', b"[" * 100_000])
def test_damaged_json_is_an_input_error_that_names_the_file(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "calibration.json"
    path.write_bytes(damage)
    with pytest.raises(InputError, match=r"calibration\.json is not valid JSON"):
        read_json(path)


def test_missing_and_huge_json_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_json(tmp_path / "nothing.json")
    with pytest.raises(InputError, match="does not exist"):
        read_json(tmp_path)
    huge = tmp_path / "huge.json"
    huge.write_text(json.dumps("x" * 2000))
    os.truncate(huge, 2 << 20)
    with pytest.raises(InputError, match="larger than 1 MiB"):
        read_json(huge, max_bytes=1 << 20)
