"""`mmface4d demo`: the whole loop on the virtual rig, measured against its known truth.

This is the front door's own composition, so it may know every room; it imports them when it runs.
"""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mmface4d.errors import InputError, UsageError, VerificationError

if TYPE_CHECKING:
    from mmface4d.evaluation import PoseError, SequenceScore, Truth
    from mmface4d.rig_calibration import RigCalibration
    from mmface4d.take import Take
    from reconstruct.models.model import MorphableModel

RENDER_VERSION = 1  # of everything that decides what a rendered take looks like
FPS = 30.0
LEAD_S = 0.3  # of sound before the first and after the last frame
LIMITS = {"surface_mean_mm": 1.0, "surface_p95_mm": 2.5, "tracking_mean_mm": 3.0, "pose_deg": 0.3, "pose_mm": 1.5}
EPILOG = """\b
Examples:
  mmface4d demo
  mmface4d demo -o /tmp/demo --seconds 1 --seed 7
"""


@dataclass(frozen=True)
class Folder:
    """Where the demonstration keeps what it makes; `demo.json` says whether it came to its end."""

    path: Path

    @property
    def state(self) -> Path:
        return self.path / "demo.json"

    @property
    def take(self) -> Path:
        return self.path / "take"

    @property
    def truth(self) -> Path:
        return self.path / "truth.npz"

    @property
    def true_calibration(self) -> Path:
        return self.path / "truth-calibration.json"

    @property
    def calibration(self) -> Path:
        return self.path / "calibration.json"

    @property
    def sequence(self) -> Path:
        return self.path / "sequence.npz"

    @property
    def report(self) -> Path:
        return self.path / "report"


@dataclass
class Timer:
    """Seconds spent on each step."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measures a block and says on stderr that it begins."""
        click.echo(f"demo: {name}", err=True)
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 1)


@click.command(epilog=EPILOG)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), default=Path("mmface4d-demo"),
    show_default=True, help="A folder of the demo's own.",
)  # fmt: skip
@click.option("--seconds", type=click.FloatRange(0.5, 60), default=2.0, show_default=True, help="Length of the take.")
@click.option(
    "--seed", type=click.IntRange(0, 999_999), default=1, show_default=True, help="Another actor, other cameras."
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def demo(output: Path, seconds: float, seed: int, as_json: bool) -> None:
    """Render a speaking actor in front of three virtual Kinects, calibrate, reconstruct, measure, show.

    Needs no hardware and no data. What was rendered before is used again. Exits with 5 where the errors are too large.
    """
    result = run_demo(output, seconds=seconds, seed=seed)
    click.echo(json.dumps(result, indent=1) if as_json else result_text(result))
    if result["failures"]:
        raise VerificationError(
            "the reconstruction is not as near to the truth as it should be: " + "; ".join(result["failures"]),
            hint=f"look at {result['report']}",
        )


def run_demo(output: Path, *, seconds: float, seed: int) -> dict[str, Any]:
    """Runs the loop in a folder of its own and returns the figures; the folder's `demo.json` holds them too.

    Raises UsageError where the folder belongs to something else.
    """
    from mmface4d.files import write_json
    from reconstruct.models.library import load_model

    folder, timer = Folder(output), Timer()
    _claim(folder)
    model = load_model("canonical")
    with timer.step("render"):
        take = _rendered_take(folder, model, seconds=seconds, seed=seed)
    with timer.step("calibrate"):
        calibration = _calibrate(folder, take)
    with timer.step("reconstruct"):
        _reconstruct(folder, take, calibration, model)
    with timer.step("evaluate"):
        score, pose_errors = _evaluate(folder, calibration)
        poses = {serial: asdict(error) for serial, error in pose_errors.items()}
    with timer.step("report"):
        report = _report(folder, notes=_figures(score.to_json(), poses))
    result = {
        "state": "finished",
        "report": str(report),
        "take": str(folder.take),
        "sequence": str(folder.sequence),
        **score.to_json(),
        "poses": poses,
        "limits": LIMITS,
        "failures": failures(score, pose_errors),
        "seconds": timer.seconds,
    }
    write_json(folder.state, result)
    return result


def failures(score: "SequenceScore", poses: "dict[str, PoseError]") -> list[str]:
    """What exceeds the limits, in words."""
    worst_deg = max(error.rotation_deg for error in poses.values())
    worst_mm = max(error.face_mm for error in poses.values())
    measured = {
        "surface_mean_mm": score.surface_mm.mean,
        "surface_p95_mm": score.surface_mm.p95,
        "tracking_mean_mm": score.tracking_mm.mean,
        "pose_deg": worst_deg,
        "pose_mm": worst_mm,
    }
    # a value that is no number is a failure too
    return [
        f"{name} {value:.2f}, limit {LIMITS[name]}" for name, value in measured.items() if not value <= LIMITS[name]
    ]


def result_text(result: dict[str, Any]) -> str:
    """The figures for people."""
    spent = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in result["seconds"].items())
    return "\n".join(
        [
            f"report    {result['report']}",
            *_figures(result, result["poses"]),
            f"time      {sum(result['seconds'].values()):.0f} s: {spent}",
        ]
    )


def _figures(score: dict[str, Any], poses: dict[str, dict[str, float]]) -> list[str]:
    """Errors against the truth, a line each."""
    surface, tracking = score["surface_mm"], score["tracking_mm"]
    return [
        f"surface   mean {surface['mean']:.2f} mm, 95 % below {surface['p95']:.2f} mm   ({score['frames']} frames)",
        f"tracking  mean {tracking['mean']:.2f} mm, 95 % below {tracking['p95']:.2f} mm",
        *(
            f"camera    {serial}: {error['rotation_deg']:.2f} degrees, {error['face_mm']:.2f} mm at the face"
            for serial, error in poses.items()
        ),
    ]


def _claim(folder: Folder) -> None:
    """Marks the folder as ours and unfinished; refuses one that holds anything else."""
    from mmface4d.files import write_json

    if folder.path.is_dir() and any(folder.path.iterdir()) and not folder.state.is_file():
        raise UsageError(f"{folder.path} holds other files", hint="choose an empty folder, or a new one, with -o")
    write_json(folder.state, {"state": "unfinished"})


def _rendered_take(folder: Folder, model: "MorphableModel", *, seconds: float, seed: int) -> "Take":
    """The take of these settings: the one that is there, or a new one in its place."""
    from mmface4d.take import open_take

    key = {"render": RENDER_VERSION, "seconds": seconds, "fps": FPS, "seed": seed, "model": model.content_hash}
    try:
        take = open_take(folder.take)
        if take.info.source.get("demo") == key and folder.truth.is_file() and folder.true_calibration.is_file():
            click.echo(f"demo: {folder.take} is already rendered", err=True)
            return take
    except InputError:
        pass  # none there, or an unfinished one
    for stale in (folder.take, folder.report):
        shutil.rmtree(stale, ignore_errors=True)
    for stale in (folder.truth, folder.true_calibration, folder.calibration, folder.sequence):
        stale.unlink(missing_ok=True)
    return _render(folder, model, seconds=seconds, seed=seed, key=key)


def _render(folder: Folder, model: "MorphableModel", *, seconds: float, seed: int, key: dict[str, Any]) -> "Take":
    from capture.virtual.recording import Sound, record_take
    from capture.virtual.rig import FIRST_FRAME_USEC, master_times_usec, virtual_rig
    from capture.virtual.speech import speak
    from capture.virtual.voice import synthesise
    from mmface4d.demo_actor import make_actor, perform, scored_vertices
    from mmface4d.evaluation import Truth

    rig = virtual_rig(seed=seed)
    timestamps_usec = master_times_usec(round(seconds * FPS), FPS)
    times_s = (timestamps_usec - FIRST_FRAME_USEC) * 1e-6
    speech = speak(seconds)
    actor = make_actor(model, seed=seed)
    head = perform(actor, model, speech=speech, times_s=times_s, world_from_actor=rig.world_from_actor, seed=seed)
    truth = Truth(head.vertices.astype("float32"), head.faces, scored_vertices(actor, model), timestamps_usec)
    save_truth(folder.truth, truth)
    rig.truth().save(folder.true_calibration)
    sound = Sound(synthesise(speech, start_s=-LEAD_S, duration_s=seconds + 2 * LEAD_S, seed=seed), start_s=-LEAD_S)
    return record_take(folder.take, rig, head, fps=FPS, sound=sound, source={"demo": key})


def save_truth(path: Path, truth: "Truth") -> None:
    """Writes the true surface as a plain `.npz`."""
    import numpy as np

    from mmface4d.files import atomic_path

    with atomic_path(path) as partial:
        np.savez(
            partial,
            vertices=truth.vertices,
            faces=truth.faces,
            scored=truth.scored,
            timestamps_usec=truth.timestamps_usec,
        )


def load_truth(path: Path) -> "Truth":
    """Reads what `save_truth` wrote."""
    import numpy as np

    from mmface4d.evaluation import Truth

    with np.load(path, allow_pickle=False) as file:
        return Truth(file["vertices"], file["faces"], file["scored"], file["timestamps_usec"])


def _calibrate(folder: Folder, take: "Take") -> "RigCalibration":
    from calibration.calibrate import calibrate_takes

    calibration = calibrate_takes([take])
    calibration.save(folder.calibration)
    return calibration


def _reconstruct(folder: Folder, take: "Take", calibration: "RigCalibration", model: "MorphableModel") -> None:
    from reconstruct.reconstruct import reconstruct_take

    reconstruct_take(take, calibration, model, output=folder.sequence)


def _evaluate(folder: Folder, calibration: "RigCalibration") -> "tuple[SequenceScore, dict[str, PoseError]]":
    from mmface4d.evaluation import score_poses, score_sequence
    from mmface4d.rig_calibration import load_calibration
    from mmface4d.sequence import load_sequence

    truth, sequence = load_truth(folder.truth), load_sequence(folder.sequence)
    score = score_sequence(truth, sequence.vertices, sequence.faces, timestamps_usec=sequence.timestamps_usec)
    on_face = truth.vertices[0][truth.scored].mean(0).astype(float)
    return score, score_poses(calibration, load_calibration(folder.true_calibration), point_in_world=on_face)


def _report(folder: Folder, *, notes: list[str]) -> Path:
    from reconstruct.view.scene import open_scene
    from reconstruct.view.view import look_at

    with open_scene(folder.sequence, take=folder.take, calibration=folder.calibration, frames=None) as scene:
        scene.notes.extend(f"Measured against the known truth: {note}." for note in notes)
        return Path(look_at(scene, folder.report)["report"])
