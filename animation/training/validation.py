"""How good a model is while it trains: on validation subjects, driven by another clip of the same subject."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
import torch

from animation.data.batches import training_batches
from animation.data.prepared import Prepared, PreparedClip
from animation.metrics.errors import distances, mean_of_maxima
from animation.metrics.evaluate import predict
from animation.metrics.protocols import Protocol, choose_driver, drivers
from animation.models.interface import LOSS, AnimationModel
from animation.training.config import TrainConfig
from animation.training.stage_loss import generator_of

LOSS_BATCHES = 4
VALIDATION_STREAM = 1  # apart from the streams of random numbers that training uses
MM_PER_M = 1000.0
PROTOCOL: Protocol = "same-subject-other-clip"
ERRORS = ("face_mean_mm", "lips_max_mm")  # what a finished model is measured by, beside the loss


@dataclass(frozen=True)
class Pair:
    """A clip to be predicted, and the clip whose style is shown."""

    clip: PreparedClip
    driver: PreparedClip


class Validator:
    """Judges on the same clips, drivers and crops every time."""

    def __init__(self, prepared: Prepared, config: TrainConfig) -> None:
        self._prepared, self._config = prepared, config
        clips = prepared.of_split("validation")
        chosen = spread(clips, config.validation.clips)
        self.pairs = [Pair(clip, _driver(prepared, clip, seed=config.seed)) for clip in chosen]

    def __bool__(self) -> bool:
        return bool(self.pairs)

    def measure(self, model: AnimationModel, stage: str, *, device: torch.device | str) -> dict[str, float]:
        """The stage's loss, and in the last stage errors of generated clips in mm, unless the loss is no number.

        The model's mode is kept.
        """
        was_training = model.training
        model.eval()
        try:
            with torch.no_grad():
                values = {LOSS: self._loss(model, stage, device=device)}
                judged = stage == model.stages[-1] and np.isfinite(values[LOSS])
                return values | (self._errors(model) if judged else {})
        finally:
            model.train(was_training)

    def _loss(self, model: AnimationModel, stage: str, *, device: torch.device | str) -> float:
        batches = training_batches(
            self._prepared, batch_size=min(self._config.batches.size, len(self.pairs)),
            crop_frames=self._config.batches.crop_frames, driver_frames=self._config.batches.driver_frames or None,
            generator=generator_of(self._config.seed, VALIDATION_STREAM), split="validation",
        )  # fmt: skip
        losses = [model.loss(next(batches).to(device), stage=stage)[LOSS].item() for _ in range(LOSS_BATCHES)]
        return float(np.mean(losses))

    def _errors(self, model: AnimationModel) -> dict[str, float]:
        """Each clip's mean counts once, as in the MMFace4D paper's table II."""
        found = [self._errors_of(model, pair) for pair in self.pairs]
        return {name: float(np.mean([each[name] for each in found])) for name in ERRORS}

    def _errors_of(self, model: AnimationModel, pair: Pair) -> dict[str, float]:
        clip, masks = pair.clip, self._prepared.topology.masks
        predicted = predict(model, self._prepared, clip, driver=pair.driver)
        distance = distances(predicted, self._prepared.templates[clip.subject] + clip.displacement_m())
        return {
            "face_mean_mm": MM_PER_M * float(distance[:, masks["face"].vertices].mean()),
            "lips_max_mm": MM_PER_M * mean_of_maxima(distance, masks["lips"].vertices, squared=False),
        }


def spread(clips: Sequence[PreparedClip], count: int) -> list[PreparedClip]:
    """At most so many clips: the first of every subject, then the second, and so on."""
    by_subject: dict[str, list[PreparedClip]] = {}
    for clip in clips:
        by_subject.setdefault(clip.subject, []).append(clip)
    turns: list[Any] = [clip for turn in zip_longest(*by_subject.values()) for clip in turn if clip is not None]
    return turns[:count]


def _driver(prepared: Prepared, clip: PreparedClip, *, seed: int) -> PreparedClip:
    """Another clip of the subject; the clip itself where the subject has no other."""
    return choose_driver(prepared, clip, PROTOCOL if drivers(prepared, clip, PROTOCOL) else "self", seed=seed)
