"""Exposure times under electric light: only whole periods of the mains' flicker leave pictures equally bright.

Source of the table: Azure-Kinect-Sensor-SDK, color_priv.h (MIT); a device knows no other times.
"""

from mmface4d.errors import UsageError

# microseconds, by the mains' frequency; shorter ones than the first are no whole period of the flicker
FLICKER_FREE_USEC = {
    50: (10_000, 20_000, 30_000, 40_000, 50_000, 60_000, 80_000, 100_000),
    60: (8_330, 16_670, 33_330, 41_670, 50_000, 66_670, 83_330, 100_000),
}


def flicker_free_exposures(powerline_hz: int, *, fps: int = 30) -> tuple[int, ...]:
    """The exposure times, in microseconds, that fit a frame and do not flicker; raises UsageError."""
    if powerline_hz not in FLICKER_FREE_USEC:
        raise UsageError(
            f"mains of {powerline_hz} Hz are not known",
            hint="give 50 (Europe, Asia) or 60 (the Americas, parts of Asia)",
        )
    if fps <= 0:
        raise UsageError(f"{fps} frames a second cannot be", hint="give 5, 15 or 30")
    return tuple(usec for usec in FLICKER_FREE_USEC[powerline_hz] if usec <= 1e6 / fps)


def choose_exposure(wanted_usec: int | None, *, powerline_hz: int, fps: int = 30) -> int:
    """The flicker-free exposure nearest to the wanted one; the shortest, which blurs least, where none is wanted."""
    possible = flicker_free_exposures(powerline_hz, fps=fps)
    if wanted_usec is None:
        return possible[0]
    return min(possible, key=lambda usec: abs(usec - wanted_usec))
