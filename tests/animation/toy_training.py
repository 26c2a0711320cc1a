"""Small trainings, and what they leave."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from animation.training.config import TrainConfig, checked_config
from animation.training.run import Outcome

SMALL: dict[str, dict[str, Any]] = {
    "audio2face": {"channels": 8, "driver_channels": 8, "decoder_stages": 1},
    "faceformer": {"width": 8, "encoder_layers": 1, "encoder_width": 8},
    "meshtalk": {"heads": 2, "classes": 4, "width": 8, "prior_width": 8, "head_width": 4},
}


def settings(model: str = "audio2face", **more: Any) -> TrainConfig:
    values = {
        "model": model,
        "options": SMALL[model],
        "budget": {"updates": 8},
        "batches": {"size": 2, "crop_frames": 8},
        "validation": {"every_updates": 4, "clips": 1},
        "optimiser": {"rate": 1e-3},
    }
    return checked_config({**values, **more}, name="these settings")


def weights(outcome: Outcome | Path) -> dict[str, torch.Tensor]:
    """Of the checkpoint, and of the state from which one would go on."""
    folder = outcome if isinstance(outcome, Path) else outcome.folder
    state = torch.load(folder / "train_state.pt", weights_only=True)["weights"]
    return load_file(folder / "model.safetensors") | {f"state.{name}": value for name, value in state.items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
