"""What a check found, and how checks are run so that none can stop the others."""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Verdict = Literal["ok", "warning", "problem"]
LONGEST_S = 60.0  # a driver or a disk that hangs must not hang the doctor


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's: a problem forbids recording, a warning does not. What is not ok has a remedy."""

    name: str
    verdict: Verdict
    found: str
    remedy: str | None = None


Check = Callable[[], Finding | None]  # None where there is nothing to be said, as of the jacks of no camera


def ok(name: str, found: str) -> Finding:
    """Nothing to do."""
    return Finding(name, "ok", found)


def warning(name: str, found: str, *, remedy: str) -> Finding:
    """Works, but not well."""
    return Finding(name, "warning", found, remedy)


def problem(name: str, found: str, *, remedy: str) -> Finding:
    """Does not work."""
    return Finding(name, "problem", found, remedy)


def run_checks(checks: Iterable[tuple[str, Check]], *, longest_s: float = LONGEST_S) -> Iterator[Finding]:
    """The findings of named checks, each as soon as it is known; a check that fails or hangs is a problem itself."""
    for name, check in checks:
        finding = _run(name, check, longest_s)
        if finding is not None:
            yield finding


def _run(name: str, check: Check, longest_s: float) -> Finding | None:
    result: list[Finding | None] = []

    def work() -> None:
        try:
            result.append(check())
        except Exception as error:  # whatever it is, the other checks go on
            what = f"cannot be checked: {type(error).__name__}: {error}"
            result.append(problem(name, what, remedy="if what is said here does not help, please report it"))

    thread = threading.Thread(target=work, name=f"doctor: {name}", daemon=True)
    thread.start()
    thread.join(longest_s)
    if not result:
        return problem(name, f"no answer in {longest_s:.0f} s", remedy="unplug what hangs, or restart the machine")
    return result[0]


def read_text(path: Path) -> str | None:
    """A small file of the system's, without white space around; None where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
