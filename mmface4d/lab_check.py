"""What `mmface4d lab check` looks at: settings against this machine, folders, subjects, sessions."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmface4d.errors import InputError
from mmface4d.lab import LANDMARKER, Lab, effective

if TYPE_CHECKING:
    from capture.doctor.finding import Check, Finding

MOST_NAMED = 5


def lab_findings(lab: Lab) -> Iterator["Finding"]:
    """A finding a line, as they are known."""
    from capture.doctor.finding import run_checks

    return run_checks(_checks(lab))


def _checks(lab: Lab) -> list[tuple[str, "Check"]]:
    return [
        (lab.file.name, lambda: _settings(lab)),
        ("cameras", lambda: _cameras(lab)),
        ("exposure", lambda: _exposure(lab)),
        ("model", lambda: _model(lab)),
        ("landmarker", lambda: _landmarker(lab)),
        *((folder.name, lambda folder=folder: _folder(folder)) for folder in lab.folders),
        ("subject records", lambda: _subjects(lab)),
        ("session folders", lambda: _sessions(lab)),
        ("withdrawals", lambda: _withdrawals(lab)),
    ]


def _settings(lab: Lab) -> "Finding":
    from capture.doctor.finding import ok

    count = sum(setting.from_lab for setting in effective(lab))
    return ok(lab.file.name, f"{lab.file}: {count} settings, all others built-in")


def _cameras(lab: Lab) -> "Finding":
    from capture.doctor.finding import ok, warning

    named = lab.settings.cameras.positions
    if not named:
        return warning("cameras", "none is named", remedy=f"name them in [cameras] of {lab.file}")
    return ok("cameras", ", ".join(f"{serial} ({place})" for serial, place in named.items()))


def _exposure(lab: Lab) -> "Finding":
    from capture.devices.exposure import choose_exposure
    from capture.doctor.finding import ok, warning

    rig = lab.settings.rig
    taken = choose_exposure(rig.exposure_usec, powerline_hz=rig.mains_hz, fps=rig.fps)
    found = f"{taken} µs at {rig.fps} frames a second, mains of {rig.mains_hz} Hz"
    if taken != rig.exposure_usec and ("rig", "exposure_usec") in lab.lines:
        return warning("exposure", f"{found}, not {rig.exposure_usec} µs", remedy=f"set rig.exposure_usec = {taken}")
    return ok("exposure", found)


def _model(lab: Lab) -> "Finding":
    from capture.doctor.finding import ok, problem
    from reconstruct.models.library import list_models

    model = lab.settings.reconstruction.model
    cards = {card.name: card for card in list_models()}
    if model not in cards:
        return problem("model", f"{model} is not there, only {', '.join(cards)}", remedy="mmface4d model add KIND PATH")
    if damage := cards[model].problem:
        return problem("model", f"{model}: {damage}", remedy="add it again: mmface4d model add KIND PATH")
    return ok("model", model)


def _landmarker(lab: Lab) -> "Finding | None":
    from capture.doctor.finding import ok, problem

    path = next(setting.value for setting in effective(lab) if setting.name == LANDMARKER)
    if not path:
        return None
    if not Path(path).is_file():
        return problem("landmarker", f"{path} is no file", remedy=f"mend {LANDMARKER}, or MMFACE4D_LANDMARKER")
    return ok("landmarker", str(path))


def _folder(folder: Path) -> "Finding":
    from capture.doctor.finding import ok, problem

    if not folder.is_dir():
        return problem(folder.name, f"{folder} is no folder", remedy=f"make it: mkdir -p {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        return problem(folder.name, f"{folder} may not be written", remedy="change its owner or its permissions")
    return ok(folder.name, str(folder))


def _subjects(lab: Lab) -> "Finding | None":
    from mmface4d.subject import read_subject

    return _readable("subject records", sorted(lab.subjects.glob("*.json")), read_subject)


def _sessions(lab: Lab) -> "Finding | None":
    from mmface4d.session import open_session
    from mmface4d.session_folders import find_sessions

    found, closed = find_sessions(lab.sessions)
    return _readable("session folders", found, open_session, closed=closed)


def _withdrawals(lab: Lab) -> "Finding | None":
    from capture.doctor.finding import problem
    from mmface4d.withdrawal import withdrawn_people

    try:
        withdrawn_people(lab)
    except InputError as error:
        return problem("withdrawals", error.message, remedy=error.hint or "mend what is named")
    return None


def _readable(
    name: str, paths: Iterable[Path], read: Callable[[Path], Any], *, closed: Sequence[str] = ()
) -> "Finding | None":  # fmt: skip
    from capture.doctor.finding import ok, problem

    paths, wrong = list(paths), [*closed]
    for path in paths:
        try:
            read(path)
        except InputError as error:
            wrong.append(error.message)
    if wrong:
        more = f"; and {len(wrong) - MOST_NAMED} more" if len(wrong) > MOST_NAMED else ""
        told = "; ".join(wrong[:MOST_NAMED]) + more
        return problem(
            name, f"{len(wrong)} of {len(paths) + len(closed)} cannot be read: {told}", remedy="mend what is named"
        )
    return ok(name, f"{len(paths)}, all of them can be read")
