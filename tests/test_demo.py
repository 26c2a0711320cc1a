"""`mmface4d demo`: the loop, its figures and its refusals."""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from mmface4d.demo import FPS, LIMITS, failures, load_truth, run_demo
from mmface4d.errors import EXIT_INTERRUPTED, EXIT_USAGE, UsageError
from mmface4d.evaluation import PoseError, SequenceScore, Spread


def score(mean: float) -> SequenceScore:
    return SequenceScore(3, Spread(mean, mean, 2 * mean), Spread(mean, mean, mean), 0.0, 0.0)


def test_figures_within_the_limits_pass():
    poses = {"a": PoseError(0.0, 0.0), "b": PoseError(0.1, 0.5)}
    assert failures(score(0.5), poses) == []


@pytest.mark.parametrize(
    ("mean", "pose", "named"),
    [
        (1.2, PoseError(0.0, 0.0), "surface_mean_mm"),
        (0.5, PoseError(0.5, 0.1), "pose_deg"),
        (0.5, PoseError(0.1, 1.9), "pose_mm"),
        (float("nan"), PoseError(0.0, 0.0), "surface_p95_mm"),
    ],
)
def test_figures_beyond_the_limits_are_named(mean, pose, named):
    assert any(text.startswith(named) for text in failures(score(mean), {"a": pose}))


def test_help_is_quick_and_has_examples(run_cli):
    started = time.monotonic()
    done = run_cli("demo", "--help")
    assert done.returncode == 0
    assert "mmface4d demo -o" in done.stdout
    assert time.monotonic() - started < 3


def test_a_folder_of_other_things_is_refused(tmp_path, run_cli):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(UsageError, match="other files"):
        run_demo(tmp_path, seconds=1.0, seed=1)
    done = run_cli("demo", "-o", tmp_path)
    assert done.returncode == EXIT_USAGE
    assert "choose an empty folder" in done.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, run_cli) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("demo") / "out"
    done = run_cli("demo", "-o", folder, "--seconds", "0.5", "--json", timeout=900)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


@pytest.mark.slow
def test_the_loop_recovers_the_actor(finished):
    folder, result = finished
    assert result["state"] == "finished"
    assert result["frames"] == round(0.5 * FPS)
    assert result["surface_mm"]["mean"] < LIMITS["surface_mean_mm"]
    assert result["failures"] == []
    assert len(result["poses"]) == 3
    assert Path(result["report"]).stat().st_size > 50_000
    assert json.loads((folder / "demo.json").read_text()) == result


@pytest.mark.slow
def test_the_truth_is_of_somebody_who_speaks(finished):
    truth = load_truth(finished[0] / "truth.npz")
    assert truth.scored.sum() > 500
    lowest = truth.vertices[:, truth.scored]
    spread = lowest - lowest.mean(1, keepdims=True)
    # beyond rigid motion: distances between points change as the jaw opens
    sizes = np.linalg.norm(spread, axis=-1).mean(1)
    assert np.ptp(sizes) > 1e-4


@pytest.mark.slow
def test_every_picture_shows_a_face(finished):
    from calibration.landmarks import take_landmarks
    from mmface4d.take import open_take

    with open_take(finished[0] / "take") as take:
        landmarks = take_landmarks(take)
        for serial, pixels in landmarks.items():
            taken = [serial in take.present(frame) for frame in range(len(take))]
            assert np.array_equal(np.isfinite(pixels).all((1, 2)), taken)
        assert sum(len(take.present(frame)) for frame in range(len(take))) == 3 * len(take) - 1  # one was lost


@pytest.mark.slow
def test_a_second_run_renders_nothing_anew(finished, run_cli):
    folder, first = finished
    again = folder.parent / "again"
    shutil.copytree(folder, again)
    streams = (again / "take" / "streams.mcap").stat().st_mtime_ns
    done = run_cli("demo", "-o", again, "--seconds", "0.5", "--json", timeout=900)
    assert done.returncode == 0, done.stderr
    assert "already rendered" in done.stderr
    assert (again / "take" / "streams.mcap").stat().st_mtime_ns == streams
    assert json.loads(done.stdout)["surface_mm"]["mean"] == pytest.approx(first["surface_mm"]["mean"], rel=0.05)


@pytest.mark.slow
def test_an_interrupted_run_is_visibly_unfinished(tmp_path):
    import signal
    import subprocess
    import sys

    folder = tmp_path / "out"
    command = [sys.executable, "-m", "mmface4d.cli", "demo", "-o", str(folder), "--seconds", "30"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (folder / "take" / "streams.mcap").exists():
        time.sleep(0.1)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == EXIT_INTERRUPTED, stderr
    assert json.loads((folder / "demo.json").read_text()) == {"state": "unfinished"}
    assert not (folder / "take").exists()
    assert not (folder / "sequence.npz").exists()
