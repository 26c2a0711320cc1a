"""How the Kinects hang on the USB, read from sysfs without opening them.

Product numbers: Azure-Kinect-Sensor-SDK, scripts/99-k4a.rules. Orbbec's cameras have another vendor number.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from capture.doctor.finding import Finding, ok, problem, read_text, warning

MICROSOFT, ORBBEC = "045e", "2bc5"
DEPTH_CAMERA = "097c"
KINECT_PARTS = {
    "097a": "hub",
    "097b": "hub",
    DEPTH_CAMERA: "depth camera",
    "097d": "colour camera",
    "097e": "microphones",
}
OPENED_PARTS = (DEPTH_CAMERA, "097d")  # what the SDK opens through libusb
LEAST_USBFS_MB = 128
SUPER_SPEED_MBIT = 5000


@dataclass(frozen=True)
class UsbDevice:
    """A Kinect's or Orbbec camera's part on the bus; `controller` names the host controller it hangs on."""

    vendor: str
    product: str
    serial: str
    speed_mbit: float
    controller: str
    node: Path

    @property
    def is_camera(self) -> bool:
        """Whether it stands for one whole camera."""
        return self.vendor == ORBBEC or self.product == DEPTH_CAMERA


def usb_devices(root: Path = Path("/")) -> list[UsbDevice]:
    """The cameras' parts; empty where sysfs knows none."""
    return list(_devices(root))


def _devices(root: Path) -> Iterator[UsbDevice]:
    folder = root / "sys/bus/usb/devices"
    for link in sorted(folder.iterdir()) if folder.is_dir() else []:
        vendor, product = read_text(link / "idVendor"), read_text(link / "idProduct")
        if vendor is None or product is None:
            continue
        if vendor == ORBBEC or (vendor == MICROSOFT and product in KINECT_PARTS):
            bus, number = read_text(link / "busnum") or "0", read_text(link / "devnum") or "0"
            yield UsbDevice(
                vendor=vendor,
                product=product,
                serial=read_text(link / "serial") or "?",
                speed_mbit=float(read_text(link / "speed") or 0),
                controller=_controller(link),
                node=root / f"dev/bus/usb/{int(bus):03d}/{int(number):03d}",
            )


def _controller(link: Path) -> str:
    """The folder above the root hub: a PCI address such as 0000:00:14.0."""
    parts = link.resolve().parts
    hubs = [index for index, part in enumerate(parts) if part.startswith("usb") and part[3:].isdecimal()]
    return parts[hubs[0] - 1] if hubs else "unknown"


def check_usb_memory(root: Path = Path("/")) -> Finding:
    """The kernel lets enough memory be used for transfers; its own default of 16 MB is too little for one Kinect."""
    remedy = "sudo sh -c 'echo 1000 > /sys/module/usbcore/parameters/usbfs_memory_mb', and usbcore.usbfs_memory_mb=1000"
    remedy += " on the kernel's command line, so that it stays"
    text = read_text(root / "sys/module/usbcore/parameters/usbfs_memory_mb")
    if text is None or not text.isdecimal():
        return warning("usb memory", "usbfs_memory_mb cannot be read: is there any USB?", remedy=remedy)
    if 0 < int(text) < LEAST_USBFS_MB:  # 0 stands for the most there can be
        return problem("usb memory", f"{text} MB, needed {LEAST_USBFS_MB}", remedy=remedy)
    return ok("usb memory", f"{text} MB" if int(text) else "not limited")


def check_usb_permission(root: Path = Path("/"), *, may_open: Callable[[Path], bool] | None = None) -> Finding | None:
    """The user may open the cameras."""
    may_open = may_open or (lambda node: os.access(node, os.R_OK | os.W_OK))
    opened = [device for device in usb_devices(root) if device.is_camera or device.product in OPENED_PARTS]
    closed = [device for device in opened if not may_open(device.node)]
    if closed:
        which = ", ".join(f"{device.node} ({device.serial})" for device in closed)
        return problem(
            "usb permission", f"no right to open {which}",
            remedy="copy the SDK's scripts/99-k4a.rules to /etc/udev/rules.d/ and plug the cameras in again",
        )  # fmt: skip
    return ok("usb permission", f"{len(opened)} parts of cameras can be opened") if opened else None


def check_usb_speed(root: Path = Path("/")) -> Finding | None:
    """Every camera hangs on USB 3."""
    cameras = [device for device in usb_devices(root) if device.is_camera]
    slow = [f"{device.serial} at {device.speed_mbit:.0f} Mbit/s" for device in cameras
            if device.speed_mbit < SUPER_SPEED_MBIT]  # fmt: skip
    if slow:
        return problem("usb speed", ", ".join(slow), remedy="use a USB 3 port and the cable that came with the camera")
    return ok("usb speed", f"{len(cameras)} cameras at USB 3") if cameras else None


def check_usb_controllers(root: Path = Path("/")) -> Finding | None:
    """A host controller each: two cameras on one can be more than it carries."""
    cameras = [device for device in usb_devices(root) if device.is_camera]
    count = Counter(device.controller for device in cameras)
    shared = {controller for controller, number in count.items() if number > 1}
    if shared:
        which = "; ".join(
            f"{', '.join(d.serial for d in cameras if d.controller == controller)} on {controller}"
            for controller in sorted(shared)
        )
        return warning(
            "usb controllers", which, remedy="plug them into ports of different controllers, or add a USB 3 card"
        )
    return ok("usb controllers", f"{len(cameras)} cameras, a controller each") if cameras else None
