"""What can go wrong with virtual cameras, on demand, and the small language in which a command line asks for it.

    unplug:SERIAL@12.5      gone for good after 12.5 s; `@12.5+3` comes back after 3 s
    stall:SERIAL@3+2        delivers nothing for 2 s
    hang:SERIAL@3+2         no call to the device returns for 2 s, whatever its timeout
    drop:SERIAL@5x4         loses 4 captures
    half:SERIAL@5x4         4 captures come without their depth
    busy:SERIAL             belongs to another program: it cannot be opened
    refuse:exposure         a setting is refused, by every camera or by one (`refuse:exposure:SERIAL`)
    unread:exposure         a setting cannot be read back
    swap                    the sync cables of the first two cameras in the chain are swapped

Seconds count from when the fault was asked for. A serial number may be given by its unique ending.
"""

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, inf

from mmface4d.errors import UsageError

OF_A_DEVICE = ("unplug", "stall", "hang", "drop", "half", "busy")
OF_FRAMES = ("drop", "half")
OF_A_SETTING = ("refuse", "unread")
KINDS = (*OF_A_DEVICE, *OF_A_SETTING, "swap")
SETTINGS = (
    "exposure", "brightness", "contrast", "saturation", "sharpness", "white_balance", "backlight_compensation", "gain",
    "powerline",
)  # fmt: skip
_SPEC = re.compile(
    r"(?P<kind>[a-z]+)(?::(?P<target>[A-Za-z0-9_.:-]+))?"
    r"(?:@(?P<at>\d+(?:\.\d+)?)(?:\+(?P<length>\d+(?:\.\d+)?))?(?:x(?P<count>\d+))?)?"
)


@dataclass(frozen=True)
class Fault:
    """One fault; times in seconds. `serial` None means every camera; `count` is of captures."""

    kind: str
    serial: str | None = None
    setting: str | None = None
    at_s: float = 0.0
    for_s: float = inf
    count: int = 1

    def holds(self, now_s: float) -> bool:
        """Whether it is in force."""
        return self.at_s <= now_s < self.at_s + self.for_s


def parse_faults(text: str, *, serials: Sequence[str]) -> tuple[Fault, ...]:
    """The faults that a text asks for, separated by commas; raises UsageError naming the mistake."""
    return tuple(_parse(part.strip(), serials) for part in text.split(",") if part.strip())


def _parse(text: str, serials: Sequence[str]) -> Fault:
    found = _SPEC.fullmatch(text)
    if found is None or found["kind"] not in KINDS:
        raise UsageError(f"{text!r} is no fault", hint=f"known: {', '.join(KINDS)}; for example stall:{serials[0]}@3+2")
    kind, target = found["kind"], found["target"]
    serial, setting = _target(text, kind, target, serials)
    if found["count"] and kind not in OF_FRAMES:
        raise UsageError(f"{text!r}: only captures are counted", hint=f"xCOUNT belongs to {' and '.join(OF_FRAMES)}")
    if found["length"] and kind in OF_FRAMES:
        raise UsageError(f"{text!r}: captures are lost by number", hint=f"write {kind}:{target}@{found['at']}xCOUNT")
    return Fault(
        kind=kind,
        serial=serial,
        setting=setting,
        at_s=float(found["at"] or 0),
        for_s=float(found["length"]) if found["length"] else inf,
        count=int(found["count"] or 1),
    )


def _target(text: str, kind: str, target: str | None, serials: Sequence[str]) -> tuple[str | None, str | None]:
    """Serial and setting that a fault is about."""
    if kind == "swap":
        if target:
            raise UsageError(f"{text!r}: swap has no target", hint="write swap")
        return None, None
    if not target:
        raise UsageError(f"{text!r} does not say what it is about", hint=f"write {kind}:WHAT")
    if kind in OF_A_DEVICE:
        return _serial(text, target, serials), None
    setting, _, device = target.partition(":")
    if setting not in SETTINGS:
        raise UsageError(f"{text!r}: {setting!r} is no setting", hint=f"known: {', '.join(SETTINGS)}")
    return (_serial(text, device, serials) if device else None), setting


def _serial(text: str, ending: str, serials: Sequence[str]) -> str:
    if ending in serials:
        return ending
    known = [serial for serial in serials if serial.endswith(ending)]
    if len(known) != 1:
        what = "no camera" if not known else "more than one camera"
        raise UsageError(f"{text!r}: {ending!r} is {what}", hint=f"cameras: {', '.join(serials)}")
    return known[0]


class Faults:
    """The faults of a virtual rig; may be asked and added to from several threads. Times are the stage's seconds."""

    def __init__(self, serials: Sequence[str], *, fps: int) -> None:
        self._serials, self._fps = tuple(serials), fps
        self._faults: tuple[Fault, ...] = ()
        self._lock = threading.Lock()

    def add(self, text: str, *, now_s: float) -> None:
        """Asks for faults; their times count from `now_s`."""
        parsed = parse_faults(text, serials=self._serials)
        with self._lock:
            self._faults += tuple(replace(fault, at_s=fault.at_s + now_s) for fault in parsed)

    def clear(self) -> None:
        """Ends every fault; what has been unplugged is there again."""
        with self._lock:
            self._faults = ()

    def active(self, kind: str, serial: str, now_s: float) -> bool:
        """Whether a fault holds for a device now."""
        return any(fault.holds(now_s) for fault in self._about(kind, serial))

    def happened(self, kind: str, serial: str, since_s: float, now_s: float) -> bool:
        """Whether a fault has held at any time between two seconds."""
        return any(f.at_s <= now_s and since_s < f.at_s + f.for_s for f in self._about(kind, serial))

    def of_setting(self, kind: str, serial: str, setting: str, *, now_s: float) -> bool:
        """Whether a device refuses a setting, or does not let it be read, now."""
        return any(f.setting == setting and f.holds(now_s) for f in self._about(kind, serial))

    def of_tick(self, kind: str, serial: str, tick: int) -> bool:
        """Whether a device loses the capture of a tick, or half of it."""
        return any(0 <= tick - ceil(f.at_s * self._fps) < f.count for f in self._about(kind, serial))

    def next_change_s(self, serial: str, now_s: float) -> float:
        """The next second at which something begins or ends for a device; infinite where nothing does."""
        faults = [f for kind in KINDS for f in self._about(kind, serial)]
        return min((t for f in faults for t in (f.at_s, f.at_s + f.for_s) if t > now_s), default=inf)

    def swapped(self) -> bool:
        """Whether the cables are swapped; nobody swaps them in mid-recording."""
        return any(fault.kind == "swap" for fault in self._faults)

    def _about(self, kind: str, serial: str) -> list[Fault]:
        return [fault for fault in self._faults if fault.kind == kind and fault.serial in (None, serial)]
