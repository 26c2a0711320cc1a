"""Trainings in processes of their own: killed ones, and such as share the work."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from animation.data.batches import training_batches
from animation.models.interface import LOSS
from animation.models.registry import build_model
from animation.training.config import TrainConfig
from animation.training.loop import BATCH_STREAM
from animation.training.run import prepared_for, preprocessing_of
from animation.training.stage_loss import generator_of
from mmface4d.files import read_json
from tests.animation.toy_corpus import toy_corpus
from tests.animation.toy_training import SMALL, equal, settings, weights

pytestmark = pytest.mark.slow
PROGRAM = """
import sys
from pathlib import Path
from animation.training.config import TrainConfig
from animation.training.run import train
from tests.animation.toy_corpus import toy_corpus
config = TrainConfig.model_validate_json(Path(sys.argv[1]).read_text())
train(toy_corpus(sentences=2, n_frames=16), config, Path(sys.argv[2]), resume=True, cache=Path(sys.argv[3]))
"""


def start(tmp_path: Path, config: TrainConfig, name: str) -> subprocess.Popen[str]:
    """A training in processes of its own."""
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / f"{name}.json").write_text(config.model_dump_json())
    words = [tmp_path / "program.py", tmp_path / f"{name}.json", tmp_path / name, tmp_path / "cache"]
    root = str(Path(__file__).resolve().parents[2])
    return subprocess.Popen(
        [sys.executable, *map(str, words)], env={**os.environ, "PYTHONPATH": root}, stderr=subprocess.PIPE, text=True
    )


def finish(tmp_path: Path, config: TrainConfig, name: str) -> Path:
    process = start(tmp_path, config, name)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 0, told
    return tmp_path / name


def test_a_killed_training_goes_on_bit_by_bit(tmp_path: Path) -> None:
    config = settings(budget={"updates": 120}, validation={"every_updates": 10, "clips": 1, "patience": 0})
    whole = finish(tmp_path, config, "whole")
    for _ in range(3):
        process = start(tmp_path, config, "killed")
        assert process.stderr is not None
        for line in process.stderr:
            if "validation" in line:
                break
        process.kill()
        process.communicate()
    assert equal(weights(whole), weights(finish(tmp_path, config, "killed")))


def test_two_processes_train_one_model(tmp_path: Path) -> None:
    """Each has half of every batch; the same seed gives the same weights, and one process can go on alone."""
    two = settings("meshtalk", machine={"devices": 2, "accelerator": "cpu"})
    first = weights(finish(tmp_path, two, "first"))
    assert equal(first, weights(finish(tmp_path, two, "second")))
    assert [point["stage"] for point in read_json(tmp_path / "first" / "curves.json")["validation"]] == [
        "latent",
        "prior",
    ]
    longer = settings("meshtalk", budget={"updates": 12, "stage_shares": [1, 2]})
    assert not equal(first, weights(finish(tmp_path, longer, "first")))


def test_two_processes_end_by_the_same_mistake(tmp_path: Path) -> None:
    """Of which the one that validates knows alone."""
    wild: dict[str, Any] = {
        "optimiser": {"rate": 1.0, "clip_norm": 0.0},
        "options": {**SMALL["audio2face"], "reg_weight": 1e38},
    }
    often: dict[str, Any] = {"validation": {"every_updates": 1, "clips": 1}, "budget": {"updates": 4000}}
    process = start(tmp_path, settings(machine={"devices": 2, "accelerator": "cpu"}, **wild, **often), "wild")
    _, told = process.communicate(timeout=300)
    assert process.returncode == 1
    ends = [line for line in told.splitlines() if "Error: " in line]
    assert len(ends) == 2, told
    assert all("TrainingError: the training diverged" in line for line in ends)


def test_two_processes_step_by_the_mean_of_their_gradients(tmp_path: Path) -> None:
    """One update, done here once more by hand: each process' batch, the mean gradient, one step of Adam."""
    two = settings(budget={"updates": 1}, machine={"devices": 2, "accelerator": "cpu"}, optimiser={"clip_norm": 0.0})
    found = weights(finish(tmp_path, two, "two"))
    prepared = prepared_for(toy_corpus(sentences=2, n_frames=16), two, cache=tmp_path / "cache")
    model = build_model(two.model, preprocessing_of(prepared, two).shape, two.options, seed=two.seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=two.optimiser.rate)
    for rank in range(2):
        batches = training_batches(
            prepared, batch_size=1, crop_frames=8, generator=generator_of(two.seed, BATCH_STREAM, 0, 0, rank)
        )
        (0.5 * model.loss(next(batches), stage="all")[LOSS]).backward()
    optimiser.step()
    for name, value in model.named_parameters():
        torch.testing.assert_close(found[f"state.{name}"], value.detach(), rtol=1e-4, atol=1e-6)
