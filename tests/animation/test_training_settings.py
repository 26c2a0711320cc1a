"""Settings of a training, what its budget gives to stages, and how its rate goes."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydantic import BaseModel

from animation.models.registry import checked_options
from animation.training.budget import stage_budgets
from animation.training.config import (
    Budget,
    Machine,
    Optimiser,
    TrainConfig,
    Validation,
    checked_config,
    overridden,
    parsed_settings,
    read_train_config,
)
from animation.training.devices import RANKS, is_first_process
from animation.training.optimiser import rate_at
from animation.training.state import Count
from mmface4d.errors import InputError, UsageError

EMPTY = ("", (), {})
SETTINGS = """
model = "faceformer"
seed = 3

[options]
width = 32

[budget]
updates = 100
stage_shares = [1.0]

[optimiser]
betas = [0.8, 0.99]
"""
WRONG = """
model = 3
learning_rate = 0.1

[budget]
updates = -1

[optimiser]
rate = "fast"
"""


def test_settings_are_read(tmp_path: Path) -> None:
    path = tmp_path / "train.toml"
    path.write_text(SETTINGS)
    config = read_train_config(path)
    assert (config.model, config.seed, config.options) == ("faceformer", 3, {"width": 32})
    assert (config.budget.updates, config.optimiser.betas) == (100, (0.8, 0.99))
    assert config.batches.size == 8  # as the paper says


def test_every_mistake_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "train.toml"
    path.write_text(WRONG)
    with pytest.raises(InputError) as error:
        read_train_config(path)
    for told in ("line 2: model", "line 3: learning_rate: there is no such", "line 6: budget.updates", "line 9: optim"):
        assert told in error.value.message


@pytest.mark.parametrize("text", ["model = ", "\0", "[[[["])
def test_no_toml_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "train.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"train\.toml"):
        read_train_config(path)


def test_settings_survive_their_own_json() -> None:
    config = checked_config({"budget": {"stage_shares": [1, 3]}, "options": {"style_stats": ["mean"]}}, name="these")
    assert TrainConfig.model_validate_json(config.model_dump_json()) == config
    assert checked_config(config.model_dump(mode="json"), name="these") == config


def test_settings_change_by_name() -> None:
    changes = parsed_settings(
        ("budget.updates=7", "model=meshtalk", 'options.style_stats=["mean"]', "optimiser.rate=1e-3")
    )
    config = overridden(TrainConfig(), changes)
    assert (config.budget.updates, config.model, config.optimiser.rate) == (7, "meshtalk", 1e-3)
    assert config.options == {"style_stats": ["mean"]}


@pytest.mark.parametrize("setting", ["budget", "=3"])
def test_a_setting_needs_a_name_and_a_value(setting: str) -> None:
    with pytest.raises(UsageError, match="sets nothing"):
        parsed_settings((setting,))


@pytest.mark.parametrize(
    "changes",
    [
        {"budget.update": 3},
        {"model.name": "x"},
        {"batches.size": "many"},
        {"optimiser.betas": [2.0, 0.9]},
        {"budget.stage_shares": [1e308, 1e308]},
        parsed_settings(("seed=" + 50_000 * "[",)),
    ],
)
def test_wrong_changes_are_refused(changes: dict) -> None:
    with pytest.raises((InputError, UsageError)):
        overridden(TrainConfig(), changes)


def test_a_training_needs_a_limit() -> None:
    with pytest.raises(UsageError, match="without a limit"):
        checked_config({"budget": {"updates": 0}}, name="these")


def test_a_cosine_needs_an_end() -> None:
    with pytest.raises(UsageError, match="cosine"):
        checked_config({"budget": {"updates": 0, "minutes": 1.0}, "optimiser": {"schedule": "cosine"}}, name="these")


def rows(settings: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Name, default and meaning of every setting."""
    for name, field in settings.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from rows(kind, f"{prefix}{name}.")
        elif name != "format":
            default = field.get_default(call_default_factory=True)
            shown = json.dumps(list(default) if isinstance(default, tuple) else default) if default not in EMPTY else ""
            yield f"{prefix}{name}", shown, field.description or ""


def test_every_setting_is_documented() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "animation.md").read_text()
    told = re.findall(r"^\| `([\w.]+)` \| (.*?) \| (.*) \|$", page.partition("## Settings")[2], re.MULTILINE)
    assert [(name, default.strip(), meaning) for name, default, meaning in told] == list(rows(TrainConfig))


def test_the_shown_settings_are_read(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "animation.md").read_text()
    (text,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "train.toml").write_text(text)
    config = read_train_config(tmp_path / "train.toml")
    assert checked_options(config.model, config.options)


@pytest.mark.parametrize("shares", [(), (1.0, 1.0), (3.0, 1.0), (0.1, 0.7)])
@pytest.mark.parametrize("updates", [5, 100, 20_001])
def test_stages_share_the_budget_to_the_last_update(shares: tuple[float, ...], updates: int) -> None:
    stages = stage_budgets(Budget(updates=updates, minutes=2.0, stage_shares=shares), ("latent", "prior"))
    assert sum(stage.updates for stage in stages) == updates
    assert sum(stage.seconds for stage in stages) == pytest.approx(120)
    wanted = (shares or (1.0, 1.0))[0] / sum(shares or (1.0, 1.0))
    assert abs(stages[0].updates - wanted * updates) <= 1
    assert min(stage.updates for stage in stages) >= 1


def test_shares_must_be_one_a_stage() -> None:
    with pytest.raises(UsageError, match="latent, prior"):
        stage_budgets(Budget(stage_shares=(1.0,)), ("latent", "prior"))


def test_no_stage_may_go_without_updates() -> None:
    with pytest.raises(UsageError, match="leaves nothing"):
        stage_budgets(Budget(updates=1), ("latent", "prior"))


def test_a_stage_ends_by_what_comes_first() -> None:
    (budget,) = stage_budgets(Budget(updates=10, minutes=1.0), ("all",))
    patient = Validation(patience=2)
    assert budget.ends(Count(update=9, seconds=59.0, stale=1), patient) == ""
    assert budget.ends(Count(update=10), patient) == "updates"
    assert budget.ends(Count(seconds=60.0), patient) == "minutes"
    assert budget.ends(Count(stale=2), patient) == "no improvement"
    assert budget.ends(Count(stale=2), Validation(patience=0)) == ""


@pytest.mark.parametrize(
    ("ranks", "devices", "first"),
    [
        ({}, 2, True),
        ({"RANK": "0", "LOCAL_RANK": "0"}, 2, True),
        ({"RANK": "1", "LOCAL_RANK": "1"}, 2, False),
        ({"SLURM_PROCID": "1"}, 2, False),
        ({"SLURM_PROCID": "0", "LOCAL_RANK": "1"}, 2, False),  # of a batch job that starts its own processes
        ({"SLURM_PROCID": "3"}, 1, True),  # one of several trainings of a job
    ],
)
def test_one_process_writes(monkeypatch: pytest.MonkeyPatch, ranks: dict[str, str], devices: int, first: bool) -> None:
    for name in RANKS:
        monkeypatch.delenv(name, raising=False)
    for name, value in ranks.items():
        monkeypatch.setenv(name, value)
    assert is_first_process(Machine(devices=devices)) == first


def test_the_rate_warms_up_and_falls_to_nothing() -> None:
    settings = Optimiser(rate=1e-3, warmup_updates=10, schedule="cosine")
    rates = np.array([rate_at(update, settings, updates=100) for update in range(101)])
    assert np.all(np.diff(rates[:10]) > 0)
    assert np.all(np.diff(rates[10:]) < 0)
    assert rates[-1] == pytest.approx(0, abs=1e-12)
    assert rate_at(50, Optimiser(rate=2e-4), updates=100) == 2e-4
