"""Folders that appear whole or not at all: two at a time, links in the way, and what others are writing meanwhile."""

from pathlib import Path

import pytest

from mmface4d.errors import BusyError, InputError
from mmface4d.new_folder import new_folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_appears_when_it_is_whole(tmp_path: Path) -> None:
    with new_folder(tmp_path / "a" / "out") as folder:
        (folder / "deep" / "down").mkdir(parents=True)
        (folder / "deep" / "down" / "file").write_text("whole")
        assert not (tmp_path / "a" / "out").exists()
        with pytest.raises(BusyError, match="is being written by process"), new_folder(tmp_path / "a" / "out"):
            pass
    assert (tmp_path / "a" / "out" / "deep" / "down" / "file").read_text() == "whole"
    assert names(tmp_path / "a") == ["out"]


def test_a_folder_that_fails_is_not_there(tmp_path: Path) -> None:
    def interrupted() -> None:
        with new_folder(tmp_path / "out") as folder:
            (folder / "file").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not names(tmp_path)


def test_what_a_killed_process_left_is_cleared_and_what_another_one_writes_is_not(tmp_path: Path) -> None:
    (tmp_path / ".out.0a1b2c3d.partial" / "deep").mkdir(parents=True)
    with new_folder(tmp_path / "out.2") as other:
        with new_folder(tmp_path / "out"):
            pass
        (other / "file").touch()
    assert names(tmp_path) == ["out", "out.2"]


@pytest.mark.parametrize("there", ["folder", "file", "link to nothing"])
def test_nothing_that_is_there_is_replaced(tmp_path: Path, there: str) -> None:
    target = tmp_path / "out"
    if there == "folder":
        target.mkdir()
    elif there == "file":
        target.touch()
    else:
        target.symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="out exists; a release is never changed"):  # noqa: SIM117  (it is entered)
        with new_folder(target, why="a release is never changed"):
            pass
    assert names(tmp_path) == ["out"]


def test_one_who_comes_late_is_told_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process makes the folder between the first look and the lock."""
    from mmface4d import new_folder as module

    held = module.locked

    def late(path: Path, *, what: str) -> object:
        (tmp_path / "out").mkdir()
        return held(path, what=what)

    monkeypatch.setattr(module, "locked", late)
    with pytest.raises(InputError, match="exists"):  # noqa: SIM117  (it is entered)
        with new_folder(tmp_path / "out"):
            pytest.fail("the work began")
