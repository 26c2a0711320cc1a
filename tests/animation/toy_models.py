"""Small models and random batches to test them on."""

from typing import Any

import torch
from torch import Tensor

from animation.data.batch import Batch, Style
from animation.models.interface import AnimationModel, ModelShape
from animation.models.registry import build_model

N_VERTS, N_AUDIO, N_SUBJECTS = 20, 6, 3
SHAPE = ModelShape(
    N_VERTS, N_AUDIO, N_SUBJECTS, fps=10.0, masks={"lips": tuple(range(6)), "upper_face": tuple(range(12, 20))}
)
SMALL = {
    "audio2face": {"channels": 16, "driver_channels": 16},
    "faceformer": {"width": 16, "encoder_width": 16},
    "meshtalk": {"heads": 4, "classes": 5, "width": 16, "prior_width": 16, "head_width": 8},
}


def built(name: str, *, seed: int = 0, **options: Any) -> AnimationModel:
    model = build_model(name, SHAPE, {**SMALL[name], **options}, seed=seed)
    with torch.no_grad():  # weights that start at zero would hide what happens behind them
        generator = torch.Generator().manual_seed(seed)
        for parameter in model.parameters():
            if not parameter.any():
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def random_batch(n_frames: tuple[int, ...] = (17, 23, 9), *, seed: int = 0) -> Batch:
    """Clips of several lengths; what is in the padding is noise."""
    generator = torch.Generator().manual_seed(seed)
    n_batch, longest = len(n_frames), max(n_frames)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    mask = torch.arange(longest) < torch.tensor(n_frames)[:, None]
    style = Style(
        noise(n_batch, 12, N_VERTS, 3) * 0.1, torch.ones(n_batch, 12, dtype=torch.bool), torch.arange(n_batch)
    )
    return Batch(
        audio=noise(n_batch, longest, N_AUDIO),
        displacement=noise(n_batch, longest, N_VERTS, 3) * 0.1,
        frame_mask=mask,
        template=noise(n_batch, N_VERTS, 3),
        style=style,
    )


def one_of(batch: Batch, k: int) -> Batch:
    """A clip alone, without padding."""
    end, driver_end = int(batch.frame_mask[k].sum()), int(batch.style.driver_mask[k].sum())
    at = slice(k, k + 1)
    style = Style(
        batch.style.driver[at, :driver_end], batch.style.driver_mask[at, :driver_end], batch.style.subject[at]
    )
    return Batch(
        batch.audio[at, :end], batch.displacement[at, :end], batch.frame_mask[at, :end], batch.template[at], style
    )


def generated(model: AnimationModel, batch: Batch) -> Tensor:
    with torch.no_grad():
        return model.eval().generate(batch.audio, batch.template, batch.style)
