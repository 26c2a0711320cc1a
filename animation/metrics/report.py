"""What an evaluation found: every number with all that it depends on, and every sequence's own values."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import JsonValue, TypeAdapter, ValidationError

from mmface4d.errors import InputError
from mmface4d.files import read_json

FORMAT = 1
STILL = "still"  # in place of a protocol: the template that never moves, which any model should beat


@dataclass(frozen=True)
class Number:
    """One metric under one protocol; intervals are of 95 %, None where there are fewer than 3 to draw from.

    `value` is the mean over the seeds that chose the drivers, `sd_over_seeds` how much they differ.
    """

    metric: str
    title: str
    value: float | None  # None: no sequence has one
    unit: str
    mask: str
    mask_sha256: str
    mask_vertices: int
    pooling: str
    source: str
    protocol: str
    n_frames: int
    n_sequences: int
    n_subjects: int
    seeds: tuple[int, ...]
    sd_over_seeds: float | None
    interval: tuple[float, float] | None  # over sequences
    interval_over_subjects: tuple[float, float] | None


@dataclass(frozen=True)
class ClipScore:
    """One sequence under one protocol and seed: its share of each metric, as total and weight."""

    clip: str
    subject: str
    n_frames: int
    protocol: str
    seed: int
    driver: str | None  # None: nobody was shown
    shares: dict[str, tuple[float, float]]

    def value(self, metric: str) -> float | None:
        """The sequence's own value of a metric, None where it has none."""
        total, weight = self.shares[metric]
        return total / weight if weight else None


@dataclass(frozen=True)
class Report:
    """An evaluation of one model on one split of one corpus."""

    model: str
    options: dict[str, JsonValue]  # what the model was built with, other than by default
    training_seed: int | None
    weights_sha256: str
    trained_on: str
    data: str
    licence: str
    split: str
    fps: float
    topology: str
    topology_sha256: str
    encoder: str
    style: str  # what the model knows of a speaker: clip, subject or none
    numbers: tuple[Number, ...]
    clips: tuple[ClipScore, ...]
    vertex_mm: dict[str, tuple[float, ...]]  # by protocol: the mean distance of each vertex, over sequences
    notes: tuple[str, ...] = ()
    settings: dict[str, JsonValue] = field(default_factory=dict)  # of its training, such as budget.updates
    format: Literal[1] = FORMAT

    def number(self, metric: str, protocol: str) -> Number:
        """One number; raises InputError where it was not measured."""
        for each in self.numbers:
            if (each.metric, each.protocol) == (metric, protocol):
                return each
        raise InputError(f"{metric} was not measured by the protocol {protocol}", hint="evaluate with that protocol")

    @property
    def label(self) -> str:
        """The model with what it was built with, to tell it from others."""
        return ", ".join([self.model, *(f"{name} = {value}" for name, value in self.options.items())])

    @property
    def protocols(self) -> tuple[str, ...]:
        """Those that were measured, in order."""
        return tuple(dict.fromkeys(each.protocol for each in self.numbers))

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain values."""
        return asdict(self)


def read_report(path: Path) -> Report:
    """Reads a report's JSON; raises InputError where it is damaged."""
    try:
        return TypeAdapter(Report).validate_python(read_json(path))
    except ValidationError as error:
        raise InputError(f"{path} is no report of an evaluation", hint="make one: mmface4d evaluate --json") from error
