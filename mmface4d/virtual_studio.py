"""The virtual studio: cameras under pyk4a, a microphone, and an actor who says whatever the script asks for."""

import re
import threading
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING

from mmface4d.session import ScriptItem

if TYPE_CHECKING:
    from capture.microphone.virtual import VirtualMicrophone


LEAD_S, TAIL_S = 0.4, 0.4  # of silence around the sentence
MICROPHONE_FAULT = re.compile(r"microphone:(?P<kind>gone|lost|silent)@(?P<at>\d+(\.\d+)?)(\+(?P<length>\d+(\.\d+)?))?")


class VirtualStudio:
    """Opened as a context, it stands in for every device of this machine.

    Faults with a time (`unplug:SERIAL@2`) count it from the first green light, so that they meet a take however long
    the rendering before it lasts; all others hold from the start. Beside those of the cameras (capture.virtual.faults)
    there are the microphone's: `microphone:gone@1`, or `lost` or `silent`; `@1+2` is over after 2 s.
    """

    def __init__(self, *, seed: int = 0, fps: int = 30, faults: str = "") -> None:
        from capture.virtual.clip_cache import ClipCache
        from capture.virtual.faults import parse_faults
        from capture.virtual.performance import idle
        from capture.virtual.render import ClipRenderer
        from capture.virtual.rig import virtual_rig
        from capture.virtual.stage import Stage
        from mmface4d.demo_actor import actor_face, make_actor
        from reconstruct.models.library import load_model

        model = load_model("canonical")
        self.seed, self.fps = seed, fps
        self.rig = virtual_rig(seed=seed)
        parts = [part.strip() for part in faults.split(",") if part.strip()]
        self._microphone_faults = [found for part in parts if (found := MICROPHONE_FAULT.fullmatch(part))]
        self._faults = [part for part in parts if not MICROPHONE_FAULT.fullmatch(part)]
        # mistakes are told at once
        parse_faults(",".join(self._faults), serials=[kinect.serial for kinect in self.rig.devices])
        face = actor_face(make_actor(model, seed=seed), model)
        self._renderer = ClipRenderer(self.rig, face, cache=ClipCache())
        waiting = self._renderer.clip(idle(seed=seed, fps=fps))
        self.stage = Stage(waiting, fps=fps, seed=seed)
        self._resources = ExitStack()

    def __enter__(self) -> "VirtualStudio":
        from capture.virtual.bench import Bench, BenchSettings
        from capture.virtual.k4a import installed

        self.bench: Bench = self._resources.enter_context(
            installed(Bench(self.rig, self.stage, BenchSettings(seed=self.seed)))
        )
        self.bench.fault(",".join(part for part in self._faults if "@" not in part))
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._resources.close()

    def microphone(self) -> "VirtualMicrophone":
        """What hears the stage."""
        from capture.microphone.virtual import VirtualMicrophone, VirtualSound

        self._microphone = VirtualMicrophone(self.stage, VirtualSound(seed=self.seed))
        return self._microphone

    def prepare(self, item: ScriptItem) -> None:
        """Learns a sentence: speech, face and pictures are made now, or come from the cache."""
        from capture.virtual.performance import perform

        performance = perform(
            item.text, language=item.language, emotion=item.emotion, seed=zlib.crc32(item.id.encode()) + self.seed,
            fps=self.fps, lead_s=LEAD_S, tail_s=TAIL_S,
        )  # fmt: skip
        self._clip = self._renderer.clip(performance)

    def go(self, item: ScriptItem) -> None:
        """Says it."""
        self.stage.perform(self._clip)
        self.bench.fault(",".join(part for part in self._faults if "@" in part))
        for fault in self._microphone_faults:
            _after(float(fault["at"]), self._microphone.fault, fault["kind"])
            if fault["length"]:
                _after(float(fault["at"]) + float(fault["length"]), self._microphone.repair)
        self._faults, self._microphone_faults = [], []


def _after(seconds: float, do: Callable[..., None], *arguments: str) -> None:
    timer = threading.Timer(seconds, do, arguments)
    timer.daemon = True
    timer.start()
