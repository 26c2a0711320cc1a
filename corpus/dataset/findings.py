"""Everything that is told of a set of sequences, computed once: for the terminal, for JSON and for the page."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from corpus.dataset.gather import Gathered
from corpus.dataset.motion import Motion, Yardstick
from corpus.dataset.regions import REGION_NAMES, UNIONS
from corpus.dataset.summary import (
    COMPARED,
    EDGE,
    UNKNOWN,
    Expressed,
    Graph,
    Person,
    Speeds,
    by_emotion,
    by_subject,
    expressed,
    graphs,
    quartiles,
    speeds,
    status_counts,
    style_share,
)
from corpus.dataset.survey import Surveyed
from corpus.statistics import spread
from mmface4d.sequence import STATUS

LIPS = REGION_NAMES.index("lips")
HOW = {
    "speed": (
        "mean absolute displacement of a region's vertices from a frame to the next along an axis of the head, after "
        "the head's rigid motion is removed, measured on forehead, temples and nose; frames where no face was fitted, "
        "and steps over lost frames, do not count"
    ),
    "axes": "x to the subject's left, y up, z forward",
    "share_between_subjects": (
        "part of the variance of the logarithms of the lips' v_x, v_y, v_z that lies between subjects (epsilon squared)"
    ),
    "expressiveness": (
        "each sequence against the neutral ones of the same subject: speed_ratio is how many times as fast the region "
        "moves, shift_mm how far from its mean neutral place it is held; quartiles over sequences"
    ),
    "correlation": (
        "mean over the axes of Pearson's correlation over time between the frame-to-frame displacements of the means "
        f"of two small regions, mean over sequences weighted by steps; edges are those of {EDGE} or more; halves of "
        "the face that move as mirror images do so against each other along x"
    ),
}


@dataclass(frozen=True)
class Findings:
    """What was found; groups are in the order in which they are shown."""

    name: str
    surveyed: list[Surveyed]
    people: list[Person]
    left_out: Counter[str]
    failures: list[str]
    whole: Speeds | None
    subjects: dict[str, Speeds]
    emotions: dict[str, Speeds]
    style: float | None
    expressed: list[Expressed]
    graphs: list[Graph]
    yardsticks: dict[str, Yardstick]

    @property
    def motions(self) -> list[Motion]:
        """Of all sequences that could be measured."""
        return [each.motion for each in self.surveyed if each.motion is not None]

    @property
    def frames_by_status(self) -> Counter[int]:
        """Frames of the measured sequences."""
        return status_counts(self.surveyed)


def findings(gathered: Gathered, surveyed: list[Surveyed], yardsticks: dict[str, Yardstick]) -> Findings:
    """Sums up; `yardsticks` are those of every model that was measured."""
    parcels = {model: region_parcels(by) for model, by in yardsticks.items()}
    measured = {each.recording.subject for each in surveyed if each.motion is not None}
    return Findings(
        name=gathered.name,
        surveyed=surveyed,
        people=[person for name, person in sorted(gathered.people.items()) if name in measured],
        left_out=gathered.left_out,
        failures=[*gathered.damaged, *(each.reason for each in surveyed if each.reason is not None)],
        whole=speeds([each.motion for each in surveyed if each.motion is not None]),
        subjects={name: found for name, each in by_subject(surveyed).items() if (found := speeds(each)) is not None},
        emotions={name: found for name, each in by_emotion(surveyed).items() if (found := speeds(each)) is not None},
        style=style_share(surveyed),
        expressed=expressed(surveyed, parcels),
        graphs=graphs(surveyed),
        yardsticks=yardsticks,
    )


def region_parcels(by: Yardstick) -> dict[str, np.ndarray]:
    """Which small regions lie in each of the compared regions."""
    return {region: np.isin(by.parcels.parts, _with_sides(region, by)) for region in COMPARED}


def _with_sides(region: str, by: Yardstick) -> list[str]:
    return [part for part in by.parcels.parts if part in UNIONS.get(region, (region,))]


def group_matrix(graph: Graph, by: Yardstick) -> tuple[list[str], np.ndarray]:
    """Mean correlation between groups of parts, a region's with itself left out; names and the matrix."""
    names = ["forehead", "brows", "eyes", "nose", "cheeks", "upper_lip", "lower_lip", "around_mouth", "jaw"]
    members = [np.flatnonzero(np.isin(by.parcels.parts, UNIONS.get(name, (name,)))) for name in names]
    values = np.full((len(names), len(names)), np.nan)
    free = np.where(np.eye(len(graph.correlation), dtype=bool), np.nan, graph.correlation)
    for row, one in enumerate(members):
        for column, other in enumerate(members):
            block = free[np.ix_(one, other)]
            if np.isfinite(block).any():
                values[row, column] = np.nanmean(block)
    return names, values


def findings_json(found: Findings) -> dict[str, Any]:
    """The numbers as plain values; units are in their names, and `how` says what they are."""
    motions = found.motions
    return {
        "name": found.name,
        "sequences": len(motions),
        "subjects": len(found.people),
        "frames": sum(each.frames for each in motions),
        "usable_frames": sum(each.usable for each in motions),
        "frames_by_status": {STATUS[code]: count for code, count in sorted(found.frames_by_status.items())},
        "duration_s": _spread([each.duration_s for each in motions]),
        "total_duration_s": round(sum(each.duration_s for each in motions), 2),
        "fps": sorted({round(each.fps, 3) for each in motions}),
        "left_out": dict(found.left_out.most_common()),
        "failed": found.failures,
        "ages": dict(sorted(Counter(str(each.age) for each in found.people if each.age is not None).items())),
        "genders": dict(Counter(each.gender or UNKNOWN for each in found.people).most_common()),
        "speeds": _speeds_json(found.whole),
        "by_subject": {name: _speeds_json(each) for name, each in found.subjects.items()},
        "by_emotion": {name: _speeds_json(each) for name, each in found.emotions.items()},
        "lips_style": {"share_between_subjects": _rounded(found.style), "sequences": _style_points(found)},
        "expressiveness": _expressiveness(found.expressed),
        "correlation": [_graph_json(each, found.yardsticks[each.model]) for each in found.graphs],
        "how": HOW,
    }


def _spread(values: list[float]) -> dict[str, float] | None:
    return {name: round(value, 3) for name, value in vars(spread(values)).items()} if values else None


def _rounded(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else round(value, 4)


def _speeds_json(found: Speeds | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "sequences": found.sequences,
        "steps": found.steps,
        "regions": {
            name: {
                "m_per_frame": dict(zip("xyz", np.round(found.step_m[row], 8).tolist(), strict=True)),
                "mm_per_s": dict(zip("xyz", np.round(found.speed_mm_s[row], 4).tolist(), strict=True)),
                "length_mm_per_s": round(float(found.length_mm_s[row]), 4),
            }
            for row, name in enumerate(REGION_NAMES)
        },
    }


def _style_points(found: Findings) -> list[dict[str, Any]]:
    return [
        {
            "id": each.recording.name,
            "subject": each.recording.subject,
            "emotion": each.recording.emotion,
            "mm_per_s": dict(zip("xyz", np.round(each.motion.speed_mm_s[LIPS], 4).tolist(), strict=True)),
        }
        for each in found.surveyed
        if each.motion is not None and each.motion.steps
    ]


def expressiveness(each: list[Expressed]) -> dict[str, dict[str, dict[str, tuple[float, float, float]]]]:
    """Quartiles over sequences by what is measured (speed_ratio, shift_mm), region and emotion."""
    emotions = list(dict.fromkeys(one.emotion for one in each))
    return {
        what: {
            region: {
                emotion: quartiles([getattr(one, what)[region] for one in each if one.emotion == emotion])
                for emotion in emotions
            }
            for region in COMPARED
        }
        for what in ("speed_ratio", "shift_mm")
    }


def _expressiveness(each: list[Expressed]) -> dict[str, Any]:
    counts = Counter(one.emotion for one in each)
    table = expressiveness(each)
    return {
        emotion: {
            "sequences": count,
            **{
                what: {
                    region: dict(zip(("low", "median", "high"), np.round(row[emotion], 4).tolist(), strict=True))
                    for region, row in rows.items()
                }
                for what, rows in table.items()
            },
        }
        for emotion, count in counts.items()
    }


def _graph_json(graph: Graph, by: Yardstick) -> dict[str, Any]:
    names, values = group_matrix(graph, by)
    parcels = by.parcels.names
    return {
        "model": graph.model,
        "sequences": graph.sequences,
        "small_regions": len(parcels),
        "edges": [[parcels[one], parcels[other], round(value, 4)] for one, other, value in reversed(graph.edges)],
        "between": {
            name: {other: _rounded(float(values[row, column])) for column, other in enumerate(names)}
            for row, name in enumerate(names)
        },
    }
