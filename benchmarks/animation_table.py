"""The race of the animation models as Markdown tables."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from animation.metrics.report_text import FAIR

WORDS = {"lip_max": "lips, max", "lip_mean": "lips, mean", "upper_max": "upper face, max", "face_max": "face, max"}


def markdown(found: dict[str, Any]) -> str:
    """Tables of what the race found: errors in mm, margins in percent, ablations."""
    return "\n".join(
        [
            "Errors in mm, mean ± standard deviation over the seeds:\n",
            *_table(["", "updates", "processor s", *WORDS.values()], _error_rows(found)),
            "\nBy how much audio2face's errors are below, in percent, with the paper's margin in brackets:\n",
            *_table(["", *WORDS.values()], _margin_rows(found)),
            "\nWhat the parts of audio2face are for, in percent by which errors grow without them:\n",
            *_table(["", *WORDS.values()], _ablation_rows(found["ablations"])),
        ]
    )


def _error_rows(found: dict[str, Any]) -> Iterator[list[str]]:
    for name, errors in (("still", found["still"]), *found["references"].items()):
        yield [f"*{name}*", "", "", *(f"{errors[metric]:.2f}" for metric in WORDS)]
    for race in ("equal updates", "equal time"):
        for name, each in found[race].items():
            counts = [_range(each["updates"]), _range(each["cpu_seconds"])]
            yield [f"{name}, {race}", *counts, *(_spread(each[FAIR][metric], 1, 2) for metric in WORDS)]


def _margin_rows(found: dict[str, Any]) -> Iterator[list[str]]:
    for race in ("equal updates", "equal time"):
        for rival, margins in found[f"margins at {race}"].items():
            cells = [f"{_spread(margins[metric], 100, 1)} ({100 * margins[metric]['paper']:.0f})" for metric in WORDS]
            yield [f"{rival}, {race}", *cells]


def _ablation_rows(ablations: dict[str, Any]) -> Iterator[list[str]]:
    for name in ("without composite", "without regional"):
        worse = ablations[f"{name} is worse by"]
        yield [name, *(_spread(worse[metric], 100, 1) for metric in WORDS)]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def _spread(value: dict[str, Any], factor: int, digits: int) -> str:
    told = [value[name] for name in ("mean", "sd") if value[name] is not None]
    return " ± ".join(f"{factor * each:.{digits}f}" for each in told)


def _range(values: Sequence[int | float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.0f}" if round(low) == round(high) else f"{low:.0f} to {high:.0f}"
