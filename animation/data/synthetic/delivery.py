"""When a speaker says which sound of a sentence, and with what melody.

What is here can be heard: a person's manner of moving the face (`style`) has no part in it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from animation.data.synthetic.script import Accent, Sentence, Syllable
from animation.data.synthetic.sounds import PAUSE, SOUNDS, STOPS, Sound
from mmface4d.speech_curves import Times, pulses

LEAD_S, PAUSE_S, TAIL_S = 0.25, 0.30, 0.35
STRETCH = 1.25  # of an accented vowel
JITTER = 0.08  # of a sound's length, between sounds
ACCENT_S = 0.50  # the width of a pulse of the melody
BURST_S = 0.02


@dataclass(frozen=True)
class Voice:
    """How a person sounds."""

    pitch_hz: float
    tract: float  # factor on the formants
    rate: float  # factor on the speed of speaking


@dataclass(frozen=True)
class Spoken:
    """One sound in time."""

    sound: Sound
    begin_s: float
    end_s: float

    @property
    def middle_s(self) -> float:
        return 0.5 * (self.begin_s + self.end_s)


@dataclass(frozen=True)
class Stress:
    """An accent: when it peaks, and how strong it is."""

    accent: Accent
    at_s: float
    strength: float


@dataclass(frozen=True)
class Delivery:
    """A sentence said: pauses are sounds too; `phrase_ends_s` is where the voice stops."""

    spoken: tuple[Spoken, ...]
    stresses: tuple[Stress, ...]
    phrase_ends_s: tuple[float, ...]
    duration_s: float

    def stress_curve(self, accent: Accent, times_s: Times) -> Times:
        """How strong the accents of a kind are at some times, 0 to about 1."""
        chosen = [stress for stress in self.stresses if stress.accent == accent]
        heights = np.array([stress.strength for stress in chosen], dtype=np.float64)
        return pulses(times_s, tuple(stress.at_s for stress in chosen), width_s=ACCENT_S, heights=heights)

    def edges_s(self) -> tuple[Float[np.ndarray, "n_sounds"], Float[np.ndarray, "n_sounds"]]:
        """Where the sounds begin and end."""
        return np.array([each.begin_s for each in self.spoken]), np.array([each.end_s for each in self.spoken])


def draw_voice(rng: np.random.Generator) -> Voice:
    """Somebody's voice: low or high, long or short tract, slow or quick."""
    is_high = rng.random() < 0.5
    pitch_hz = rng.uniform(175, 225) if is_high else rng.uniform(95, 135)
    tract = rng.uniform(1.05, 1.18) if is_high else rng.uniform(0.94, 1.05)
    return Voice(float(pitch_hz), float(tract), rate=float(rng.uniform(0.85, 1.20)))


def deliver(sentence: Sentence, voice: Voice, rng: np.random.Generator) -> Delivery:
    """A sentence in a voice; lengths and strengths differ a little from one delivery to the next."""
    spoken, stresses, ends = [_pause(0.0, LEAD_S)], [], []
    for number, phrase in enumerate(sentence.phrases):
        if number:
            spoken.append(_pause(spoken[-1].end_s, PAUSE_S))
        for syllable in phrase:
            sounds = _syllable(syllable, spoken[-1].end_s, voice=voice, rng=rng)
            spoken += sounds
            if syllable.accent:
                strength = float(rng.uniform(0.5, 1.0))
                stresses.append(Stress(syllable.accent, sounds[syllable.vowel].middle_s, strength))
        ends.append(spoken[-1].end_s)
    spoken.append(_pause(spoken[-1].end_s, TAIL_S))
    return Delivery(tuple(spoken), tuple(stresses), tuple(ends), duration_s=spoken[-1].end_s)


def _pause(begin_s: float, seconds: float) -> Spoken:
    return Spoken(SOUNDS[PAUSE], begin_s, begin_s + seconds)


def _syllable(syllable: Syllable, begin_s: float, *, voice: Voice, rng: np.random.Generator) -> list[Spoken]:
    out: list[Spoken] = []
    for at, letter in enumerate(syllable.letters):
        stretch = STRETCH if syllable.accent and at == syllable.vowel else 1.0
        length = SOUNDS[letter].seconds * stretch * np.exp(JITTER * rng.standard_normal()) / voice.rate
        out.append(Spoken(SOUNDS[letter], begin_s, begin_s + float(length)))
        begin_s = out[-1].end_s
    return out


def bursts(delivery: Delivery) -> list[Spoken]:
    """The stops, each with the time of the noise that releases it."""
    stops = [each for each in delivery.spoken if each.sound.letter in STOPS]
    return [Spoken(each.sound, each.end_s - BURST_S, each.end_s) for each in stops]
