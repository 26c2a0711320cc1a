"""Layers over time that are right where clips of several lengths lie side by side, padded.

A mask is true where a frame is real. None says that all are, which saves time when nothing is padded.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

Frames = Float[Tensor, "n_batch n_channels n_frames"]
FrameMask = Bool[Tensor, "n_batch n_frames"]


def masked(frames: Frames, mask: FrameMask | None) -> Frames:
    """Padding as zeros, which is what a convolution sees beyond a clip's ends."""
    return frames if mask is None else frames * mask[:, None].to(frames.dtype)


class MaskedConv1d(nn.Module):
    """A convolution over time whose values at real frames do not depend on what is in the padding."""

    def __init__(self, n_in: int, n_out: int, *, width: int = 3, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        padding = dilation * (width - 1) // 2
        self.conv = nn.Conv1d(n_in, n_out, width, stride=stride, padding=padding, dilation=dilation, bias=False)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(
        self, frames: Float[Tensor, "n_batch n_in n_frames"], mask: FrameMask | None
    ) -> Float[Tensor, "n_batch n_out n_kept"]:
        return self.conv(masked(frames, mask))


class MaskedBatchNorm(nn.Module):
    """Batch normalisation over the real frames of a batch.

    What it learns of them is used when the model is judged; it then works frame by frame, so that chunks come out as
    the whole does, and one clip alone as among others.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, n_channels: int, *, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight = nn.Parameter(torch.ones(n_channels))
        self.bias = nn.Parameter(torch.zeros(n_channels))
        self.register_buffer("running_mean", torch.zeros(n_channels))
        self.register_buffer("running_var", torch.ones(n_channels))

    def forward(self, frames: Frames, mask: FrameMask | None) -> Frames:
        if not self.training:
            return F.batch_norm(frames, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        if mask is None:
            mask = frames.new_ones(frames.shape[0], frames.shape[2], dtype=torch.bool)
        mean, variance = self._measure(frames, mask)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return frames * scale[:, None] + (self.bias - mean * scale)[:, None]

    def _measure(self, frames: Frames, mask: FrameMask) -> tuple[Tensor, Tensor]:
        """Mean and variance of every channel over the real frames; the running ones take a step towards them."""
        frames = frames.to(torch.promote_types(frames.dtype, torch.float32))  # half the precision has 3 digits
        count = mask.sum().clamp(min=1)
        mean = masked(frames, mask).sum(dim=(0, 2)) / count
        variance = masked((frames - mean[:, None]) ** 2, mask).sum(dim=(0, 2)) / count
        with torch.no_grad():
            unbiased = variance * count / (count - 1).clamp(min=1)
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)
        return mean, variance


class FrameNorm(nn.Module):
    """Layer normalisation over the channels of each frame: knows nothing of time, nor of the other clips."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(n_channels)), nn.Parameter(torch.zeros(n_channels))

    def forward(self, frames: Frames, mask: FrameMask | None) -> Frames:
        return F.layer_norm(frames.transpose(1, 2), self.weight.shape, self.weight, self.bias).transpose(1, 2)


def norm_layer(kind: str, n_channels: int) -> MaskedBatchNorm | FrameNorm:
    """By name: batch or frame."""
    return MaskedBatchNorm(n_channels) if kind == "batch" else FrameNorm(n_channels)


def mean_over_frames(
    values: Float[Tensor, "n_batch n_frames"], mask: Bool[Tensor, "n_batch n_frames"]
) -> Float[Tensor, ""]:
    """Of the real frames of all clips together; 0 where there are none."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def squared_distance(
    one: Float[Tensor, "n_batch n_frames n_verts 3"], other: Float[Tensor, "n_batch n_frames n_verts 3"]
) -> Float[Tensor, "n_batch n_frames"]:
    """Mean over vertices of the squared distance, frame by frame."""
    return (one - other).square().sum(dim=-1).mean(dim=-1)
