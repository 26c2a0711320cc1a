"""`mmface4d calibrate` on evaluation takes, and on what it must refuse."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mmface4d.rig_calibration import load_calibration
from mmface4d.take import FrameTable, TakeCamera, TakeWriter
from mmface4d.transforms import invert, rotation_angle_deg, transform
from tests.calibration.virtual_head import kinect_like
from tests.conftest import RunCli


def write_wall(path: Path, serials: list[str]) -> Path:
    """A take that shows a grey wall and nobody."""
    import cv2

    cameras = [TakeCamera(s, "subordinate" if i else "master", kinect_like(s)) for i, s in enumerate(serials)]
    jpeg = cv2.imencode(".jpg", np.full((540, 960, 3), 128, np.uint8))[1].tobytes()
    with TakeWriter(path, cameras, fps=30.0) as writer:
        for serial in serials:
            writer.write(
                serial, color_jpeg=jpeg, depth_mm=np.full((288, 320), 1500, np.uint16), color_usec=0, depth_usec=0
            )
        once = {serial: np.zeros(1, dtype=int) for serial in serials}
        writer.finish(FrameTable(np.zeros(1, dtype=int), once, once))
    return path


def test_a_take_without_a_face_is_refused(run_cli: RunCli, tmp_path: Path) -> None:
    take = write_wall(tmp_path / "wall", ["a", "b"])
    done = run_cli("calibrate", take, "-o", tmp_path / "calibration.json")
    assert done.returncode == 3
    assert str(take) in done.stderr
    assert "camera a: 0 of 1; camera b: 0 of 1" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["wall"]


def test_takes_of_different_rigs_are_refused(run_cli: RunCli, tmp_path: Path) -> None:
    first, second = write_wall(tmp_path / "one", ["a", "b"]), write_wall(tmp_path / "two", ["a", "c"])
    done = run_cli("calibrate", first, second, "-o", tmp_path / "calibration.json")
    assert done.returncode == 3
    assert "has cameras a, c" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [([], 2), (["none", "-o", "c.json"], 3), (["none"], 2), (["none", "-o", "c.json", "--frames", "0"], 2)],
)
def test_wrong_arguments(run_cli: RunCli, tmp_path: Path, arguments: list[str], code: int) -> None:
    done = run_cli("calibrate", *arguments, cwd=tmp_path)
    assert done.returncode == code
    assert "bug" not in done.stderr


def test_help_shows_examples(run_cli: RunCli) -> None:
    done = run_cli("calibrate", "--help")
    assert done.returncode == 0
    assert done.stdout.count("mmface4d calibrate takes/001") == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["still", "scan", "drops", "clocks", "clean", "speech"])
def test_poses_of_an_evaluation_take(
    run_cli: RunCli, rig_take: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    take, output = tmp_path / name, tmp_path / "out" / "calibration.json"
    imported = run_cli("take", "import", rig_take(name), "-o", take, timeout=300)
    assert imported.returncode == 0, imported.stderr
    done = run_cli("calibrate", take, "-o", output, "--json", timeout=600)
    assert done.returncode == 0, done.stderr
    report, calibration = json.loads(done.stdout), load_calibration(output)
    assert (output.parent / report["overlay"]).stat().st_size > 10_000
    assert report["loop_closure"]["mm"] < 1.5
    truth = np.load(rig_take(name) / "truth.npz")
    face = truth["vertices"][0][truth["face"]].astype(float)
    for serial, true in zip(truth["serials"], truth["extrinsics"], strict=True):
        motion = calibration.world_from_camera[str(serial)] @ invert(true)
        assert rotation_angle_deg(motion[:3, :3]) < 0.3
        assert np.linalg.norm(transform(motion, face) - face, axis=1).mean() < 0.0015
