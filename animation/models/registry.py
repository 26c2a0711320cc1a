"""The animation models by name, and what makes one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import ValidationError

from animation.models.audio2face import Audio2Face, Audio2FaceOptions
from animation.models.faceformer import FaceFormer, FaceFormerOptions
from animation.models.interface import AnimationModel, ModelShape
from animation.models.meshtalk import MeshTalk, MeshTalkOptions
from animation.models.options import ModelOptions
from mmface4d.errors import UsageError
from mmface4d.subject import mistakes


@dataclass(frozen=True)
class Entry:
    """A model that can be asked for by name."""

    model: Callable[[ModelShape, Any], AnimationModel]
    options: type[ModelOptions]
    purpose: str


MODELS: dict[str, Entry] = {
    "audio2face": Entry(Audio2Face, Audio2FaceOptions, "MMFace4D's: all frames at once, style from a driving clip"),
    "faceformer": Entry(FaceFormer, FaceFormerOptions, "a transformer from frame to frame, style by speaker"),
    "meshtalk": Entry(MeshTalk, MeshTalkOptions, "a categorical latent and a prior from speech, no style"),
}


def checked_options(name: str, options: Mapping[str, Any]) -> ModelOptions:
    """A model's options with its defaults; raises UsageError where the model or an option is unknown or impossible."""
    entry = MODELS.get(name)
    if entry is None:
        raise UsageError(f"there is no model {name!r}", hint=f"it can be {', '.join(MODELS)}")
    try:
        return entry.options.model_validate(dict(options))
    except ValidationError as error:
        known = ", ".join(entry.options.model_fields)
        raise UsageError(f"options of {name}: {mistakes(error)}", hint=f"its options are {known}") from error


def build_model(name: str, shape: ModelShape, options: Mapping[str, Any], *, seed: int) -> AnimationModel:
    """A model with random weights: the same for the same seed, and no other random number of the program changes.

    Raises UsageError as `checked_options` does.
    """
    checked = checked_options(name, options)
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed GPUs too, for good
        return MODELS[name].model(shape, checked)


def weight_shapes(name: str, shape: ModelShape, options: Mapping[str, Any]) -> dict[str, torch.Size]:
    """How large each of a model's weights is, without the memory for them; raises UsageError as `build_model` does."""
    checked = checked_options(name, options)
    with torch.device("meta"):
        model = MODELS[name].model(shape, checked)
    return {weight: value.shape for weight, value in model.state_dict().items()}
