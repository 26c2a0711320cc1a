"""Several evaluations side by side: the same model trained with several seeds, or several models."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from animation.metrics.bootstrap import bootstrap_change
from animation.metrics.errors import Share
from animation.metrics.report import Report
from mmface4d.errors import InputError


@dataclass(frozen=True)
class Across:
    """One metric of one model over its trainings: `sd` is of the sample, None where there is one training."""

    model: str
    metric: str
    protocol: str
    unit: str
    mean: float
    sd: float | None
    values: tuple[float, ...]


def across(reports: Sequence[Report]) -> tuple[Across, ...]:
    """Mean and spread over the trainings of each model, for everything that all of them measured.

    Raises InputError where they measured different things: another corpus, split, rate, mesh or mask.
    """
    check_alike(reports)
    found = []
    for label in dict.fromkeys(each.label for each in reports):
        some = [each for each in reports if each.label == label]
        for number in some[0].numbers:
            values = [each.number(number.metric, number.protocol).value for each in some]
            if all(value is not None for value in values):
                found.append(_across(label, (number.metric, number.protocol, number.unit), values))
    return tuple(found)


def across_json(reports: Sequence[Report]) -> dict[str, Any]:
    """All reports, and the means over trainings."""
    return {
        "format": 1,
        "reports": [each.to_json() for each in reports],
        "across": [asdict(each) for each in across(reports)],
    }


def change(ours: Report, theirs: Report, metric: str, *, protocol: str) -> tuple[float, tuple[float, float] | None]:
    """By how much ours differs, as a share of theirs, and in which interval that lies over other sequences."""
    check_alike((ours, theirs))
    both = [_shares(each, metric, protocol) for each in (ours, theirs)]
    common = [name for name in both[0] if name in both[1]]
    values = [each.number(metric, protocol).value for each in (ours, theirs)]
    if not common or values[0] is None or not values[1]:
        raise InputError(f"{metric} has no values to compare by the protocol {protocol}", hint="choose another metric")
    pairs = [[shares[name] for name in common] for shares in both]
    return values[0] / values[1] - 1, bootstrap_change(*pairs)


def check_alike(reports: Sequence[Report]) -> None:
    """Raises InputError where the reports' numbers do not compare."""
    for name in ("data", "split", "fps", "topology_sha256"):
        told = dict.fromkeys(getattr(each, name) for each in reports)
        if len(told) > 1:
            raise InputError(
                f"these evaluations do not compare, their {name} differs: {' and '.join(map(str, told))}",
                hint="evaluate all models on the same split of the same data, at one frame rate",
            )
    masks = {(number.mask, number.mask_sha256) for each in reports for number in each.numbers}
    if len(masks) > len({name for name, _ in masks}):
        raise InputError("these evaluations do not compare, their masks differ", hint="evaluate with the same masks")


def _across(label: str, what: tuple[str, str, str], values: Sequence[float | None]) -> Across:
    known = tuple(value for value in values if value is not None)
    spread = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return Across(label, *what, mean=float(np.mean(known)), sd=spread, values=known)


def _shares(report: Report, metric: str, protocol: str) -> dict[str, Share]:
    """Of each sequence, the mean over the seeds that chose its drivers."""
    of_clip: dict[str, list[tuple[float, float]]] = {}
    for score in report.clips:
        if score.protocol == protocol:
            of_clip.setdefault(score.clip, []).append(score.shares[metric])
    return {name: Share(*np.mean(shares, axis=0).tolist()) for name, shares in of_clip.items()}
