"""Sequences from a small take on disk: statuses, resuming, refusals, and the command line."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from calibration.landmarks import take_landmarks
from mmface4d.errors import BusyError, CalibrationError, FaceNotFoundError, InputError, TakeError
from mmface4d.progress import Progress
from mmface4d.sequence import load_sequence
from mmface4d.take import MISSING, FrameTable, Take, TakeCamera, TakeWriter
from mmface4d.transforms import rotation_from_rotvec, transform
from reconstruct.fast_solver import FastSolver
from reconstruct.keyframes import keyframes_of, spread_frames
from reconstruct.observe import TakeObserver
from reconstruct.parameters import make_problem
from reconstruct.partial import PartialResult, frame_name, open_partial
from reconstruct.raster import make_rasterizer
from reconstruct.result_key import result_key
from reconstruct.sequence_run import CAMERAS_MISSING, NO_FACE, OK, REJECTED, Fitting, SequenceRun
from reconstruct.settings import ReconstructSettings
from tests.reconstruct.scene import COLOR, DEPTH, SERIALS, bumpy_model, observe, pose_in_front, rig

FRAMES = 7
LEFT_LOST, FACE_LOST, ALL_WRONG = 2, 3, 5


@pytest.fixture(scope="module")
def problem():
    return make_problem(bumpy_model(), make_rasterizer("warp"))


@pytest.fixture(scope="module")
def truth(problem):
    """A head that turns a little in every frame."""
    rotation, translation = pose_in_front()
    return [
        problem.model.shape(np.array([0.5, -0.4, 0.8]), np.array([0.1 * i, 0.0]))
        @ (rotation_from_rotvec(np.array([0.0, 0.01 * i, 0.0])) @ rotation).T
        + translation
        + [0.001 * i, 0, 0]
        for i in range(FRAMES)
    ]


@pytest.fixture(scope="module")
def take(problem, truth, tmp_path_factory):
    """Three cameras; the left one misses a frame, one frame has no depth of a face, one shows a wall instead."""
    return write_take(tmp_path_factory.mktemp("takes") / "small", problem, truth)


def write_take(path: Path, problem, truth, *, junk: tuple[str, int] | None = None) -> Take:
    """`junk` is a camera and a frame whose colour picture is none."""
    import cv2

    calibration = rig()
    cameras = [
        TakeCamera(s, "master" if s == "front" else "subordinate", calibration.cameras[s]) for s in SERIALS
    ]  # fmt: skip
    jpeg = cv2.imencode(".jpg", np.full((COLOR.height, COLOR.width, 3), 128, np.uint8))[1].tobytes()
    times = np.arange(FRAMES, dtype=np.int64) * 33_333 + 1_000_000
    column = {serial: times.copy() for serial in SERIALS}
    column["left"][LEFT_LOST] = MISSING
    with TakeWriter(path, cameras, fps=30.0) as writer:
        for frame, vertices in enumerate(truth):
            seen = observe(problem.model, vertices, noise_m=0.0004, seed=frame)
            for view in seen.depth_views:
                if column[view.serial][frame] == MISSING:
                    continue
                depth_mm = np.zeros((DEPTH.height, DEPTH.width), np.uint16)
                if frame == ALL_WRONG:
                    depth_mm[:] = 760
                elif frame != FACE_LOST:
                    depth_mm.ravel()[view.pixel] = np.rint(view.depth_m * 1000)
                usec = int(times[frame])
                color = b"no picture" if junk == (view.serial, frame) else jpeg
                writer.write(view.serial, color_jpeg=color, depth_mm=depth_mm, color_usec=usec, depth_usec=usec)
        return writer.finish(FrameTable(times, column, {s: c.copy() for s, c in column.items()}))


@pytest.fixture(scope="module")
def landmarks(problem, truth):
    found = {serial: np.full((FRAMES, 478, 2), np.nan) for serial in SERIALS}
    for frame, vertices in enumerate(truth):
        if frame == FACE_LOST:
            continue
        for view in observe(problem.model, vertices).color_views:
            if frame != LEFT_LOST or view.serial != "left":
                found[view.serial][frame] = view.landmarks_px
    return found


def run(take: Take, problem, landmarks, output: Path, frames: list[int]):
    observer = TakeObserver(take, rig(), landmarks)
    solver = FastSolver(problem)
    partial = PartialResult(output, {"test": 1})
    # the patch has no nose or brows where a face's landmarks are lifted, so the actor is fitted on a direct observation
    actor_fit = solver.fit_actor([direct_observation(problem)])
    fitting = Fitting(problem, solver, actor_fit)
    sequence_run = SequenceRun(fitting, observer, partial=partial, report=Progress("test", len(frames)))
    sequence_run.run(frames)
    return partial, sequence_run


def direct_observation(problem):
    rotation, translation = pose_in_front()
    vertices = problem.model.shape(np.array([0.5, -0.4, 0.8]), np.zeros(2)) @ rotation.T + translation
    return observe(problem.model, vertices, noise_m=0.0004)


@pytest.fixture(scope="module")
def whole(take, problem, landmarks, tmp_path_factory):
    """All frames in one go."""
    output = tmp_path_factory.mktemp("whole") / "sequence.npz"
    partial, _ = run(take, problem, landmarks, output, list(range(FRAMES)))
    return [partial.load(frame_name(frame)) for frame in range(FRAMES)]


def test_every_frame_has_a_status_and_the_sequence_goes_on(whole, truth, problem):
    status = [int(frame["status"]) for frame in whole]
    assert status[LEFT_LOST] == CAMERAS_MISSING
    assert status[FACE_LOST] == NO_FACE
    assert status[ALL_WRONG] == REJECTED
    assert all(status[frame] == OK for frame in (1, 4, 6))
    inner = ~problem.model.regions["boundary"]
    for frame in (1, LEFT_LOST, 4, 6):
        error = np.linalg.norm(whole[frame]["vertices"] - truth[frame], axis=1)[inner]
        assert error.mean() < 0.0008, frame
    # a frame that was not fitted repeats the one before it
    assert np.allclose(whole[FACE_LOST]["vertices"], whole[FACE_LOST - 1]["vertices"], atol=1e-6)
    assert np.isnan(whole[FACE_LOST]["depth_residual_mm"])


def test_resuming_gives_what_one_run_gives(take, problem, landmarks, tmp_path, whole):
    output = tmp_path / "sequence.npz"
    run(take, problem, landmarks, output, [0, 1, 2, 3])
    partial, _ = run(take, problem, landmarks, output, list(range(FRAMES)))
    for frame, values in enumerate(whole):
        again = partial.load(frame_name(frame))
        assert again is not None
        for name in values:
            assert np.array_equal(again[name], values[name], equal_nan=values[name].dtype.kind == "f"), (frame, name)


def test_resuming_knows_where_the_head_was(take, problem, landmarks, tmp_path):
    """A frame without landmarks is tracked by its depth, also as the first one after a stop."""
    unseen = {serial: pixels.copy() for serial, pixels in landmarks.items()}
    for pixels in unseen.values():
        pixels[2] = np.nan
    whole, _ = run(take, problem, unseen, tmp_path / "whole.npz", [0, 1, 2])
    run(take, problem, unseen, tmp_path / "stopped.npz", [0, 1])
    stopped, _ = run(take, problem, unseen, tmp_path / "stopped.npz", [0, 1, 2])
    expected, values = whole.load(frame_name(2)), stopped.load(frame_name(2))
    assert expected is not None
    assert values is not None
    assert values["status"] == expected["status"] == CAMERAS_MISSING
    assert np.allclose(values["vertices"], expected["vertices"], atol=2e-6)


@pytest.mark.parametrize("kind", ["color", "depth"])
def test_a_damaged_picture_is_a_missing_camera(problem, truth, landmarks, tmp_path, monkeypatch, kind):
    damaged = write_take(tmp_path / "take", problem, truth, junk=("left", 1) if kind == "color" else None)
    if kind == "depth":
        whole = Take.depth_mm

        def depth_mm(self: Take, frame: int, serial: str):
            if (frame, serial) == (1, "left"):
                raise TakeError("a depth picture is damaged")
            return whole(self, frame, serial)

        monkeypatch.setattr(Take, "depth_mm", depth_mm)
    partial, done = run(damaged, problem, landmarks, tmp_path / "sequence.npz", [0, 1, 2])
    status = [int((partial.load(frame_name(frame)) or {})["status"]) for frame in range(3)]
    assert status == [OK, CAMERAS_MISSING, CAMERAS_MISSING]
    assert done.damaged == {"left": 1}
    # a run that goes on counts them too
    assert run(damaged, problem, landmarks, tmp_path / "sequence.npz", [0, 1, 2])[1].damaged == {"left": 1}


def test_a_damaged_picture_does_not_stop_the_landmarks(problem, truth, tmp_path):
    take = write_take(tmp_path / "take", problem, truth, junk=("left", 1))
    found = take_landmarks(take, frames=[1], use_cache=False)
    assert {serial: pixels.shape for serial, pixels in found.items()} == dict.fromkeys(SERIALS, (1, 478, 2))


def test_a_key_changes_with_everything_that_matters(take, problem, tmp_path):
    def key(calibration=None, settings=None, **others):
        settings = settings or ReconstructSettings()
        return result_key(take, calibration or rig(), problem.model, settings=settings, **others)

    assert key() == key()
    assert json.loads(json.dumps(key())) == key()
    other_lens, moved = rig(), rig()
    camera = other_lens.cameras["left"]
    other_lens.cameras["left"] = replace(camera, depth=replace(camera.depth, fx=camera.depth.fx + 1e-3))
    moved.world_from_camera["left"] = moved.world_from_camera["left"] + np.eye(4, k=3) * 1e-6
    (tmp_path / "actor.npz").write_bytes(b"a")
    others = [
        key(other_lens),
        key(moved),
        key(settings=ReconstructSettings(solver="paper")),
        key(settings=ReconstructSettings(rasterizer="nvdiffrast")),
        key(actor=tmp_path / "actor.npz"),
    ]
    assert len({json.dumps(value) for value in [key(), *others]}) == len(others) + 1


def test_an_output_is_written_by_one_process_at_a_time(tmp_path):
    output = tmp_path / "sequence.npz"
    with open_partial(output, {"model": "a"}) as partial:
        partial.store(frame_name(0), {"x": np.ones(3)})
        with pytest.raises(BusyError, match="is being written by process"):  # noqa: SIM117
            with open_partial(output, {"model": "b"}):
                pass
        assert partial.load(frame_name(0)) is not None  # the refused one deleted nothing
    with open_partial(output, {"model": "a"}) as partial:
        assert partial.load(frame_name(0)) is not None
        partial.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_sequence_that_was_cut_short_by_a_kill_is_cleared(tmp_path):
    left, others = tmp_path / ".a.0123abcd.partial.npz", tmp_path / ".a.b.0123abcd.partial.npz"
    left.touch()
    others.touch()
    with open_partial(tmp_path / "a.npz", {}):
        assert not left.exists()
    assert others.exists()


def test_partial_results_of_other_inputs_are_dropped(tmp_path):
    output = tmp_path / "sequence.npz"
    PartialResult(output, {"model": "a"}).store(frame_name(0), {"x": np.ones(3)})
    assert PartialResult(output, {"model": "a"}).load(frame_name(0)) is not None
    assert PartialResult(output, {"model": "b"}).load(frame_name(0)) is None


def test_a_damaged_partial_frame_is_done_again(tmp_path):
    partial = PartialResult(tmp_path / "sequence.npz", {})
    partial.store(frame_name(0), {"x": np.ones(3)})
    for damaged in (b"PK\x03\x04 cut off", b""):
        (partial.folder / "frame-000000.npz").write_bytes(damaged)
        assert partial.load(frame_name(0)) is None


def test_foreign_files_are_not_deleted(tmp_path):
    folder = tmp_path / "sequence.npz.partial"
    folder.mkdir()
    (folder / "thesis.docx").write_text("precious")
    with pytest.raises(InputError, match="not of a reconstruction"):
        PartialResult(tmp_path / "sequence.npz", {})
    assert (folder / "thesis.docx").read_text() == "precious"


def test_keyframes_are_spread_and_denser_where_more_cameras_see_the_face():
    seen = np.zeros((20, 478, 2))
    poor = seen.copy()
    poor[:10] = np.nan
    assert keyframes_of(list(range(20)), {"a": seen, "b": seen}, 3) == [0, 9, 19]
    assert keyframes_of(list(range(20)), {"a": seen, "b": poor}, 4) == [0, 11, 15, 19]
    with pytest.raises(FaceNotFoundError):
        keyframes_of([0, 1], {"a": np.full((2, 478, 2), np.nan)}, 4)


def test_a_camera_that_stopped_early_does_not_gather_the_keyframes():
    """Three cameras for the first second of ten: most keyframes lie later, and more cameras are still preferred."""
    cameras = np.full(300, 2)
    cameras[:30] = 3
    chosen = spread_frames(cameras, 8)
    assert chosen[0] < 30
    assert chosen[-1] == 299
    assert np.diff(chosen).max() < 70
    cameras = np.full(300, 3)
    cameras[::2] = 2  # every other frame lacks one
    assert all(frame % 2 for frame in spread_frames(cameras, 8))
    cameras[:] = 0
    cameras[[4, 7]] = 1
    assert spread_frames(cameras, 8) == [4, 7]


def test_calibration_of_other_cameras_is_refused(take, landmarks):
    calibration = rig()
    del calibration.cameras["left"]
    with pytest.raises(CalibrationError, match="left is not in the calibration"):
        TakeObserver(take, calibration, landmarks)


def test_calibration_of_another_mode_is_refused(take, landmarks):
    calibration = rig()
    camera = calibration.cameras["left"]
    calibration.cameras["left"] = replace(camera, color=camera.color.scaled(2.0))
    with pytest.raises(CalibrationError, match="left was recorded in another mode"):
        TakeObserver(take, calibration, landmarks)


def test_observed_points_lie_on_the_surface(take, problem, truth, landmarks):
    """Through files, lens models and poses: the seen points are the true surface's."""
    from scipy.spatial import KDTree

    observer = TakeObserver(take, rig(), landmarks)
    observer._head = truth[1].mean(0)
    seen = observer.read(1)
    for view in seen.depth_views:
        distance, _ = KDTree(truth[1]).query(view.points_in_world)
        assert np.median(distance) < 0.0025  # half the patch's vertex spacing
        assert transform(view.depth_from_world, view.points_in_world)[:, 2] == pytest.approx(view.depth_m, abs=1e-6)


@pytest.mark.slow
def test_killed_run_goes_on_from_the_command_line(rig_take, tmp_path, run_cli):
    source = rig_take("still")
    for arguments in (
        ("take", "import", source, "-o", tmp_path / "take"),
        ("calibrate", tmp_path / "take", "-o", tmp_path / "calibration.json"),
    ):
        done = run_cli(*arguments, timeout=600)
        assert done.returncode == 0, done.stderr
    command = [
        "reconstruct", tmp_path / "take", "--calibration", tmp_path / "calibration.json", "--frames", "0:6", "-o",
    ]  # fmt: skip
    output = tmp_path / "killed.npz"
    process = subprocess.Popen([sys.executable, "-m", "mmface4d.cli", *map(str, command), str(output)])
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and not list(output.with_name("killed.npz.partial").glob("frame-*.npz")):
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not output.exists()
    for target in (output, tmp_path / "whole.npz"):
        done = run_cli(*command, target, "--json", timeout=600)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)[0]["status"] == {"ok": 6}
    killed, whole = load_sequence(output), load_sequence(tmp_path / "whole.npz")
    assert np.abs(killed.vertices - whole.vertices).max() < 2e-4
    assert not output.with_name("killed.npz.partial").exists()
    with np.load(source / "truth.npz") as truth:
        # the surface stands where the true face is: same time, same frame of reference
        assert np.array_equal(killed.timestamps_usec, truth["timestamps_usec"][:6])
        offset = np.median(killed.vertices[0], 0) - np.median(truth["vertices"][0][truth["face"]], 0)
        assert np.abs(offset).max() < 0.03
