"""Models with random weights that move a face visibly, as if they had been trained."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from animation.audio.mel import LogMel
from animation.data.corpus import Topology
from animation.data.normalisation import Normalisation
from animation.models.audio2face import Audio2Face
from animation.models.registry import build_model
from animation.training.checkpoint import ModelConfig, Trained, save_checkpoint
from animation.training.preprocessing import EncoderRecord, Preprocessing
from tests.animation.toy_corpus import topology
from tests.animation.toy_models import SMALL

SUBJECTS = ("s1", "s2")


def toy_trained(
    name: str = "audio2face",
    *,
    fps: float = 30.0,
    mesh: Topology | None = None,
    seed: int = 0,
    moves: float = 0.02,
    **options: Any,
) -> Trained:
    """Of the toy corpus' topology, hearing log-mel."""
    mesh = mesh or topology()
    mel = LogMel()
    record = EncoderRecord("mel", mel.identity, mel.n_audio)
    about = Preprocessing(name, fps, mesh, Normalisation(np.array([0.0, 0.0, -0.02]), 0.05), record, SUBJECTS)
    chosen = {**SMALL[name], **options}
    model = build_model(name, about.shape, chosen, seed=seed).eval()
    with torch.no_grad():
        generator = torch.Generator().manual_seed(seed)
        for parameter in model.parameters():  # what starts near zero would hide what happens behind it
            if parameter.abs().max() < 0.1:
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
        matrix = getattr(model, "components", None)
        if matrix is not None:
            matrix.weight.mul_(moves)
    return Trained(model, about, ModelConfig(model=name, options=chosen, data="toy", licence="for tests"))


def audio2face(trained: Trained) -> Audio2Face:
    """Its model."""
    assert isinstance(trained.model, Audio2Face)
    return trained.model


def saved(folder: Path, trained: Trained) -> Path:
    """A checkpoint of it."""
    folder.mkdir(parents=True)
    save_checkpoint(folder, trained)
    return folder
