"""What can be set for a training: the tables and keys of its TOML file."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationError

from mmface4d.errors import InputError, UsageError
from mmface4d.text_file import read_text
from mmface4d.toml_lines import Key, key_lines

MAX_BYTES = 1 << 16
HINT = "mend what is named; docs/animation.md lists every setting"
Beta = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1e6)]
Text = Annotated[str, StringConstraints(max_length=1000, pattern=r"^[^\x00-\x1f\x7f]*$")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Budget(_Table):
    """When training ends at the latest, whichever comes first; a limit of 0 is none. Both are for all stages."""

    updates: int = Field(default=20_000, ge=0, le=100_000_000, description="Of the weights.")
    minutes: float = Field(
        default=0.0, ge=0, le=1e7, description="That updates take, over all resumptions; without validations."
    )
    clock: Literal["wall", "cpu"] = Field(default="wall", description="Whose minutes; cpu: of all cores together.")
    stage_shares: tuple[Share, ...] = Field(
        default=(), strict=False, description="What each stage of the model gets of both; equal shares unless said."
    )


class Batches(_Table):
    """What an update sees."""

    size: int = Field(default=8, ge=1, le=4096, description="Clips, on all devices together.")
    crop_frames: int = Field(default=90, ge=8, le=10_000, description="Frames that are cut from each clip.")
    driver_frames: int = Field(default=0, ge=0, le=10_000, description="Frames of the driving clip; 0: crop_frames.")


class Optimiser(_Table):
    """Adam."""

    rate: float = Field(default=1e-4, gt=0, le=1, description="The learning rate after warming up.")
    betas: tuple[Beta, Beta] = Field(default=(0.9, 0.999), strict=False, description="Adam's.")
    weight_decay: float = Field(default=0.0, ge=0, le=1, description="Decoupled, as in AdamW.")
    warmup_updates: int = Field(default=0, ge=0, description="Over which the rate rises from 0.")
    schedule: Literal["constant", "cosine"] = Field(
        default="constant", description="cosine: down to 0 at the end of the budget of updates."
    )
    clip_norm: float = Field(default=1.0, ge=0, description="Gradients of a larger norm are cut to it; 0: never.")
    average: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Decay of a moving average of the weights, which is judged and kept; 0: none.",
    )


class Validation(_Table):
    """When and on what a model is judged in training; on test subjects never."""

    every_updates: int = Field(default=500, ge=1, description="Between two validations.")
    patience: int = Field(
        default=10, ge=0, description="Validations without improvement before a stage ends; 0: never."
    )
    clips: int = Field(default=16, ge=1, le=10_000, description="The first so many, spread over the subjects.")
    measure: Literal["face_mean_mm", "lips_max_mm", "loss"] = Field(
        default="face_mean_mm", description="What decides; stages before the last have only their loss."
    )


class Machine(_Table):
    """Where it runs; the numbers change a little with it, and with the number of devices."""

    accelerator: Literal["auto", "cpu", "cuda", "mps"] = Field(default="auto", description="auto takes a GPU if any.")
    devices: int = Field(
        default=1, ge=1, le=64, description="Processes, each with a GPU of its own or a part of the CPU."
    )
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        default="32-true", description="16-mixed needs a GPU."
    )
    deterministic: bool = Field(default=True, description="Refuse operations whose results vary from run to run.")


class TrainConfig(_Table):
    """The whole of a training's TOML file."""

    format: Literal[1] = 1
    data: Text = Field(default="", description="A release, a lab, a clips folder ...: what `clips show` reads.")
    model: Text = Field(default="audio2face", description="audio2face, faceformer or meshtalk.")
    encoder: Text = Field(default="mel", description="The speech features; see docs/animation-audio.md.")
    fps: float = Field(default=0.0, ge=0, le=1000, description="Frames a second of the model; 0: the clips' own.")
    seed: int = Field(default=0, ge=0, lt=1 << 31, description="The same one gives the same weights.")
    options: dict[str, JsonValue] = Field(
        default_factory=dict, description="The model's own; unknown ones are refused."
    )
    budget: Budget = Budget()
    batches: Batches = Batches()
    optimiser: Optimiser = Optimiser()
    validation: Validation = Validation()
    machine: Machine = Machine()


def read_train_config(path: Path) -> TrainConfig:
    """Reads a TOML file; raises InputError with all its mistakes, each with its line."""
    text = read_text(path, max_bytes=MAX_BYTES)
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no TOML: {error}", hint=HINT) from error
    return checked_config(values, name=str(path), lines=key_lines(text))


def checked_config(values: dict[str, Any], *, name: str, lines: dict[Key, int] | None = None) -> TrainConfig:
    """The settings that some values mean; raises InputError with every mistake."""
    try:
        config = TrainConfig.model_validate(values)
    except ValidationError as error:
        told = [_told(each, lines or {}) for each in error.errors(include_url=False)]
        raise InputError(f"{name}: " + "; ".join(told[:20]), hint=HINT) from error
    if not config.budget.updates and not config.budget.minutes:
        raise UsageError(f"{name}: a training without a limit", hint="set budget.updates or budget.minutes")
    if not config.budget.updates and config.optimiser.schedule == "cosine":
        raise UsageError(f"{name}: a cosine has no end without budget.updates", hint="set it, or a constant rate")
    return config


def overridden(config: TrainConfig, changes: dict[str, Any]) -> TrainConfig:
    """The settings with some changed, named as `budget.updates`; raises InputError where they cannot be."""
    values = config.model_dump(mode="json")
    for place, value in changes.items():
        *holders, key = place.split(".")
        table = values
        for holder in holders:
            table = table.setdefault(holder, {})
            if not isinstance(table, dict):
                raise UsageError(f"{place}: {holder} is no table", hint=HINT)
        table[key] = value
    return checked_config(values, name="the settings")


def parsed_settings(settings: tuple[str, ...]) -> dict[str, Any]:
    """What `--set name=value` says, values as TOML writes them; a bare word is text."""
    return dict(_parsed(setting) for setting in settings)


def _parsed(setting: str) -> tuple[str, Any]:
    name, equals, value = setting.partition("=")
    if not equals or not name.strip():
        raise UsageError(f"--set {setting!r} sets nothing", hint="write --set budget.updates=1000")
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except (ValueError, KeyError, RecursionError):
        return name.strip(), value.strip()


def _told(wrong: Any, lines: dict[Key, int]) -> str:
    place = tuple(map(str, wrong["loc"]))
    known = next((place[:end] for end in range(len(place), 0, -1) if place[:end] in lines), None)
    where = f"line {lines[known]}: " if known else ""
    text = "there is no such setting" if wrong["type"] == "extra_forbidden" else wrong["msg"]
    return f"{where}{'.'.join(place)[:100]}: {text}"
