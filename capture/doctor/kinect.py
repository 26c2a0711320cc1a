"""The Azure Kinect SDK and the devices that it sees: serial numbers, jacks, roles, firmware."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from capture.devices.k4a_version import firmware as ask_firmware
from capture.devices.roles import wrong_cameras
from capture.doctor.finding import Finding, ok, problem, warning
from capture.k4a_record import load_libraries
from mmface4d.errors import MissingBackendError

RIG_CAMERAS = 3
SUCCEEDED = 0
OLDEST_FIRMWARE = (1, 6, 108_079_014)  # the newest release is 1.6.110079014
FIRMWARE_REMEDY = "update it with the SDK's AzureKinectFirmwareTool, or k4aviewer"


@dataclass(frozen=True)
class Kinect:
    """What a device says of itself; None where it cannot tell."""

    serial: str
    sync_in: bool | None
    sync_out: bool | None
    firmware: str | None


@dataclass(frozen=True)
class Kinects:
    """The devices that could be opened, and what was wrong with the others."""

    opened: tuple[Kinect, ...]
    errors: tuple[str, ...] = ()


def load_k4a_module() -> Any:
    """The compiled module under pyk4a; raises MissingBackendError."""
    load_libraries()
    import k4a_module  # pyk4a has found its libraries

    return k4a_module


def read_kinects(k4a: Any, *, firmware: Callable[[Any, Any], str | None] = ask_firmware) -> Kinects:
    """Opens every device of a `k4a_module` in turn, asks it, and closes it again. Nothing is started or set."""
    opened, errors = [], []
    for index in range(k4a.device_get_installed_count()):
        result, handle = k4a.device_open(index, False)
        if result != SUCCEEDED:
            errors.append(f"device {index} cannot be opened")
            continue
        try:
            opened.append(_read(k4a, handle, firmware))
        finally:
            k4a.device_close(handle, False)
    return Kinects(tuple(opened), tuple(errors))


def _read(k4a: Any, handle: Any, firmware: Callable[[Any, Any], str | None]) -> Kinect:
    result, jack_in, jack_out = k4a.device_get_sync_jack(handle, False)
    known = result == SUCCEEDED
    return Kinect(
        serial=k4a.device_get_serialnum(handle, False) or "?",
        sync_in=bool(jack_in) if known else None,
        sync_out=bool(jack_out) if known else None,
        firmware=firmware(k4a, handle),
    )


def check_sdk() -> Finding:
    """The SDK's libraries load."""
    try:
        load_k4a_module()
    except MissingBackendError as error:
        return problem("kinect sdk", error.message, remedy=error.hint or "")
    import importlib.metadata

    names = ("pyk4a-bundle", "pyk4a")
    versions = [f"{d.name} {d.version}" for name in names for d in importlib.metadata.distributions(name=name)]
    return ok("kinect sdk", f"libk4a and libk4arecord load, {versions[0] if versions else 'pyk4a'}")


def check_kinects(kinects: Kinects, *, positions: Mapping[str, str] | None = None) -> Finding:
    """As many devices as the rig has, or those that are named (places by serial number), each of them free."""
    found = ", ".join(kinect.serial for kinect in kinects.opened)
    if kinects.errors:
        return problem(
            "kinects", "; ".join([*kinects.errors, *([f"opened: {found}"] if found else [])]),
            remedy="close other programs that use the cameras; see usb permission; unplug power and USB, plug in again",
        )  # fmt: skip
    if positions:
        return _check_named([kinect.serial for kinect in kinects.opened], positions)
    if not kinects.opened:
        return problem(
            "kinects", "none found", remedy="plug in power and USB; the white light beside the lens must be on"
        )
    if len(kinects.opened) != RIG_CAMERAS:
        return warning(
            "kinects", f"{len(kinects.opened)}: {found}", remedy=f"a whole rig has {RIG_CAMERAS}; look for the others"
        )
    return ok("kinects", f"{RIG_CAMERAS}: {found}")


def _check_named(serials: list[str], positions: Mapping[str, str]) -> Finding:
    wrong = wrong_cameras(serials, positions)
    if wrong:
        return problem("kinects", wrong, remedy="plug in what is missing, or name in lab.toml what is there")
    return ok("kinects", f"{len(serials)}: " + ", ".join(f"{serial} ({positions[serial]})" for serial in serials))


def check_roles(kinects: Kinects) -> Finding | None:
    """The jacks tell one master, which has a cable in OUT only, and subordinates, which have one in IN."""
    if len(kinects.opened) < 2:
        return None
    if not any(kinect.sync_in or kinect.sync_out for kinect in kinects.opened):
        return warning(
            "sync cables", "no device reports a cable",
            remedy="connect OUT of the master to IN of the next; Orbbec's cameras never report: name their roles in "
            "lab.toml",
        )  # fmt: skip
    masters = [kinect for kinect in kinects.opened if kinect.sync_out and not kinect.sync_in]
    loose = [kinect for kinect in kinects.opened if not kinect.sync_in and not kinect.sync_out]
    if len(masters) == 1 and not loose:
        others = ", ".join(kinect.serial for kinect in kinects.opened if kinect is not masters[0])
        return ok("sync cables", f"{masters[0].serial} is master of {others}")
    return problem(
        "sync cables", "; ".join(f"{kinect.serial}: {_jacks(kinect)}" for kinect in kinects.opened),
        remedy="one device, the master, has a cable in OUT only; every other has one in IN",
    )  # fmt: skip


def _jacks(kinect: Kinect) -> str:
    plugged = [name for name, cable in (("IN", kinect.sync_in), ("OUT", kinect.sync_out)) if cable]
    return " and ".join(plugged) or "no cable"


def check_firmware(kinects: Kinects) -> Finding | None:
    """The same firmware on all, and none that is known to be old."""
    known = {kinect.serial: kinect.firmware for kinect in kinects.opened if kinect.firmware}
    if not known:
        return None
    found = ", ".join(f"{serial}: {version}" for serial, version in known.items())
    if len(set(known.values())) > 1:
        return warning("firmware", f"not the same: {found}", remedy=FIRMWARE_REMEDY)
    if min(map(_numbers, known.values())) < OLDEST_FIRMWARE:
        return warning("firmware", f"old: {found}", remedy=FIRMWARE_REMEDY)
    return ok("firmware", found)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())
