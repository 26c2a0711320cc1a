"""How far a training is: what `train_state.pt` holds, so that a killed one goes on bit by bit as if unharmed."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmface4d.errors import InputError
from mmface4d.files import atomic_path

STATE_FILE, FORMAT = "train_state.pt", 1
MAX_BYTES = 64 << 30
DAMAGED = "take the weights as they are, or train again into another folder"
Weights = dict[str, Tensor]


@dataclass
class Count:
    """Where a training stands within its stages. Times are what updates took, in seconds."""

    stage: int = 0
    update: int = 0  # of this stage
    seconds: float = 0.0  # of this stage
    updates_before: int = 0  # of the stages before
    seconds_before: float = 0.0
    best: float | None = None  # of this stage's measure
    best_update: int = 0
    stale: int = 0  # validations since then

    @property
    def all_updates(self) -> int:
        """Of all stages so far."""
        return self.updates_before + self.update

    @property
    def all_seconds(self) -> float:
        """Of all stages so far."""
        return self.seconds_before + self.seconds

    def next_stage(self) -> None:
        """Counts a stage as ended."""
        self.updates_before, self.seconds_before = self.all_updates, self.all_seconds
        self.stage, self.update, self.seconds = self.stage + 1, 0, 0.0
        self.best, self.best_update, self.stale = None, 0, 0


@dataclass
class State:
    """Everything that changes while a model trains. `best` are the weights of the stage's best validation."""

    count: Count
    weights: Weights
    best: Weights | None
    optimiser: dict[str, Any] | None  # None between two stages
    precision: dict[str, Any]
    curves: dict[str, Any]  # what the pages show, so that both are of the same moment
    sums: dict[str, float]  # of losses since the last point of the curves
    average: Weights | None = None  # of the stage's weights, where one is kept


def save_state(folder: Path, state: State, *, settings_sha256: str) -> None:
    """Writes the state; it takes the place of the one before only when whole."""
    told = {"format": FORMAT, "settings_sha256": settings_sha256, "count": asdict(state.count), "sums": state.sums}
    value = {
        "told": json.dumps(told),
        "curves": json.dumps(state.curves),
        "weights": state.weights,
        "best": state.best,
        "average": state.average,
        "optimiser": state.optimiser,
        "precision": state.precision,
    }
    # by a file of Python's own, because PyTorch's does not tell a full disk from a bug
    with atomic_path(folder / STATE_FILE) as partial, partial.open("wb") as file:
        torch.save(value, file)


def load_state(folder: Path, *, settings_sha256: str) -> State | None:
    """Reads the state, nothing where there is none; raises InputError where it is damaged or of another training."""
    path = folder / STATE_FILE
    if not path.is_file():
        return None
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path} is larger than {MAX_BYTES >> 30} GiB", hint=DAMAGED)
    try:
        value = torch.load(path, map_location="cpu", weights_only=True)
        told = json.loads(value["told"])
        count, sums = Count(**told["count"]), dict(told["sums"])
        state = State(
            count, value["weights"], value["best"], value["optimiser"], value["precision"],
            json.loads(value["curves"]), sums, value["average"],
        )  # fmt: skip
    except Exception as error:  # torch and zipfile raise a dozen kinds on damaged and hostile files
        raise InputError(f"{path} is damaged: {str(error)[:200]}", hint=DAMAGED) from error
    if told.get("format") != FORMAT or told.get("settings_sha256") != settings_sha256:
        raise InputError(f"{path} is of another training", hint=DAMAGED)
    return state


def copied(state: dict[str, Any]) -> Weights:
    """Weights on the CPU that do not change when the model does."""
    return {name: value.detach().cpu().clone() for name, value in state.items()}
