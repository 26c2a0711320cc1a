"""Batches: what one take's failure does to the others, and what is said at the end."""

from pathlib import Path

import numpy as np
import pytest

import reconstruct.batch
from mmface4d.errors import DiskFullError, InputError, SomeItemsFailedError, UsageError
from mmface4d.sequence import load_sequence, write_sequence
from reconstruct.batch import reconstruct_takes, summarize, summary_text
from reconstruct.commands import _actor_output
from reconstruct.session import _keyframes
from reconstruct.settings import ReconstructSettings
from tests.reconstruct.scene import bumpy_model, rig


class _Opened:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> "_Opened":
        return self

    def __exit__(self, *_: object) -> None:
        pass


def write_small(output: Path, fit=(3, 0, 0, 1, 2), gate=(0, 0, 0, 3, 2), status=(0, 0, 1, 0, 3)) -> None:
    def frame(index: int) -> dict[str, np.ndarray]:
        figures = {
            "depth_residual_mm": 0.5, "coverage": 0.8, "landmark_residual_px": 2.0, "landmark_residual_mm": 1.0,
        }  # fmt: skip
        codes = {"fit": fit[index], "gate": gate[index], "status": status[index]}
        return {
            "vertices": np.zeros((3, 3), np.float32), "timestamps_usec": np.int64(index),  # type: ignore[dict-item]
            **{name: np.float32(value) for name, value in figures.items()},  # type: ignore[dict-item]
            **{name: np.uint8(value) for name, value in codes.items()},  # type: ignore[dict-item]
        }  # fmt: skip

    faces = np.array([[0, 1, 2]], np.int32)
    write_sequence(
        output, of_sequence={"faces": faces, "model": "bumpy", "solver": "fast"}, frame_count=5, read_frame=frame
    )


@pytest.fixture
def failing(monkeypatch):
    """A batch in which the takes of these names fail with these errors, and the others are done."""
    errors: dict[str, Exception] = {}

    def one(take, calibration, model, *, output, settings, actor):
        if take.path.name in errors:
            raise errors[take.path.name]
        write_small(output)

    monkeypatch.setattr(reconstruct.batch, "open_take", _Opened)
    monkeypatch.setattr(reconstruct.batch, "reconstruct_take", one)
    return errors


def batch(folder: Path, *names: str):
    outputs = {Path(name): folder / f"{name}.npz" for name in names}
    return reconstruct_takes(outputs, calibration=rig(), model=bumpy_model(), settings=ReconstructSettings())


def test_a_bug_in_one_take_does_not_stop_the_others(failing, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("MMFACE4D_TRACEBACK", raising=False)
    failing["b"] = np.linalg.LinAlgError("singular")
    failing["c"] = InputError("c is broken", hint="mend it")
    with pytest.raises(SomeItemsFailedError, match="2 of 4 takes failed: b, c") as end:
        batch(tmp_path, "a", "b", "c", "d")
    assert end.value.exit_code == 4
    said = capsys.readouterr().err
    assert "b: bug: LinAlgError: singular" in said
    assert "c: c is broken\n  do: mend it" in said
    assert "Traceback" not in said
    assert {path.name for path in tmp_path.iterdir()} == {"a.npz", "d.npz"}


def test_the_traceback_is_shown_when_asked_for(failing, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MMFACE4D_TRACEBACK", "1")
    failing["a"] = ValueError("odd data")
    with pytest.raises(SomeItemsFailedError):
        batch(tmp_path, "a", "b")
    said = capsys.readouterr().err
    assert "Traceback (most recent call last)" in said
    assert "ValueError: odd data" in said


def test_a_full_disk_and_a_single_take_end_at_once(failing, tmp_path):
    failing["a"] = DiskFullError("full")
    with pytest.raises(DiskFullError):
        batch(tmp_path, "a", "b")
    failing["a"] = ValueError("odd data")
    with pytest.raises(ValueError, match="odd data"):
        batch(tmp_path, "a")


def test_the_summary_counts_fits_and_doubts(tmp_path):
    write_small(tmp_path / "s.npz")
    summary = summarize(tmp_path / "s.npz")
    assert summary["fit"] == {"tracked": 2, "refitted": 1, "carried": 1, "started": 1}
    assert summary["gate"] == {"depth residual": 1, "coverage": 2, "landmark error": 0}
    text = summary_text(summary)
    assert "2 tracked, 1 refitted, 1 carried, 1 started; doubted: 1 for depth residual, 2 for coverage" in text
    assert "depth residual 0.50 mm, landmarks 2.0 px (medians)" in text


@pytest.mark.parametrize("codes", [{"fit": (4, 0, 0, 0, 0)}, {"gate": (8, 0, 0, 0, 0)}, {"status": (5, 0, 0, 0, 0)}])
def test_unknown_codes_in_a_sequence_are_refused(tmp_path, codes):
    write_small(tmp_path / "s.npz", **codes)
    with pytest.raises(InputError, match=f"its {next(iter(codes))} has the code"):
        load_sequence(tmp_path / "s.npz")


def test_a_session_takes_keyframes_from_every_take():
    settings = ReconstructSettings()
    takes = {Path(f"t{i}"): dict.fromkeys(range(0, 300, 3), 3) for i in range(6)}
    chosen = _keyframes(takes, settings)
    assert list(chosen) == list(takes)
    assert all(1 <= len(frames) <= 3 for frames in chosen.values())
    assert sum(map(len, chosen.values())) == 12
    assert sum(map(len, _keyframes({Path("t"): dict.fromkeys(range(100), 1)}, settings).values())) == 8


def test_sequence_and_actor_do_not_share_a_file(tmp_path):
    assert _actor_output({Path("a"): tmp_path / "a.npz"}) == tmp_path / "actor.npz"
    with pytest.raises(UsageError, match="would both be"):
        _actor_output({Path("actor"): tmp_path / "actor.npz"})


@pytest.mark.slow
def test_one_actor_for_two_takes_and_a_later_one(rig_take, tmp_path, run_cli):
    def done(*arguments: object) -> str:
        result = run_cli(*arguments, timeout=600)
        assert result.returncode == 0, result.stderr
        return result.stderr

    takes = [tmp_path / "one", tmp_path / "two"]
    for take in takes:
        done("take", "import", rig_take("still"), "-o", take)
    calibration = tmp_path / "calibration.json"
    done("calibrate", takes[0], "-o", calibration)
    common = ("--calibration", calibration, "--frames", "0:3")
    out = tmp_path / "out"
    done("reconstruct", *takes, *common, "--one-actor", "-o", out)
    first = (out / "actor.npz").read_bytes()
    assert "actor: " not in done("reconstruct", *takes, *common, "--one-actor", "-o", out).replace("one actor: ", "")
    assert (out / "actor.npz").read_bytes() == first
    done("reconstruct", takes[0], *common, "--actor", out / "actor.npz", "-o", tmp_path / "later.npz")
    sequences = [load_sequence(path) for path in (out / "one.npz", out / "two.npz", tmp_path / "later.npz")]
    for sequence in sequences[1:]:
        assert np.array_equal(sequence["identity"], sequences[0]["identity"])
        assert sequence["scale"] == sequences[0]["scale"]
        assert np.array_equal(sequence.vertices, sequences[0].vertices)
    refused = run_cli("reconstruct", takes[0], *common, "--actor", calibration, "-o", tmp_path / "no.npz", timeout=600)
    assert refused.returncode == 3
    assert "is no actor file" in refused.stderr
    both = run_cli("reconstruct", takes[0], *common, "--actor", "a.npz", "--one-actor", "-o", tmp_path / "no.npz")
    assert both.returncode == 2
