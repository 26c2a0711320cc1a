"""Adaptive modulation: the manner of speaking of a driving clip, as a scale and a shift of the speech's features.

Source: MMFace4D, section VI (composite nature), eq. 5 and 6: the driver's features are reduced to their mean and
standard deviation over time, and these scale and shift as AdaIN does (Huang and Belongie 2017).
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from animation.models.layers import FrameMask, Frames, masked
from animation.models.resnet1d import ResNet1d, Stage

Statistic = Literal["mean", "std", "dstd"]
SMALL = 1e-5


def time_statistics(
    frames: Frames, mask: FrameMask, *, which: Sequence[Statistic]
) -> Float[Tensor, "n_batch n_statistics"]:
    """Mean, standard deviation, and that of the differences from frame to frame ("dstd"), over the real frames.

    A clip of one frame has no spread; its standard deviations are next to 0, never NaN.
    """
    found = {
        "mean": lambda: _mean(frames, mask),
        "std": lambda: _std(frames, mask),
        "dstd": lambda: _dstd(frames, mask),
    }
    return torch.cat([found[each]() for each in which], dim=1)


def _mean(frames: Frames, mask: FrameMask) -> Tensor:
    return masked(frames, mask).sum(dim=2) / mask.sum(dim=1, keepdim=True).clamp(min=1)


def _std(frames: Frames, mask: FrameMask) -> Tensor:
    return (_mean((frames - _mean(frames, mask)[:, :, None]) ** 2, mask) + SMALL**2).sqrt()


def _dstd(frames: Frames, mask: FrameMask) -> Tensor:
    if frames.shape[2] < 2:
        return torch.full_like(frames[:, :, 0], SMALL)
    return _std(frames[:, :, 1:] - frames[:, :, :-1], mask[:, 1:] & mask[:, :-1])


class Modulation(nn.Module):
    """A driving clip's embedding to the scale and the shift of `n_channels` features."""

    def __init__(
        self, n_channels: int, *, n_hidden: int, stride: int, statistics: Sequence[Statistic], norm: str
    ) -> None:
        super().__init__()
        self.statistics = tuple(statistics)
        stages = (Stage(n_hidden, stride), Stage(n_hidden, stride))
        self.encoder = ResNet1d(n_channels, stages, norm=norm)
        self.head = nn.Linear(len(self.statistics) * n_hidden, 2 * n_channels)
        with torch.no_grad():  # before any training: a scale about 1, a shift about 0
            self.head.bias.copy_(torch.cat([torch.ones(n_channels), torch.zeros(n_channels)]))

    def forward(
        self, driver: Float[Tensor, "n_batch n_channels n_driver"], mask: FrameMask
    ) -> Float[Tensor, "n_batch n_style"]:
        """[scale, shift] of the features."""
        hidden = self.encoder(driver, mask)
        return self.head(time_statistics(hidden, mask[:, :: self.encoder.stride], which=self.statistics))


def modulate(frames: Frames, code: Float[Tensor, "n_batch n_style"]) -> Frames:
    """F' = scale * F + shift."""
    scale, shift = code.chunk(2, dim=1)
    return frames * scale[:, :, None] + shift[:, :, None]


def without_statistics(frames: Frames, mask: FrameMask | None) -> Frames:
    """Frames freed of their own mean and spread over time, as AdaIN does before it modulates."""
    if mask is None:
        mask = torch.ones_like(frames[:, 0], dtype=torch.bool)
    return (frames - _mean(frames, mask)[:, :, None]) / _std(frames, mask)[:, :, None]
