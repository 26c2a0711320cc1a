"""The optimiser of a stage and its learning rate, which depends on the update alone."""

import math
from collections.abc import Sequence

import torch
from torch import nn

from animation.training.config import Optimiser


def make_optimiser(parameters: Sequence[nn.Parameter], settings: Optimiser) -> torch.optim.Optimizer:
    """Adam, or AdamW where weights decay."""
    kind = torch.optim.AdamW if settings.weight_decay else torch.optim.Adam
    return kind(parameters, lr=settings.rate, betas=settings.betas, weight_decay=settings.weight_decay)


def rate_at(update: int, settings: Optimiser, *, updates: int) -> float:
    """The learning rate of update number `update`, from 0, of a stage that has `updates` at most (0: no limit)."""
    warm = min(1.0, (update + 1) / settings.warmup_updates) if settings.warmup_updates else 1.0
    if settings.schedule == "constant" or not updates:
        return settings.rate * warm
    return settings.rate * warm * 0.5 * (1 + math.cos(math.pi * min(1.0, update / updates)))


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """For the next update."""
    for group in optimiser.param_groups:
        group["lr"] = rate
