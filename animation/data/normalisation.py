"""Units in which models compute: positions minus a mean point, over one number for all axes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from animation.data.clip import Clip
from mmface4d.arrays import Vertices
from mmface4d.errors import InputError

FRAMES_OF_A_CLIP, FRAMES_IN_ALL = 64, 16_384


@dataclass(frozen=True)
class Normalisation:
    """x' = (x - mean) / std for positions, d / std for displacements; metres."""

    mean: Float[np.ndarray, "3"]
    std: float

    def positions(self, points_m: Float[np.ndarray, "*batch 3"]) -> Float32[np.ndarray, "*batch 3"]:
        """From metres."""
        return ((points_m - self.mean) / self.std).astype(np.float32, copy=False)

    def displacements(self, steps_m: Float[np.ndarray, "*batch 3"]) -> Float32[np.ndarray, "*batch 3"]:
        """From metres."""
        return (steps_m / np.float32(self.std)).astype(np.float32, copy=False)

    def displacements_m(self, normalised: Float[np.ndarray, "*batch 3"]) -> Float32[np.ndarray, "*batch 3"]:
        """To metres."""
        return (normalised * np.float32(self.std)).astype(np.float32, copy=False)

    def to_json(self) -> dict[str, Any]:
        """As it is kept beside weights."""
        return {"mean": [float(each) for each in self.mean], "std": self.std}


def fit_normalisation(clips: Sequence[Clip], templates: Mapping[str, Vertices]) -> Normalisation:
    """Mean along each axis and one standard deviation of all positions (MMFace4D, VI).

    Of up to 64 frames of each training clip (fewer where there are more than 256), spread evenly and weighted by its
    length, and of its subject's template as one frame more. Raises InputError without clips, or where all is one point.
    """
    if not clips:
        raise InputError("no clip to train on", hint="put subjects into the training split")
    weight, first, second = 0.0, np.zeros(3), np.zeros(3)
    most = max(min(FRAMES_OF_A_CLIP, FRAMES_IN_ALL // len(clips)), 4)
    for clip in clips:
        chosen = np.unique(np.linspace(0, clip.n_frames - 1, min(most, clip.n_frames)).astype(int))
        told = [(clip.frames(row, row + 1)[0], clip.n_frames / len(chosen)) for row in chosen.tolist()]
        for points, each in (*told, (templates[clip.subject], 1.0)):
            exact = points.astype(np.float64)
            weight += each
            first += each * exact.mean(axis=0)
            second += each * np.square(exact).mean(axis=0)
    mean = first / weight
    std = float(np.sqrt(max(float((second / weight - np.square(mean)).mean()), 0.0)))
    if not np.isfinite(std) or std < 1e-9:
        raise InputError("the clips have no extent, or vertices that are no numbers", hint="check where they come from")
    return Normalisation(mean, std)
