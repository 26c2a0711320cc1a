"""`mmface4d record`: cameras, microphone, recorder, pages and, where wanted, the virtual studio, put together."""

import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmface4d.arrays import ColorImage, DepthImage
from mmface4d.cameras import RgbdCamera
from mmface4d.errors import Mmface4dError
from mmface4d.permission import recording_permit
from mmface4d.session import Session, held, read_log

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
    white_balance_k: int = 4500
    cameras: int | None = None
    positions: Mapping[str, str] = field(default_factory=dict)  # places of the cameras that are to be there, by serial
    master: str | None = None
    microphone: str | None = None
    av_offset_usec: float = 0.0
    countdown_s: float = 1.0
    pre_roll_s: float = 0.5
    post_roll_s: float = 0.5
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
    """Records until the script is done or somebody ends it; `say` gets lines for the terminal.

    Raises ConsentError where the person may not be recorded, DeviceError, BusyError and what a full disk raises.
    """
    from mmface4d.virtual_studio import VirtualStudio

    if options.page:
        from capture.pages.guard import check_token

        check_token(options.token)  # before any device is opened
    with held(path) as session, ExitStack() as resources:
        recording_permit(session, virtual=options.virtual, today=date.today())
        before = session.unfinished_takes()
        for unfinished in before:
            say(f"unfinished from before: {unfinished}; save it with: mmface4d take recover {unfinished}")
        studio = None
        if options.virtual:
            say("the virtual studio is set up (the first time, pictures are rendered)")
            studio = resources.enter_context(
                VirtualStudio(seed=options.seed, fps=options.fps, faults=options.faults)
            )  # fmt: skip
            options = _without_strangers(options, studio, say)
        director = _direct(session, options, studio, resources=resources, say=say)
        director.listeners.append(_Teller(say))
        if options.page:
            _open_pages(director, session, options, resources, say)
        resources.callback(_tell_unfinished, session, say, but=before)
        _run(director)
        return session


def _without_strangers(
    options: RecordOptions, studio: "VirtualStudio", say: Callable[[str], None]
) -> RecordOptions:  # fmt: skip
    """A lab's real cameras cannot be there virtually."""
    virtual = {kinect.serial for kinect in studio.rig.devices}
    if not options.positions or virtual & set(options.positions):
        return options
    say("the cameras of lab.toml are not those of the virtual rig, which takes their place")
    return replace(options, positions={})


def _tell_unfinished(session: Session, say: Callable[[str], None], *, but: list[Path]) -> None:
    for take in session.unfinished_takes():
        if take not in but:
            say(f"unfinished: {take}; save it with: mmface4d take recover {take}")


def _direct(
    session: Session, options: RecordOptions, studio: "VirtualStudio | None", *, resources: ExitStack,
    say: Callable[[str], None],
) -> "Director":  # fmt: skip
    """Opens the devices, and puts a recorder and a director behind them."""
    from capture.devices.azure_kinect import AzureKinects
    from capture.microphone.sounddevice_microphone import SoundDeviceMicrophone
    from capture.recorder.director import Director, DirectorSettings
    from capture.recorder.recorder import Recorder, RecorderSettings
    from capture.recorder.rig_keeper import RigKeeper
    from capture.recorder.verdict import judge
    from capture.sound_track import SoundFormat

    lines = _Lines()
    keeper = RigKeeper(
        AzureKinects(), _wanted(options), cameras=options.cameras or (3 if options.virtual else None),
        positions=options.positions, master=options.master, on_capture=lines.capture, on_fault=lines.fault,
    )  # fmt: skip
    resources.callback(keeper.close)
    cameras = keeper.open()
    _tell_rig(session, {camera.serial: camera.role for camera in cameras}, say)
    microphone = studio.microphone() if studio else SoundDeviceMicrophone(options.microphone)
    form = SoundFormat(microphone.format.rate, microphone.format.channels)
    settings = RecorderSettings(
        fps=float(options.fps), pre_roll_s=options.pre_roll_s, post_roll_s=options.post_roll_s,
        av_offset_usec=options.av_offset_usec,
    )  # fmt: skip
    recorder = lines.recorder = Recorder(cameras, sound=form, settings=settings)
    resources.callback(recorder.close)
    ear = _Ear(microphone, recorder)
    resources.callback(ear.close)
    ear.ready()

    def permit() -> dict[str, Any]:
        return recording_permit(session, virtual=options.virtual, today=date.today())

    def ready() -> None:
        permit()  # somebody may withdraw while they are recorded
        keeper.ready()
        ear.ready()

    find_face = FaceFinder(resources)
    return Director(
        session, recorder, judge=lambda path, faults: judge(path, faults=faults, find_face=find_face),
        performers=(studio,) if studio else (), ready=ready, source=permit,
        settings=DirectorSettings(auto=options.auto, countdown_s=options.countdown_s),
    )  # fmt: skip


def _tell_rig(session: Session, roles: dict[str, str], say: Callable[[str], None]) -> None:
    """Notes which camera has which role in the log, and says where that was different before: swapped cables."""
    rigs = [event.values.get("cameras") for event in read_log(session.path / "log.jsonl") if event.what == "rig"]
    listed = ", ".join(f"{serial} {role}" for serial, role in roles.items())
    if rigs and rigs[-1] != roles:
        say(f"cameras have other roles than when this session was last recorded, now: {listed}")
        say("  do: look whether the sync cables are as they should be; --master SERIAL refuses a wrong one")
    else:
        say(f"cameras: {listed}")
    if not rigs or rigs[-1] != roles:
        session.append("rig", cameras=roles)


def _wanted(options: RecordOptions) -> "CameraSettings":
    from capture.devices.camera import CameraSettings
    from capture.devices.exposure import choose_exposure

    exposure = choose_exposure(options.exposure_usec, powerline_hz=options.powerline_hz, fps=options.fps)
    return CameraSettings(
        role="standalone", fps=options.fps, exposure_usec=exposure, white_balance_k=options.white_balance_k,
        powerline_hz=options.powerline_hz,
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
        hint = error.hint if isinstance(error, Mmface4dError) else None
        self._recorder.on_fault(f"{error}; {hint}" if hint else str(error))


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
    """Runs the director in a thread, so that Ctrl-C can end the take in progress in good order; twice, at once."""
    failures: list[BaseException] = []
    ended = threading.Event()  # a join that Ctrl-C interrupts takes the thread for ended

    def work() -> None:
        try:
            director.run()
        except BaseException as error:
            failures.append(error)
        finally:
            ended.set()

    threading.Thread(target=work, name="director", daemon=True).start()
    try:
        _await(ended)
    except KeyboardInterrupt:
        director.press("quit")
        _await(ended)
        raise
    if failures:
        raise failures[0]


def _await(event: threading.Event) -> None:
    while not event.wait(0.2):  # a wait without a limit cannot be interrupted everywhere
        pass


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
        name = f"{look.number or look.done}/{look.total}"
        if look.phase == "recording" and look.item is not None and not look.message:
            self._say(f"{name} recording {look.take}: {look.item.text}")
        elif look.phase == "verdict":
            reasons = "".join(f"\n      {reason}" for reason in look.reasons)
            self._say(f"{name} {'good' if look.passed else 'BAD'}  {look.take}{reasons}")
        elif look.message:
            self._say(f"{name} {look.message}")
