"""Runs of `mmface4d record` in processes of their own, what they said and when, and what they left behind."""

import hashlib
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from common import PROGRAM, say

from capture.check import check_take
from capture.recorder.recorder import RecorderSettings
from capture.salvage import as_sound, scan, whole_messages
from mmface4d.errors import Mmface4dError
from mmface4d.session import open_session
from mmface4d.take_streams import SOUND_CHANNEL

FPS = 15
LONGEST_RUN_S = 120.0
PRE_ROLL_S = RecorderSettings().pre_roll_s
SENTENCES = ("We were away.",)
_PROGRESS = re.compile(r"^\S[^:]*: \d+/\d+ |^Traceback")


@dataclass
class Row:
    """One line of the table; `wrong` says what is not as it should be."""

    fault: str
    done: str
    happened: str = ""
    told: list[str] = field(default_factory=list)
    lost: Any = ""
    left: Any = ""
    wrong: list[str] = field(default_factory=list)

    def expect(self, condition: bool, otherwise: str) -> None:
        """Notes what is wrong unless the condition holds."""
        if not condition:
            self.wrong.append(otherwise)

    def show(self) -> dict[str, Any]:
        """As plain values; said on stderr too."""
        value = asdict(self)
        say(value)
        return value


class Recording:
    """`mmface4d record` on a session, headless; its lines are kept with the time at which they came."""

    def __init__(self, session: Path, *arguments: object, page: bool = False) -> None:
        seen = "--page" if page else "--no-page"
        command = [*PROGRAM, "record", session, "--virtual", "--auto", seen, "--fps", FPS, *arguments]
        self.began_s = time.monotonic()
        self.lines: list[tuple[float, str]] = []
        self.output = ""
        self.process = subprocess.Popen(
            list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._read, self._read_output)]
        for reader in self._readers:
            reader.start()

    def _read(self) -> None:
        for line in self.process.stderr or ():
            self.lines.append((time.monotonic(), line.rstrip()))

    def _read_output(self) -> None:
        for line in self.process.stdout or ():
            self.output += line

    @property
    def told(self) -> list[str]:
        """What the operator was told, without progress."""
        return [line for _, line in self.lines if not _PROGRESS.match(line)]

    @property
    def text(self) -> str:
        """Everything that was said, as one text."""
        return "\n".join(line for _, line in self.lines)

    def wait_for(self, word: str, *, timeout_s: float = LONGEST_RUN_S) -> float | None:
        """The monotonic second at which a line with a word came; None where the process ended without it."""
        end_s = time.monotonic() + timeout_s
        while time.monotonic() < end_s:
            for at_s, line in list(self.lines):
                if word in line:
                    return at_s
            if self.process.poll() is not None and not self._readers[0].is_alive():
                return None
            time.sleep(0.002)
        return None

    def kill(self) -> float:
        """kill -9; returns the monotonic second."""
        self.process.send_signal(signal.SIGKILL)
        at_s = time.monotonic()
        self.end()
        return at_s

    def end(self, *, timeout_s: float = LONGEST_RUN_S) -> int | None:
        """The exit code; None where the process did not end by itself in time."""
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return None
        for reader in self._readers:
            reader.join(5)
        return self.process.returncode


@contextmanager
def ending(run: Recording) -> Iterator[Recording]:
    """Sees to it that no process outlives its use."""
    try:
        yield run
    finally:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()


def new_session(path: Path, sentences: tuple[str, ...] = SENTENCES) -> Path:
    """A session of short sentences."""
    script = path.parent / f"{path.name}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    script.write_text("".join(f"{text}\n" for text in sentences))
    command = [*PROGRAM, "session", "new", str(path), "--virtual-actor", "--script", str(script)]
    subprocess.run(command, check=True, capture_output=True)
    return path


def whole_takes(session: Path) -> dict[str, str]:
    """Of every file of every finished take its digest."""
    takes = [path.parent for path in (session / "takes").glob("*/take.json")]
    files = sorted(path for take in takes for path in take.rglob("*") if path.is_file())
    return {str(path.relative_to(session)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def arrivals_s(take: Path) -> dict[str, list[float]]:
    """When each camera's pictures and the sound's blocks came, in seconds of the host's monotonic clock."""
    salvage = scan(take / "streams.mcap")
    found = {serial: sorted(times.host_nsec / 1e9) for serial, times in salvage.host_times().items()}
    sound = [as_sound(message).host_nsec / 1e9 for name, message in whole_messages(salvage) if name == SOUND_CHANNEL]
    return found | {"microphone": sorted(sound)}


def lost_at_end_s(take: Path, killed_s: float) -> float:
    """From the last that is left of the source that lost most to the kill; what was still on its way counts as lost."""
    return max(killed_s - times[-1] if times else killed_s for times in arrivals_s(take).values())


def left(session: Path) -> dict[str, Any]:
    """What is there: takes whole, good, unfinished; sentences done."""
    try:
        opened = open_session(session)
    except Mmface4dError as error:
        return {"log": error.message}
    folders = sorted(path for path in opened.takes.iterdir() if path.is_dir())
    whole = [path for path in folders if (path / "take.json").is_file()]
    return {
        "log": "readable",
        "whole": [path.name for path in whole],
        "good by `take check`": [path.name for path in whole if check_take(path).good],
        "unfinished": [path.name for path in opened.unfinished_takes()],
        "done": f"{opened.done} of {len(opened.script)}",
    }


def recover_all(session: Path) -> dict[str, str]:
    """Recovers what is unfinished by the command line; by take the command's first line."""
    said = {}
    for take in open_session(session).unfinished_takes():
        command = [*PROGRAM, "take", "recover", str(take)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        text = (done.stdout + done.stderr).strip().splitlines()
        said[take.name] = f"exit {done.returncode}: " + (text[0].replace(str(take), take.name) if text else "")
    return said


def goes_on(row: Row, session: Path) -> None:
    """The same command again, without the fault, records what is left, and touches nothing that was whole."""
    before, following = whole_takes(session), open_session(session).next_item()
    with ending(Recording(session)) as run:
        code = run.end()
    row.expect(code == 0, f"the next run ended with exit {code}: {run.told[-1:]}")
    again = open_session(session)
    row.expect(again.done == len(again.script), f"the next run left {len(again.script) - again.done} sentences")
    if following is not None:
        row.expect(f"-{following.id}-v" in run.text, f"the next run did not go on with {following.id}")
    untouched(row, before, session)


def untouched(row: Row, before: dict[str, str], session: Path) -> None:
    """Notes finished takes whose bytes have changed."""
    now = whole_takes(session)
    changed = [name for name, digest in before.items() if now.get(name) != digest and "/cache/" not in name]
    row.expect(not changed, f"changed: {', '.join(changed)}")
