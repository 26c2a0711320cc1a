"""Losses and errors while a model trains, as `curves.json` and as a page that keeps itself up to date."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from animation.models.interface import LOSS
from mmface4d.errors import InputError
from mmface4d.files import read_json, write_json
from mmface4d.page.curves import Series, curve_plot
from mmface4d.page.markup import cards, section, table, verdict
from mmface4d.page.page import write_page
from mmface4d.subject import mistakes

CURVES_FILE, PAGE_FILE = "curves.json", "curves.html"
MOST_POINTS = 2000  # of a stage; of more, every second one is left out
RELOAD_S = 10
LIVE = f'<meta http-equiv="refresh" content="{RELOAD_S}">'


@dataclass(frozen=True)
class Point:
    """Values by name at an update of a stage; `seconds` are those that updates took so far, in all stages."""

    stage: str
    update: int
    seconds: float
    values: Mapping[str, float]


@dataclass
class Curves:
    """What was measured so far. `training` points are means since the point before."""

    model: str
    data: str
    training: list[Point] = field(default_factory=list)
    validation: list[Point] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)  # why each finished stage ended
    running: bool = True

    def add_training(self, point: Point) -> None:
        """Adds a point; thins the stage's points where they are many."""
        self.training.append(point)
        if sum(each.stage == point.stage for each in self.training) > MOST_POINTS:
            self.training = _thinned(self.training, point.stage)

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        return {"format": 1, **asdict(self)}

    @classmethod
    def from_json(cls, value: Any) -> "Curves":
        """What `to_json` gave; raises InputError where it is something else."""
        try:
            return TypeAdapter(cls).validate_python(value)
        except ValidationError as error:
            raise InputError(f"these are no curves: {mistakes(error)}", hint="train again") from error

    def write(self, folder: Path) -> None:
        """Both files."""
        write_json(folder / CURVES_FILE, self.to_json())
        write_page(folder / PAGE_FILE, title=f"Training {self.model}", subtitle=f"On {self.data}.", parts=self._parts())

    def _parts(self) -> list[str]:
        stages = list(dict.fromkeys(point.stage for point in self.training))
        head = verdict("look", "Training", f"This page renews itself every {RELOAD_S} s.") + LIVE
        done = verdict("good", "Done", "; ".join(self.ended))
        parts = [head if self.running else done, self._figures()]
        return parts + [part for stage in stages for part in self._stage(stage)]

    def _figures(self) -> str:
        if not self.training:
            return ""
        last = max((*self.training, *self.validation), key=lambda point: point.seconds)
        figures = [("stage", last.stage), ("update", f"{last.update}"), ("minutes", f"{last.seconds / 60:.1f}")]
        return cards(figures)

    def _stage(self, stage: str) -> list[str]:
        training = [point for point in self.training if point.stage == stage]
        validation = [point for point in self.validation if point.stage == stage]
        title = f"Stage {stage}" if stage != "all" else "Loss"
        lead = (
            "Means between two points, and the same loss on validation subjects. What is higher lies on the upper edge."
        )
        parts = [section(title, lead, _plots(training, validation))]
        errors = [name for name in _names(validation) if name != LOSS]
        if errors:
            lead = "Of clips generated for validation subjects, driven by another clip of theirs; millimetres."
            plots = "".join(_plot(name, [_series("validation", validation, name)]) for name in errors)
            parts.append(section("Errors", lead, f'<div class="plots">{plots}</div>' + _rows(validation, errors)))
        return parts


def read_curves(folder: Path) -> Curves | None:
    """What lies beside a checkpoint; None where nothing does; raises InputError where it is damaged."""
    path = folder / CURVES_FILE
    if not path.is_file():
        return None
    try:
        return Curves.from_json(read_json(path))
    except InputError as error:
        raise InputError(f"{path} is damaged: {error.message}", hint="delete it: the model works without") from error


def _thinned(points: Sequence[Point], stage: str) -> list[Point]:
    of_stage = [point for point in points if point.stage == stage]
    return [point for point in points if point.stage != stage] + of_stage[1::2]


def _names(points: Sequence[Point]) -> list[str]:
    return list(dict.fromkeys(name for point in points for name in point.values))


def _series(label: str, points: Sequence[Point], name: str) -> Series:
    kept = [point for point in points if name in point.values]
    return Series(label, [float(point.update) for point in kept], [point.values[name] for point in kept])


def _plots(training: Sequence[Point], validation: Sequence[Point]) -> str:
    plots = []
    for name in _names(training):
        series = [_series("training", training, name)]
        if name == LOSS and validation:
            series.append(_series("validation", validation, name))
        plots.append(_plot(name, series))
    return f'<div class="plots">{"".join(plots)}</div>'


def _plot(name: str, series: Sequence[Series]) -> str:
    return f"<div>{curve_plot(series, title=name.replace('_', ' '), x_unit='updates')}</div>"


def _rows(points: Sequence[Point], names: Sequence[str]) -> str:
    best = {name: min(points, key=lambda point: point.values[name]) for name in names}
    rows = [(name.replace("_", " "), f"{point.values[name]:.4g}", point.update) for name, point in best.items()]
    return table(("best", "value", "update"), rows)
