"""A delivery as a moving face: weights of the face's motions at any times, in a person's manner."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from animation.data.synthetic.delivery import Delivery, Spoken
from animation.data.synthetic.face import CLOSE_M, JAW_M, MOTIONS
from animation.data.synthetic.sounds import LIPS_MEET, MOUTH, PAUSE, VOWELS
from animation.data.synthetic.style import HABITS, Manner, Weights
from mmface4d.speech_curves import Times, blend, blinks, contact

MotionCurves = Float[np.ndarray, "n_times n_motions"]
CORE = 0.4  # of a sound's time, in its middle, in which it dominates fully
WIDTH_S = {"vowel": 0.045, "pause": 0.060, "consonant": 0.028, "lip": 0.028}
STRENGTH = {"vowel": 1.0, "pause": 1.0, "consonant": 0.9, "lip": 4.0}
LIP_SOUNDS = LIPS_MEET + "fv"
SHORTEST_CONTACT_S, RELEASE_S = 0.036, 0.030
JAW_WHILE_CLOSED = 0.2  # of its opening stays when the lips meet
PARTING = ("jaw", "funnel", "upper_up", "lower_down")  # lips that rest do not pass through each other
# what accents do above the mouth
RISING = {"brow_inner": 1.0, "brow_left": 0.8, "brow_right": 0.8, "nostrils": 0.4}
FALLING = {"frown": 1.0, "squint": 0.8}
BLINK_AFTER_S = 0.08  # behind the end of a phrase
CHEEKS_PER_SMILE = 0.5
MOOD, MOOD_OF_HABIT = 0.05, 0.10  # by which a manner differs from one clip to the next
WOBBLE, WOBBLE_S = 0.012, 0.10  # what nothing explains: its size, and how fast it changes
_AT = {name: at for at, name in enumerate(MOTIONS)}


@dataclass(frozen=True)
class Chance:
    """What is by chance in one clip: the mood of the day, and unrest at WOBBLE_S steps."""

    gain: Weights
    offset: Weights
    wobble: Float[np.ndarray, "n_steps n_motions"]

    def at(self, times_s: Times) -> MotionCurves:
        """The unrest at some times."""
        steps_s = np.arange(len(self.wobble)) * WOBBLE_S
        return np.stack([np.interp(times_s, steps_s, column) for column in self.wobble.T], axis=1)


def draw_chance(duration_s: float, rng: np.random.Generator) -> Chance:
    """For a clip."""
    habits = np.array([HABITS.get(name, 0.0) for name in MOTIONS])
    return Chance(
        gain=np.exp(MOOD * rng.standard_normal(len(MOTIONS))),
        offset=MOOD_OF_HABIT * habits * rng.standard_normal(len(MOTIONS)),
        wobble=WOBBLE * rng.standard_normal((int(duration_s / WOBBLE_S) + 2, len(MOTIONS))),
    )


def act(delivery: Delivery, manner: Manner, times_s: Times, *, chance: Chance | None = None) -> MotionCurves:
    """The weights of MOTIONS; without chance, what is to be expected of the manner."""
    weights = np.zeros((len(times_s), len(MOTIONS)))
    for name, curve in {**_mouth(delivery, manner.speed, times_s), **_upper(delivery, times_s)}.items():
        weights[:, _AT[name]] = curve
    gain, offset = manner.gain, manner.offset
    if chance is not None:
        gain, offset = gain * chance.gain, offset + chance.offset
    weights = weights * gain + offset
    if chance is not None:
        weights += chance.at(times_s)
    return _with_lips_that_meet(weights, _touch(delivery, times_s))


def _mouth(delivery: Delivery, speed: float, times_s: Times) -> dict[str, Times]:
    kinds = [_kind(each) for each in delivery.spoken]
    begins_s, ends_s = delivery.edges_s()
    margin_s = 0.5 * (1 - CORE) * (ends_s - begins_s)
    blended = blend(
        times_s,
        begins_s=begins_s + margin_s,
        ends_s=ends_s - margin_s,
        widths_s=np.array([WIDTH_S[kind] / speed for kind in kinds]),
        targets=np.stack([each.sound.mouth for each in delivery.spoken]),
        strengths=np.array([STRENGTH[kind] for kind in kinds]),
    )
    curves = dict(zip(MOUTH, blended.T, strict=True))
    smile = curves.pop("smile")
    return {**curves, "smile_left": smile, "smile_right": smile, "cheeks": CHEEKS_PER_SMILE * smile}


def _kind(spoken: Spoken) -> str:
    letter = spoken.sound.letter
    if letter in LIP_SOUNDS:
        return "lip"
    return "vowel" if letter in VOWELS else "pause" if letter == PAUSE else "consonant"


def _upper(delivery: Delivery, times_s: Times) -> dict[str, Times]:
    """Brows rise and knit with the accents of the voice; lids close where a phrase has ended."""
    rise, fall = (delivery.stress_curve(accent, times_s) for accent in ("rise", "fall"))
    lids = blinks(times_s, tuple(end_s + BLINK_AFTER_S for end_s in delivery.phrase_ends_s))
    risen = {name: height * rise for name, height in RISING.items()}
    return {**risen, **{name: height * fall for name, height in FALLING.items()}, "lids": lids}


def _touch(delivery: Delivery, times_s: Times) -> Times:
    """How closed the lips are, 0..1."""
    closed = [each for each in delivery.spoken if each.sound.letter in LIPS_MEET]
    middle_s = np.array([each.middle_s for each in closed])
    half_s = np.array([max(0.35 * (each.end_s - each.begin_s), 0.5 * SHORTEST_CONTACT_S) for each in closed])
    return contact(times_s, begins_s=middle_s - half_s, ends_s=middle_s + half_s, release_s=RELEASE_S)


def _with_lips_that_meet(weights: MotionCurves, touch: Times) -> MotionCurves:
    """Whatever a manner adds: p, b and m close the lips, and nothing presses them through each other."""
    out = weights.copy()
    for name in PARTING:
        open_share = 1 - touch * ((1 - JAW_WHILE_CLOSED) if name == "jaw" else 1)
        out[:, _AT[name]] = out[:, _AT[name]].clip(0) * open_share
    out[:, _AT["close"]] = touch * out[:, _AT["jaw"]] * JAW_M / CLOSE_M
    return out
