"""Every check of the recording side, in the order in which an operator mends things."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from capture.doctor import disk, kinect, machine, sound, usb
from capture.doctor.finding import Check, Finding
from mmface4d.errors import MissingBackendError


def recording_checks(
    folder: Path, *, root: Path = Path("/"), positions: Mapping[str, str] | None = None, microphone: str = ""
) -> list[tuple[str, Check]]:
    """The checks by name; takes go to `folder`, and /sys, /proc and /dev are read under `root`.

    `positions` are the places of the cameras that are to be there, by serial number; `microphone` is part of a name.
    """

    @cache
    def kinects() -> kinect.Kinects | None:
        try:
            return kinect.read_kinects(kinect.load_k4a_module())
        except MissingBackendError:
            return None  # `check_sdk` says so

    def of_kinects(check: Callable[[kinect.Kinects], Finding | None]) -> Check:
        return lambda: check(found) if (found := kinects()) is not None else None

    return [
        ("python", machine.check_python),
        ("packages", machine.check_packages),
        ("processor", lambda: machine.check_processor(root)),
        ("memory", lambda: machine.check_memory(root)),
        ("clock", lambda: machine.check_clock(root)),
        ("gpu", machine.check_gpu),
        ("voice", machine.check_voice),
        ("kinect sdk", kinect.check_sdk),
        ("usb memory", lambda: usb.check_usb_memory(root)),
        ("usb permission", lambda: usb.check_usb_permission(root)),
        ("usb speed", lambda: usb.check_usb_speed(root)),
        ("usb controllers", lambda: usb.check_usb_controllers(root)),
        ("kinects", of_kinects(lambda found: kinect.check_kinects(found, positions=positions))),
        ("sync cables", of_kinects(kinect.check_roles)),
        ("firmware", of_kinects(kinect.check_firmware)),
        ("portaudio", sound.check_portaudio),
        ("microphone", lambda: sound.check_microphone(name=microphone)),
        ("sound format", lambda: sound.check_sound_format(name=microphone)),
        ("folder", lambda: disk.check_folder(folder)),
        ("file system", lambda: disk.check_file_system(folder, root)),
        ("disk space", lambda: disk.check_space(folder)),
        ("disk speed", lambda: disk.check_speed(folder)),
    ]
