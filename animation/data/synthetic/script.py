"""Sentences of the small language: syllables in phrases, with accents."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from animation.data.synthetic.sounds import CONSONANTS, VOWELS

Accent = Literal["", "rise", "fall"]
ENDINGS = "nsmlt"
PHRASES, SYLLABLES = (1, 2), (4, 7)  # a sentence has so many phrases of so many syllables
ENDING_SHARE = 0.25  # of syllables with a consonant after the vowel
RISE_SHARE = 0.6  # of accents; the others fall
FIRST_ACCENT, ACCENT_GAP = 1, (2, 3)  # in syllables
MARKS: dict[str, str] = {"": "", "rise": "'", "fall": ","}


@dataclass(frozen=True)
class Syllable:
    """Letters of `sounds` and the accent that the vowel bears."""

    letters: str
    accent: Accent = ""

    @property
    def vowel(self) -> int:
        """Where the vowel is."""
        return next(at for at, letter in enumerate(self.letters) if letter in VOWELS)


@dataclass(frozen=True)
class Sentence:
    """Phrases of syllables; between phrases one pauses."""

    id: str
    phrases: tuple[tuple[Syllable, ...], ...]

    @property
    def text(self) -> str:
        """As one would write it down: ' before a syllable that rises, a comma before one that falls."""
        return " | ".join(" ".join(MARKS[each.accent] + each.letters for each in phrase) for phrase in self.phrases)


def sentence(number: int, *, seed: int) -> Sentence:
    """The sentence of a number; the same seed and number always give the same."""
    rng = np.random.default_rng([seed, 1, number])
    phrases = tuple(_phrase(rng) for _ in range(rng.integers(PHRASES[0], PHRASES[1] + 1)))
    return Sentence(f"s{number:03d}", phrases)


def _phrase(rng: np.random.Generator) -> tuple[Syllable, ...]:
    count = int(rng.integers(SYLLABLES[0], SYLLABLES[1] + 1))
    accents: dict[int, Accent] = {}
    at = int(rng.integers(0, FIRST_ACCENT + 1))
    while at < count:
        accents[at] = "rise" if rng.random() < RISE_SHARE else "fall"
        at += int(rng.integers(ACCENT_GAP[0], ACCENT_GAP[1] + 1))
    return tuple(_syllable(rng, accents.get(at, "")) for at in range(count))


def _syllable(rng: np.random.Generator, accent: Accent) -> Syllable:
    letters = _one(rng, CONSONANTS) + _one(rng, VOWELS if not accent else VOWELS.replace("@", ""))
    return Syllable(letters + (_one(rng, ENDINGS) if rng.random() < ENDING_SHARE else ""), accent)


def _one(rng: np.random.Generator, letters: str) -> str:
    return letters[int(rng.integers(len(letters)))]
