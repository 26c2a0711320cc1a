"""The cameras that are connected, named for a new lab."""

from collections.abc import Sequence
from typing import Any

from mmface4d.errors import DeviceError

PLACES = ("front", "left", "right")


def named_cameras(*, virtual: bool) -> dict[str, Any]:
    """Settings by name: the master in front where the sync cables tell it, the others beside it.

    Raises DeviceError where there is no camera or more than a lab can name.
    """
    serials, master = _virtual_cameras() if virtual else _connected_cameras()
    if not 1 <= len(serials) <= len(PLACES):
        raise DeviceError(
            f"{len(serials)} cameras are connected ({', '.join(serials) or 'none'}); a lab names 1 to {len(PLACES)}",
            hint="check cables and power with: mmface4d doctor; or leave --from-rig out",
        )
    order = sorted(serials, key=lambda serial: serial != master)  # the sort keeps the others' order
    chosen = {f"cameras.{place}": serial for place, serial in zip(PLACES, order, strict=False)}
    return chosen | ({"rig.master": master} if master and len(serials) > 1 else {})


def _virtual_cameras() -> tuple[Sequence[str], str | None]:
    from capture.virtual.rig import virtual_rig

    rig = virtual_rig(seed=0)
    return [device.serial for device in rig.devices], rig.master.serial


def _connected_cameras() -> tuple[Sequence[str], str | None]:
    from capture.devices.azure_kinect import AzureKinects
    from capture.devices.roles import assign_roles, jacks_tell

    cameras = AzureKinects().open_all()
    infos = [camera.info for camera in cameras]
    for camera in cameras:
        camera.close()
    if len(infos) < 2 or not jacks_tell(infos):
        return [info.serial for info in infos], None
    roles = assign_roles(infos)
    return list(roles), next(serial for serial, role in roles.items() if role == "master")
