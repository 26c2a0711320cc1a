"""The colour controls of an Azure Kinect: ranges, defaults and habits.

Source of ranges' use and of the exposure table: Azure-Kinect-Sensor-SDK, color_priv.h and uvc_camerareader.cpp (MIT).
"""

from dataclasses import dataclass

AUTO, MANUAL = 0, 1
EXPOSURE, AUTO_EXPOSURE_PRIORITY, WHITE_BALANCE, POWERLINE = 0, 1, 6, 9
HZ_60 = 2
# what a device can expose for, in microseconds, at mains of 50 and 60 Hz
EXPOSURES_USEC = (
    (500, 500), (1250, 1250), (2500, 2500), (10_000, 8_330), (20_000, 16_670), (30_000, 33_330), (40_000, 41_670),
    (50_000, 50_000), (60_000, 66_670), (80_000, 83_330), (100_000, 100_000), (120_000, 116_670), (130_000, 133_330),
)  # fmt: skip


@dataclass(frozen=True)
class Control:
    """What the SDK says a control can do."""

    name: str
    least: int
    most: int
    step: int
    default: int
    has_auto: bool = False

    def takes(self, value: int) -> bool:
        """Whether a device accepts a value."""
        return self.least <= value <= self.most and (value - self.least) % max(self.step, 1) == 0


CONTROLS = {
    EXPOSURE: Control("exposure", 500, 133_330, 100, 16_670, has_auto=True),
    AUTO_EXPOSURE_PRIORITY: Control("auto_exposure_priority", 0, 0, 0, 0),
    2: Control("brightness", 0, 255, 1, 128),
    3: Control("contrast", 0, 10, 1, 5),
    4: Control("saturation", 0, 63, 1, 32),
    5: Control("sharpness", 0, 4, 1, 2),
    WHITE_BALANCE: Control("white_balance", 2500, 12_500, 10, 4500, has_auto=True),
    7: Control("backlight_compensation", 0, 1, 1, 0),
    8: Control("gain", 0, 255, 1, 128),
    POWERLINE: Control("powerline", 1, 2, 1, 2),
}


class ColorControls:
    """The controls of one device; they keep their values while it is plugged in."""

    def __init__(self) -> None:
        self._values = {command: control.default for command, control in CONTROLS.items()}
        self._modes = {command: AUTO if control.has_auto else MANUAL for command, control in CONTROLS.items()}

    def set(self, command: int, mode: int, value: int) -> bool:
        """Whether the device took a setting."""
        control = CONTROLS.get(command)
        if control is None or mode not in (AUTO, MANUAL) or (mode == AUTO and not control.has_auto):
            return False
        if mode == MANUAL and command != AUTO_EXPOSURE_PRIORITY:
            if command != EXPOSURE and not control.takes(value):
                return False
            # a device counts exposures in steps of 100 µs
            self._values[command] = self._possible(value) // 100 * 100 if command == EXPOSURE else value
        self._modes[command] = mode
        return True

    def get(self, command: int) -> tuple[int, int]:
        """Mode and value; an exposure is the next longer one that the device can do at its mains frequency."""
        value = self._values[command]
        return self._modes[command], self._possible(value) if command == EXPOSURE else value

    @property
    def exposure_usec(self) -> int:
        """For how long it exposes."""
        return self.get(EXPOSURE)[1]

    @property
    def white_balance_k(self) -> int:
        """Of its pictures."""
        return self._values[WHITE_BALANCE]

    def _possible(self, wanted_usec: int) -> int:
        column = int(self._values[POWERLINE] == HZ_60)
        possible = [row[column] for row in EXPOSURES_USEC]
        return next((usec for usec in possible if wanted_usec <= usec), possible[-1])
