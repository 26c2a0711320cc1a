"""PortAudio and the microphone."""

from typing import Any

from capture.doctor.finding import Finding, ok, problem, warning
from capture.microphone.sounddevice_microphone import find_device
from mmface4d.errors import DeviceError
from mmface4d.quiet import native_stderr_hidden

RATE, SAMPLE_FORMATS = 48_000, ("int24", "int32")  # whichever the driver gives, 24 bits are kept
PACKAGE = 'pip install "mmface4d[capture]"'
PLUG_IN = "plug the microphone in, and choose it as input in the system's sound settings"


def load_sounddevice() -> Any:
    """The module; raises ImportError without the package, OSError without PortAudio."""
    with native_stderr_hidden():  # ALSA says on stderr what it does not find
        import sounddevice

    return sounddevice


def check_portaudio(load: Any = load_sounddevice) -> Finding:
    """The library that sound comes through loads."""
    try:
        sound = load()
    except ImportError as error:
        return problem("portaudio", str(error), remedy=PACKAGE)
    except OSError as error:
        return problem("portaudio", str(error), remedy="sudo apt install libportaudio2")
    return ok("portaudio", sound.get_portaudio_version()[1])


def check_microphone(load: Any = load_sounddevice, *, name: str = "") -> Finding | None:
    """There is an input, and one of them is the system's choice, or the one with `name` in its name."""
    sound = _loaded(load)
    if sound is None:
        return None
    inputs = _inputs(sound)
    if not inputs:
        return problem("microphone", "no input device", remedy=PLUG_IN)
    names = ", ".join(inputs.values())
    if name:
        return _check_named(sound, name, names)
    chosen = _default(sound)
    if chosen not in inputs:
        return warning("microphone", f"none is the system's choice of: {names}", remedy=PLUG_IN)
    return ok("microphone", f"{inputs[chosen]} (of {len(inputs)})" if len(inputs) > 1 else inputs[chosen])


def _check_named(sound: Any, name: str, names: str) -> Finding:
    try:
        return ok("microphone", f"{find_device(sound, name)['name']} (of: {names})")
    except DeviceError as error:
        return problem("microphone", error.message, remedy="plug it in, or mend sound.microphone in lab.toml")


def check_sound_format(load: Any = load_sounddevice, *, name: str = "") -> Finding | None:
    """The input records 48 kHz with 24 bits."""
    sound = _loaded(load)
    inputs = _inputs(sound) if sound is not None else {}
    if not inputs:
        return None
    chosen = _default(sound)
    if name:
        try:
            chosen = int(find_device(sound, name)["index"])
        except DeviceError:
            return None  # `check_microphone` says so
    device = chosen if chosen in inputs else next(iter(inputs))
    refusals = [refusal for form in SAMPLE_FORMATS if (refusal := _refusal(sound, device, form))]
    if len(refusals) == len(SAMPLE_FORMATS):
        return problem(
            "sound format", f"{inputs[device]} does not record {RATE // 1000} kHz with 24 bits: {refusals[0]}",
            remedy="choose another input, or set the interface to 48 kHz",
        )  # fmt: skip
    return ok("sound format", f"{RATE // 1000} kHz, 24 bits")


def _loaded(load: Any) -> Any:
    try:
        return load()
    except (ImportError, OSError):
        return None  # what is wrong, `check_portaudio` says


def _inputs(sound: Any) -> dict[int, str]:
    with native_stderr_hidden():
        devices = list(sound.query_devices())
    return {number: device["name"] for number, device in enumerate(devices) if device["max_input_channels"] > 0}


def _default(sound: Any) -> int:
    return int(sound.default.device[0])


def _refusal(sound: Any, device: int, form: str) -> str | None:
    try:
        with native_stderr_hidden():
            sound.check_input_settings(device=device, channels=1, dtype=form, samplerate=RATE)
    except (sound.PortAudioError, ValueError) as error:
        return str(error)
    return None
