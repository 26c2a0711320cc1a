"""Judging a trained model on clips that it has never seen, by protocols that say whose style it is shown."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from pydantic import JsonValue

from animation.data.batches import clip_batch
from animation.data.corpus import Mask, SpeechCorpus, Split
from animation.data.prepared import Prepared, PreparedClip, prepare
from animation.metrics.definitions import Definition, Pair, every_definition, masks_of
from animation.metrics.errors import MM_PER_M, paired
from animation.metrics.numbers import numbers_of
from animation.metrics.protocols import PROTOCOLS, Protocol, choose_driver, drivers
from animation.metrics.report import STILL, ClipScore, Report
from animation.models.interface import AnimationModel
from mmface4d.errors import InputError

if TYPE_CHECKING:
    from animation.training.checkpoint import ModelConfig, Trained

Tick = Callable[[], None]
# may differ between the seeds of one model, or are compared by themselves
OF_ONE_TRAINING = {"format", "model", "encoder", "fps", "seed", "machine"}


@dataclass(frozen=True)
class _Run:
    """One pass over a split; still faces have one too."""

    protocol: Any
    seed: int


def evaluate(
    trained: "Trained", corpus: SpeechCorpus, *, split: Split = "test", protocols: Sequence[Protocol] = PROTOCOLS,
    seeds: Sequence[int] = (0,), cache: Path | None = None, tick: Tick | None = None,
) -> Report:  # fmt: skip
    """Measures a trained model on a split of a corpus; the corpus is brought to what the model was trained with.

    `seeds` choose the drivers. Raises InputError where the corpus has another topology, the encoder is not the one of
    the training, or nothing can be measured.
    """
    from animation.audio.registry import open_same_encoder

    _check_fits(trained, corpus)
    wanted = trained.preprocessing
    encoder = open_same_encoder(wanted.encoder.spec, wanted.encoder.identity)
    prepared = prepare(
        corpus, encoder=encoder, fps=wanted.fps, normalisation=wanted.normalisation, cache=cache, splits={split}
    )
    # a speaker's number is the model's, not this corpus'; who is not trained on here only has the name in common
    known = tuple(name if corpus.splits.get(name) == "train" else "" for name in wanted.subjects)
    prepared = replace(prepared, training_subjects=known)
    report = evaluate_prepared(trained.model, prepared, split=split, protocols=protocols, seeds=seeds, tick=tick)
    notes = [*report.notes, *_differing_masks(trained, corpus), *_seen_in_training(trained, corpus, split)]
    return replace(report, **_of_training(trained), notes=tuple(notes))


def outline(trained: "Trained", corpus: SpeechCorpus, *, split: Split) -> Report:
    """What the report of a model will say before anything is measured: whether it compares with others shows at once.

    Raises InputError where the corpus has another topology.
    """
    _check_fits(trained, corpus)
    wanted = trained.preprocessing
    return Report(
        **_of_training(trained),
        weights_sha256=weights_sha256(trained.model),
        data=corpus.origin,
        licence=corpus.licence,
        split=split,
        fps=wanted.fps,
        topology=corpus.topology.name,
        topology_sha256=corpus.topology.sha256,
        encoder=wanted.encoder.identity,
        style=trained.model.capabilities.style,
        numbers=(),
        clips=(),
        vertex_mm={},
    )


def _of_training(trained: "Trained") -> dict[str, Any]:
    """What a report says of how a model came about."""
    config = trained.config
    return {
        "model": trained.preprocessing.model,
        "options": _chosen(config),
        "training_seed": config.seed,
        "trained_on": config.data,
        "settings": dict(_settings(config.training)),
    }


def evaluate_prepared(
    model: AnimationModel, prepared: Prepared, *, split: Split = "test", protocols: Sequence[Protocol] = PROTOCOLS,
    seeds: Sequence[int] = (0,), tick: Tick | None = None,
) -> Report:  # fmt: skip
    """Measures a model in memory on clips that are prepared for it, one at a time; `tick` is called after each."""
    clips = prepared.of_split(split)
    if not clips or not protocols or not seeds:
        raise InputError(
            f"nothing to measure: {len(clips)} clips in the split {split} of {prepared.origin}, "
            f"{len(protocols)} protocols, {len(seeds)} seeds",
            hint="choose another split, or data that have one",
        )
    left_out = tuple(_left_out(prepared, clips, dict.fromkeys(protocols)))
    if not any(drivers(prepared, clip, each) for clip in clips for each in protocols):
        raise InputError(f"no style can be shown: {left_out[0]}", hint="measure by the protocol self as well")
    judge = _Judge(model, prepared, every_definition(), masks_of(prepared.topology.masks, prepared.topology.n_verts))
    scores: list[ClipScore] = []
    by_vertex: dict[str, _Mean] = defaultdict(_Mean)
    for clip in clips:
        for score, vertex_mm in judge.scores(clip, _runs(protocols, seeds)):
            scores.append(score)
            by_vertex[score.protocol].add(vertex_mm)
        if tick is not None:
            tick()
    return Report(
        model=type(model).__name__,
        options={},
        training_seed=None,
        weights_sha256=weights_sha256(model),
        trained_on="",
        data=prepared.origin,
        licence=prepared.licence,
        split=split,
        fps=prepared.fps,
        topology=prepared.topology.name,
        topology_sha256=prepared.topology.sha256,
        encoder=prepared.encoder_identity,
        style=model.capabilities.style,
        numbers=numbers_of(scores, judge.definitions, judge.masks),
        clips=tuple(scores),
        vertex_mm={protocol: tuple(found.mean().tolist()) for protocol, found in by_vertex.items()},
        notes=left_out,
    )


def predict(
    model: AnimationModel, prepared: Prepared, clip: PreparedClip, *, driver: PreparedClip
) -> Float32[np.ndarray, "n_frames n_verts 3"]:
    """What the model makes of a clip's sound in the style of the driver, in metres. The model must be in eval mode."""
    device = next(model.parameters()).device
    batch = clip_batch(prepared, [clip], drivers=[driver]).to(device)
    with torch.inference_mode():
        displacement = model.generate(batch.audio, batch.template, batch.style)[0].float().cpu().numpy()
    if not np.isfinite(displacement).all():
        raise InputError(f"the model predicts no numbers for {clip.name}", hint="train it again, with a lower rate")
    return (prepared.templates[clip.subject] + prepared.normalisation.displacements_m(displacement)).astype(np.float32)


def weights_sha256(model: AnimationModel) -> str:
    """Of all parameters and buffers with their names: which model a report is of."""
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class _Mean:
    """Of arrays that are not kept."""

    def __init__(self) -> None:
        self._sum, self._count = np.zeros(1), 0

    def add(self, values: Float[np.ndarray, "n_values"]) -> None:
        self._sum, self._count = self._sum + values, self._count + 1

    def mean(self) -> Float[np.ndarray, "n_values"]:
        return np.round(self._sum / self._count, 6)


@dataclass(frozen=True)
class _Measured:
    """A prediction against its truth."""

    clip: PreparedClip
    shares: dict[str, tuple[float, float]]
    vertex_mm: Float[np.ndarray, "n_verts"]

    def score(self, run: _Run, *, driver: str | None) -> ClipScore:
        clip = self.clip
        return ClipScore(clip.name, clip.subject, clip.n_frames, run.protocol, run.seed, driver, self.shares)


@dataclass(frozen=True)
class _Judge:
    model: AnimationModel
    prepared: Prepared
    definitions: tuple[Definition, ...]
    masks: dict[str, Mask]

    def scores(
        self, clip: PreparedClip, runs: Sequence[_Run]
    ) -> Iterator[tuple[ClipScore, Float[np.ndarray, "n_verts"]]]:
        """Of the face that keeps still, and of every run that has a driver; with each vertex' mean error in mm."""
        template = self.prepared.templates[clip.subject]
        truth = (template + clip.displacement_m()).astype(np.float32)
        still = self._measured(clip, np.broadcast_to(template, truth.shape), truth=truth)
        yield still.score(_Run(STILL, 0), driver=None), still.vertex_mm
        found: dict[str | None, _Measured] = {}
        for run in runs:
            if not drivers(self.prepared, clip, run.protocol):
                continue
            driver = choose_driver(self.prepared, clip, run.protocol, seed=run.seed)
            shown = self._shown(driver)
            if shown not in found:  # who is shown the same says the same
                predicted = predict(self.model, self.prepared, clip, driver=driver)
                found[shown] = self._measured(clip, predicted, truth=truth)
            yield found[shown].score(run, driver=shown), found[shown].vertex_mm

    def _shown(self, driver: PreparedClip) -> str | None:
        """What the model is told of a driver: the clip, whose number is meant where it knows it, or nothing."""
        style = self.model.capabilities.style
        if style == "subject":
            return driver.subject if driver.subject in self.prepared.training_subjects else None
        return driver.name if style == "clip" else None

    def _measured(self, clip: PreparedClip, predicted: np.ndarray, *, truth: np.ndarray) -> _Measured:
        both = paired(predicted, truth, length="strict", name=clip.name)
        pair = Pair(*both, self.prepared.templates[clip.subject].astype(np.float64), self.prepared.fps)
        shares = {each.name: each.measure(pair, self.masks[each.mask]) for each in self.definitions}
        return _Measured(
            clip, {name: (share.total, share.weight) for name, share in shares.items()},
            vertex_mm=pair.distance.mean(axis=0) * MM_PER_M,
        )  # fmt: skip


def _runs(protocols: Sequence[Protocol], seeds: Sequence[int]) -> list[_Run]:
    """Each protocol with each seed, once; with one seed where there is no choice."""
    runs = [_Run(each, seed) for each in protocols for seed in (seeds[:1] if each == "self" else seeds)]
    return list(dict.fromkeys(runs))


def _left_out(prepared: Prepared, clips: Sequence[PreparedClip], protocols: Iterable[Protocol]) -> Iterator[str]:
    for protocol in protocols:
        without = [clip.name for clip in clips if not drivers(prepared, clip, protocol)]
        if without:
            yield f"{protocol}: no driver for {len(without)} of {len(clips)} clips, such as {without[0]}; left out"


def _chosen(config: "ModelConfig") -> dict[str, JsonValue]:
    """The options that are not the model's defaults: they tell its variants apart."""
    from animation.models.registry import checked_options

    default = checked_options(config.model, {}).model_dump(mode="json")
    return {name: value for name, value in config.options.items() if name not in default or value != default[name]}


def _settings(training: Mapping[str, JsonValue]) -> Iterator[tuple[str, JsonValue]]:
    """All that trainings of one model with several seeds have in common, by names such as `budget.updates`."""
    for name, value in training.items():
        if name in OF_ONE_TRAINING:
            continue
        if isinstance(value, dict):
            yield from ((f"{name}.{key}", each) for key, each in value.items())
        else:
            yield name, value


def _check_fits(trained: "Trained", corpus: SpeechCorpus) -> None:
    theirs, ours = corpus.topology, trained.preprocessing.topology
    if theirs.sha256 != ours.sha256:
        raise InputError(
            f"{corpus.origin} has the topology {theirs.name} of {theirs.n_verts} vertices; the model was trained on "
            f"another one, {ours.name} of {ours.n_verts}",
            hint="evaluate on data of the same topology",
        )


def _differing_masks(trained: "Trained", corpus: SpeechCorpus) -> Iterator[str]:
    known = trained.preprocessing.topology.masks
    for name, mask in corpus.topology.masks.items():
        if name in known and known[name].sha256 != mask.sha256:
            yield f"the mask {name} of these data is not the one of the training data; the hash beside a number tells"


def _seen_in_training(trained: "Trained", corpus: SpeechCorpus, split: Split) -> Iterator[str]:
    seen = sorted(set(corpus.subjects(split)) & set(trained.preprocessing.subjects))
    if seen:
        yield f"{len(seen)} subjects of this split have the names of subjects of the training, such as {seen[0]}"
