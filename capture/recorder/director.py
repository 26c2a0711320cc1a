"""Leads through a session: which sentence, when to record, what became of it. Pages and the command line look on.

One thread runs `run`; any thread may `press` and `look`. Everything that matters is in the session's log before the
next sentence is shown, so that a session goes on exactly where it stopped.
"""

import queue
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from capture.recorder.recorder import Recorder
from capture.recorder.verdict import Verdict
from capture.speech_activity import HOP_S, VoiceMonitor
from mmface4d.errors import ConsentError, DeviceError, DiskFullError, InputError, Mmface4dError
from mmface4d.session import ScriptItem, Session

Phase = Literal["idle", "preparing", "countdown", "recording", "finishing", "verdict", "fault", "finished"]
Command = Literal["record", "stop", "keep", "retake", "skip", "back", "next", "note", "quit"]
COMMANDS: tuple[Command, ...] = ("record", "stop", "keep", "retake", "skip", "back", "next", "note", "quit")
BYTES_A_SECOND = 75_000_000  # of three cameras and sound, on the safe side
LEAST_FREE_BYTES = 2 << 30
RECORDING_COMMANDS = ("record", "retake")
MOST_NOTE = 2000
TICK_S = 0.02
RETRY_S = 0.5
SECONDS_A_CHARACTER, FEWEST_SECONDS = 0.12, 4.0


@dataclass(frozen=True)
class Move:
    """Where to go from a sentence; no item and no quitting: everything is said."""

    item: ScriptItem | None = None
    quit: bool = False
    stay: bool = False


STAY, QUIT = Move(stay=True), Move(quit=True)


def _go(item: ScriptItem | None) -> Move:
    return Move(item)


@runtime_checkable
class Performer(Protocol):
    """Somebody who wants to know what is to be said, and when: the virtual actor, for example."""

    def prepare(self, item: ScriptItem) -> None:
        """The sentence comes next; recording waits until this returns."""
        ...

    def go(self, item: ScriptItem) -> None:
        """The light is green."""
        ...


@dataclass(frozen=True)
class DirectorSettings:
    """Times in seconds. With `auto`, nobody presses anything: takes end after the speech, failed ones are repeated."""

    auto: bool = False
    countdown_s: float = 1.0
    quiet_s: float = 1.0  # after the speech, before an automatic stop
    most_tries: int = 3
    longest_s: float = 60.0
    device_wait_s: float = 5.0  # with `auto`, for a device that was lost to come back


@dataclass
class Look:
    """What the pages show."""

    phase: Phase = "idle"
    item: ScriptItem | None = None
    number: int = 0
    total: int = 0
    done: int = 0
    retakes: int = 0
    take: str | None = None
    passed: bool | None = None
    reasons: list[str] = field(default_factory=list)
    message: str = ""
    phase_since: float = 0.0  # time.monotonic()
    eta_s: float | None = None
    notes: list[str] = field(default_factory=list)


class Director:
    """The state machine of a recording session."""

    def __init__(
        self, session: Session, recorder: Recorder, *, judge: Callable[[Path, list[str]], Verdict],
        performers: tuple[Performer, ...] = (), settings: DirectorSettings | None = None,
        ready: Callable[[], None] | None = None, source: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:  # fmt: skip
        self.session, self.recorder, self.judge, self.performers = session, recorder, judge, performers
        self.settings = settings or DirectorSettings()
        self._ready = ready or (lambda: None)  # raises DeviceError or ConsentError where no take can be begun
        # what the next take says of its origin, besides sentence and subject; raises ConsentError too
        self._source = source or (lambda: {})
        self._pressed: queue.Queue[tuple[Command, str]] = queue.Queue()
        self._lock = threading.Lock()
        self._look = Look(total=len(session.script), phase_since=time.monotonic())
        self._tried: set[str] = set()
        self._times: list[float] = []  # seconds from sentence to sentence
        self.listeners: list[Callable[[Look], None]] = []

    def press(self, command: Command, text: str = "") -> None:
        """Asks for something, from any thread; what does not fit the phase is ignored, and said."""
        self._pressed.put((command, text))

    def look(self) -> Look:
        """What there is to be seen now."""
        with self._lock:
            return Look(**vars(self._look))

    def run(self) -> None:
        """Until everything is said or somebody quits; a take in progress is ended and judged first."""
        move = _go(self.session.next_item())
        while move.item is not None and not move.quit:
            move = self._one(move.item)
        if move.quit:
            self._show("finished", message="ended; the session can be gone on with at any time")
        else:
            self._show("finished", item=None, message="every sentence is said")

    def _one(self, item: ScriptItem) -> Move:
        """Shows a sentence until something else is to be shown."""
        self._show("idle", item=item, take=None, passed=None, reasons=[], message="")
        began, tries, move = time.monotonic(), 0, STAY
        while move == STAY:
            if self.settings.auto and tries == self.settings.most_tries:
                return self._onwards(item)
            command, text = self._asked()
            tries += command in RECORDING_COMMANDS
            move = self._record(item) if command in RECORDING_COMMANDS else self._moved(command, text, item)
        if self.session.states[item.id].status == "kept":
            self._times.append(time.monotonic() - began)
        return move

    def _asked(self) -> tuple[Command, str]:
        """What somebody pressed; automatic sessions record where nobody did."""
        if self.settings.auto and self._pressed.empty():
            return "record", ""
        return self._pressed.get()

    def _all_pressed(self) -> list[tuple[Command, str]]:
        """What was pressed since somebody last looked."""
        pressed = []
        while not self._pressed.empty():
            pressed.append(self._pressed.get())
        return pressed

    def _onwards(self, item: ScriptItem) -> Move:
        """In automatic sessions, after all tries: to a sentence that this run has not tried yet, or to the end."""
        self._tried.add(item.id)
        return _go(self.session.next_item(after=item.id, but=self._tried))

    def _moved(self, command: Command, text: str, item: ScriptItem) -> Move:
        """Commands that record nothing."""
        if command == "quit":
            return QUIT
        if command == "skip":
            self.session.append("skipped", item.id)
        if command in ("skip", "next"):
            return _go(self.session.next_item(after=item.id))
        if command == "back":
            return _go(self._before(item))
        if command == "note" and text.strip():
            self.session.append("note", item.id, text=text.strip()[:MOST_NOTE])
            self._show(self._look.phase)
        else:
            self._show(self._look.phase, message=f"{command}: nothing to do now")
        return STAY

    def _before(self, item: ScriptItem) -> ScriptItem:
        ids = [each.id for each in self.session.script]
        return self.session.script[max(ids.index(item.id) - 1, 0)]

    def _record(self, item: ScriptItem) -> Move:
        """One take, from the countdown to what is to become of it."""
        self._show("preparing", take=None, message="")
        try:
            self._check_disk()
            self._await_devices()
            room_dbfs = self._lead_in(item)
            called_off = self._called_off(item)
            if called_off is not None:
                return called_off
            path = self._film(item, room_dbfs)
            verdict = self._judged(item, path)
        except (ConsentError, DeviceError, DiskFullError, InputError) as error:
            return self._fault(item, error)
        if not self.settings.auto:
            return self._decided(item, path)
        if verdict.passed:
            self.session.append("kept", item.id, take=path.name)
            return self._onwards(item)
        return STAY

    def _await_devices(self) -> None:
        """In automatic sessions, waits for a device that was lost; raises DeviceError."""
        end = time.monotonic() + (self.settings.device_wait_s if self.settings.auto else 0.0)
        while True:
            try:
                self._ready()
                return
            except DeviceError as error:
                if time.monotonic() > end or not self._pressed.empty():
                    raise
                self._show("fault", message=f"{error.message}; waiting for it")
            time.sleep(RETRY_S)

    def _lead_in(self, item: ScriptItem) -> float:
        """Everybody gets ready, and the actor sees the countdown; returns the room's level."""
        for performer in self.performers:
            performer.prepare(item)
        self._show("countdown")
        return self._wait_quietly(self.settings.countdown_s)

    def _called_off(self, item: ScriptItem) -> Move | None:
        """Before anything is recorded, somebody may stop or quit; what else was pressed had no take to act on."""
        early = self._all_pressed()
        commands = [command for command, _ in early]
        for command, text in early:
            if command == "note":
                self._moved(command, text, item)
        if "quit" in commands:
            return QUIT
        if "stop" in commands:
            self._show("idle", message="called off before it began")
            return STAY
        return None

    def _film(self, item: ScriptItem, room_dbfs: float) -> Path:
        path = self.session.new_take(item.id)
        about = {"item": item.model_dump(mode="json"), "subject": self.session.record.subject}
        self.recorder.begin(path, source={**about, **self._source()})
        self._show("recording", take=path.name, message="")
        for performer in self.performers:
            performer.go(item)
        self._until_stopped(item, room_dbfs)
        self._show("finishing")
        self.recorder.end()
        return path

    def _wait_quietly(self, seconds: float) -> float:
        """Waits, and listens to the room meanwhile; returns its level."""
        levels = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(min(TICK_S, max(end - time.monotonic(), 0)))
            levels.append(self.recorder.level_dbfs())
        return sorted(levels)[len(levels) // 2] if levels else -60.0

    def _until_stopped(self, item: ScriptItem, room_dbfs: float) -> None:
        voice = VoiceMonitor(room_dbfs)
        began = heard = time.monotonic()
        most_s = min(max(FEWEST_SECONDS, SECONDS_A_CHARACTER * len(item.text)) * 3, self.settings.longest_s)
        held: list[tuple[Command, str]] = []
        while time.monotonic() - began < (most_s if self.settings.auto else self.settings.longest_s):
            time.sleep(TICK_S)
            if self.recorder.failure is not None or self._lost_a_device():
                break
            now = time.monotonic()
            hops = round((now - heard) / HOP_S)
            voice.add([self.recorder.level_dbfs(hops * HOP_S)] * hops)
            heard += hops * HOP_S
            if self.settings.auto and voice.spoken and voice.quiet_s > self.settings.quiet_s:
                break
            held += self._all_pressed()
            if any(command in ("stop", "keep", "retake", "record", "quit") for command, _ in held):
                break
        for command in held:
            if command[0] not in ("stop", "record"):
                self._pressed.put(command)  # decided after the verdict

    def _lost_a_device(self) -> bool:
        """Says so at once; automatic sessions need not go on with such a take."""
        if not self.recorder.faults:
            return False
        if self._look.message != self.recorder.faults[-1]:
            self._show("recording", message=self.recorder.faults[-1])
        return self.settings.auto

    def _judged(self, item: ScriptItem, path: Path) -> Verdict:
        verdict = self.judge(path, list(self.recorder.faults))
        self.session.append("recorded", item.id, take=path.name, passed=verdict.passed, reasons=verdict.texts)
        if not verdict.passed:
            self.session.append("retake", item.id, take=path.name)
        self._show("verdict", take=path.name, passed=verdict.passed, reasons=verdict.texts)
        return verdict

    def _decided(self, item: ScriptItem, path: Path) -> Move:
        """Waits for what the operator makes of the take."""
        move = STAY
        while move == STAY:
            command, text = self._pressed.get()
            if command == "keep":
                self.session.append("kept", item.id, take=path.name)
                return _go(self.session.next_item(after=item.id))
            if command in RECORDING_COMMANDS:
                self.session.append("retake", item.id, take=path.name)
                self._pressed.put(("record", ""))
                return STAY
            move = self._moved(command, text, item)
        return move

    def _fault(self, item: ScriptItem, error: Mmface4dError) -> Move:
        """What cannot be recorded is said, and logged; nothing that was written is touched."""
        with suppress(DiskFullError):  # then the log has no room either
            self.session.append("failed", item.id, take=self._look.take, reason=error.message)
        self._show("fault", message=f"{error.message}. {error.hint}".strip())
        if self.settings.auto or isinstance(error, ConsentError):  # the latter does not come back by waiting
            raise error
        return STAY

    def _check_disk(self) -> None:
        free = shutil.disk_usage(self.session.path).free
        if free < LEAST_FREE_BYTES:
            raise DiskFullError(
                f"only {free / 1e9:.1f} GB are free on the disk of {self.session.path}",
                hint="free some space, then record again; nothing is lost",
            )

    def _show(self, phase: Phase, **changed: Any) -> None:
        with self._lock:
            look = self._look
            if phase != look.phase:
                look.phase_since = time.monotonic()
            look.phase = phase
            for name, value in changed.items():
                setattr(look, name, value)
            states = self.session.states
            state = states.get(look.item.id) if look.item else None
            look.number = state.number if state else 0
            look.notes = list(state.notes) if state else []
            look.done = self.session.done
            look.retakes = sum(each.status == "retake" for each in states.values())
            left = look.total - look.done
            look.eta_s = left * sum(self._times[-20:]) / len(self._times[-20:]) if self._times else None
            seen = Look(**vars(look))
        for listener in list(self.listeners):
            listener(seen)


def free_minutes(path: Path) -> float:
    """How many minutes of recording fit on the disk of a folder."""
    return shutil.disk_usage(path).free / BYTES_A_SECOND / 60
