"""What a mouth does for the sounds of any language: phonemes as articulator curves, with coarticulation.

Curves carry the blendshapes' ARKit names without the side; 0..1.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from capture.virtual.espeak import Phoneme
from mmface4d.speech_curves import blend, contact

Curves = dict[str, Float[np.ndarray, "n_times"]]
ARTICULATORS = (
    "jawOpen", "mouthFunnel", "mouthPucker", "mouthSmile", "mouthStretch",
    "mouthUpperUp", "mouthLowerDown", "mouthRollLower", "mouthShrugUpper",
)  # fmt: skip
# by eye, within what the mean face does without its lips passing through each other
#                jaw   funn  puck  smile strch upper lower roll  shrug
SHAPES: dict[str, tuple[float, ...]] = {
    "aɑæɐä":     (0.50, 0.00, 0.00, 0.06, 0.05, 0.06, 0.12, 0.00, 0.00),
    "ʌəɘɜɚɝɞ":   (0.26, 0.03, 0.00, 0.04, 0.00, 0.04, 0.08, 0.00, 0.00),
    "ɛe":        (0.32, 0.00, 0.00, 0.26, 0.06, 0.06, 0.12, 0.00, 0.00),
    "iɪɨᵻ":      (0.18, 0.00, 0.00, 0.45, 0.12, 0.08, 0.10, 0.00, 0.00),
    "ɯɤ":        (0.22, 0.00, 0.00, 0.14, 0.06, 0.04, 0.06, 0.00, 0.00),
    "oɔɒ":       (0.38, 0.40, 0.28, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00),
    "uʊʉ":       (0.18, 0.26, 0.65, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00),
    "yʏøœɥɵ":    (0.16, 0.24, 0.70, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00),
    "wʍ":        (0.10, 0.20, 0.80, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00),
    "pbmʙ":      (0.06, 0.00, 0.05, 0.00, 0.00, 0.00, 0.00, 0.00, 0.00),
    "fvʋɱⱱ":     (0.07, 0.00, 0.00, 0.04, 0.00, 0.14, 0.00, 0.70, 0.00),
    "βɸ":        (0.07, 0.00, 0.08, 0.00, 0.00, 0.03, 0.03, 0.00, 0.00),
    "θð":        (0.14, 0.00, 0.00, 0.06, 0.00, 0.06, 0.16, 0.00, 0.00),
    "tdnɾʈɖɳ":   (0.11, 0.00, 0.00, 0.10, 0.04, 0.05, 0.10, 0.00, 0.00),
    "lɫɭɬɮʎ":    (0.18, 0.00, 0.00, 0.10, 0.00, 0.06, 0.12, 0.00, 0.00),
    "sz":        (0.06, 0.00, 0.00, 0.18, 0.10, 0.10, 0.16, 0.00, 0.00),
    "ʃʒʂʐ":      (0.08, 0.34, 0.24, 0.00, 0.00, 0.10, 0.10, 0.00, 0.05),
    "ɕʑçʝj":     (0.10, 0.00, 0.00, 0.28, 0.10, 0.08, 0.12, 0.00, 0.00),
    "ɹɻrʀʁɺɽ":   (0.13, 0.16, 0.26, 0.00, 0.00, 0.02, 0.04, 0.00, 0.00),
    "kɡgŋɴxɣχqɢɲcɟʔ": (0.18, 0.00, 0.00, 0.06, 0.00, 0.04, 0.06, 0.00, 0.00),
}  # fmt: skip
REST = (0.0,) * len(ARTICULATORS)
TARGETS = {symbol: targets for symbols, targets in SHAPES.items() for symbol in symbols}
VOWELS = frozenset("".join(list(SHAPES)[:8]))
BILABIAL, LABIODENTAL, UNVOICED_STOPS = frozenset("pbmʙ"), frozenset("fvʋɱⱱ"), frozenset("p")
LONG = "ː"
# h and other sounds of the throat have no shape of their own, the neighbours' shape stays
WIDTH_OF_VOWEL, WIDTH_OF_CONSONANT = 0.040, 0.026
CORE = 0.4  # of a sound's time, in its middle, in which it dominates fully
STRENGTH = {"vowel": 1.0, "consonant": 0.9, "lip": 4.0}
CLOSURE_S = 0.040  # silence of an unvoiced stop, before its burst, which is where it is said to begin
SHORTEST_CONTACT_S = 0.036  # so that a camera at 30 fps sees it
RELEASE_S = 0.025
OPENING_S = 0.060  # from rest to speech, and back
# shapes that part the lips, and how much of `mouthClose` holds them together against a wrinkled nose
OPENERS = ("mouthFunnel", "mouthUpperUp", "mouthLowerDown")
CLOSE_FOR_SNEER = 0.09


@dataclass(frozen=True)
class Segment:
    """One shape of the mouth and its time; a diphthong has two."""

    symbol: str
    begin_s: float
    end_s: float

    @property
    def kind(self) -> str:
        """What decides how it acts on its neighbours."""
        if self.symbol in VOWELS:
            return "vowel"
        return "lip" if self.symbol in BILABIAL | LABIODENTAL else "consonant"


def segments(phonemes: tuple[Phoneme, ...]) -> list[Segment]:
    """The shapes within phonemes, in order; unknown symbols and marks have none."""
    out = []
    for phoneme in phonemes:
        parts = [(at, symbol) for at, symbol in enumerate(phoneme.ipa) if symbol in TARGETS]
        shares = np.array([2.0 if phoneme.ipa[at + 1 : at + 2] == LONG else 1.0 for at, _ in parts])
        edges = np.concatenate([[0.0], np.cumsum(shares)]) / max(shares.sum(), 1.0)
        times = phoneme.start_s + edges * (phoneme.end_s - phoneme.start_s)
        out += [Segment(symbol, times[part], times[part + 1]) for part, (_, symbol) in enumerate(parts)]
    return out


def lip_contacts(shapes: list[Segment]) -> Float[np.ndarray, "n_contacts 2"]:
    """Begin and end of every contact of the lips."""
    spans = []
    for shape in shapes:
        if shape.symbol in UNVOICED_STOPS:
            spans.append((shape.begin_s - CLOSURE_S, shape.begin_s))
        elif shape.symbol in BILABIAL:
            middle, half = 0.5 * (shape.begin_s + shape.end_s), 0.35 * (shape.end_s - shape.begin_s)
            half = max(half, 0.5 * SHORTEST_CONTACT_S)
            spans.append((middle - half, middle + half))
    return np.array(spans).reshape(-1, 2)


def mouth(phonemes: tuple[Phoneme, ...], times_s: Float[np.ndarray, "n_times"]) -> Curves:
    """The articulators at some times, on the clock of the phonemes, before the lips are closed."""
    shapes = segments(phonemes)
    if not shapes:
        return {name: np.zeros(len(times_s)) for name in ARTICULATORS}
    begins, ends = (np.array(side) for side in zip(*((shape.begin_s, shape.end_s) for shape in shapes), strict=True))
    middle, half = 0.5 * (begins + ends), 0.5 * CORE * (ends - begins)
    blended = blend(
        times_s,
        begins_s=middle - half,
        ends_s=middle + half,
        widths_s=np.array([WIDTH_OF_VOWEL if shape.kind == "vowel" else WIDTH_OF_CONSONANT for shape in shapes]),
        targets=np.array([TARGETS[shape.symbol] for shape in shapes]),
        strengths=np.array([STRENGTH[shape.kind] for shape in shapes]),
    )
    opened = speaking(phonemes, times_s)
    return {name: opened * curve for name, curve in zip(ARTICULATORS, blended.T, strict=True)}


def speaking(phonemes: tuple[Phoneme, ...], times_s: Float[np.ndarray, "n_times"]) -> Float[np.ndarray, "n_times"]:
    """How far a mouth has left its rest: 0 before the first sound and after the last, 1 between."""
    if not phonemes:
        return np.zeros(len(times_s))
    inside = np.minimum(times_s - phonemes[0].start_s, phonemes[-1].end_s - times_s)
    share = np.clip(inside / OPENING_S, 0, 1)
    # the lips part at once, as the sound does
    return np.sin(0.5 * np.pi * share)


def touch(phonemes: tuple[Phoneme, ...], times_s: Float[np.ndarray, "n_times"]) -> Float[np.ndarray, "n_times"]:
    """How closed the lips are, 0..1; 1 at rest and for p, b and m."""
    spans = lip_contacts(segments(phonemes))
    met = contact(times_s, begins_s=spans[:, 0], ends_s=spans[:, 1], release_s=RELEASE_S)
    return np.maximum(met, 1 - speaking(phonemes, times_s))


def with_lips_closed(curves: Curves, touching: Float[np.ndarray, "n_times"]) -> Curves:
    """The same curves where the lips meet as far as they touch, whatever parts them otherwise."""
    out = dict(curves)
    nothing = np.zeros(len(touching))
    for name in OPENERS:
        out[name] = out.get(name, nothing) * (1 - touching)
    out["jawOpen"] = out.get("jawOpen", nothing) * (1 - 0.8 * touching)
    out["mouthClose"] = touching * (out["jawOpen"] + CLOSE_FOR_SNEER * out.get("noseSneer", nothing))
    return out
