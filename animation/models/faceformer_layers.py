"""FaceFormer's two parts, and its past: a decoder layer that goes on row by row."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from animation.models.attention import Attention, EncoderLayer, feed_forward, padding_bias, periodic_ages
from animation.models.layers import FrameMask, MaskedConv1d

ENCODER_REACH = 15  # frames to each side that tell the encoder where it is


class SpeechEncoder(nn.Module):
    """Features to rows that know their surroundings: position by convolution (wav2vec 2.0), then a transformer."""

    def __init__(self, n_audio: int, width: int, *, heads: int, layers: int) -> None:
        super().__init__()
        self.inward, self.norm = nn.Linear(n_audio, width), nn.LayerNorm(width)
        self.place = MaskedConv1d(width, width, width=2 * ENCODER_REACH + 1) if layers else None
        self.layers = nn.ModuleList(EncoderLayer(width, heads) for _ in range(layers))

    def forward(
        self, audio: Float[Tensor, "n_batch n_frames n_audio"], mask: FrameMask | None
    ) -> Float[Tensor, "n_batch n_frames width"]:
        rows = self.inward(audio)
        if self.place is not None:
            rows = rows + F.gelu(self.place(rows.transpose(1, 2), mask).transpose(1, 2))
        rows = self.norm(rows)
        bias = None if mask is None else padding_bias(mask).to(rows.dtype)
        for layer in self.layers:
            rows = layer(rows, bias=bias)
        return rows


class DecoderLayer(nn.Module):
    """Attention to the past, to the speech, a feed-forward net; normalised after each, as published."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        # the diagonal mask leaves attention to speech one key to look at, whose weight is then 1: values are all it is
        self.speech = nn.Sequential(nn.Linear(width, width), nn.Linear(width, width))
        self.feed = feed_forward(width, nn.ReLU())
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))

    def forward(self, rows: Tensor, speech: Tensor, bias: Tensor) -> Float[Tensor, "n_batch n_rows width"]:
        """Of all rows at once; `speech` went through `self.speech`."""
        return self.finish(rows, self.attention(rows, bias=bias), speech)

    def finish(self, rows: Tensor, attended: Tensor, speech: Tensor) -> Float[Tensor, "n_batch n_rows width"]:
        """What follows the attention to the past."""
        rows = self.norms[0](rows + attended)
        rows = self.norms[1](rows + speech)
        return self.norms[2](rows + self.feed(rows))


class Past:
    """The rows so far of a decoder layer, as keys and values, so that a next row does not go through them again."""

    def __init__(self, layer: DecoderLayer, speech: Float[Tensor, "n_batch n_frames width"], *, period: int) -> None:
        self.layer, self.speech = layer, speech
        n_batch, self.n_frames, width = speech.shape
        heads = layer.attention.heads
        self.bias = periodic_ages(self.n_frames, heads=heads, period=period).to(speech)
        self.held = speech.new_zeros(2, n_batch, heads, self.n_frames, width // heads)
        self.given: list[tuple[Tensor, Tensor]] = []
        self.n_rows = 0

    def next_row(self, row: Float[Tensor, "n_batch width"]) -> Float[Tensor, "n_batch width"]:
        """The layer's output for the next row behind those that were given before."""
        at, self.n_rows = self.n_rows, self.n_rows + 1
        queries, keys, values = self._extended(*self.layer.attention.project(row[:, None]))
        bias = self.bias[:, None, self.n_frames - self.n_rows :]
        attended = self.layer.attention.attend(queries, keys, values, bias=bias)
        return self.layer.finish(row[:, None], attended, self.speech[:, at : at + 1])[:, 0]

    def _extended(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """All keys and values with these as the last. Gradients want tensors that nothing is written into later."""
        if torch.is_grad_enabled():
            self.given.append((key, value))
            return query, torch.cat([k for k, _ in self.given], dim=2), torch.cat([v for _, v in self.given], dim=2)
        self.held[0, :, :, self.n_rows - 1 : self.n_rows] = key
        self.held[1, :, :, self.n_rows - 1 : self.n_rows] = value
        return query, self.held[0, :, :, : self.n_rows], self.held[1, :, :, : self.n_rows]
