"""What a set of measured sequences says as a whole: speeds, style, expressiveness, which parts move together.

Numbers over several sequences are weighted by their frames where a rate is meant, and are medians over sequences where
people or emotions are compared.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from jaxtyping import Float

from corpus.dataset.motion import LEAST_STEPS, Motion
from corpus.dataset.regions import REGION_NAMES
from corpus.dataset.survey import Surveyed
from mmface4d.session import EMOTIONS

NEUTRAL = "neutral"
EDGE = 0.5  # of a correlation; weaker ones are not drawn
COMPARED = ("mouth", "jaw", "cheeks", "brows", "face")  # regions whose expressiveness is told
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Person:
    """What is told of a subject; `age` is in years, or a band such as 20-29."""

    pseudonym: str
    age: int | str | None = None
    gender: str | None = None


@dataclass(frozen=True)
class Speeds:
    """Mean over the frames of some sequences; regions in the order of REGION_NAMES, axes x, y, z."""

    sequences: int
    steps: int
    step_m: Float[np.ndarray, "n_regions 3"]
    speed_mm_s: Float[np.ndarray, "n_regions 3"]
    length_mm_s: Float[np.ndarray, "n_regions"]

    def of(self, region: str) -> Float[np.ndarray, "3"]:
        """mm/s along x, y and z."""
        return self.speed_mm_s[REGION_NAMES.index(region)]


@dataclass(frozen=True)
class Expressed:
    """One sequence against the neutral ones of the same subject.

    `speed_ratio`: how many times as fast a region moves. `shift_mm`: how far from its neutral place it is held, the
    mean over its small regions; `parcel_shift_mm` is the same for each small region.
    """

    model: str
    emotion: str
    speed_ratio: dict[str, float]
    shift_mm: dict[str, float]
    parcel_shift_mm: Float[np.ndarray, "n_parcels"]


@dataclass(frozen=True)
class Graph:
    """Correlations of one topology's small regions, the mean over sequences weighted by their steps."""

    model: str
    sequences: int
    correlation: Float[np.ndarray, "n_parcels n_parcels"]

    @property
    def edges(self) -> list[tuple[int, int, float]]:
        """Pairs that move together, the strongest last."""
        rows, columns = np.triu_indices(len(self.correlation), 1)
        pairs = zip(rows.tolist(), columns.tolist(), self.correlation[rows, columns].tolist(), strict=True)
        return sorted((pair for pair in pairs if pair[2] >= EDGE), key=lambda pair: pair[2])


def speeds(motions: Sequence[Motion]) -> Speeds | None:
    """The speeds of some sequences together; None where none has two frames in a row."""
    moving = [each for each in motions if each.steps]
    if not moving:
        return None
    steps = np.array([each.steps for each in moving], dtype=np.float64)
    seconds = steps / [each.fps for each in moving]

    def mean(values: list[np.ndarray], weights: np.ndarray) -> np.ndarray:
        return np.tensordot(weights / weights.sum(), np.stack(values), 1)

    return Speeds(
        sequences=len(moving),
        steps=int(steps.sum()),
        step_m=mean([each.step_m for each in moving], steps),
        speed_mm_s=mean([each.speed_mm_s for each in moving], seconds),
        length_mm_s=mean([each.length_mm_s for each in moving], seconds),
    )


def by_subject(surveyed: Sequence[Surveyed]) -> dict[str, list[Motion]]:
    """Motions of each subject, in the order of their pseudonyms."""
    found: dict[str, list[Motion]] = defaultdict(list)
    for each in surveyed:
        if each.motion is not None:
            found[each.recording.subject or UNKNOWN].append(each.motion)
    return dict(sorted(found.items()))


def by_emotion(surveyed: Sequence[Surveyed]) -> dict[str, list[Motion]]:
    """Motions of each emotion that occurs."""
    found: dict[str, list[Motion]] = defaultdict(list)
    for each in surveyed:
        if each.motion is not None:
            found[each.recording.emotion or UNKNOWN].append(each.motion)
    return {emotion: found[emotion] for emotion in (*EMOTIONS, UNKNOWN) if emotion in found}


def style_share(surveyed: Sequence[Surveyed]) -> float | None:
    """Which part of the variance of the lips' speeds lies between subjects, 0 to 1: how far style tells who speaks.

    Of the logarithms of v_x, v_y and v_z; epsilon squared (Kelley 1935), which chance alone leaves at 0. None where
    fewer than two subjects have two sequences each.
    """
    groups = [
        np.log(np.maximum([motion.speed_mm_s[REGION_NAMES.index("lips")] for motion in motions if motion.steps], 1e-3))
        for subject, motions in by_subject(surveyed).items()
        if subject != UNKNOWN and sum(motion.steps > 0 for motion in motions) > 1
    ]
    if len(groups) < 2:
        return None
    everyone = np.concatenate(groups)
    within = sum(float(np.square(group - group.mean(axis=0)).sum()) for group in groups)
    total = float(np.square(everyone - everyone.mean(axis=0)).sum())
    if total <= 0:
        return None
    count = len(everyone)
    return max(0.0, 1 - (within / (count - len(groups))) / (total / (count - 1)))


def expressed(surveyed: Sequence[Surveyed], region_parcels: Mapping[str, Mapping[str, np.ndarray]]) -> list[Expressed]:
    """Every sequence of a subject who also has neutral ones of the same model.

    `region_parcels` are, by model and region, which small regions lie in it.
    """
    groups: dict[tuple[str, str], list[Surveyed]] = defaultdict(list)
    for each in surveyed:
        if each.motion is not None and each.motion.steps and each.recording.subject and each.recording.emotion:
            groups[each.recording.subject, each.motion.model].append(each)
    return [
        result
        for (_, model), members in sorted(groups.items())
        for result in _against_neutral(members, region_parcels[model])
    ]


def _against_neutral(members: Sequence[Surveyed], parcels: Mapping[str, np.ndarray]) -> list[Expressed]:
    neutral = [each.motion for each in members if each.recording.emotion == NEUTRAL and each.motion is not None]
    usual = speeds(neutral)
    if usual is None:
        return []
    place_m = np.average([each.place_m for each in neutral], axis=0, weights=[each.usable for each in neutral])
    return [
        _compared(each.recording.emotion or UNKNOWN, each.motion, usual, place_m=place_m, parcels=parcels)
        for each in members
        if each.motion is not None
    ]


def _compared(
    emotion: str, motion: Motion, usual: Speeds, *, place_m: np.ndarray, parcels: Mapping[str, np.ndarray]
) -> Expressed:
    shift_mm = np.linalg.norm(motion.place_m - place_m, axis=1) * 1000
    rows = {region: REGION_NAMES.index(region) for region in COMPARED}
    return Expressed(
        motion.model,
        emotion,
        speed_ratio={
            region: float(motion.length_mm_s[row] / max(usual.length_mm_s[row], 1e-9)) for region, row in rows.items()
        },
        shift_mm={region: float(shift_mm[parcels[region]].mean()) for region in COMPARED},
        parcel_shift_mm=shift_mm,
    )


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    low, middle, high = np.percentile(values, [25, 50, 75])
    return float(low), float(middle), float(high)


def graphs(surveyed: Sequence[Surveyed]) -> list[Graph]:
    """A graph for every model, that of the most sequences first."""
    of_model: dict[str, list[Motion]] = defaultdict(list)
    for each in surveyed:
        if each.motion is not None and each.motion.steps >= LEAST_STEPS:
            of_model[each.motion.model].append(each.motion)
    ordered = sorted(of_model.items(), key=lambda entry: (-len(entry[1]), entry[0]))
    return [Graph(model, len(motions), _mean_correlation(motions)) for model, motions in ordered]


def _mean_correlation(motions: Sequence[Motion]) -> Float[np.ndarray, "n_parcels n_parcels"]:
    total = np.zeros_like(motions[0].correlation)
    weight = np.zeros_like(total)
    for motion in motions:
        known = np.isfinite(motion.correlation)
        total += motion.steps * np.where(known, motion.correlation, 0.0)
        weight += motion.steps * known
    return np.where(weight > 0, total / np.maximum(weight, 1), np.nan)


def status_counts(surveyed: Sequence[Surveyed]) -> Counter[int]:
    """How many frames have which status."""
    counts: Counter[int] = Counter()
    for each in surveyed:
        if each.motion is not None:
            counts.update(each.motion.frames_by_status)
    return counts


def median_duration_s(motions: Sequence[Motion]) -> float:
    """Of at least one sequence."""
    return median(each.duration_s for each in motions)
