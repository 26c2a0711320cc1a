"""ResNet1D: residual units of two convolutions over time, as ResNet has them over images (He et al. 2016, section 3).

The form is that of MMFace4D's animation model (section VI): a convolution of three frames, normalisation, PReLU, again
a convolution and a normalisation, plus a short cut without an activation behind it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import mul

from jaxtyping import Bool, Float
from torch import Tensor, nn

from animation.models.layers import FrameMask, MaskedConv1d, norm_layer

WIDTH = 3  # frames of a convolution


@dataclass(frozen=True)
class Stage:
    """Some units of one width; the first one takes every `stride`-th frame."""

    n_channels: int
    stride: int = 1
    n_units: int = 2


class ResidualUnit(nn.Module):
    """Two convolutions and a short cut."""

    def __init__(self, n_in: int, n_out: int, *, stride: int, norm: str) -> None:
        super().__init__()
        self.stride = stride
        self.first = MaskedConv1d(n_in, n_out, width=WIDTH, stride=stride)
        self.first_norm = norm_layer(norm, n_out)
        self.activation = nn.PReLU(n_out)
        self.second = MaskedConv1d(n_out, n_out, width=WIDTH)
        self.second_norm = norm_layer(norm, n_out)
        changes = stride != 1 or n_in != n_out
        self.shortcut = MaskedConv1d(n_in, n_out, width=1, stride=stride) if changes else None

    def forward(
        self, frames: Float[Tensor, "n_batch n_in n_frames"], mask: FrameMask | None
    ) -> Float[Tensor, "n_batch n_out n_kept"]:
        kept = strided(mask, self.stride)
        hidden = self.activation(self.first_norm(self.first(frames, mask), kept))
        around = frames if self.shortcut is None else self.shortcut(frames, mask)
        return around + self.second_norm(self.second(hidden, kept), kept)


class ResNet1d(nn.Module):
    """Stages of residual units. Frame k of the output stands for frame k * stride of the input."""

    def __init__(self, n_in: int, stages: Sequence[Stage], *, norm: str) -> None:
        super().__init__()
        self.strides = [stage.stride if unit == 0 else 1 for stage in stages for unit in range(stage.n_units)]
        widths = [stage.n_channels for stage in stages for _ in range(stage.n_units)]
        self.units = nn.ModuleList(
            ResidualUnit(before, width, stride=stride, norm=norm)
            for before, width, stride in zip([n_in, *widths], widths, self.strides, strict=False)
        )

    @property
    def stride(self) -> int:
        """Of the whole."""
        return math.prod(self.strides)

    @property
    def halo_frames(self) -> int:
        """How many frames of the input to each side an output frame depends on."""
        steps = list(accumulate(self.strides, mul, initial=1))
        return sum((before + after) * (WIDTH // 2) for before, after in pairwise(steps))

    def forward(
        self, frames: Float[Tensor, "n_batch n_in n_frames"], mask: FrameMask | None
    ) -> Float[Tensor, "n_batch n_out n_kept"]:
        for unit, stride in zip(self.units, self.strides, strict=True):
            frames, mask = unit(frames, mask), strided(mask, stride)
        return frames


def strided(mask: FrameMask | None, stride: int) -> Bool[Tensor, "n_batch n_kept"] | None:
    """The mask of every `stride`-th frame."""
    return None if mask is None else mask[:, ::stride]
