"""A moving average of the weights: it wavers less from update to update than the weights themselves."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from animation.training.state import Weights, copied

SOONEST = 10.0  # the average follows closely at first: after n updates it forgets with (1 + n) / (10 + n) at most


class Average:
    """Of a stage's weights and of what the layers count along. Without decay it is the weights themselves."""

    def __init__(self, model: nn.Module, decay: float, *, weights: Weights | None = None) -> None:
        self._model, self._decay = model, decay
        self.weights = weights if weights is not None or not decay else copied(model.state_dict())

    def update(self, updates: int) -> None:
        """Takes in the weights after so many updates."""
        if self.weights is None:
            return
        kept = min(self._decay, (1 + updates) / (SOONEST + updates))
        with torch.no_grad():
            for name, value in self._model.state_dict().items():
                mean = self.weights[name] = self.weights[name].to(value.device)
                if value.is_floating_point():
                    mean.lerp_(value, 1 - kept)
                else:
                    mean.copy_(value)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """In the block the model has the averaged weights."""
        if self.weights is None:
            yield
            return
        own = {name: value.detach().clone() for name, value in self._model.state_dict().items()}
        self._model.load_state_dict(self.weights)
        try:
            yield
        finally:
            self._model.load_state_dict(own)
