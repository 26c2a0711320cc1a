"""A training from a corpus to a folder with a checkpoint, curves and a card."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from animation.audio.registry import open_encoder
from animation.data.corpus import SpeechCorpus
from animation.data.prepared import Prepared, prepare
from animation.models.registry import build_model, checked_options
from animation.training.card import CARD_FILE, write_card
from animation.training.checkpoint import CONFIG_FILE, WEIGHTS_FILE, ModelConfig, Trained
from animation.training.config import Machine, TrainConfig
from animation.training.devices import is_first_process, make_fabric, repeatable
from animation.training.loop import CHANGEABLE, Loop
from animation.training.preprocessing import (
    PREPROCESS_FILE,
    EncoderRecord,
    Preprocessing,
    preprocessing_json,
    write_preprocessing,
)
from animation.training.record import check_folder, has_run, resumed_config, write_run
from animation.training.state import STATE_FILE, Count
from animation.training.styles import write_styles
from mmface4d import __version__
from mmface4d.errors import DeviceError, InputError, UsageError
from mmface4d.files import clear_partials, read_json, write_json
from mmface4d.locks import locked
from mmface4d.progress import Progress, progress

if TYPE_CHECKING:
    from lightning_fabric import Fabric

LOCK_FILE = ".train.lock"
SECONDS_A_MINUTE = 60


@dataclass(frozen=True)
class Outcome:
    """How a training ended. `best` is of validation, in the unit of what decides; None without validation clips."""

    folder: Path
    updates: int
    seconds: float  # of updates
    best: float | None
    best_update: int
    ended: tuple[str, ...]


def train(
    corpus: SpeechCorpus, config: TrainConfig, folder: Path, *, resume: bool = False, cache: Path | None = None
) -> Outcome:
    """Trains on the corpus' training subjects and judges on its validation subjects; test subjects are not read.

    `folder` gets the checkpoint (the weights of the best validation), `curves.html`, `curves.json`, a card, and
    `train_state.pt`, by which `resume` goes on after any kind of end; where there is nothing to go on with, it starts.
    """
    first = is_first_process(config.machine)
    if first:
        check_folder(folder, resume=resume)
    checked_options(config.model, config.options)  # before anything that takes long
    fabric = make_fabric(config.machine, batch_size=config.batches.size)
    prepared = prepared_for(corpus, config, cache=cache)
    preprocessing = preprocessing_of(prepared, config)
    model = build_model(config.model, preprocessing.shape, config.options, seed=config.seed)
    trained = Trained(model, preprocessing, _model_config(prepared, config))
    fabric.launch()
    with locked(folder / LOCK_FILE, what=f"the training {folder}") if first else nullcontext():
        if first:
            for large in (STATE_FILE, WEIGHTS_FILE):
                clear_partials(folder / large)  # of a training that was killed
            write_settings(folder, trained, config)
        fabric.barrier()
        return _run(trained, prepared, config, folder=folder, fabric=fabric)


def _run(trained: Trained, prepared: Prepared, config: TrainConfig, *, folder: Path, fabric: "Fabric") -> Outcome:
    with repeatable(config.machine.deterministic), _told(config, first=fabric.is_global_zero) as bar:
        loop = Loop(trained.model, prepared, config, folder=folder, fabric=fabric, tell=bar.tell)
        before = loop.count.all_updates
        try:
            loop.run()
        except torch.OutOfMemoryError as error:
            raise DeviceError(
                f"{fabric.device} has too little memory: {str(error).splitlines()[0]}",
                hint="lower batches.size or batches.crop_frames, and train into another folder",
            ) from error
    count = loop.count
    outcome = Outcome(
        folder, count.all_updates, count.all_seconds, count.best, count.best_update, tuple(loop.curves.ended)
    )
    if fabric.is_global_zero:
        # even if nothing was trained: styles are of a file of weights, which may have been written anew
        write_styles(folder, trained.model, prepared)
        if count.all_updates > before or not (folder / CARD_FILE).is_file():  # one that is there may tell more
            write_card(folder)
    fabric.barrier()
    return outcome


def prepared_for(corpus: SpeechCorpus, config: TrainConfig, *, cache: Path | None = None) -> Prepared:
    """The training and validation clips of a corpus as the settings want them."""
    fps = config.fps or _own_fps(corpus)
    encoder = open_encoder(config.encoder, device=_encoding_device(config.machine))
    return prepare(corpus, encoder=encoder, fps=fps, cache=cache, splits={"train", "validation"})


def _encoding_device(machine: Machine) -> str:
    return "cuda" if machine.accelerator in ("auto", "cuda") and torch.cuda.is_available() else "cpu"


def _own_fps(corpus: SpeechCorpus) -> float:
    rates = sorted({clip.fps for clip in corpus.clips})
    if len(rates) != 1:
        raise UsageError(
            f"the clips of {corpus.origin} have {len(rates)} frame rates: {', '.join(f'{rate:g}' for rate in rates)}",
            hint="set fps to the one that the model shall have",
        )
    return rates[0]


def preprocessing_of(prepared: Prepared, config: TrainConfig) -> Preprocessing:
    """What a model that is trained on these clips has to be kept with."""
    return Preprocessing(
        model=config.model,
        fps=prepared.fps,
        topology=prepared.topology,
        normalisation=prepared.normalisation,
        encoder=EncoderRecord(config.encoder, prepared.encoder_identity, prepared.n_audio),
        subjects=prepared.training_subjects,
    )


def _model_config(prepared: Prepared, config: TrainConfig) -> ModelConfig:
    """Without the data's path, which is of this machine."""
    return ModelConfig(
        model=config.model,
        options=checked_options(config.model, config.options).model_dump(mode="json"),
        seed=config.seed,
        training=config.model_dump(mode="json", exclude={"data", "options"}),
        data=prepared.origin,
        licence=prepared.licence,
        version=__version__,
    )


def write_settings(folder: Path, trained: Trained, config: TrainConfig) -> None:
    """Writes what is known before the first update; raises InputError where a training there was of other data."""
    if has_run(folder):
        _refuse_others(folder, trained, config)
    write_run(folder, config)  # first, so that one may go on whatever is there
    if not (folder / PREPROCESS_FILE).is_file():
        write_preprocessing(folder, trained.preprocessing)
    write_json(folder / CONFIG_FILE, trained.config.model_dump(mode="json"))


def _refuse_others(folder: Path, trained: Trained, config: TrainConfig) -> None:
    before, now = (each.model_dump(exclude=CHANGEABLE) for each in (resumed_config(folder), config))
    changed = [name for name in now if now[name] != before[name]]
    if changed:
        raise UsageError(
            f"{folder} was begun with another {changed[0]}: {before[changed[0]]}, not {now[changed[0]]}",
            hint="leave it as it was, or train into another folder",
        )
    path = folder / PREPROCESS_FILE
    if path.is_file() and read_json(path) != preprocessing_json(trained.preprocessing):
        raise InputError(
            f"{folder} was begun with other data, or with another version of the encoder",
            hint="give the same data, or train into another folder",
        )


class _Bar:
    """Reports updates, or seconds where these are limited."""

    def __init__(self, bar: Progress, *, counts_updates: bool) -> None:
        self._bar, self._counts_updates = bar, counts_updates

    def tell(self, count: Count, remark: str) -> None:
        """What a loop says of itself."""
        now = count.all_updates if self._counts_updates else int(count.all_seconds)
        self._bar.advance(max(now - self._bar.done, 0))
        if remark:
            self._bar.note(remark)


@contextmanager
def _told(config: TrainConfig, *, first: bool) -> Iterator[_Bar]:
    by_updates = not config.budget.minutes
    total = config.budget.updates if by_updates else round(config.budget.minutes * SECONDS_A_MINUTE)
    if not first:
        yield _Bar(_Silent("", total), counts_updates=by_updates)
        return
    with progress(f"training {config.model}", total) as bar:
        yield _Bar(bar, counts_updates=by_updates)


class _Silent(Progress):
    """What processes but the first report to."""

    def note(self, text: str) -> None:
        """Nothing."""
