"""MeshTalk's parts in its first stage: what is heard, what is seen, and a face from a template and a code."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from animation.models.layers import FrameMask, MaskedConv1d

SLOPE = 0.2  # of leaky ReLU where negative
DILATIONS = (1, 2, 4, 1, 2, 4, 1)  # 15 frames to each side: half a second at 30 fps, as the published 1 s of sound


def leaky(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    return F.leaky_relu(values, SLOPE)


class SpeechConvs(nn.Module):
    """Dilated convolutions over the speech's features."""

    def __init__(self, n_audio: int, width: int) -> None:
        super().__init__()
        self.inward = nn.Linear(n_audio, width)
        self.norm, self.last_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.convs = nn.ModuleList(MaskedConv1d(width, width, dilation=dilation) for dilation in DILATIONS)

    def forward(
        self, audio: Float[Tensor, "n_batch n_frames n_audio"], mask: FrameMask | None
    ) -> Float[Tensor, "n_batch n_frames width"]:
        frames = self.norm(self.inward(audio)).transpose(1, 2)
        for conv in self.convs:
            frames = frames + leaky(conv(frames, mask))
        return self.last_norm(frames.transpose(1, 2))


class ExpressionEncoder(nn.Module):
    """Displacements to a code of each frame that knows the frames before."""

    def __init__(self, n_coordinates: int, width: int) -> None:
        super().__init__()
        self.inward, self.between = nn.Linear(n_coordinates, 2 * width), nn.Linear(2 * width, width)
        self.memory = nn.LSTM(width, width, batch_first=True)

    def forward(
        self, coordinates: Float[Tensor, "n_batch n_frames n_coordinates"]
    ) -> Float[Tensor, "n_batch n_frames width"]:
        return self.memory(leaky(self.between(leaky(self.inward(coordinates)))))[0]


class FaceDecoder(nn.Module):
    """A U-net over the coordinates: the template down to a code, with a latent's code up again to a face."""

    def __init__(self, n_coordinates: int, n_latent: int, *, width: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            [nn.Linear(n_coordinates, 4 * width), nn.Linear(4 * width, 2 * width), nn.Linear(2 * width, width)]
        )
        self.latent = nn.Linear(n_latent, width)
        self.fuse = nn.Linear(2 * width, width)
        self.memory = nn.LSTM(width, width, batch_first=True)
        self.up = nn.ModuleList([nn.Linear(width, 2 * width), nn.Linear(2 * width, 4 * width)])
        self.outward = nn.Linear(4 * width, n_coordinates)
        nn.init.normal_(self.outward.weight, std=1e-2 / width**0.5)  # an untrained model shows the template
        nn.init.zeros_(self.outward.bias)

    def forward(
        self, template: Float[Tensor, "n_batch n_coordinates"], latent: Float[Tensor, "n_batch n_frames n_latent"]
    ) -> Float[Tensor, "n_batch n_frames n_coordinates"]:
        seen = [template]
        for layer in self.down:
            seen.append(leaky(layer(seen[-1])))
        code = leaky(self.latent(latent))
        around = seen[3][:, None].expand(-1, code.shape[1], -1)
        rows = self.memory(leaky(self.fuse(torch.cat([around, code], dim=2))))[0]
        for layer, beside in zip(self.up, (seen[2], seen[1]), strict=True):
            rows = leaky(layer(rows)) + beside[:, None]
        return self.outward(rows)
