"""What the models are for, in miniature: people who move by the same speech, each as far as they like."""

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from animation.data.batch import UNKNOWN_SUBJECT, Batch, Style
from animation.models.exclusion import exclusion_score
from animation.models.interface import LOSS, AnimationModel
from animation.models.registry import build_model
from tests.animation.toy_models import N_AUDIO, N_VERTS, SHAPE, SMALL, generated

pytestmark = pytest.mark.slow
N_FRAMES, UPDATES = 24, 200
MOTIONS = 0.1 * torch.randn(N_AUDIO, N_VERTS * 3, generator=torch.Generator().manual_seed(0))


def gained_batch(gains: Tensor, generator: torch.Generator, *, subject: Tensor) -> Batch:
    """Speech moves the face by MOTIONS, times the person's gain; the driver is other speech of the same person."""
    spoken = torch.randn(2, len(gains), N_FRAMES, N_AUDIO, generator=generator)
    moved = (spoken @ MOTIONS).unflatten(3, (N_VERTS, 3)) * gains[:, None, None, None]
    mask = torch.ones(len(gains), N_FRAMES, dtype=torch.bool)
    template = torch.zeros(len(gains), N_VERTS, 3)
    return Batch(spoken[0], moved[0], mask, template, Style(moved[1], mask, subject))


@cache
def trained(name: str, **options: Any) -> AnimationModel:
    model = build_model(name, SHAPE, {**SMALL[name], **options}, seed=0).train()
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    generator = torch.Generator().manual_seed(1)
    for _ in range(UPDATES):
        subject = torch.randint(0, 3, (8,), generator=generator)
        gains = torch.tensor([0.4, 1.0, 2.0])[subject] * (1 + 0.1 * torch.randn(8, generator=generator))
        loss = model.loss(gained_batch(gains, generator, subject=subject), stage="all")[LOSS]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model


def error_on_strangers(model: AnimationModel) -> float:
    """Of the whole energy, for people with gains that nobody in training has."""
    generator = torch.Generator().manual_seed(2)
    gains = torch.tensor([0.6, 0.6, 1.5, 1.5])
    batch = gained_batch(gains, generator, subject=torch.full((4,), UNKNOWN_SUBJECT))
    left = (generated(model, batch) - batch.displacement).square().sum()
    return float(left / batch.displacement.square().sum())


def test_a_driving_clip_tells_how_far_a_stranger_moves() -> None:
    ours, blind = (
        error_on_strangers(trained("audio2face", reg_weight=0.01, **more)) for more in ({}, {"composite": False})
    )
    assert ours < 0.1
    assert ours < 0.7 * blind


def test_faceformer_learns_and_gives_a_stranger_the_mean() -> None:
    assert error_on_strangers(trained("faceformer")) < 0.5


def test_the_regulariser_makes_components_regional() -> None:
    regional, not_so = (
        exclusion_score(trained("audio2face", reg_weight=0.01, **more)) for more in ({}, {"regional": False})
    )
    assert regional < 0.6 * not_so
