"""What a mouth does while it speaks: articulator curves of a short list of syllables, with coarticulation."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from mmface4d.speech_curves import blend, contact

# expression weights (0..1); `mouthClose` follows from the contact of the lips, the others are set by every sound
ARTICULATORS = ("jawOpen", "mouthFunnel", "mouthPucker", "mouthSmile", "mouthClose")
FORMANTS = ("f1_hz", "f2_hz", "f3_hz")
PARAMETERS = (*ARTICULATORS[:4], *FORMANTS, "voicing", "frication")

# vowels: formants after Peterson and Barney (1952), men; lips and jaw by eye
#        jaw   funn  puck  smile  f1   f2    f3  voice hiss
SOUNDS: dict[str, tuple[float, ...]] = {
    "-":    (0.00, 0.00, 0.00, 0.00, 500, 1500, 2500, 0.0, 0.0),
    "a":    (0.52, 0.00, 0.00, 0.08, 730, 1090, 2440, 1.0, 0.0),
    "e":    (0.30, 0.00, 0.00, 0.35, 530, 1840, 2480, 1.0, 0.0),
    "i":    (0.22, 0.00, 0.00, 0.60, 270, 2290, 3010, 1.0, 0.0),
    "o":    (0.36, 0.45, 0.25, 0.00, 570, 840, 2410, 1.0, 0.0),
    "u":    (0.24, 0.30, 0.65, 0.00, 300, 870, 2240, 1.0, 0.0),
    "m":    (0.06, 0.00, 0.10, 0.00, 300, 1000, 2200, 0.6, 0.0),
    "b":    (0.05, 0.00, 0.05, 0.00, 250, 900, 2200, 0.3, 0.0),
    "f":    (0.08, 0.10, 0.00, 0.05, 400, 1300, 2400, 0.0, 0.6),
    "s":    (0.07, 0.00, 0.00, 0.25, 350, 1700, 2600, 0.0, 1.0),
    "l":    (0.18, 0.00, 0.00, 0.15, 380, 1300, 2700, 0.7, 0.0),
    "n":    (0.14, 0.00, 0.00, 0.10, 300, 1600, 2600, 0.6, 0.0),
    "w":    (0.12, 0.25, 0.80, 0.00, 300, 650, 2200, 0.7, 0.0),
    "t":    (0.08, 0.00, 0.00, 0.15, 350, 1700, 2600, 0.0, 0.3),
}  # fmt: skip
SENTENCE = ("ma", "so", "wi", "ba", "fu", "le", "mo", "ta", "ni", "bo", "la", "mu")
SYLLABLE_S = 0.22
CONSONANT_PART = 0.35  # of a syllable's time
PAUSE_S = 0.18  # of silence before the first and after the last sound
DOMINANCE_S = {"vowel": 0.045, "consonant": 0.026, "pause": 0.05}
# lips have to meet for these whatever their neighbours do
LIPS_MEET = ("m", "b")


@dataclass(frozen=True)
class Sound:
    """One sound: its letter and the time of its middle."""

    letter: str
    middle_s: float
    dominance_s: float


@dataclass(frozen=True)
class Speech:
    """Sounds in time, from which curves can be read at any instant."""

    sounds: tuple[Sound, ...]
    duration_s: float

    def curves(self, times_s: Float[np.ndarray, "n_times"]) -> dict[str, Float[np.ndarray, "n_times"]]:
        """The value of every parameter at some times; lips' contact is exact at the middle of an m or b."""
        middles = self._middles
        blended = blend(times_s, begins_s=middles, ends_s=middles, widths_s=self._widths, targets=self._targets)
        curves: dict[str, np.ndarray] = dict(zip(PARAMETERS, blended.T, strict=True))
        closed_s = np.array([sound.middle_s for sound in self.sounds if sound.letter in LIPS_MEET])
        touch = contact(times_s, begins_s=closed_s, ends_s=closed_s)
        curves["jawOpen"] = curves["jawOpen"] * (1 - 0.8 * touch)
        curves["mouthClose"] = touch * curves["jawOpen"]
        return curves

    @cached_property
    def _middles(self) -> np.ndarray:
        return np.array([sound.middle_s for sound in self.sounds])

    @cached_property
    def _widths(self) -> np.ndarray:
        return np.array([sound.dominance_s for sound in self.sounds])

    @cached_property
    def _targets(self) -> np.ndarray:
        return np.array([SOUNDS[sound.letter] for sound in self.sounds])


def speak(duration_s: float, *, syllables: tuple[str, ...] = SENTENCE) -> Speech:
    """Speech that fills a duration with whole syllables (consonant + vowel), a pause before and after it."""
    count = max(1, int((duration_s - 2 * PAUSE_S) / SYLLABLE_S))
    start_s = (duration_s - count * SYLLABLE_S) / 2
    sounds = [Sound("-", 0.5 * start_s, DOMINANCE_S["pause"])]
    for index in range(count):
        consonant, vowel = syllables[index % len(syllables)]
        begin_s = start_s + index * SYLLABLE_S
        sounds.append(Sound(consonant, begin_s + 0.5 * CONSONANT_PART * SYLLABLE_S, DOMINANCE_S["consonant"]))
        middle = 0.5 * (1 + CONSONANT_PART)
        sounds.append(Sound(vowel, begin_s + middle * SYLLABLE_S, DOMINANCE_S["vowel"]))
    sounds.append(Sound("-", duration_s - 0.5 * start_s, DOMINANCE_S["pause"]))
    return Speech(tuple(sounds), duration_s)
