"""What goes wrong in a recording, each tried on the real command line: what happened, what was lost, what was told.

    python benchmarks/faults.py --work WORK [--kills 50] [--only NAME]

Every run is a process of its own on the virtual rig. Prints JSON: a row a fault, with everything in it that is not as
it should be under `wrong`; exit 5 where there is any. Losses are measured on the host's clock, which all processes of a
machine share: from the arrival of the last picture or sound that is left to the kill.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import click
from common import print_json
from fault_kills import kills
from fault_runs import Recording, Row, ending, goes_on, left, new_session, recover_all

from mmface4d.errors import EXIT_INTERRUPTED, EXIT_PRECONDITION, VerificationError
from mmface4d.session import open_session

ROOMY_BYTES = 4 << 30  # of a disk in memory, which takes only what is used
LEFT, FRONT, RIGHT = "0", "1", "2"  # the ends of the virtual cameras' serial numbers


@dataclass(frozen=True)
class DeviceFault:
    """A fault of the virtual rig: what it is called there, and what the operator should be told."""

    name: str
    spec: str
    codes: tuple[int, ...]
    words: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    takes: int | None = None  # that should be bad
    longest_s: float = 60.0


DEVICE_FAULTS = (
    DeviceFault("unplugged", f"unplug:{LEFT}@1", (EXIT_PRECONDITION,), ("is gone", "USB cable"), takes=1),
    DeviceFault("unplugged-master", f"unplug:{FRONT}@1", (EXIT_PRECONDITION,), ("is gone", "USB cable"), takes=1),
    DeviceFault("back-again", f"unplug:{LEFT}@1+1.5", (0,), ("is gone", "BAD", "good"), takes=1),
    DeviceFault("stalled", f"stall:{RIGHT}@1", (EXIT_PRECONDITION,), ("nothing",), takes=1),
    DeviceFault("stalled-a-moment", f"stall:{RIGHT}@1+1", (0,), ("were lost", "good"), takes=1),
    DeviceFault("hanging", f"hang:{RIGHT}@1", (EXIT_PRECONDITION,), ("nothing",), takes=1),
    DeviceFault("hanging-at-first", f"hang:{RIGHT}", (EXIT_PRECONDITION,), ("has not answered",)),
    DeviceFault("dropped", f"drop:{LEFT}@1x4", (0,), ("captures were lost", "good"), takes=1),
    DeviceFault("halves", f"half:{LEFT}@1x4", (0,), ("colour without depth", "good"), takes=1),
    DeviceFault(
        "swapped", "swap", (EXIT_PRECONDITION,), ("sync cables", "swap the cables"), ("--master", "900000000001")
    ),
    DeviceFault("microphone-gone", "microphone:gone@1", (EXIT_PRECONDITION,), ("microphone", "plug it in"), takes=1),
    DeviceFault("microphone-back", "microphone:gone@1+1", (0,), ("microphone is gone", "good"), takes=1),
    DeviceFault("microphone-gap", "microphone:lost@1", (0,), ("good",)),
    DeviceFault("microphone-silent", "microphone:silent@0+3", (0,), ("nobody speaks", "good")),
    DeviceFault("refused", f"refuse:exposure:{LEFT}", (EXIT_PRECONDITION,), ("refuses exposure",)),
    DeviceFault("occupied", f"busy:{LEFT}", (EXIT_PRECONDITION,), ("cannot be opened", "other programs")),
)


def device_fault(fault: DeviceFault, work: Path) -> Row:
    """One run with the fault, one without."""
    row = Row(fault.name, " ".join(["--faults", fault.spec, *fault.arguments]))
    session = new_session(work / fault.name)
    with ending(Recording(session, "--faults", fault.spec, *fault.arguments)) as run:
        code = run.end(timeout_s=fault.longest_s)
    ended(row, run, code, fault.codes)
    for word in fault.words:
        row.expect(word in run.text, f"nobody was told: {word!r}")
    row.left = left(session)
    states = list(open_session(session).states.values())
    bad = [name for state in states for name in state.takes if name != state.kept_take]
    row.lost = {"takes that are to be repeated": bad}
    if fault.takes is not None:
        row.expect(len(bad) == fault.takes, f"{len(bad)} bad takes, not {fault.takes}")
        row.expect(not row.left["unfinished"], "takes are unfinished")
    goes_on(row, session)
    return row


def ended(row: Row, run: Recording, code: int | None, codes: tuple[int, ...]) -> None:
    """How a run ended, and what it said."""
    seconds = time.monotonic() - run.began_s
    row.happened = f"exit {code} after {seconds:.0f} s"
    row.told = run.told
    row.expect(code in codes, f"exit {code}, not {' or '.join(map(str, codes))}")
    row.expect("Traceback" not in run.text and "bug:" not in run.text, "a traceback")
    row.expect(len(run.output.splitlines()) <= 1, f"on stdout: {run.output[:200]!r}")


def control_c(work: Path) -> Row:
    """Ctrl-C in mid-take."""
    row = Row("ctrl-c", "SIGINT a second into a take")
    session = new_session(work / "ctrl-c")
    with ending(Recording(session)) as run:
        run.wait_for("recording")
        time.sleep(1.0)
        run.process.send_signal(signal.SIGINT)
        began_s = time.monotonic()
        code = run.end(timeout_s=20)
    ended(row, run, code, (EXIT_INTERRUPTED,))
    row.happened += f", {time.monotonic() - began_s:.1f} s after it"
    row.left = left(session)
    row.lost = "nothing; the take is ended and judged"
    row.expect(len(row.left["whole"]) == 1, "the take is not whole")
    goes_on(row, session)
    return row


def control_c_twice(work: Path) -> Row:
    """Ctrl-C twice: somebody is in a hurry."""
    row = Row("ctrl-c twice", "SIGINT a second into a take, and again 0.2 s later")
    session = new_session(work / "ctrl-c-twice")
    with ending(Recording(session)) as run:
        run.wait_for("recording")
        time.sleep(1.0)
        for _ in range(2):
            run.process.send_signal(signal.SIGINT)
            time.sleep(0.2)
        code = run.end(timeout_s=20)
    ended(row, run, code, (EXIT_INTERRUPTED,))
    saved(row, session)
    return row


def saved(row: Row, session: Path) -> None:
    """Recovers the take that was left unfinished; then the same command goes on."""
    row.lost = {"recovered": recover_all(session)}
    row.left = left(session)
    row.expect(len(row.left["whole"]) == 1, "the take cannot be recovered")
    goes_on(row, session)


def swapped_between_runs(work: Path) -> Row:
    """Sync cables that are swapped between two recordings of a session."""
    row = Row("swapped-later", "a run, then one with --faults swap")
    session = new_session(work / "swapped-later", ("We were away.", "It is late now."))
    with ending(Recording(session)) as first:
        first.wait_for("recording")
        first.process.send_signal(signal.SIGINT)
        first.end()
    with ending(Recording(session, "--faults", "swap")) as run:
        code = run.end()
    ended(row, run, code, (0,))
    row.expect("other roles" in run.text, "nobody was told")
    row.lost, row.left = "nothing: roles and delays follow the cables", left(session)
    row.expect(len(row.left["good by `take check`"]) == len(row.left["whole"]), "takes are bad")
    return row


def browser_gone(work: Path) -> Row:
    """The operator's browser is killed in mid-take."""
    row = Row("browser gone", "the operator's browser killed a second into a take")
    if find_spec("capture.pages") is None or (browser := shutil.which("chromium")) is None:
        row.happened = "skipped: no pages, or no Chromium"
        return row
    session = new_session(work / "browser")
    with ending(Recording(session, page=True)) as run:
        run.wait_for("operator's page: ")
        url = run.text.split("operator's page: ")[1].split()[0]
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={work / 'chromium'}",
                   "--remote-debugging-port=0", url]  # fmt: skip
        looking = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        run.wait_for("recording")
        time.sleep(1.0)
        looking.kill()
        looking.wait()
        code = run.end()
    ended(row, run, code, (0,))
    row.lost, row.left = "nothing", left(session)
    row.expect(row.left["done"] == "1 of 1", "the recording did not go on")
    return row


def second_recorder(work: Path) -> Row:
    """Another `mmface4d record` on a session that is being recorded."""
    row = Row("second recorder", "the same command, while the first records")
    session = new_session(work / "second")
    with ending(Recording(session)) as first:
        first.wait_for("recording")
        with ending(Recording(session)) as second:
            code = second.end(timeout_s=30)
        ended(row, second, code, (EXIT_PRECONDITION,))
        row.expect("is being written by process" in second.text, "nobody was told who has it")
        row.expect(first.end() == 0, "the first recorder was disturbed")
    row.lost, row.left = "nothing", left(session)
    row.expect(row.left["done"] == "1 of 1", "the first recorder did not finish")
    return row


def full_disk(work: Path) -> Row:
    """A disk that fills up in mid-take, on a file system of its own in memory."""
    row = Row("full disk", "3 MB left a second into a take")
    disk = work / "disk"
    with mounted(row, disk) as resize:
        if resize is None:
            return row
        session = new_session(disk / "session")
        with ending(Recording(session)) as run:
            run.wait_for("recording")
            time.sleep(1.0)
            resize(used_bytes(disk) + (3 << 20))
            full_s = time.monotonic()
            code = run.end(timeout_s=30)
        ended(row, run, code, (EXIT_PRECONDITION,))
        row.happened += f", {time.monotonic() - full_s:.1f} s after the disk was made small"
        row.expect("no space left" in run.text or "free" in run.text, "nobody was told of the disk")
        resize(ROOMY_BYTES)
        saved(row, session)
    return row


def small_disk(work: Path) -> Row:
    """Too little room before the take."""
    row = Row("small disk", "1 GB free before the first take")
    disk = work / "disk"
    with mounted(row, disk) as resize:
        if resize is None:
            return row
        resize(1 << 30)
        session = new_session(disk / "session")
        with ending(Recording(session)) as run:
            code = run.end(timeout_s=60)
        ended(row, run, code, (EXIT_PRECONDITION,))
        row.expect("GB are free" in run.text, "nobody was told of the disk")
        resize(ROOMY_BYTES)
        row.lost, row.left = "nothing", left(session)
        goes_on(row, session)
    return row


@contextmanager
def mounted(row: Row, disk: Path) -> Iterator[Callable[[int], None] | None]:
    """A file system in memory whose size can be changed; None where this machine does not let us have one."""
    disk.mkdir(parents=True, exist_ok=True)
    if not _mount("-t", "tmpfs", "-o", f"size={ROOMY_BYTES}", "tmpfs", str(disk)):
        row.happened = "skipped: only root may mount a file system here"
        yield None
        return
    try:
        yield lambda size: row.expect(_mount("-o", f"remount,size={size}", str(disk)), "it cannot be resized")
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=False)


def _mount(*arguments: str) -> bool:
    if os.geteuid() or not shutil.which("mount"):
        return False
    return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0


def used_bytes(disk: Path) -> int:
    """What lies on a disk."""
    return shutil.disk_usage(disk).used


def all_faults(work: Path, count: int) -> dict[str, Callable[[], Row]]:
    """Every fault by its name."""
    return {
        **{fault.name: lambda fault=fault: device_fault(fault, work) for fault in DEVICE_FAULTS},
        "ctrl-c": lambda: control_c(work),
        "ctrl-c-twice": lambda: control_c_twice(work),
        "swapped-later": lambda: swapped_between_runs(work),
        "browser-gone": lambda: browser_gone(work),
        "second": lambda: second_recorder(work),
        "full-disk": lambda: full_disk(work),
        "small-disk": lambda: small_disk(work),
        "kills": lambda: kills(work, count),
    }


@click.command()
@click.option("--work", type=click.Path(path_type=Path), required=True)
@click.option("--kills", "count", type=int, default=50, show_default=True)
@click.option("--only", multiple=True, help="Names of faults, instead of all.")
def main(work: Path, count: int, only: tuple[str, ...]) -> None:
    """Print the table as JSON."""
    os.environ.setdefault("MMFACE4D_CACHE", str(work / "cache"))  # every sentence is rendered once
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background, and by what is started there
    runs = work / "runs"
    shutil.rmtree(runs, ignore_errors=True)
    faults = all_faults(runs, count)
    unknown = set(only) - set(faults)
    if unknown:
        raise click.UsageError(f"no such fault: {', '.join(unknown)}; known: {', '.join(faults)}")
    rows = [faults[name]().show() for name in only or faults]
    print_json(rows)
    if any(row["wrong"] for row in rows):
        raise SystemExit(VerificationError.exit_code)


if __name__ == "__main__":
    main()
