"""How far predicted meshes are from the true ones: every published definition, by explicit flags.

A number of these means something only with its mask, unit and pooling beside it: see `animation.metrics.report`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

import numpy as np
from jaxtyping import Float, Int

from animation.data.corpus import Mask
from mmface4d.errors import InputError

Motion = Float[np.ndarray, "_ _ 3"]  # a clip's vertices, metres; clips differ in length
Reduce = Literal["frame", "sequence"]
Unit = Literal["m", "mm"]
Length = Literal["min", "strict"]
MM_PER_M = 1000.0


class LveFlags(TypedDict):
    """What `lve` is asked for."""

    reduce: Reduce
    squared: bool
    unit: Unit
    length: Length


# As read in each project's published code; the papers' own words do not fix these flags.
LVE_PRESETS: dict[str, LveFlags] = {
    "codetalker": {"reduce": "frame", "squared": True, "unit": "m", "length": "min"},
    "mmface4d": {"reduce": "sequence", "squared": False, "unit": "m", "length": "strict"},
    "mmhead": {"reduce": "sequence", "squared": False, "unit": "m", "length": "min"},
    "unitalker": {"reduce": "sequence", "squared": True, "unit": "m", "length": "strict"},
    "imitator": {"reduce": "sequence", "squared": False, "unit": "mm", "length": "min"},
}


@dataclass(frozen=True)
class Share:
    """What one sequence gives to a mean over sequences: the mean is the sum of totals over the sum of weights."""

    total: float
    weight: float

    def __bool__(self) -> bool:
        """Whether it changes a mean: a total may come without weight, such as of movement where none is true."""
        return bool(self.total or self.weight)


def mean_share(shares: Sequence[tuple[float, float]]) -> Share:
    """Of one sequence that was measured several times."""
    return Share(*np.mean(shares, axis=0).tolist())


def pooled(shares: Sequence[Share]) -> float:
    """The mean that sequences' shares make; NaN where nothing has weight."""
    weight = sum(share.weight for share in shares)
    return sum(share.total for share in shares) / weight if weight else float("nan")


def share_of(value: float, n_frames: int, reduce: Reduce) -> Share:
    """A sequence's own mean as a share: long ones weigh more where all frames are pooled, and no more otherwise."""
    return Share(value * n_frames, float(n_frames)) if reduce == "frame" else Share(value, 1.0)


def paired(
    predicted: Motion, truth: Motion, *, length: Length, name: str
) -> tuple[Float[np.ndarray, "n_both n_verts 3"], Float[np.ndarray, "n_both n_verts 3"]]:
    """Both as float64 at the same frames: cut to the shorter one ("min"), or as they are ("strict").

    Raises InputError, which names the sequence, where lengths or topologies differ, a value is not finite or nothing
    is left.
    """
    if predicted.shape[1] != truth.shape[1]:
        raise InputError(
            f"{name}: {predicted.shape[1]} vertices are predicted and {truth.shape[1]} are true",
            hint="compare meshes of one topology",
        )
    if length == "strict" and len(predicted) != len(truth):
        raise InputError(
            f"{name}: {len(predicted)} frames are predicted and {len(truth)} are true",
            hint='predict every frame, or compare the frames that both have: length "min"',
        )
    count = min(len(predicted), len(truth))
    if not count:
        raise InputError(f"{name} has no frame", hint="leave it out")
    both = predicted[:count].astype(np.float64), truth[:count].astype(np.float64)
    for what, vertices in zip(("prediction", "truth"), both, strict=True):
        if not np.isfinite(vertices).all():
            raise InputError(f"{name}: the {what} has vertices that are not numbers", hint="leave it out or mend it")
    return both


def distances(
    predicted: Float[np.ndarray, "n_frames n_verts 3"], truth: Float[np.ndarray, "n_frames n_verts 3"]
) -> Float[np.ndarray, "n_frames n_verts"]:
    """Between each vertex and its true place, in the unit of both."""
    return np.sqrt(np.square(predicted - truth).sum(axis=2))


def mean_of_maxima(
    distance: Float[np.ndarray, "n_frames n_verts"], vertices: Int[np.ndarray, "n_in_mask"], *, squared: bool
) -> float:
    """Mean over frames of the largest distance in a mask, squared or not."""
    largest = distance[:, vertices].max(axis=1)
    return float((np.square(largest) if squared else largest).mean())


def lve(
    predicted: Sequence[Motion], truth: Sequence[Motion], mask: Mask, *,
    reduce: Reduce, squared: bool, unit: Unit, length: Length,
) -> float:  # fmt: skip
    """Lip vertex error: the mean over frames of the largest distance in the mask.

    Squared distances are in the unit's square. `reduce` is "frame" where the frames of all sequences are pooled and
    long ones weigh more, "sequence" where each sequence's mean counts once. The published variants are `LVE_PRESETS`;
    with the mask of the upper face or of all vertices this is the MMFace4D paper's maximal error there (section VII).
    """

    def share(p: np.ndarray, g: np.ndarray) -> Share:
        return share_of(mean_of_maxima(distances(p, g), mask.vertices, squared=squared), len(p), reduce)

    check_mask(mask, truth)
    return pooled([share(p, g) for p, g in pairs_of(predicted, truth, length)]) * scale(unit, squared=squared)


def mean_error(
    predicted: Sequence[Motion], truth: Sequence[Motion], mask: Mask, *, reduce: Reduce, unit: Unit, length: Length
) -> float:
    """Mean over frames and the mask's vertices of the distance.

    With "sequence": the MMFace4D paper's average lip error, and FVE with the face's mask (MMHead's code). With "frame"
    and all vertices: MVE (FaceDiffuser's and ProbTalk3D's code).
    """
    check_mask(mask, truth)
    shares = [
        share_of(float(distances(p, g)[:, mask.vertices].mean()), len(p), reduce)
        for p, g in pairs_of(predicted, truth, length)
    ]
    return pooled(shares) * scale(unit)


def scale(unit: Unit, *, squared: bool = False) -> float:
    """What metres, or square metres, are multiplied by."""
    return (MM_PER_M if unit == "mm" else 1.0) ** (2 if squared else 1)


def every_vertex(n_verts: int) -> Mask:
    """The mask of all vertices."""
    return Mask("all", np.arange(n_verts))


def pairs_of(
    predicted: Sequence[np.ndarray], truth: Sequence[np.ndarray], length: Length
) -> list[tuple[np.ndarray, np.ndarray]]:
    if len(predicted) != len(truth) or not predicted:
        raise InputError(
            f"{len(predicted)} sequences are predicted and {len(truth)} are true", hint="give a prediction for each"
        )
    return [
        paired(p, g, length=length, name=f"sequence {number}")
        for number, (p, g) in enumerate(zip(predicted, truth, strict=True))
    ]


def check_mask(mask: Mask, truth: Sequence[np.ndarray]) -> None:
    n_verts = min((each.shape[1] for each in truth), default=0)
    if truth and (not len(mask.vertices) or mask.vertices.min() < 0 or mask.vertices.max() >= n_verts):
        raise InputError(
            f"the mask {mask.name} is empty or names vertices that a mesh of {n_verts} does not have",
            hint="use a mask of this topology",
        )
