"""The loop: update after update, stage after stage, until a budget is spent or validation no longer improves."""

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from animation.data.batch import Batch
from animation.data.batches import training_batches
from animation.data.prepared import Prepared
from animation.models.interface import LOSS, AnimationModel
from animation.training.average import Average
from animation.training.budget import MINUTES, NO_BETTER, UPDATES, StageBudget, clock, stage_budgets
from animation.training.card import CARD_FILE
from animation.training.checkpoint import write_weights
from animation.training.config import TrainConfig
from animation.training.curves import Curves, Point
from animation.training.devices import agreed, seeded
from animation.training.optimiser import make_optimiser, rate_at, set_rate
from animation.training.preprocessing import PREPROCESS_FILE
from animation.training.stage_loss import Parts, StageLoss, check_finite, check_trained, generator_of, in_parts
from animation.training.state import DAMAGED, Count, State, copied, load_state, save_state
from animation.training.stop import Stop
from animation.training.validation import Validator
from mmface4d.errors import InputError, Mmface4dError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

BATCH_STREAM, MODEL_STREAM = 0, 2  # beside the validation's
POINTS_A_VALIDATION = 10  # of the curves
WRITE_CURVES_S = 5.0  # at most so often between two validations
STOPPED = "stopped"
WHY = {UPDATES: "as many as it may have", MINUTES: "its minutes are over", NO_BETTER: "validation improved no more"}
COUNTED = "updates"  # among the sums: how many updates they are of
# settings that may change between two parts of one training
CHANGEABLE: dict[str, Any] = {"data": True, "budget": True, "machine": True, "validation": {"patience"}}


class Loop:
    """Trains a model in a folder that has its `preprocess.json`; takes up a state that lies there.

    All randomness of an update comes from numbers that name it (seed, stage, update, process), so nothing of it has to
    be kept to go on as if nothing had happened.
    """

    def __init__(
        self, model: AnimationModel, prepared: Prepared, config: TrainConfig, *, folder: Path, fabric: "Fabric",
        tell: Callable[[Count, str], None],
    ) -> None:  # fmt: skip
        self.model, self.stages = model, model.stages
        self._prepared, self._config, self._folder = prepared, config, folder
        self._fabric, self._tell = fabric, tell
        self._budgets = stage_budgets(config.budget, self.stages)
        self._validator = Validator(prepared, config)
        self._log_every = max(1, config.validation.every_updates // POINTS_A_VALIDATION)
        self._stop, self._pending, self._curves_written = Stop(), [], 0.0
        self._settings_sha256 = _settings_sha256(folder, config)
        self._state = self._taken_up()
        self._updates_before = self.count.all_updates
        self._optimiser_state = self._state.optimiser  # of the stage that goes on
        self.curves = Curves.from_json(self._state.curves)

    @property
    def count(self) -> Count:
        """How far it is."""
        return self._state.count

    def run(self) -> None:
        """Trains to the end; raises KeyboardInterrupt after saving where somebody asked to stop."""
        self.curves.running, self.curves.ended = True, self.curves.ended[: self.count.stage]
        with self._stop.listening():
            while not self._run_stage(self.stages[self.count.stage], self._budgets[self.count.stage]):
                pass
        kept = self._state.best or self._state.average
        if kept is not None:
            self.model.load_state_dict(kept)

    def _taken_up(self) -> State:
        state = load_state(self._folder, settings_sha256=self._settings_sha256)
        if state is None:
            curves = Curves(self._config.model, self._prepared.origin).to_json()
            return State(Count(), {}, None, None, {}, curves, {})
        try:
            self.model.load_state_dict(state.weights)
            if state.precision:  # between two stages too; other precisions have none
                self._fabric.strategy.precision.load_state_dict(state.precision)
            Curves.from_json(state.curves)
            if not 0 <= state.count.stage < len(self.stages):
                raise InputError(f"there is no stage {state.count.stage}", hint=DAMAGED)
        except (RuntimeError, KeyError, TypeError, InputError) as error:
            raise InputError(f"the state in {self._folder} is damaged: {str(error)[:200]}", hint=DAMAGED) from error
        return state

    def _run_stage(self, stage: str, budget: StageBudget) -> bool:
        """Trains a stage from where it is; whether it was the last one."""
        wrapped, optimiser = self._set_up(stage)
        self._average = Average(self.model, self._config.optimiser.average, weights=self._state.average)
        generator = generator_of(self._config.seed)
        batches = self._batches(generator)
        validated = max((each.update for each in self.curves.validation if each.stage == stage), default=-1)
        while not (why := self._decided(budget, optimiser)):
            started = clock(self._config.budget.clock)
            set_rate(optimiser, rate_at(self.count.update, self._config.optimiser, updates=budget.updates))
            generator.bit_generator.state = self._generator(BATCH_STREAM).bit_generator.state
            self._update(wrapped, optimiser, parts=in_parts(next(batches), self._fabric.device))
            self._average.update(self.count.update)
            if self.count.update % self._log_every == 0:
                self._log(stage, rate=optimiser.param_groups[0]["lr"])
            self.count.seconds += clock(self._config.budget.clock) - started
            if self.count.update % self._config.validation.every_updates == 0:
                validated = self.count.update
                self._validate(stage)
                self._save(optimiser)
        if validated != self.count.update:
            self._validate(stage)
        if not self._is_last_stage and self._summed():  # or they would be told as the next stage's
            self._log(stage, rate=optimiser.param_groups[0]["lr"])
        return self._end_stage(stage, optimiser, why=why)

    def _set_up(self, stage: str) -> tuple[Any, Any]:
        """The stage's loss and its optimiser, wrapped for the devices."""
        parameters = self.model.trained(stage)
        check_trained(parameters, stage=stage)
        changed = {id(parameter) for parameter in parameters}
        for parameter in self.model.parameters():
            parameter.requires_grad_(id(parameter) in changed)
        optimiser = make_optimiser(parameters, self._config.optimiser)
        wrapped, optimiser = self._fabric.setup(StageLoss(self.model, stage), optimiser)
        if self._optimiser_state is not None:
            try:
                optimiser.load_state_dict(self._optimiser_state)
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"the state in {self._folder} is damaged: {error}", hint=DAMAGED) from error
            self._optimiser_state = None
        wrapped.train()
        return wrapped, optimiser

    def _batches(self, generator: np.random.Generator) -> Iterator[Batch]:
        settings = self._config.batches
        return training_batches(
            self._prepared, batch_size=settings.size // self._fabric.world_size, crop_frames=settings.crop_frames,
            driver_frames=settings.driver_frames or None, generator=generator,
        )  # fmt: skip

    def _generator(self, stream: int) -> np.random.Generator:
        """For the update to come, in this process."""
        moment = (self.count.stage, self.count.update, self._fabric.global_rank)
        return generator_of(self._config.seed, stream, *moment)

    def _decided(self, budget: StageBudget, optimiser: Any) -> str:
        """Why the stage ends here, the same in all processes; saves and interrupts where somebody asked to stop."""
        why = STOPPED if self._stop.asked else budget.ends(self.count, self._config.validation)
        why = agreed(self._fabric, why)
        if why == STOPPED:
            self._save(optimiser)
            self._fabric.barrier()  # when another process ends first, Fabric kills the one that saves
            raise KeyboardInterrupt
        return why

    def _update(self, wrapped: Any, optimiser: Any, *, parts: Parts) -> None:
        with seeded(int(self._generator(MODEL_STREAM).integers(1 << 62)), self._fabric.device):
            optimiser.zero_grad()
            terms: dict[str, Tensor] = wrapped(**parts)
            self._fabric.backward(terms[LOSS])
        if norm := self._config.optimiser.clip_norm:
            self._fabric.clip_gradients(wrapped, optimiser, max_norm=norm, error_if_nonfinite=False)
        optimiser.step()
        self.count.update += 1
        self._pending.append({name: value.detach() for name, value in terms.items()})

    def _summed(self) -> dict[str, float]:
        """Adds up what updates left since the last time; asking a GPU for every number would hold it up."""
        sums = self._state.sums
        for terms in self._pending:
            for name, value in {**terms, COUNTED: 1.0}.items():
                sums[name] = sums.get(name, 0.0) + float(value)
        self._pending.clear()
        return sums

    def _log(self, stage: str, *, rate: float) -> None:
        sums = self._summed()
        counted = sums.pop(COUNTED)
        means = {name: value / counted for name, value in sums.items()}
        sums.clear()
        check_finite(means, stage=stage, update=self.count.update)
        self.curves.add_training(self._point(stage, means | {"rate": rate}))
        self._tell(self.count, "")
        if time.monotonic() - self._curves_written > WRITE_CURVES_S:
            self._write_curves()

    def _point(self, stage: str, values: dict[str, float]) -> Point:
        return Point(stage, self.count.update, self.count.all_seconds, values)

    def _validate(self, stage: str) -> None:
        """Judges the model and keeps the best; the first process does it for all, and all end where it fails."""
        failed = None
        if self._fabric.is_global_zero and self._validator:
            try:
                self._measure(stage)
            except Mmface4dError as error:
                failed = error
        if failed := agreed(self._fabric, failed):
            raise failed

    def _measure(self, stage: str) -> None:
        with self._average.in_place():
            with self._fabric.autocast():
                values = self._validator.measure(self.model, stage, device=self._fabric.device)
            check_finite(values, stage=stage, update=self.count.update)
            self._judge(values.get(self._config.validation.measure, values[LOSS]))
        self.curves.validation.append(self._point(stage, values))
        told = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in values.items())
        self._tell(self.count, f"stage {stage}, update {self.count.update}: validation {told}")

    def _judge(self, value: float) -> None:
        count = self.count
        if count.best is None or value < count.best:
            count.best, count.best_update, count.stale = value, count.update, 0
            self._state.best = copied(self.model.state_dict())
            if self._is_last_stage:
                self._write_weights()
        else:
            count.stale += 1

    @property
    def _is_last_stage(self) -> bool:
        return self.count.stage == len(self.stages) - 1

    def _end_stage(self, stage: str, optimiser: Any, *, why: str) -> bool:
        """Whether it was the last one. A stage before hands its best weights on; the last one could still go on."""
        what = "ended" if len(self.stages) == 1 else f"stage {stage} ended"
        self.curves.ended.append(f"{what} after {self.count.update} updates: {WHY[why]}")
        last = self._is_last_stage
        if last:
            self.curves.running = False
        else:
            self.model.load_state_dict(self._state.best or self._average.weights or self.model.state_dict())
            self._state.best, self._average.weights = None, None
            self.count.next_stage()
        self._save(None if not last else optimiser)
        return last

    def _save(self, optimiser: Any) -> None:
        if not self._fabric.is_global_zero:
            return
        state = self._state
        self._summed()
        state.weights, state.curves = copied(self.model.state_dict()), self.curves.to_json()
        state.optimiser = None if optimiser is None else optimiser.state_dict()
        state.precision = self._fabric.strategy.precision.state_dict()
        state.average = None if self._average.weights is None else copied(self._average.weights)
        if self._is_last_stage and self.count.update and not self._validator:
            with self._average.in_place():
                self._write_weights()
        save_state(self._folder, state, settings_sha256=self._settings_sha256)
        self._write_curves()

    def _write_weights(self) -> None:
        if self.count.all_updates > self._updates_before:  # a card tells what other weights were measured to be
            (self._folder / CARD_FILE).unlink(missing_ok=True)
        write_weights(self._folder, self.model, told={"updates": str(self.count.all_updates)})

    def _write_curves(self) -> None:
        if self._fabric.is_global_zero:
            self.curves.write(self._folder)
            self._curves_written = time.monotonic()


def _settings_sha256(folder: Path, config: TrainConfig) -> str:
    """Of what may not change between two parts of one training."""
    fixed = config.model_dump_json(exclude=CHANGEABLE)
    return hashlib.sha256((folder / PREPROCESS_FILE).read_bytes() + fixed.encode()).hexdigest()
