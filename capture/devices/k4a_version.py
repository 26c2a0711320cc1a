"""The firmware of an Azure Kinect, which pyk4a 1.5 does not tell: asked of the SDK under it."""

import ctypes
from typing import Any

CAPSULE_NAME = b"pyk4a device handle"
PARTS = ("rgb", "depth", "audio", "sensor")


class _Version(ctypes.Structure):
    _fields_ = [(part, ctypes.c_uint32 * 3) for part in PARTS] + [("build", ctypes.c_int), ("signature", ctypes.c_int)]


def firmware(module: Any, handle: Any) -> str | None:
    """The firmware as its release is named ("1.6.110079014"), or None where the device does not tell.

    `module` is the extension under pyk4a, `handle` an opened device of it. Source of the structure: k4atypes.h.
    """
    if hasattr(module, "device_get_version"):
        return module.device_get_version(handle, False)
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    # the extension carries the SDK among its dependencies, whatever that library is called there
    get_version = getattr(ctypes.CDLL(module.__file__), "k4a_device_get_version", None)
    if get_version is None:
        return None
    version = _Version()
    device = ctypes.cast(get_pointer(handle, CAPSULE_NAME), ctypes.POINTER(ctypes.c_void_p)).contents
    return release_name(version) if get_version(device, ctypes.byref(version)) == 0 else None


def release_name(version: Any) -> str:
    """Microsoft's name of a release: the builds of colour, depth and audio behind each other."""
    major, minor, color = version.rgb
    return f"{major}.{minor}.{color}{version.depth[2]:03d}{version.audio[2]:03d}"
