"""Which camera leads: read from the sync jacks, checked, or taken from the caller where jacks say nothing.

A master has a cable in its OUT jack only; every subordinate has one in its IN jack. Some devices report every jack as
empty, wired or not, so their roles come from whoever set the rig up.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from capture.devices.camera import CameraInfo, CameraSettings
from mmface4d.errors import DeviceError
from mmface4d.take_record import MAX_CAMERAS, Role

# lasers must not overlap: 160 µs apart, which a device rounds to 155.6
LASER_STEP_USEC = 160
NAME_THE_MASTER = "name the master by its serial number"
LOOK_AT_CABLES = "lead a cable from the master's SYNC OUT to the next camera's SYNC IN, and so on; then look again"


def assign_roles(infos: Sequence[CameraInfo], *, master: str | None = None) -> dict[str, Role]:
    """A role for every camera; raises DeviceError where cables are missing or contradict the master that is named."""
    serials = [info.serial for info in infos]
    if not 1 <= len(serials) <= MAX_CAMERAS:
        raise DeviceError(f"{len(serials)} cameras make no rig", hint=f"connect 1 to {MAX_CAMERAS} cameras")
    if len(set(serials)) != len(serials):
        raise DeviceError(f"two cameras have the same serial number: {', '.join(serials)}", hint="connect each once")
    if master is not None and master not in serials:
        raise DeviceError(f"the master {master} is not connected", hint=f"connected: {', '.join(serials)}")
    if len(serials) == 1:
        return {serials[0]: "standalone"}
    leader = _wired_master(infos, master) if jacks_tell(infos) else master
    if leader is None:
        raise DeviceError("the cameras do not say which of them is the master", hint=NAME_THE_MASTER)
    return {serial: "master" if serial == leader else "subordinate" for serial in serials}


def wrong_cameras(serials: Sequence[str], positions: Mapping[str, str]) -> str:
    """What differs between cameras that are there and those that should be, by place; empty where nothing does."""
    missing = [f"{serial} ({place})" for serial, place in positions.items() if serial not in serials]
    strange = [serial for serial in serials if serial not in positions]
    told = [f"not connected: {', '.join(missing)}"] if missing else []
    return "; ".join(told + ([f"not named in lab.toml: {', '.join(strange)}"] if strange else []))


def jacks_tell(infos: Sequence[CameraInfo]) -> bool:
    """Whether the sync jacks say anything: all are known, and one at least is taken."""
    jacks = [jack for info in infos for jack in (info.sync_in, info.sync_out)]
    return None not in jacks and any(jacks)


def _wired_master(infos: Sequence[CameraInfo], wanted: str | None) -> str:
    loose = [info.serial for info in infos if not (info.sync_in or info.sync_out)]
    if loose:
        raise DeviceError(f"no sync cable is in camera {', '.join(loose)}", hint=LOOK_AT_CABLES)
    masters = [info.serial for info in infos if not info.sync_in]
    if len(masters) != 1:
        what = "every camera has a cable in SYNC IN" if not masters else f"several are masters: {', '.join(masters)}"
        raise DeviceError(f"the sync cables give no master: {what}", hint=LOOK_AT_CABLES)
    if wanted is not None and masters[0] != wanted:
        raise DeviceError(
            f"the sync cables make camera {masters[0]} the master, but it should be {wanted}",
            hint="swap the cables back, or name the other camera as master",
        )
    return masters[0]


def depth_delays_usec(serials: Sequence[str], *, master: str) -> dict[str, int]:
    """How long after its colour each camera's depth is exposed; 0 for the master, 160 µs apart in the given order."""
    place = list(serials).index(master)
    return {serial: LASER_STEP_USEC * (index - place) for index, serial in enumerate(serials)}


def rig_settings(
    infos: Sequence[CameraInfo], wanted: CameraSettings, *, master: str | None = None
) -> dict[str, CameraSettings]:
    """Settings by serial: what is wanted of all, with each camera's role and delay. Cameras are given left to right."""
    roles = assign_roles(infos, master=master)
    leader = next(serial for serial, role in roles.items() if role != "subordinate")
    delays = depth_delays_usec(list(roles), master=leader)
    return {
        serial: replace(wanted, role=role, depth_delay_usec=delays[serial], subordinate_delay_usec=0)
        for serial, role in roles.items()
    }
