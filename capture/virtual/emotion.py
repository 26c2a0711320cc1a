"""Seven emotions: what they do to a face and to a voice.

Faces after Ekman and Friesen's action units; voices after Scherer, "Vocal communication of emotion" (2003).
"""

from dataclasses import dataclass

from mmface4d.errors import UsageError


@dataclass(frozen=True)
class Emotion:
    """Expression weights by ARKit name without the side, factors for the voice and its loudness in decibels."""

    expression: dict[str, float]
    rate: float = 1.0
    pitch: float = 1.0
    pitch_range: float = 1.0
    gain_db: float = 0.0
    liveliness: float = 1.0  # of head and brows


EMOTIONS: dict[str, Emotion] = {
    "neutral": Emotion({}),
    "angry": Emotion(
        {"browDown": 0.85, "eyeSquint": 0.40, "noseSneer": 0.30, "mouthFrown": 0.30, "mouthPress": 0.25,
         "jawForward": 0.20},
        rate=1.10, pitch=1.10, pitch_range=1.35, gain_db=4.0, liveliness=1.4,
    ),
    "disgust": Emotion(
        {"noseSneer": 0.80, "mouthUpperUp": 0.30, "browDown": 0.45, "cheekSquint": 0.45, "eyeSquint": 0.45,
         "mouthFrown": 0.35},
        rate=0.90, pitch=0.88, pitch_range=0.85, gain_db=-1.0,
    ),
    "happy": Emotion(
        {"mouthSmile": 0.55, "cheekSquint": 0.60, "mouthDimple": 0.20, "eyeSquint": 0.25, "browInnerUp": 0.10},
        rate=1.08, pitch=1.20, pitch_range=1.45, gain_db=2.0, liveliness=1.3,
    ),
    "fear": Emotion(
        {"browInnerUp": 0.75, "browOuterUp": 0.30, "browDown": 0.20, "eyeWide": 0.75, "mouthStretch": 0.50},
        rate=1.18, pitch=1.30, pitch_range=1.10, gain_db=-1.0, liveliness=0.8,
    ),
    "sad": Emotion(
        {"browInnerUp": 0.65, "browDown": 0.15, "mouthFrown": 0.60, "mouthShrugLower": 0.35, "eyeBlink": 0.18},
        rate=0.82, pitch=0.88, pitch_range=0.55, gain_db=-5.0, liveliness=0.6,
    ),
    "surprise": Emotion(
        {"browInnerUp": 0.80, "browOuterUp": 0.85, "eyeWide": 0.75, "jawOpen": 0.12},
        rate=1.02, pitch=1.35, pitch_range=1.60, gain_db=1.5, liveliness=1.2,
    ),
}  # fmt: skip


def emotion_named(name: str) -> Emotion:
    """Raises UsageError for an emotion that the corpus does not have."""
    if name not in EMOTIONS:
        raise UsageError(f"there is no emotion {name!r}", hint="choose one of " + ", ".join(EMOTIONS))
    return EMOTIONS[name]
