"""A trained model on disk: `model.safetensors`, `config.json`, `preprocess.json` and `topology.npz`; no pickles.

The weights' own metadata name the hash of what the model is and of `preprocess.json`: files of two models do not mix.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from torch import Tensor

from animation.models.interface import AnimationModel
from animation.models.registry import build_model, weight_shapes
from animation.training.preprocessing import (
    MAX_JSON_BYTES,
    PREPROCESS_FILE,
    Preprocessing,
    read_preprocessing,
    write_preprocessing,
)
from mmface4d.errors import InputError, MissingBackendError, UsageError
from mmface4d.files import atomic_path, write_json
from mmface4d.subject import mistakes
from mmface4d.text_file import read_text

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
MAX_WEIGHTS_BYTES = 16 << 30
NUMBERS = ("F64", "F32", "F16", "BF16", "I64", "I32", "I16", "I8", "U8", "BOOL")  # kinds that weights may be of
DAMAGED = "the checkpoint is damaged or mixed from two; copy the whole folder again, or train again"


class ModelConfig(BaseModel):
    """What a model is and how it came about: `config.json`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    format: Literal[1] = 1
    model: str  # a name in animation.models.registry
    options: dict[str, JsonValue] = Field(default_factory=dict)  # what the registry builds it with
    seed: int = 0
    training: dict[str, JsonValue] = Field(default_factory=dict)  # the settings of the run, all of them
    data: str = ""  # the corpus' name
    licence: str = ""  # the data's; it travels with the weights
    version: str = ""  # of this program


@dataclass(frozen=True)
class Trained:
    """A model in evaluation mode with what it needs to be used."""

    model: AnimationModel
    preprocessing: Preprocessing
    config: ModelConfig


def save_checkpoint(folder: Path, trained: Trained, *, told: dict[str, str] | None = None) -> None:
    """Writes a checkpoint, the weights last; `told` goes into the weights' metadata, such as the update they are of."""
    write_preprocessing(folder, trained.preprocessing)
    write_json(folder / CONFIG_FILE, trained.config.model_dump(mode="json"))
    write_weights(folder, trained.model, told=told or {})


def write_weights(folder: Path, model: AnimationModel, *, told: dict[str, str]) -> None:
    """Writes or replaces the weights of a folder that has its `config.json` and `preprocess.json`."""
    from safetensors.torch import save

    state = {name: value.detach().cpu().contiguous().clone() for name, value in model.state_dict().items()}
    data = save(state, metadata={"format": "pt", "settings_sha256": settings_sha256(folder), **told})
    header_end = 8 + int.from_bytes(data[:8], "little")
    with atomic_path(folder / WEIGHTS_FILE) as partial, partial.open("wb") as file:
        file.write(data[:8] + _in_order(data[8:header_end]))
        file.write(memoryview(data)[header_end:])


def _in_order(header: bytes) -> bytes:
    """The same header with sorted metadata, which safetensors writes in any order: equal weights are equal files."""
    value = json.loads(header)
    value["__metadata__"] = dict(sorted(value["__metadata__"].items()))
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode().ljust(len(header))


def load_checkpoint(folder: Path, *, device: torch.device | str = "cpu") -> Trained:
    """Reads a checkpoint; raises InputError where it is missing, damaged, or its files do not belong together."""
    config = read_config(folder)
    preprocessing = read_preprocessing(folder)
    if config.model != preprocessing.model:
        raise InputError(f"{folder} is mixed of {config.model} and {preprocessing.model}", hint=DAMAGED)
    state = _read_weights(folder, _wanted(config, preprocessing, folder=folder))
    model = build_model(config.model, preprocessing.shape, config.options, seed=config.seed)
    model.load_state_dict(state)
    return Trained(model.to(device).eval(), preprocessing, config)


def read_config(folder: Path) -> ModelConfig:
    """A checkpoint's `config.json`; raises InputError."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no checkpoint: no such folder", hint="train one with: mmface4d train")
    path = folder / CONFIG_FILE
    try:
        return ModelConfig.model_validate_json(read_text(path, max_bytes=MAX_JSON_BYTES))
    except ValidationError as error:
        raise InputError(f"{path} is damaged: {mistakes(error)}", hint=DAMAGED) from error


def _wanted(config: ModelConfig, preprocessing: Preprocessing, *, folder: Path) -> dict[str, torch.Size]:
    """The weights that the settings ask for, which may be of any size."""
    try:
        return weight_shapes(config.model, preprocessing.shape, config.options)
    except UsageError as error:
        raise InputError(f"{folder / CONFIG_FILE}: {error.message}", hint=DAMAGED) from error


def _read_weights(folder: Path, wanted: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """The weights, read where all that the file announces is as wanted: then they need no more than the file has."""
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise MissingBackendError(
            "reading a checkpoint needs the package safetensors", hint='pip install "mmface4d[animation]"'
        ) from error
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise InputError(f"{folder} has no {WEIGHTS_FILE}", hint="its training has not come to a first validation yet")
    if path.stat().st_size > MAX_WEIGHTS_BYTES:
        raise InputError(f"{path} is larger than {MAX_WEIGHTS_BYTES >> 30} GiB", hint=DAMAGED)
    try:
        with safe_open(path, framework="pt") as file:
            told: dict[str, Any] = file.metadata() or {}
            if told.get("settings_sha256") != settings_sha256(folder):
                raise InputError(f"{path} belongs to another {CONFIG_FILE} or {PREPROCESS_FILE}", hint=DAMAGED)
            announced = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  (it is no mapping)
            _check_fit(announced, wanted, path=path)
            state = {name: file.get_tensor(name) for name in announced}
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path} is damaged: {error}", hint=DAMAGED) from error
    bad = [name for name, value in state.items() if value.is_floating_point() and not torch.isfinite(value).all()]
    if bad:
        raise InputError(f"{path} holds numbers that are none: {bad[0]}", hint=DAMAGED)
    return state


def _check_fit(announced: Mapping[str, Any], wanted: Mapping[str, torch.Size], *, path: Path) -> None:
    wrong = [name for name in wanted if name not in announced or announced[name].get_shape() != list(wanted[name])]
    wrong += [name for name in announced if name not in wanted or announced[name].get_dtype() not in NUMBERS]
    if wrong:
        raise InputError(f"{path} does not fit the model: {wrong[0]}", hint=DAMAGED)


def settings_sha256(folder: Path) -> str:
    """Of what in `config.json` makes the model, and of `preprocess.json`."""
    fixed = read_config(folder).model_dump_json(include={"format", "model", "options", "seed"})
    return hashlib.sha256(fixed.encode() + (folder / PREPROCESS_FILE).read_bytes()).hexdigest()
