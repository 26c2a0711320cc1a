"""How much the upper face moves against how much it should: FDD in the published code's form and in the paper's."""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from jaxtyping import Float, Int

from animation.data.corpus import Mask
from animation.metrics.errors import Length, Motion, check_mask, pairs_of
from mmface4d.arrays import Vertices
from mmface4d.errors import InputError


class FddFlags(TypedDict):
    """What `fdd` is asked for."""

    squared: bool
    absolute: bool


FDD_PRESETS: dict[str, FddFlags] = {
    "code-signed-squared": {"squared": True, "absolute": False},  # CodeTalker, FaceDiffuser, DiffSpeaker
    "abs": {"squared": True, "absolute": True},  # FaceDiffuser prints it too
    "paper-norm": {"squared": False, "absolute": False},  # CodeTalker's paper, which its code does not follow
}


def fdd(
    predicted: Sequence[Motion], truth: Sequence[Motion], mask: Mask, *,
    templates: Sequence[Vertices], squared: bool, absolute: bool, length: Length,
) -> float:  # fmt: skip
    """Upper-face dynamics deviation: the mean over sequences of how much more the truth varies than the prediction.

    A vertex varies by the standard deviation over time (of the population) of its distance from the template
    (`squared`: of the square of that). Positive where too little moves; signs cancel between sequences unless
    `absolute`. In metres, or square metres.
    """
    check_mask(mask, truth)
    pairs = pairs_of(predicted, truth, length)
    if len(templates) != len(pairs):
        raise InputError(f"{len(pairs)} sequences have {len(templates)} templates", hint="give one for each")
    for number, ((_, g), template) in enumerate(zip(pairs, templates, strict=True)):
        if template.shape != g.shape[1:]:
            raise InputError(
                f"sequence {number} has {g.shape[1]} vertices, its template {len(template)}",
                hint="give the neutral face of whom it shows, as a mesh of the same topology",
            )
    found = [
        deviation(p, g, template, vertices=mask.vertices, squared=squared)
        for (p, g), template in zip(pairs, templates, strict=True)
    ]
    return float(np.mean(np.abs(found) if absolute else found))


def deviation(
    predicted: Float[np.ndarray, "n_frames n_verts 3"], truth: Float[np.ndarray, "n_frames n_verts 3"],
    template: Vertices, *, vertices: Int[np.ndarray, "n_in_mask"], squared: bool,
) -> float:  # fmt: skip
    """Of one sequence: what `fdd` is the mean of."""
    return _liveliness(truth, template, vertices, squared) - _liveliness(predicted, template, vertices, squared)


def _liveliness(motion: np.ndarray, template: np.ndarray, vertices: np.ndarray, squared: bool) -> float:
    apart = np.square(motion[:, vertices] - template[vertices].astype(np.float64)).sum(axis=2)
    return float((apart if squared else np.sqrt(apart)).std(axis=0).mean())
