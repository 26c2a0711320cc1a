"""Every number that an evaluation gives: its unit, its mask, how it is pooled, and where its definition is from."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Literal

import numpy as np
from jaxtyping import Float

from animation.data.corpus import Mask
from animation.metrics.dtw import dtw
from animation.metrics.dynamics import FDD_PRESETS, deviation
from animation.metrics.errors import (
    LVE_PRESETS,
    Reduce,
    Share,
    Unit,
    distances,
    every_vertex,
    mean_of_maxima,
    scale,
    share_of,
)  # fmt: skip
from animation.metrics.velocity import AXES, Velocity, velocity
from mmface4d.arrays import Vertices

LIPS, UPPER, FACE, ALL = "lips", "upper_face", "face", "all"
NAMES = {LIPS: ("lip", "lips"), UPPER: ("upper", "upper face"), FACE: ("face", "face"), ALL: ("mesh", "whole mesh")}
Motion = Literal["predicted", "true", "difference"]
MOTIONS: tuple[Motion, Motion] = ("predicted", "true")
Pooling = Literal["sequences", "frames", "ratio"]
POOLING_WORDS: dict[Pooling, str] = {
    "sequences": "mean of the sequences' own means",
    "frames": "mean over all frames of all sequences",
    "ratio": "sum over all sequences of the one, over the sum of the other",
}
PAPER = "MMFace4D, section VII"
FDD_SOURCES: dict[str, tuple[str, str]] = {
    "code-signed-squared": ("fdd_code", "codetalker's code"),
    "abs": ("fdd_abs", "facediffuser's code"),
    "paper-norm": ("fdd_paper", "CodeTalker's paper"),
}


@dataclass(frozen=True)
class Pair:
    """A predicted and a true sequence of a subject, float64 metres, frame by frame."""

    predicted: Float[np.ndarray, "n_frames n_verts 3"]
    truth: Float[np.ndarray, "n_frames n_verts 3"]
    template: Vertices
    fps: float
    _velocities: dict[tuple[str, str], Velocity] = field(default_factory=dict, init=False)

    @cached_property
    def distance(self) -> Float[np.ndarray, "n_frames n_verts"]:
        """Of each vertex from its true place."""
        return distances(self.predicted, self.truth)

    def velocity(self, of: Motion, mask: Mask) -> Velocity:
        """Of the prediction, the truth or their difference; each is computed once."""
        key = of, mask.sha256
        if key not in self._velocities:
            motion = {"predicted": self.predicted, "true": self.truth}.get(of)
            motion = self.predicted - self.truth if motion is None else motion
            self._velocities[key] = velocity(motion, vertices=mask.vertices, fps=self.fps)
        return self._velocities[key]


@dataclass(frozen=True)
class Definition:
    """One number. `measure` gives a sequence's share of it."""

    name: str
    title: str
    unit: str  # of lengths or speeds; empty for a ratio
    mask: str
    pooling: Pooling
    source: str
    measure: Callable[[Pair, Mask], Share]


def every_definition() -> tuple[Definition, ...]:
    """All that an evaluation measures; the first ones are the MMFace4D paper's."""
    return (*_errors(), *_published(), *_dynamics(), *_speeds())


def masks_of(masks: Mapping[str, Mask], n_verts: int) -> dict[str, Mask]:
    """A topology's masks, and the one of all its vertices."""
    return {**masks, ALL: every_vertex(n_verts)}


def _errors() -> Iterator[Definition]:
    """Maximal and mean errors of the regions, in millimetres."""
    for mask, (short, title) in NAMES.items():
        for kind, measure in (("max", _largest), ("mean", _mean)):
            in_mm = partial(measure, unit="mm")
            yield Definition(f"{short}_{kind}", f"{title}, {kind}", "mm", mask, "sequences", PAPER, in_mm)


def _published() -> Iterator[Definition]:
    """The same kinds of error as others publish them."""
    for name, flags in LVE_PRESETS.items():
        pooling: Pooling = "frames" if flags["reduce"] == "frame" else "sequences"
        unit = flags["unit"] + ("²" if flags["squared"] else "")
        measure = partial(_largest, unit=flags["unit"], squared=flags["squared"], reduce=flags["reduce"])
        yield Definition(f"lve_{name}", f"LVE, {name}", unit, LIPS, pooling, f"{name}'s code", measure)
    over_frames = partial(_mean, unit="m", reduce="frame")
    yield Definition("fve_mmhead", "FVE, mmhead", "m", FACE, "sequences", "mmhead's code", partial(_mean, unit="m"))
    yield Definition("mve", "MVE", "m", ALL, "frames", "facediffuser's code", over_frames)


def _dynamics() -> Iterator[Definition]:
    for preset, (name, source) in FDD_SOURCES.items():
        unit = "m²" if FDD_PRESETS[preset]["squared"] else "m"
        measure = partial(_deviation, **FDD_PRESETS[preset])
        yield Definition(name, f"FDD, {preset}", unit, UPPER, "sequences", source, measure)
    source = "the MM 2023 audio2face code"
    yield Definition("dtw_lips", "DTW of the lips, path sum", "m", LIPS, "sequences", source, _warped)


def _speeds() -> Iterator[Definition]:
    for mask in (LIPS, UPPER, FACE):
        title, source = NAMES[mask][1], "MMFace4D, section V"
        for axis, name in enumerate(AXES):
            for of in MOTIONS:
                measure = partial(_speed, of=of, axis=axis)
                words = f"speed of the {title}, {name}, {of}"
                yield Definition(f"speed_{mask}_{name}_{of}", words, "mm/s", mask, "sequences", source, measure)
        words = f"speed of the {title}, predicted over true"
        yield Definition(f"speed_{mask}_ratio", words, "", mask, "ratio", "ours", _speed_ratio)
        words = f"error of the velocity of the {title}"
        yield Definition(f"velocity_error_{mask}", words, "mm/s", mask, "sequences", "ours", _velocity_error)


def _largest(pair: Pair, mask: Mask, *, unit: Unit, squared: bool = False, reduce: Reduce = "sequence") -> Share:
    value = mean_of_maxima(pair.distance, mask.vertices, squared=squared) * scale(unit, squared=squared)
    return share_of(value, len(pair.truth), reduce)


def _mean(pair: Pair, mask: Mask, *, unit: Unit, reduce: Reduce = "sequence") -> Share:
    return share_of(float(pair.distance[:, mask.vertices].mean()) * scale(unit), len(pair.truth), reduce)


def _deviation(pair: Pair, mask: Mask, *, squared: bool, absolute: bool) -> Share:
    value = deviation(pair.predicted, pair.truth, pair.template, vertices=mask.vertices, squared=squared)
    return Share(abs(value) if absolute else value, 1.0)


def _warped(pair: Pair, mask: Mask) -> Share:
    return Share(dtw(pair.predicted, pair.truth, vertices=mask.vertices), 1.0)


def _speed(pair: Pair, mask: Mask, *, of: Motion, axis: int) -> Share:
    return _if_it_moves(pair, float(pair.velocity(of, mask).speed_mm_s[axis]))


def _speed_ratio(pair: Pair, mask: Mask) -> Share:
    """Totals over time, so that long sequences weigh more and a still one does not divide by nothing."""
    steps = len(pair.truth) - 1
    return Share(*(_speed(pair, mask, of=of, axis=AXES.index("length")).total * steps for of in MOTIONS))


def _velocity_error(pair: Pair, mask: Mask) -> Share:
    return _if_it_moves(pair, float(pair.velocity("difference", mask).speed_mm_s[AXES.index("length")]))


def _if_it_moves(pair: Pair, value: float) -> Share:
    """A single frame has no speed, and no share in a mean of speeds."""
    return Share(value, 1.0) if len(pair.truth) > 1 else Share(0.0, 0.0)
