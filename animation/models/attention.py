"""Attention as FaceFormer needs it: several heads, a bias on the scores, keys that can be kept."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

Rows = Float[Tensor, "n_batch n_rows width"]


class Attention(nn.Module):
    """Self-attention; `project` and `attend` apart, so that a decoder can keep the keys and values of the past."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.inward = nn.Linear(width, 3 * width)
        self.outward = nn.Linear(width, width)

    def project(self, rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each [n_batch, n_heads, n_rows, width / n_heads]."""
        split = self.inward(rows).unflatten(2, (3, self.heads, -1)).transpose(1, 3)
        return split[:, :, 0], split[:, :, 1], split[:, :, 2]

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor, *, bias: Float[Tensor, "*shape"] | None) -> Rows:
        """What the queries find; `bias` is added to the scores."""
        found = F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias)
        return self.outward(found.transpose(1, 2).flatten(2))

    def forward(self, rows: Rows, *, bias: Float[Tensor, "*shape"] | None) -> Rows:
        return self.attend(*self.project(rows), bias=bias)


class EncoderLayer(nn.Module):
    """A transformer's encoder layer, normalised first."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.attention_norm, self.feed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.feed = feed_forward(width, nn.GELU())

    def forward(self, rows: Rows, *, bias: Float[Tensor, "*shape"] | None) -> Rows:
        rows = rows + self.attention(self.attention_norm(rows), bias=bias)
        return rows + self.feed(self.feed_norm(rows))


def feed_forward(width: int, activation: nn.Module) -> nn.Sequential:
    """Two layers, twice as wide between."""
    return nn.Sequential(nn.Linear(width, 2 * width), activation, nn.Linear(2 * width, width))


def padding_bias(mask: Bool[Tensor, "n_batch n_frames"]) -> Float[Tensor, "n_batch 1 1 n_frames"]:
    """Keeps attention off the padding. A clip of padding alone looks at it, instead of at nothing, which is NaN."""
    seen = mask | ~mask.any(dim=1, keepdim=True)
    return torch.zeros_like(seen, dtype=torch.float32).masked_fill(~seen, -math.inf)[:, None, None]


def periodic_bias(n_frames: int, *, heads: int, period: int) -> Float[Tensor, "heads n_frames n_frames"]:
    """FaceFormer's causal bias (section 3.2): the further back by whole periods, the less; -inf for the future."""
    back = torch.arange(n_frames)[:, None] - torch.arange(n_frames)
    ages = periodic_ages(n_frames, heads=heads, period=period)
    return ages[:, n_frames - 1 - back.clamp(min=0)].masked_fill(back < 0, -math.inf)


def periodic_ages(n_frames: int, *, heads: int, period: int) -> Float[Tensor, "heads n_frames"]:
    """The bias that the last frame has for each so far.

    The slopes are those of ALiBi (Press et al. 2022): 2^(-8 h / n) for h = 1..n.
    """
    back = torch.arange(n_frames - 1, -1, -1)
    slopes = 2.0 ** (-8.0 * torch.arange(1, heads + 1) / heads)
    return -slopes[:, None] * torch.div(back, period, rounding_mode="floor")


def periodic_positions(n_frames: int, *, width: int, period: int) -> Float[Tensor, "n_frames width"]:
    """FaceFormer's positional encoding (section 3.2): the sines of Vaswani et al. 2017, begun anew every period."""
    position = torch.arange(n_frames)[:, None] % period
    angle = position * torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)
