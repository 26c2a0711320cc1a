"""A stage's loss as a module, so that several devices and mixed precision see one forward pass."""

from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from animation.data.batch import Batch, Style
from animation.models.interface import LOSS, AnimationModel
from mmface4d.errors import InputError, TrainingError

Parts = dict[str, Tensor]


class StageLoss(nn.Module):
    """From a batch in parts to the loss, which has a gradient, and its terms, which have none."""

    def __init__(self, model: AnimationModel, stage: str) -> None:
        super().__init__()
        self.model, self.stage = model, stage

    def forward(self, **parts: Tensor) -> dict[str, Tensor]:
        terms = self.model.loss(assembled(parts), stage=self.stage)
        return {name: value if name == LOSS else value.detach() for name, value in terms.items()}


def in_parts(batch: Batch, device: torch.device | str) -> Parts:
    """A batch as tensors by name on a device: what wraps modules looks into dicts, not into our classes."""
    moved = batch.to(device)
    own = {field.name: getattr(moved, field.name) for field in fields(Batch) if field.name != "style"}
    return own | {field.name: getattr(moved.style, field.name) for field in fields(Style)}


def assembled(parts: Parts) -> Batch:
    """The batch again."""
    names = [field.name for field in fields(Style)]
    style = Style(**{name: parts[name] for name in names})
    return Batch(**{name: value for name, value in parts.items() if name not in names}, style=style)


def generator_of(*words: int) -> np.random.Generator:
    """For numbers that name a moment of a training; the same at every time and on every machine."""
    return np.random.default_rng(list(words))


def check_finite(terms: dict[str, Any], *, stage: str, update: int) -> None:
    """Raises TrainingError where a loss or an error is not finite."""
    wrong = [name for name, value in terms.items() if not np.isfinite(value)]
    if wrong:
        raise TrainingError(
            f"the training diverged: {wrong[0]} is no number any more at update {update} of the stage {stage}",
            hint="the best weights so far are kept; lower optimiser.rate, or set optimiser.clip_norm",
        )


def check_trained(parameters: list[nn.Parameter], *, stage: str) -> None:
    """Raises InputError where a stage has nothing to change."""
    if not parameters:
        raise InputError(f"the stage {stage} changes no parameter", hint="leave it out, or choose other options")
