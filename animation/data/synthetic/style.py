"""A person's manner of moving the face: the same in all that they say, and not to be heard in it.

How much people differ is a choice: about as much as their habits move a mouth by a third, and more above the eyes.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from animation.data.synthetic.face import MOTIONS

Weights = Float[np.ndarray, "n_motions"]
MOUTH_SPREAD, MOUTH_EACH, UPPER_SPREAD, UPPER_EACH = 0.30, 0.15, 0.40, 0.15  # of the logarithm of a gain
SPEED_SPREAD = 0.15  # of the logarithm
GAIN_LIMITS = (0.4, 2.2)
# standard deviation of what a face does all the time while its owner speaks
HABITS = {
    "jaw": 0.04, "pucker": 0.15, "funnel": 0.08, "smile_left": 0.22, "smile_right": 0.22, "upper_up": 0.12,
    "lower_down": 0.12, "brow_inner": 0.20, "brow_left": 0.20, "brow_right": 0.20, "frown": 0.20, "squint": 0.25,
    "lids": 0.06, "cheeks": 0.15,
}  # fmt: skip
SIDED = 0.3  # of a habit's spread is of one side only
EXACT = ("roll", "close", "lids")  # what a sound needs of the lips it gets from everybody
UPPER = ("brow_inner", "brow_left", "brow_right", "frown", "squint")


@dataclass(frozen=True)
class Manner:
    """Factors on, and additions to, the face's motions; `speed` is how quickly the mouth reaches what it aims at."""

    gain: Weights
    offset: Weights
    speed: float


def draw_manner(rng: np.random.Generator) -> Manner:
    """Somebody's manner."""
    gains = _gains(rng, UPPER, spread=UPPER_SPREAD, each=UPPER_EACH)
    mouth = tuple(name for name in MOTIONS if name not in UPPER + EXACT)
    gains |= _gains(rng, mouth, spread=MOUTH_SPREAD, each=MOUTH_EACH)
    return Manner(
        gain=np.array([gains.get(name, 1.0) for name in MOTIONS]),
        offset=_habits(rng),
        speed=float(np.exp(SPEED_SPREAD * rng.standard_normal())),
    )


def _gains(rng: np.random.Generator, names: tuple[str, ...], *, spread: float, each: float) -> dict[str, float]:
    common = spread * rng.standard_normal()
    gains = np.exp(common + each * rng.standard_normal(len(names))).clip(*GAIN_LIMITS)
    return dict(zip(names, map(float, gains), strict=True))


def _habits(rng: np.random.Generator) -> Weights:
    """Both sides of a face share most of a habit."""
    shared = {name.removesuffix("_left").removesuffix("_right"): rng.standard_normal() for name in MOTIONS}
    out = np.zeros(len(MOTIONS))
    for at, name in enumerate(MOTIONS):
        side = name.removesuffix("_left").removesuffix("_right")
        own = rng.standard_normal()
        common = shared[side] if side == name else np.sqrt(1 - SIDED**2) * shared[side] + SIDED * own
        out[at] = HABITS.get(name, 0.0) * common
    return out


def average_manner(manners: list[Manner]) -> Manner:
    """What somebody would show who cannot tell people apart."""
    return Manner(
        gain=np.mean([manner.gain for manner in manners], axis=0),
        offset=np.mean([manner.offset for manner in manners], axis=0),
        speed=float(np.mean([manner.speed for manner in manners])),
    )
