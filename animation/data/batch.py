"""What a model sees: several clips side by side, padded, in normalised units."""

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

UNKNOWN_SUBJECT = -1


@dataclass(frozen=True)
class Style:
    """Whose manner of speaking is wanted: a driving clip as displacements from its own subject's template, or a number.

    `subject` counts the training subjects; UNKNOWN_SUBJECT where the person is none of them.
    """

    driver: Float[Tensor, "n_batch n_driver n_verts 3"]
    driver_mask: Bool[Tensor, "n_batch n_driver"]  # false: padding
    subject: Int[Tensor, "n_batch"]

    def to(self, device: torch.device | str) -> "Style":
        return replace(self, **{field.name: getattr(self, field.name).to(device) for field in fields(self)})


@dataclass(frozen=True)
class Batch:
    """Clips at one rate. Positions are normalised, x' = (x - mean) / std; displacements from the template, d / std."""

    audio: Float[Tensor, "n_batch n_frames n_audio"]  # features, one row a frame
    displacement: Float[Tensor, "n_batch n_frames n_verts 3"]  # what is to be predicted
    frame_mask: Bool[Tensor, "n_batch n_frames"]  # false: padding
    template: Float[Tensor, "n_batch n_verts 3"]
    style: Style

    def to(self, device: torch.device | str) -> "Batch":
        moved = {f.name: getattr(self, f.name).to(device) for f in fields(self)}
        return replace(self, **moved)
