"""MeshTalk's second stage: the latent's categories from speech, one after the other, frame by frame and head by head.

    p(c_{t,h} | categories of the frames before, those of the heads before in frame t, speech)

Source: MeshTalk (Richard et al. 2021), section 3.2. Frames before are seen through causal dilated convolutions.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from animation.models.layers import FrameMask
from animation.models.meshtalk_layers import SpeechConvs, leaky

SMALL = 0.1  # of weights at the start: all categories are about as probable
DILATIONS = (1, 2, 4, 8)  # of convolutions over two frames: 16 frames back

Codes = Int[Tensor, "n_batch n_frames n_heads"]


class Prior(nn.Module):
    """Logits of the categories, and categories by sampling."""

    def __init__(self, n_audio: int, *, heads: int, classes: int, width: int, head_width: int) -> None:
        super().__init__()
        self.heads, self.classes, self.head_width = heads, classes, head_width
        self.speech = SpeechConvs(n_audio, width)
        self.embedding = nn.Parameter(torch.randn(heads, classes, width) / heads**0.5)
        self.start = nn.Parameter(torch.zeros(width))  # in the place of what was before the first frame
        self.past = nn.ModuleList(nn.Conv1d(width, width, 2, dilation=dilation) for dilation in DILATIONS)
        self.norm, self.inward = nn.LayerNorm(2 * width), nn.Linear(2 * width, heads * head_width)
        self.between = nn.Parameter(torch.randn(heads, classes, heads, head_width) * SMALL)
        self.outward = nn.Parameter(torch.randn(heads, head_width, classes) * SMALL)
        self.bias = nn.Parameter(torch.zeros(heads, classes))

    @property
    def memory_frames(self) -> int:
        """How many frames back are seen."""
        return 1 + sum(DILATIONS)

    def logits(
        self, audio: Float[Tensor, "n_batch n_frames n_audio"], codes: Codes, *, past: Codes, mask: FrameMask | None
    ) -> Float[Tensor, "n_batch n_frames n_heads n_classes"]:
        """Of every category, given those before it: of its frame in `codes`, of the frames before in `past`."""
        before = self._embedded(past[:, :-1])
        start = self.start.expand(len(codes), 1, -1)
        hidden = self._hidden(self.speech(audio, mask), torch.cat([start, before], dim=1))
        for head in range(self.heads - 1):
            later = F.pad(self.between[head][codes[:, :, head]][:, :, head + 1 :], (0, 0, head + 1, 0))
            hidden = hidden + later
        return torch.einsum("bthu,huc->bthc", leaky(hidden), self.outward) + self.bias

    def sample(
        self, audio: Float[Tensor, "n_batch n_frames n_audio"], *, temperature: float, generator: torch.Generator
    ) -> Codes:
        """Categories of all frames; at temperature 0 the most probable one each time."""
        speech = self.speech(audio, None)
        recent = self.start.expand(len(audio), 1, -1)
        found = []
        for frame in range(audio.shape[1]):
            hidden = self._hidden(speech[:, frame : frame + 1], recent)[:, -1]
            found.append(self._sample_heads(hidden, temperature=temperature, generator=generator))
            newest = self._embedded(found[-1][:, None])
            recent = torch.cat([recent, newest], dim=1)[:, -self.memory_frames :]
        return torch.stack(found, dim=1)

    def _sample_heads(self, hidden: Tensor, *, temperature: float, generator: torch.Generator) -> Tensor:
        """Categories of one frame, [n_batch, n_heads], from the part of [n_batch, n_heads, head_width] before heads."""
        found = []
        for head in range(self.heads):
            logits = leaky(hidden[:, head]) @ self.outward[head] + self.bias[head]
            if temperature > 0:
                chances = (logits / temperature).softmax(dim=1).cpu()
                choice = torch.multinomial(chances, 1, generator=generator)[:, 0].to(logits.device)
            else:
                choice = logits.argmax(dim=1)
            found.append(choice)
            hidden = hidden + self.between[head][choice]
        return torch.stack(found, dim=1)

    def _embedded(self, codes: Codes) -> Tensor:
        """Sum over heads, [n_batch, n_frames, width]."""
        heads = torch.arange(self.heads, device=codes.device)
        return self.embedding[heads, codes].sum(dim=2)

    def _hidden(self, speech: Tensor, before: Tensor) -> Tensor:
        """[n_batch, n_frames, n_heads, head_width]. Row t of `before` is of the frame before."""
        rows = before.transpose(1, 2)
        for conv, dilation in zip(self.past, DILATIONS, strict=True):
            rows = rows + leaky(conv(F.pad(rows, (dilation, 0))))
        rows = rows.transpose(1, 2)[:, -speech.shape[1] :]
        return self.inward(self.norm(torch.cat([speech, rows], dim=2))).unflatten(2, (self.heads, self.head_width))
