"""`mmface4d record`: cameras, microphone, recorder, pages and, where wanted, the virtual studio, put together."""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmface4d.arrays import ColorImage, DepthImage
from mmface4d.cameras import RgbdCamera
from mmface4d.errors import Mmface4dError
from mmface4d.session import Session, held

if TYPE_CHECKING:
    from capture.devices.camera import CameraSettings, Capture
    from capture.microphone.microphone import Microphone
    from capture.recorder.director import Director, Look
    from capture.recorder.recorder import Recorder
    from mmface4d.virtual_studio import VirtualStudio


@dataclass(frozen=True)
class RecordOptions:
    """What the operator chooses."""

    virtual: bool = False
    auto: bool = False
    page: bool = True
    fps: int = 30
    powerline_hz: int = 50
    exposure_usec: int | None = None
    cameras: int | None = None
    master: str | None = None
    microphone: str | None = None
    av_offset_usec: float = 0.0
    host: str = "127.0.0.1"
    port: int = 0
    token: str | None = None
    seed: int = 0
    faults: str = ""


class FaceFinder:
    """Whether a picture shows a face; MediaPipe is loaded when first asked."""

    def __init__(self, resources: ExitStack) -> None:
        self._resources = resources
        self._detector: Any = None

    def __call__(self, color: ColorImage, depth_mm: DepthImage | None, camera: RgbdCamera) -> bool:
        from calibration.head import head_crop
        from calibration.landmarks import LandmarkDetector

        if self._detector is None:
            self._detector = self._resources.enter_context(LandmarkDetector())
        crop = None if depth_mm is None else head_crop(camera, depth_mm)
        return self._detector.detect(color, crop) is not None


def record_session(path: Path, options: RecordOptions, *, say: Callable[[str], None]) -> Session:
    """Records until the script is done or somebody ends it; raises DeviceError, BusyError and what a full disk raises.

    `say` gets lines for the terminal.
    """
    from mmface4d.virtual_studio import VirtualStudio

    with held(path) as session, ExitStack() as resources:
        for unfinished in session.unfinished_takes():
            say(f"unfinished from before: {unfinished}; save it with: mmface4d take recover {unfinished}")
        studio = None
        if options.virtual:
            say("the virtual studio is set up (the first time, pictures are rendered)")
            studio = resources.enter_context(
                VirtualStudio(seed=options.seed, fps=options.fps, faults=options.faults)
            )  # fmt: skip
        director = _direct(session, options, studio, resources)
        director.listeners.append(_Teller(say))
        if options.page:
            _open_pages(director, session, options, resources, say)
        _run(director)
        return session


def _direct(
    session: Session, options: RecordOptions, studio: "VirtualStudio | None", resources: ExitStack
) -> "Director":
    """Opens the devices, and puts a recorder and a director behind them."""
    from capture.microphone.sounddevice_microphone import SoundDeviceMicrophone

    from capture.devices.azure_kinect import AzureKinects
    from capture.recorder.director import Director, DirectorSettings
    from capture.recorder.recorder import Recorder, RecorderSettings
    from capture.recorder.rig_keeper import RigKeeper
    from capture.recorder.verdict import judge
    from capture.sound_track import SoundFormat

    lines = _Lines()
    keeper = RigKeeper(
        AzureKinects(), _wanted(options), cameras=options.cameras or (3 if options.virtual else None),
        master=options.master, on_capture=lines.capture, on_fault=lines.fault,
    )  # fmt: skip
    resources.callback(keeper.close)
    cameras = keeper.open()
    microphone = studio.microphone() if studio else SoundDeviceMicrophone(options.microphone)
    form = SoundFormat(microphone.format.rate, microphone.format.channels)
    settings = RecorderSettings(fps=float(options.fps), av_offset_usec=options.av_offset_usec)
    recorder = lines.recorder = Recorder(cameras, sound=form, settings=settings)
    resources.callback(recorder.close)
    ear = _Ear(microphone, recorder)
    resources.callback(ear.close)
    ear.ready()

    def ready() -> None:
        keeper.ready()
        ear.ready()

    find_face = FaceFinder(resources)
    return Director(
        session, recorder, judge=lambda path, faults: judge(path, faults=faults, find_face=find_face),
        performers=(studio,) if studio else (), ready=ready, settings=DirectorSettings(auto=options.auto),
    )  # fmt: skip


def _wanted(options: RecordOptions) -> "CameraSettings":
    from capture.devices.camera import CameraSettings
    from capture.devices.exposure import choose_exposure

    exposure = choose_exposure(options.exposure_usec, powerline_hz=options.powerline_hz, fps=options.fps)
    return CameraSettings(
        role="standalone", fps=options.fps, exposure_usec=exposure, powerline_hz=options.powerline_hz
    )  # fmt: skip


class _Lines:
    """From the cameras to the recorder, which cannot be made before they say what they are."""

    def __init__(self) -> None:
        self.recorder: Recorder | None = None

    def capture(self, capture: "Capture") -> None:
        if self.recorder is not None:
            self.recorder.on_capture(capture)

    def fault(self, text: str) -> None:
        if self.recorder is not None:
            self.recorder.on_fault(text)


class _Ear:
    """The microphone, opened anew before a take where it was lost."""

    def __init__(self, microphone: "Microphone", recorder: "Recorder") -> None:
        self._microphone, self._recorder = microphone, recorder
        self._open = False

    def ready(self) -> None:
        if not self._open:
            self._microphone.close()
            self._microphone.open(self._recorder.on_block, self._lost)
            self._open = True

    def close(self) -> None:
        self._microphone.close()

    def _lost(self, error: Exception) -> None:
        self._open = False
        self._recorder.on_fault(error.message if isinstance(error, Mmface4dError) else str(error))


def _open_pages(
    director: "Director", session: Session, options: RecordOptions, resources: ExitStack, say: Callable[[str], None]
) -> None:
    from capture.pages.server import PagesServer

    server = PagesServer(
        director, director.recorder, session, host=options.host, port=options.port, token=options.token
    )  # fmt: skip
    urls = server.start()
    resources.callback(server.stop)
    say(f"operator's page: {urls.operator}")
    say(f"actor's page:    {urls.actor}")


def _run(director: "Director") -> None:
    """Runs the director in a thread, so that Ctrl-C can end the take in progress in good order."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            director.run()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work, name="director")
    thread.start()
    try:
        while thread.is_alive():
            thread.join(0.2)
    except KeyboardInterrupt:
        director.press("quit")
        thread.join()
    if failures:
        raise failures[0]


class _Teller:
    """Says on the terminal what happens."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._said: tuple[object, ...] = ()

    def __call__(self, look: "Look") -> None:
        key = (look.phase, look.item, look.take, look.message)
        if key == self._said:
            return
        self._said = key
        name = f"{look.number}/{look.total}"
        if look.phase == "recording" and look.item is not None:
            self._say(f"{name} recording {look.take}: {look.item.text}")
        elif look.phase == "verdict":
            reasons = "".join(f"\n      {reason}" for reason in look.reasons)
            self._say(f"{name} {'good' if look.passed else 'BAD'}  {look.take}{reasons}")
        elif look.message:
            self._say(f"{name} {look.message}")
