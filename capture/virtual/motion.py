"""How a head and its lids move while somebody speaks or waits.

Head frame: x to the subject's left, y up, z out of the face; a turn about +x is a nod.
"""

import numpy as np
from jaxtyping import Float

from capture.virtual.espeak import Phoneme
from mmface4d.speech_curves import Times, pulses
from mmface4d.transforms import rigid, rotation_from_rotvec

# time between blinks: log-normal; people in conversation blink about 20 times a minute
BLINK_GAP_S, BLINK_GAP_SPREAD, SHORTEST_GAP_S = 2.7, 0.5, 0.6
STRESS_GAP_S = 0.40  # heads and brows do not follow every syllable
NOD_DEG, NOD_S = 2.2, 0.45
SWAY_DEG, SWAY_M = (1.2, 2.0, 0.9), (0.0015, 0.001, 0.0015)
SWAY_HZ = (0.12, 0.40)
IDLE_SHARE = 0.25  # of the sway, while nobody speaks
BREATH_HZ, BREATH_M, BREATH_DEG = 0.27, 0.0012, 0.25
NECK_M = np.array([0.0, -0.11, -0.08])  # where a head turns
BROW_RISE_S = 0.28


def blink_times(duration_s: float, rng: np.random.Generator) -> tuple[float, ...]:
    """When the lids are down, in order."""
    out: list[float] = []
    # as if somebody had come in while the blinks went on
    at = rng.uniform(0.3, BLINK_GAP_S)
    while at < duration_s:
        out.append(float(at))
        at += max(SHORTEST_GAP_S, BLINK_GAP_S * float(np.exp(BLINK_GAP_SPREAD * rng.standard_normal())))
    return tuple(out)


def stresses(phonemes: tuple[Phoneme, ...]) -> tuple[float, ...]:
    """Middles of the stressed syllables that a body follows, at least STRESS_GAP_S apart."""
    out: list[float] = []
    for phoneme in phonemes:
        middle = 0.5 * (phoneme.start_s + phoneme.end_s)
        if phoneme.stressed and (not out or middle - out[-1] >= STRESS_GAP_S):
            out.append(middle)
    return tuple(out)


def head_motion(
    times_s: Times, *, spoken_s: tuple[float, float] | None, nods_s: tuple[float, ...], liveliness: float,
    rng: np.random.Generator,
) -> Float[np.ndarray, "n_times 4 4"]:  # fmt: skip
    """actor_from_head over time: sway and breath, more of it while speaking, and nods."""
    amplitude = np.concatenate([np.radians(SWAY_DEG), SWAY_M])
    rate, phase = rng.uniform(*SWAY_HZ, 6), rng.uniform(0, 2 * np.pi, 6)
    busy = IDLE_SHARE + (1 - IDLE_SHARE) * liveliness * _swell(times_s, spoken_s)
    moves = amplitude * busy[:, None] * np.sin(2 * np.pi * rate * times_s[:, None] + phase)
    heights = np.radians(NOD_DEG) * liveliness * rng.uniform(0.5, 1.2, len(nods_s))
    breath = np.sin(2 * np.pi * BREATH_HZ * times_s + rng.uniform(0, 2 * np.pi))
    moves[:, 0] += pulses(times_s, nods_s, width_s=NOD_S, heights=heights) + np.radians(BREATH_DEG) * breath
    moves[:, 4] += BREATH_M * breath
    return np.stack([_about_the_neck(move[:3], move[3:]) for move in moves]).reshape(-1, 4, 4)


def _swell(times_s: Times, spoken_s: tuple[float, float] | None, *, ramp_s: float = 0.5) -> Times:
    """1 while somebody speaks, smoothly 0 half a second away."""
    if spoken_s is None:
        return np.zeros_like(times_s)
    outside = np.maximum(np.maximum(spoken_s[0] - times_s, times_s - spoken_s[1]), 0)
    return 0.5 + 0.5 * np.cos(np.pi * np.clip(outside / ramp_s, 0, 1))


def _about_the_neck(rotvec: Float[np.ndarray, "3"], shift_m: Float[np.ndarray, "3"]) -> Float[np.ndarray, "4 4"]:
    turn = rotation_from_rotvec(rotvec)
    return rigid(turn, NECK_M - turn @ NECK_M + shift_m)
