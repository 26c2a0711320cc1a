"""What every RGB-D camera can do, whoever made it."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from mmface4d.arrays import DepthImage
from mmface4d.take_record import Role


@dataclass(frozen=True)
class CameraInfo:
    """What an opened camera says of itself; None where a device cannot tell."""

    serial: str
    model: str
    firmware: str | None
    sync_in: bool | None  # a cable is in the jack
    sync_out: bool | None
    factory_calibration: bytes


@dataclass(frozen=True)
class CameraSettings:
    """How a camera records. Delays in microseconds: depth against its own colour, the device against its master."""

    role: Role
    fps: int = 30
    color_resolution: str = "1080P"
    depth_mode: str = "NFOV_UNBINNED"
    depth_delay_usec: int = 0
    subordinate_delay_usec: int = 0
    exposure_usec: int = 10_000
    white_balance_k: int = 4500
    powerline_hz: int = 50
    ir: bool = False


@dataclass(frozen=True)
class Capture:
    """What a camera delivers at once; device times in microseconds, arrival on the host's monotonic clock."""

    serial: str
    host_nsec: int
    color_jpeg: bytes | None = None
    color_usec: int | None = None
    depth_mm: DepthImage | None = None
    depth_usec: int | None = None


@runtime_checkable
class Camera(Protocol):
    """An opened camera. One thread owns it; no call waits longer than its timeout."""

    @property
    def info(self) -> CameraInfo:
        """Who it is."""
        ...

    def configure(self, settings: CameraSettings) -> dict[str, str]:
        """Sets everything and reads it back; returns what the device reports. Raises DeviceError naming the setting."""
        ...

    def start(self) -> None:
        """Begins to deliver; a subordinate waits for its master. Raises DeviceError."""
        ...

    def read(self, timeout_s: float) -> Capture | None:
        """The next capture; None where none came in time. Raises DeviceError where the device is gone."""
        ...

    def stop(self) -> None:
        """Ends delivering; may be called twice."""
        ...

    def close(self) -> None:
        """Gives the device back; may be called twice."""
        ...


@runtime_checkable
class CameraSource(Protocol):
    """A place where cameras come from."""

    def open_all(self) -> list[Camera]:
        """Every camera there is, opened; none is no error. Raises DeviceError where one cannot be opened."""
        ...
