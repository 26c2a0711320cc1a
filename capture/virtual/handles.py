"""Handles of virtual devices and captures that the real extension module may be given and survive.

pyk4a closes a device when it is collected as garbage, which may be after the virtual devices have gone. So handles are
what real ones are, capsules: around no device and no capture, which the SDK finds to be invalid. A mark in the capsule,
which real ones have not, tells what it stands for.
"""

import ctypes
from collections import OrderedDict
from itertools import count
from typing import Any, Generic, TypeVar

DEVICE_NAME, CAPTURE_NAME = b"pyk4a device handle", b"pyk4a capture handle"  # capsules point to these
_NOTHING = ctypes.c_void_p(None)
_NUMBERS = count(1)
T = TypeVar("T")


def empty_capsule(name: bytes) -> Any:
    """A capsule as a device or a capture has one, but with nothing in it."""
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    return new(ctypes.addressof(_NOTHING), name, None)


class Marks(Generic[T]):
    """Marks capsules of one name, and tells what they stand for; the oldest marks are forgotten."""

    def __init__(self, name: bytes, *, most: int) -> None:
        self._name, self._most = name, most
        self._values: OrderedDict[int, T] = OrderedDict()
        api = ctypes.pythonapi
        self._is_valid, self._set, self._get = api.PyCapsule_IsValid, api.PyCapsule_SetContext, api.PyCapsule_GetContext
        self._is_valid.restype, self._is_valid.argtypes = ctypes.c_int, [ctypes.py_object, ctypes.c_char_p]
        self._set.restype, self._set.argtypes = ctypes.c_int, [ctypes.py_object, ctypes.c_void_p]
        self._get.restype, self._get.argtypes = ctypes.c_void_p, [ctypes.py_object]

    def mark(self, capsule: Any, value: T) -> Any:
        """Lets a capsule stand for a value; returns the capsule."""
        number = next(_NUMBERS)
        self._values[number] = value
        self._set(capsule, number)
        while len(self._values) > self._most:
            self._values.popitem(last=False)
        return capsule

    def find(self, capsule: Any) -> T | None:
        """What a capsule stands for; None where it is a real one, or was forgotten."""
        number = self._get(capsule) if self._is_valid(capsule, self._name) else None
        return None if number is None else self._values.get(number)
