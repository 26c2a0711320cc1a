"""What was asked for on this machine: it may name folders, so it lies beside the checkpoint and is no part of it."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from animation.training.config import TrainConfig
from mmface4d.errors import InputError, UsageError
from mmface4d.files import write_json
from mmface4d.subject import mistakes
from mmface4d.text_file import read_text

RUN_FILE = "run.json"
MAX_BYTES = 1 << 20


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    config: TrainConfig


def write_run(folder: Path, config: TrainConfig) -> None:
    """Writes or replaces the record."""
    write_json(folder / RUN_FILE, _Record(config=config).model_dump(mode="json"))


def has_run(folder: Path) -> bool:
    """Whether a training was begun there."""
    return (folder / RUN_FILE).is_file()


def check_folder(folder: Path, *, resume: bool) -> None:
    """Raises UsageError where a training, or anything else, lies in the folder and is not to be gone on with."""
    # a killed process may leave its lock, or a file that was not whole yet
    if not folder.exists() or all(path.name.startswith(".") for path in folder.iterdir()):
        return
    if not has_run(folder):
        raise UsageError(f"{folder} is not empty and has no training", hint="choose another folder")
    if not resume:
        raise UsageError(f"{folder} has a training already", hint="go on with it by --resume, or choose another")


def resumed_config(folder: Path) -> TrainConfig:
    """What a training was started with; raises InputError where there is none."""
    path = folder / RUN_FILE
    try:
        return _Record.model_validate_json(read_text(path, max_bytes=MAX_BYTES)).config
    except ValidationError as error:
        raise InputError(
            f"{path} is damaged: {mistakes(error)}", hint="restore this file, or train into another folder"
        ) from error
