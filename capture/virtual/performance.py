"""A sentence performed: for every frame what the face and the head do, and the sound that belongs to it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from capture.virtual.emotion import Emotion, emotion_named
from capture.virtual.espeak import LIMITS, Phoneme, Spoken, say
from capture.virtual.motion import BROW_RISE_S, SHORTEST_GAP_S, blink_times, head_motion, stresses
from capture.virtual.rig import FPS_MODES
from capture.virtual.visemes import Curves, mouth, speaking, touch, with_lips_closed
from capture.virtual.voice import SAMPLE_RATE
from mmface4d.errors import UsageError
from mmface4d.speech_curves import blinks, pulses

MAX_WAIT_S = 60.0
RATE, PITCH, PITCH_RANGE = 165, 45, 45  # of the neutral voice
PITCH_SPREAD, RATE_SPREAD = 6.0, 0.04  # between seeds
LOUDNESS_DB = -24.0  # RMS of the neutral voice against full scale
PEAK = 0.7
EMOTION_ONSET_S, EMOTION_RELEASE_S = 0.45, 0.45
EMOTION_SPREAD = 0.15
BROW_LIFT = 0.22
IDLE = ""
TWO_SIDED = (
    "browDown", "browOuterUp", "cheekSquint", "eyeBlink", "eyeSquint", "eyeWide", "mouthDimple", "mouthFrown",
    "mouthLowerDown", "mouthPress", "mouthSmile", "mouthStretch", "mouthUpperUp", "noseSneer",
)  # fmt: skip
ONE_SIDED = (
    "browInnerUp", "jawForward", "jawOpen", "mouthClose", "mouthFunnel", "mouthPucker", "mouthRollLower",
    "mouthShrugLower", "mouthShrugUpper",
)  # fmt: skip
# the ARKit names of what a performance moves
NAMES = (*(f"{name}{side}" for name in TWO_SIDED for side in ("Left", "Right")), *ONE_SIDED)


@dataclass(frozen=True)
class Performance:
    """Frames of a face and the sound from the first frame on (mono, 48 kHz, -1..1); phonemes count from there too.

    `weights` are blendshape weights of `names`; `actor_from_head` moves the head about its place at rest.
    """

    text: str
    language: str
    emotion: str
    seed: int
    fps: int
    names: tuple[str, ...]
    weights: Float[np.ndarray, "n_frames n_names"]
    actor_from_head: Float[np.ndarray, "n_frames 4 4"]
    sound: Float[np.ndarray, "n_samples"]
    phonemes: tuple[Phoneme, ...]

    def __len__(self) -> int:
        return len(self.weights)

    @property
    def times_s(self) -> Float[np.ndarray, "n_frames"]:
        """When each frame is exposed."""
        return np.arange(len(self)) / self.fps

    @property
    def spoken_s(self) -> tuple[float, float] | None:
        """Begin of the first sound and end of the last."""
        return (self.phonemes[0].start_s, self.phonemes[-1].end_s) if self.phonemes else None

    def weight(self, name: str) -> Float[np.ndarray, "n_frames"]:
        """One weight over time."""
        return self.weights[:, self.names.index(name)]


def perform(
    text: str, *, language: str = "en", emotion: str = "neutral", seed: int = 0, fps: int = 30,
    lead_s: float = 0.5, tail_s: float = 0.5,
) -> Performance:  # fmt: skip
    """Says a text with an emotion; silent, mouth closed, `lead_s` before the first sound and `tail_s` after the last.

    Raises UsageError for an emotion, rate or time that there is not, and what `espeak.say` raises.
    """
    feeling = emotion_named(emotion)
    _check(fps, lead_s, tail_s)
    rng = np.random.default_rng([seed, 20])
    spoken = _say(text, language, feeling, rng)
    phonemes = tuple(_later(phoneme, lead_s - spoken.phonemes[0].start_s) for phoneme in spoken.phonemes)
    frames = int(np.ceil((phonemes[-1].end_s + tail_s) * fps))
    times_s = np.arange(frames) / fps
    blinks_s = blink_times(frames / fps, rng)
    curves, poses = _movement(phonemes, times_s, feeling, rng, blinks_s)
    sound = _placed(spoken, phonemes, frames / fps, gain_db=feeling.gain_db)
    return Performance(text, language, emotion, seed, fps, NAMES, _weights(curves), poses, sound, phonemes)


def idle(*, seconds: float = 1.0, seed: int = 0, fps: int = 30) -> Performance:
    """Somebody who waits: breathes, blinks, is silent. Made to be shown forth and back, as a Stage does."""
    _check(fps, seconds, 0.0)
    rng = np.random.default_rng([seed, 21])
    frames = max(1, round(seconds * fps))
    last_s = (frames - 1) / fps
    # the lids are down where the loop turns, so that two ways make one blink
    blinks_s = (*blink_times(last_s - SHORTEST_GAP_S, rng), last_s)
    curves, poses = _movement((), np.arange(frames) / fps, emotion_named("neutral"), rng, blinks_s)
    sound = np.zeros(round(frames / fps * SAMPLE_RATE))
    return Performance(IDLE, "en", "neutral", seed, fps, NAMES, _weights(curves), poses, sound, ())


def face_curves(
    phonemes: tuple[Phoneme, ...], times_s: Float[np.ndarray, "n_times"], feeling: Emotion, *, strength: float = 1.0,
    blinks_s: tuple[float, ...] = (), lifts: Float[np.ndarray, "n_stresses"] | None = None,
) -> Curves:  # fmt: skip
    """Everything that moves in a face at any instants, by name without the side.

    `lifts` are how far brows rise at the `stresses` of the phonemes.
    """
    curves = mouth(phonemes, times_s)
    felt = strength * _felt(phonemes, times_s)
    talks = speaking(phonemes, times_s)
    for name, weight in feeling.expression.items():
        # what opens the mouth waits for the speech
        share = felt * talks if name == "jawOpen" else felt
        curves[name] = curves.get(name, 0.0) + weight * share
    if lifts is not None:
        rise = pulses(times_s, stresses(phonemes), width_s=BROW_RISE_S, heights=lifts)
        curves["browInnerUp"] = curves.get("browInnerUp", 0.0) + rise
        curves["browOuterUp"] = curves.get("browOuterUp", 0.0) + 0.7 * rise
    # lips that round do not smile as well
    for name in ("mouthSmile", "mouthStretch"):
        curves[name] = curves[name] * (1 - 0.7 * curves["mouthPucker"])
    curves = with_lips_closed(curves, touch(phonemes, times_s))
    shut = blinks(times_s, blinks_s)
    for name in ("eyeWide", "eyeSquint"):
        curves[name] = curves.get(name, np.zeros(len(times_s))) * (1 - shut)
    curves["eyeBlink"] = np.maximum(curves.get("eyeBlink", 0.0), shut)
    return {name: np.clip(curve, 0.0, 1.0) for name, curve in curves.items()}


def _movement(
    phonemes: tuple[Phoneme, ...], times_s: np.ndarray, feeling: Emotion, rng: np.random.Generator,
    blinks_s: tuple[float, ...],
) -> tuple[Curves, Float[np.ndarray, "n_times 4 4"]]:  # fmt: skip
    """The seed's own face and head; drawn in a fixed order, so that a seed is one performance."""
    strength = 1 + EMOTION_SPREAD * float(rng.uniform(-1, 1))
    at = stresses(phonemes)
    lifts = BROW_LIFT * feeling.liveliness * rng.uniform(0.3, 1.0, len(at))
    curves = face_curves(phonemes, times_s, feeling, strength=strength, blinks_s=blinks_s, lifts=lifts)
    spoken_s = (phonemes[0].start_s, phonemes[-1].end_s) if phonemes else None
    return curves, head_motion(times_s, spoken_s=spoken_s, nods_s=at, liveliness=feeling.liveliness, rng=rng)


def _felt(phonemes: tuple[Phoneme, ...], times_s: np.ndarray) -> np.ndarray:
    """How far an emotion is shown, 0..1: rises before the speech and leaves after it."""
    if not phonemes:
        return np.zeros_like(times_s)
    rise = (times_s - phonemes[0].start_s) / EMOTION_ONSET_S + 1
    fall = (phonemes[-1].end_s - times_s) / EMOTION_RELEASE_S + 1
    share = np.clip(np.minimum(rise, fall), 0, 1)
    return share * share * (3 - 2 * share)


def _say(text: str, language: str, feeling: Emotion, rng: np.random.Generator) -> Spoken:
    """The actor's own voice in a mood."""
    own_pitch = PITCH + PITCH_SPREAD * float(rng.uniform(-1, 1))
    own_rate = RATE * (1 + RATE_SPREAD * float(rng.uniform(-1, 1)))
    wanted = {
        "rate": own_rate * feeling.rate,
        "pitch": own_pitch * feeling.pitch,
        "pitch_range": PITCH_RANGE * feeling.pitch_range,
    }
    rate, pitch, pitch_range = (round(float(np.clip(value, *LIMITS[name]))) for name, value in wanted.items())
    return say(text, language, rate=rate, pitch=pitch, pitch_range=pitch_range)


def _placed(
    spoken: Spoken, phonemes: tuple[Phoneme, ...], duration_s: float, *, gain_db: float
) -> Float[np.ndarray, "n_samples"]:
    """The sound at its place between silence, as loud as the mood is."""
    out = np.zeros(round(duration_s * SAMPLE_RATE))
    begin, end = (round(edge * SAMPLE_RATE) for edge in (phonemes[0].start_s, phonemes[-1].end_s))
    first = round(spoken.phonemes[0].start_s * SAMPLE_RATE)
    voice = spoken.samples[first : first + end - begin]
    level = float(np.sqrt(np.mean(voice**2)))
    gain = 10 ** ((LOUDNESS_DB + gain_db) / 20) / max(level, 1e-9)
    gain = min(gain, PEAK / max(float(np.abs(voice).max()), 1e-9))
    out[begin : begin + len(voice)] = gain * voice
    return out


def _later(phoneme: Phoneme, by_s: float) -> Phoneme:
    return Phoneme(phoneme.ipa, phoneme.start_s + by_s, phoneme.end_s + by_s)


def _weights(curves: Curves) -> Float[np.ndarray, "n_frames n_names"]:
    nothing = np.zeros(len(curves["jawOpen"]))
    return np.stack([curves.get(_sideless(name), nothing) for name in NAMES], 1)


def _sideless(name: str) -> str:
    return name.removesuffix("Left").removesuffix("Right")


def _check(fps: int, *waits_s: float) -> None:
    if fps not in FPS_MODES:
        raise UsageError(f"no camera runs at {fps} frames a second", hint="choose 5, 15 or 30")
    for seconds in waits_s:
        if not 0 <= seconds <= MAX_WAIT_S:
            raise UsageError(f"{seconds} s of waiting is not possible", hint=f"choose 0 to {MAX_WAIT_S:.0f}")
