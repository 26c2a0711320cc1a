"""Randomness within a model that can be repeated: no global state, and a resumed training goes on with the same."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

SMALL = 1e-20
STEP = 0x9E3779B1  # an odd number far from small ones: states of one seed do not meet those of its neighbour


class CountedNoise(nn.Module):
    """Random numbers that depend on a seed and on how often some were drawn; both are saved with the weights."""

    state: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("state", torch.cat([torch.randint(1 << 31, (1,)), torch.zeros(1, dtype=torch.int64)]))

    def uniform(self, like: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Between 0 and 1, on the same device and of the same kind as `like`; the same on every device."""
        seed, drawn = (int(each) for each in self.state)
        self.state[1] += 1
        generator = torch.Generator().manual_seed((seed * STEP + drawn) % (1 << 63))
        return torch.rand(like.shape, generator=generator).to(like)

    def gumbel(self, like: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Of the standard Gumbel distribution, as `uniform`."""
        uniform = self.uniform(like.float()).clamp(min=SMALL)
        return -torch.log(-torch.log(uniform).clamp(max=-SMALL)).to(like)
