"""Units in which models compute: positions minus a mean point, over one number for all axes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from animation.data.clip import Clip
from mmface4d.arrays import Vertices

FRAMES_OF_A_CLIP = 64


@dataclass(frozen=True)
class Normalisation:
    """x' = (x - mean) / std for positions, d / std for displacements; metres."""

    mean: Float[np.ndarray, "3"]
    std: float

    def positions(self, points_m: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
        """float32, from metres."""
        return ((points_m - self.mean) / self.std).astype(np.float32)

    def displacements(self, steps_m: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
        """float32, from metres."""
        return (steps_m / np.float32(self.std)).astype(np.float32)

    def displacements_m(self, normalised: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
        """float32 metres, from normalised ones."""
        return (normalised * np.float32(self.std)).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        """As it is kept beside weights."""
        return {"mean": [float(each) for each in self.mean], "std": self.std}


def fit_normalisation(clips: Sequence[Clip], templates: Mapping[str, Vertices]) -> Normalisation:
    """Mean and standard deviation of the positions in the training clips and their subjects' templates."""
    raise NotImplementedError
