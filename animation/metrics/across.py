"""Several evaluations side by side: the same model trained with several seeds, or several models."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from animation.metrics.bootstrap import bootstrap_change
from animation.metrics.errors import Share, mean_share, pooled
from animation.metrics.report import Report
from mmface4d.errors import InputError

Change = tuple[float, tuple[float, float] | None]  # as a share, with its interval


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


def told_apart(reports: Sequence[Report]) -> list[Report]:
    """The reports, where one model was trained with several settings with those that differ among its options.

    What has one label after this was trained alike but for the seed and the machine.
    """

    def differing(report: Report) -> dict[str, Any]:
        of_model = [each.settings for each in reports if each.label == report.label]
        names = dict.fromkeys(name for settings in of_model for name in settings)
        own = report.settings
        return {name: own.get(name) for name in names if any(each.get(name) != own.get(name) for each in of_model)}

    return [replace(each, options={**each.options, **differing(each)}) for each in reports]


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


def change(ours: Sequence[Report], theirs: Sequence[Report], metric: str, *, protocol: str) -> Change:
    """By how much a model's trainings differ from another's, as a share, and the interval over other sequences.

    Each sequence has its mean over trainings and seeds; sequences are drawn in pairs. Raises InputError where there is
    nothing to compare with.
    """
    check_alike([*ours, *theirs])
    found = _change(ours, theirs, metric, protocol=protocol)
    if found is None:
        raise InputError(f"{metric} has no values to compare by the protocol {protocol}", hint="choose another metric")
    return found


def changes_of_first(reports: Sequence[Report], metric: str, *, protocol: str) -> list[Change | None]:
    """How the first model differs from each other one, in the order in which these come up.

    None for one that makes no error at all, of which no other is a share.
    """
    check_alike(reports)
    by_label: dict[str, list[Report]] = {}
    for each in reports:
        by_label.setdefault(each.label, []).append(each)
    first, *others = by_label.values()
    return [_change(first, other, metric, protocol=protocol) for other in others]


def check_alike(reports: Sequence[Report]) -> None:
    """Raises InputError where the reports' numbers do not compare."""
    for name in ("data", "split", "fps", "topology_sha256"):
        told = dict.fromkeys(getattr(each, name) for each in reports)
        if len(told) > 1:
            raise InputError(
                f"these evaluations do not compare, their {name} differs: {' and '.join(map(str, told))}",
                hint="evaluate all models on the same split of the same data, at one frame rate",
            )
    for label in dict.fromkeys(each.label for each in reports):
        same = [each for each in reports if each.label == label]
        for name, words in (("encoder", "speech features"), ("trained_on", "data"), ("settings", "settings")):
            if any(getattr(each, name) != getattr(same[0], name) for each in same):
                raise InputError(
                    f"{label} was trained with different {words}: these are no trainings of one model",
                    hint="evaluate them one by one",
                )
    weights = [each.weights_sha256 for each in reports]
    if len(set(weights)) < len(weights):
        raise InputError("one model is among them twice", hint="give each training's checkpoint once")
    masks = {(number.mask, number.mask_sha256) for each in reports for number in each.numbers}
    if len(masks) > len({name for name, _ in masks}):
        raise InputError("these evaluations do not compare, their masks differ", hint="evaluate with the same masks")


def _change(ours: Sequence[Report], theirs: Sequence[Report], metric: str, *, protocol: str) -> Change | None:
    both = [_shares(each, metric, protocol) for each in (ours, theirs)]
    common = [name for name in both[0] if name in both[1]]
    mine, other = ([shares[name] for name in common] for shares in both)
    if not common or not np.isfinite(pooled(other)) or not pooled(other):
        return None
    return pooled(mine) / pooled(other) - 1, bootstrap_change(mine, other)


def _across(label: str, what: tuple[str, str, str], values: Sequence[float | None]) -> Across:
    known = tuple(value for value in values if value is not None)
    spread = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return Across(label, *what, mean=float(np.mean(known)), sd=spread, values=known)


def _shares(reports: Sequence[Report], metric: str, protocol: str) -> dict[str, Share]:
    """Of each sequence that has one, the mean over trainings and the seeds that chose its drivers."""
    of_clip: dict[str, list[tuple[float, float]]] = {}
    for score in (score for each in reports for score in each.clips):
        if score.protocol == protocol:
            of_clip.setdefault(score.clip, []).append(score.shares[metric])
    means = {name: mean_share(shares) for name, shares in of_clip.items()}
    return {name: share for name, share in means.items() if share}
