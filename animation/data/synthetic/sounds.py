"""The sounds of a small language: what a mouth does for each, and how each sounds.

Vowels' formants after Peterson and Barney (1952), men; lips and jaw by eye.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

# the mouth's part of the face's motions, in the columns' order
MOUTH = ("jaw", "pucker", "funnel", "smile", "upper_up", "lower_down", "roll")
FORMANTS = ("f1_hz", "f2_hz", "f3_hz")
NOISE_BANDS_HZ = ((600.0, 2000.0), (2000.0, 4200.0), (4200.0, 7600.0))
VOWELS = "aeiou@"
LIPS_MEET = "pbm"
STOPS = "ptkbdg"
PAUSE = "-"
# columns: jaw pucker funnel smile upper_up lower_down roll | F1 F2 F3 | voicing | noise low mid high | seconds
_TABLE: dict[str, tuple[int | float, ...]] = {
    "-": (0.00, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00,  500, 1500, 2500, 0.00, 0.00, 0.00, 0.00, 0.250),
    "a": (0.55, 0.00, 0.00, 0.10, 0.10, 0.30, 0.00,  730, 1090, 2440, 1.00, 0.00, 0.00, 0.00, 0.150),
    "e": (0.32, 0.00, 0.00, 0.45, 0.15, 0.30, 0.00,  530, 1840, 2480, 1.00, 0.00, 0.00, 0.00, 0.140),
    "i": (0.16, 0.00, 0.00, 0.80, 0.20, 0.25, 0.00,  270, 2290, 3010, 0.90, 0.00, 0.00, 0.00, 0.135),
    "o": (0.38, 0.45, 0.55, 0.00, 0.00, 0.00, 0.00,  570,  840, 2410, 0.95, 0.00, 0.00, 0.00, 0.145),
    "u": (0.18, 0.95, 0.35, 0.00, 0.00, 0.00, 0.00,  300,  870, 2240, 0.90, 0.00, 0.00, 0.00, 0.140),
    "@": (0.26, 0.05, 0.05, 0.05, 0.05, 0.10, 0.00,  500, 1400, 2450, 0.80, 0.00, 0.00, 0.00, 0.095),
    "p": (0.06, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00,  300,  900, 2200, 0.00, 0.00, 0.00, 0.00, 0.090),
    "b": (0.06, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00,  250,  900, 2200, 0.30, 0.00, 0.00, 0.00, 0.080),
    "m": (0.06, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00,  280, 1000, 2200, 0.55, 0.00, 0.00, 0.00, 0.085),
    "f": (0.08, 0.00, 0.00, 0.05, 0.35, 0.00, 0.85,  400, 1300, 2400, 0.00, 0.12, 0.12, 0.10, 0.095),
    "v": (0.08, 0.00, 0.00, 0.05, 0.35, 0.00, 0.85,  350, 1250, 2400, 0.40, 0.06, 0.06, 0.05, 0.080),
    "t": (0.10, 0.00, 0.00, 0.15, 0.10, 0.25, 0.00,  350, 1800, 2700, 0.00, 0.00, 0.00, 0.00, 0.085),
    "d": (0.12, 0.00, 0.00, 0.15, 0.10, 0.25, 0.00,  300, 1800, 2700, 0.30, 0.00, 0.00, 0.00, 0.075),
    "n": (0.14, 0.00, 0.00, 0.15, 0.10, 0.20, 0.00,  300, 1650, 2600, 0.55, 0.00, 0.00, 0.00, 0.080),
    "s": (0.05, 0.00, 0.00, 0.35, 0.25, 0.40, 0.00,  350, 1700, 2600, 0.00, 0.00, 0.10, 0.60, 0.100),
    "S": (0.08, 0.50, 0.70, 0.00, 0.20, 0.20, 0.00,  350, 1800, 2500, 0.00, 0.10, 0.60, 0.15, 0.100),
    "l": (0.22, 0.00, 0.00, 0.15, 0.10, 0.20, 0.00,  380, 1250, 2800, 0.65, 0.00, 0.00, 0.00, 0.075),
    "r": (0.16, 0.40, 0.35, 0.00, 0.00, 0.05, 0.00,  380, 1250, 1650, 0.65, 0.00, 0.00, 0.00, 0.075),
    "w": (0.12, 1.00, 0.30, 0.00, 0.00, 0.00, 0.00,  300,  650, 2200, 0.65, 0.00, 0.00, 0.00, 0.080),
    "k": (0.20, 0.00, 0.00, 0.10, 0.05, 0.10, 0.00,  320, 1900, 2300, 0.00, 0.00, 0.00, 0.00, 0.090),
    "g": (0.20, 0.00, 0.00, 0.10, 0.05, 0.10, 0.00,  300, 1900, 2300, 0.30, 0.00, 0.00, 0.00, 0.080),
}  # fmt: skip
CONSONANTS = "".join(letter for letter in _TABLE if letter not in VOWELS + PAUSE)
# the noise with which a stop is released
BURSTS = {
    "p": (0.35, 0.05, 0.00), "b": (0.20, 0.03, 0.00), "t": (0.05, 0.20, 0.45), "d": (0.03, 0.12, 0.25),
    "k": (0.15, 0.40, 0.05), "g": (0.10, 0.25, 0.03),
}  # fmt: skip


@dataclass(frozen=True)
class Sound:
    """One phoneme. `noise` are the levels of the three NOISE_BANDS_HZ."""

    letter: str
    mouth: Float[np.ndarray, "n_mouth"]
    formants_hz: Float[np.ndarray, "3"]
    voicing: float
    noise: Float[np.ndarray, "3"]
    seconds: float


def _sound(letter: str, row: tuple[int | float, ...]) -> Sound:
    values = np.array(row, dtype=np.float64)
    return Sound(letter, values[:7], values[7:10], float(values[10]), noise=values[11:14], seconds=float(values[14]))


SOUNDS = {letter: _sound(letter, row) for letter, row in _TABLE.items()}
