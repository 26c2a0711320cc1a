"""A lab of short takes of virtual actors, calibrated by the rig's truth, ready to be reconstructed."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from mmface4d.session import ScriptItem, create_session

FPS = 30.0
MOST_SPEECH_S = 3.0  # the takes are moments of one speech


def make_lab(folder: Path, *, sessions: int, takes: int, frames: int) -> Path:
    """A lab with so many sessions of so many takes; each session has an actor and a rig of its own.

    What is there already is kept.
    """
    if not (folder / "lab.toml").is_file():
        for number in range(sessions):
            _make_session(folder / "sessions" / f"P{number + 1:02d}", seed=number, takes=takes, frames=frames)
        (folder / "lab.toml").write_text("format = 1\n")
    return folder


def _make_session(path: Path, *, seed: int, takes: int, frames: int) -> None:
    shutil.rmtree(path, ignore_errors=True)
    script = [ScriptItem(id=f"{number:04d}", text=f"Sentence {number}.") for number in range(takes)]
    session = create_session(path, subject=path.name, script=script, virtual=True)
    for item in script:
        take = session.new_take(item.id)
        about = {"virtual": True, "subject": path.name, "item": item.model_dump(mode="json")}
        _render(take, seed=seed, moment=int(item.id), frames=frames, about=about)
        session.append("recorded", item.id, take=take.name, passed=True, reasons=[])
        session.append("kept", item.id, take=take.name)


def _render(take: Path, *, seed: int, moment: int, frames: int, about: dict[str, Any]) -> None:
    """A take from one moment of the speech on; the rig's truth becomes its session's calibration."""
    from capture.virtual.recording import record_take
    from capture.virtual.rig import FIRST_FRAME_USEC, master_times_usec, virtual_rig
    from capture.virtual.speech import speak
    from mmface4d.demo_actor import make_actor, perform
    from reconstruct.models.library import load_model

    model, rig = load_model("canonical"), virtual_rig(seed=seed)
    times_s = (master_times_usec(frames, FPS) - FIRST_FRAME_USEC) * 1e-6 + 0.1 * moment
    head = perform(
        make_actor(model, seed=seed), model, speech=speak(MOST_SPEECH_S), times_s=times_s,
        world_from_actor=rig.world_from_actor, seed=seed,
    )  # fmt: skip
    rig.truth().save(take.parents[1] / "calibration.json")
    record_take(take, rig, head, fps=FPS, source=about)


def clear(lab: Path) -> None:
    """Removes every result and every cache."""
    for session in (lab / "sessions").iterdir():
        for folder in (session / "sequences", session / "actor", *(session / "takes").glob("*/cache")):
            shutil.rmtree(folder, ignore_errors=True)


def results(lab: Path) -> dict[str, str]:
    """Every sequence, actor and record with the hash of its bytes."""
    found = [path for folder in ("sequences", "actor") for path in lab.glob(f"sessions/*/{folder}/**/*")]
    return {
        path.relative_to(lab).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in found
        if path.is_file() and path.parent.name != "runs"
    }


def finished(lab: Path) -> dict[Path, tuple[int, int]]:
    """The sequences that are done, and which file on the disk each one is."""
    found = {}
    for record in lab.glob("sessions/*/sequences/records/[!.]*.json"):  # others are being written
        output = record.parent.parent / f"{record.stem}.npz"
        if json.loads(record.read_text())["status"] == "done":
            found[output] = (output.stat().st_ino, output.stat().st_mtime_ns)
    return found
