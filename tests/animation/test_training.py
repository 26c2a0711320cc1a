"""Training: the same seed gives the same weights, however often it is interrupted; what ends it; what is refused."""

import errno
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric.plugins.precision import Precision
from safetensors.torch import load_file

from animation.data.batch import Batch
from animation.data.batches import training_batches
from animation.data.clip import Sound
from animation.data.corpus import SpeechCorpus
from animation.models.audio2face import Audio2Face
from animation.models.interface import LOSS
from animation.models.registry import build_model
from animation.training.average import Average
from animation.training.checkpoint import load_checkpoint
from animation.training.config import TrainConfig, checked_config
from animation.training.curves import Curves, Point
from animation.training.loop import Loop
from animation.training.record import resumed_config
from animation.training.run import Outcome, prepared_for, preprocessing_of, train
from animation.training.stage_loss import generator_of
from animation.training.styles import read_styles
from mmface4d.errors import BusyError, DeviceError, DiskFullError, InputError, TrainingError, UsageError
from mmface4d.files import read_json
from mmface4d.locks import locked
from tests.animation.toy_corpus import changed, toy_corpus
from tests.animation.toy_training import SMALL, equal, settings, weights

SLOW = pytest.mark.slow
MODELS = ["audio2face", pytest.param("faceformer", marks=SLOW), pytest.param("meshtalk", marks=SLOW)]
SHARES = {"audio2face": [1], "faceformer": [1], "meshtalk": [3, 5]}  # 6 and 10 of 16 updates
BEGUN = {"audio2face": [1], "faceformer": [1], "meshtalk": [1, 1]}  # 6 and 6 of 12
Train = Callable[..., Outcome]


@pytest.fixture(scope="module")
def corpus() -> SpeechCorpus:
    return toy_corpus(sentences=2, n_frames=16)


@pytest.fixture
def run(corpus: SpeechCorpus, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Train:
    """Trains on the toy corpus into a folder of a name."""

    def run(name: str, config: TrainConfig, *, data: SpeechCorpus = corpus, resume: bool = False) -> Outcome:
        cache = tmp_path_factory.getbasetemp() / "prepared"
        return train(data, config, tmp_path / name, resume=resume, cache=cache)

    return run


@pytest.mark.parametrize("model", MODELS)
def test_the_same_seed_gives_the_same_weights(run: Train, model: str) -> None:
    before = torch.random.get_rng_state()
    first = weights(run("first", settings(model)))
    torch.rand(3)
    assert equal(first, weights(run("second", settings(model))))
    assert not equal(first, weights(run("third", settings(model, seed=1))))
    torch.random.set_rng_state(before)


def test_training_leaves_global_randomness_alone(run: Train) -> None:
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    run("any", settings())
    assert torch.equal(torch.rand(2), wanted)
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("model", MODELS)
def test_a_longer_budget_goes_on_as_if_it_had_been_there_from_the_start(run: Train, model: str) -> None:
    shares = {"stage_shares": [1, 3]} if model == "meshtalk" else {}
    whole = run("whole", settings(model, budget={"updates": 16, **shares}))
    # the first stage of two has the same length in both
    begun = {"updates": 8, "stage_shares": [1, 1]} if shares else {"updates": 8}
    run("parts", settings(model, budget=begun))
    parts = run("parts", settings(model, budget={"updates": 16, **shares}), resume=True)
    assert equal(weights(whole), weights(parts))
    assert (parts.updates, parts.best, parts.ended) == (whole.updates, whole.best, whole.ended)
    curves = [Curves.from_json(read_json(each.folder / "curves.json")) for each in (whole, parts)]
    for one, other in zip(curves[0].training, curves[1].training, strict=True):
        assert (one.stage, one.update, one.values) == (other.stage, other.update, other.values)


@pytest.mark.parametrize(
    ("model", "at"), [("audio2face", 5), *(pytest.param("meshtalk", at, marks=SLOW) for at in (1, 5, 7))]
)
def test_a_stopped_training_goes_on_bit_by_bit(
    run: Train, monkeypatch: pytest.MonkeyPatch, model: str, at: int
) -> None:
    whole, update = run("whole", settings(model)), Loop._update

    def interrupted(self: Loop, *arguments: Any, **more: Any) -> None:
        update(self, *arguments, **more)
        if self.count.all_updates == at:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_update", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run("stopped", settings(model))
    stopped = run("stopped", settings(model), resume=True)
    assert equal(weights(whole), weights(stopped))
    assert stopped.ended == whole.ended


@SLOW
def test_half_precision_goes_on_bit_by_bit_too(run: Train) -> None:
    half = {"precision": "bf16-mixed", "accelerator": "cpu"}
    whole = run("whole", settings(machine=half, budget={"updates": 16}))
    run("parts", settings(machine=half))
    found = weights(run("parts", settings(machine=half, budget={"updates": 16}), resume=True))
    assert equal(weights(whole), found)
    assert all(value.dtype == torch.float32 for value in found.values() if value.is_floating_point())


def test_half_precision_does_not_round_the_truth(run: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, loss = [], Audio2Face.loss

    def told(self: Audio2Face, batch: Batch, *, stage: str) -> dict[str, torch.Tensor]:
        terms = loss(self, batch, stage=stage)
        seen.append((torch.is_autocast_enabled("cpu"), batch.displacement.dtype, terms[LOSS].dtype))
        return terms

    monkeypatch.setattr(Audio2Face, "loss", told)
    run("half", settings(machine={"precision": "bf16-mixed", "accelerator": "cpu"}))
    assert set(seen) == {(True, torch.float32, torch.float32)}


@pytest.mark.parametrize("model", MODELS)
def test_averaged_weights_go_on_bit_by_bit_too(run: Train, model: str) -> None:
    smooth = {"optimiser": {"rate": 1e-3, "average": 0.7}}
    whole = run("whole", settings(model, budget={"updates": 16, "stage_shares": SHARES[model]}, **smooth))
    begun = {"updates": 12, "stage_shares": BEGUN[model]}
    run("parts", settings(model, budget=begun, **smooth))
    longer = settings(model, budget={"updates": 16, "stage_shares": SHARES[model]}, **smooth)
    assert equal(weights(whole), weights(run("parts", longer, resume=True)))


def test_the_average_is_that_of_the_weights() -> None:
    model = torch.nn.Linear(2, 1, bias=False)
    average = Average(model, 0.5)
    assert average.weights is not None
    mean = model.weight.detach().clone()
    for update in range(1, 9):
        torch.nn.init.constant_(model.weight, float(update) ** 2)
        average.update(update)
        kept = min(0.5, (1 + update) / (10 + update))
        mean = kept * mean + (1 - kept) * update**2
    torch.testing.assert_close(average.weights["weight"], mean)
    with average.in_place():
        torch.testing.assert_close(model.weight.detach(), mean)
    assert float(model.weight.detach()[0, 0]) == 64


def test_a_failure_anywhere_is_gone_on_from(run: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a kill: what was not saved is made again, to the bit."""
    whole, update = run("whole", settings()), Loop._update

    def broken(self: Loop, *arguments: Any, **more: Any) -> None:
        if self.count.all_updates == 6:
            raise MemoryError
        update(self, *arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "_update", broken)
        with pytest.raises(MemoryError):
            run("failed", settings())
    assert equal(weights(whole), weights(run("failed", settings(), resume=True)))


def test_a_gpu_with_too_little_memory_is_told(run: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    monkeypatch.setattr(Loop, "_update", full)
    with pytest.raises(DeviceError, match="too little memory") as error:
        run("full", settings())
    assert "batches.size" in (error.value.hint or "")


@pytest.mark.parametrize("step", ["write_run", "write_preprocessing", "_run"])
def test_one_that_ended_before_its_first_update_is_begun_again(
    run: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, step: str
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(f"animation.training.run.{step}", broken)
        with pytest.raises(MemoryError):
            run("begun", settings())
    (tmp_path / "begun").mkdir(exist_ok=True)
    (tmp_path / "begun" / ".train.lock").touch()  # as after a kill
    assert run("begun", settings(), resume=True).updates == 8


def test_what_a_kill_left_half_written_is_cleared(run: Train) -> None:
    folder = run("killed", settings()).folder
    for name in (".train_state.0123abcd.partial.pt", ".model.0123abcd.partial.safetensors"):
        (folder / name).touch()
    run("killed", settings(), resume=True)
    assert not list(folder.glob(".*.partial.*"))


def test_a_finished_training_is_not_trained_again(run: Train) -> None:
    done = run("done", settings())
    assert equal(weights(done), weights(run("done", settings(), resume=True)))


def test_resuming_nothing_starts(run: Train, tmp_path: Path) -> None:
    assert run("new", settings(), resume=True).updates == 8
    assert resumed_config(tmp_path / "new") == settings()


def test_test_subjects_are_never_read(run: Train, corpus: SpeechCorpus) -> None:
    def nobody(*_: Any) -> Any:
        raise AssertionError

    clips = tuple(
        replace(each, frames=nobody, sound=nobody) if corpus.splits[each.subject] == "test" else each
        for each in corpus.clips
    )
    run("blind", settings(), data=replace(corpus, clips=clips))


def test_it_ends_without_improvement_and_keeps_the_best(run: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([3.0, 2.0, 2.5, 2.0, 1.0, 1.0])
    monkeypatch.setattr(
        "animation.training.validation.Validator.measure", lambda *_, **__: {LOSS: 9.0, "face_mean_mm": next(values)}
    )
    patient = {"every_updates": 2, "clips": 1, "patience": 2}
    outcome = run("early", settings(validation=patient, budget={"updates": 100}))
    assert (outcome.updates, outcome.best, outcome.best_update) == (8, 2.0, 4)
    assert "improved no more" in outcome.ended[0]
    four = run("four", settings(validation=patient, budget={"updates": 4}))
    kept, last = load_file(outcome.folder / "model.safetensors"), weights(four)
    assert all(torch.equal(value, last[f"state.{name}"]) for name, value in kept.items())


def test_minutes_end_it(run: Train) -> None:
    outcome = run("short", settings(budget={"updates": 0, "minutes": 0.002}))
    assert "minutes" in outcome.ended[0]
    assert outcome.updates >= 1


def test_without_validation_subjects_the_last_weights_are_kept(run: Train) -> None:
    outcome = run("alone", settings(), data=toy_corpus(splits={"s1": "train"}, sentences=2, n_frames=16))
    found = weights(outcome)
    assert outcome.best is None
    assert all(torch.equal(value, found[f"state.{name}"]) for name, value in found.items() if name[:6] != "state.")
    assert not load_checkpoint(outcome.folder).model.training


def test_it_learns(run: Train, corpus: SpeechCorpus) -> None:
    more = {"budget": {"updates": 60}, "optimiser": {"rate": 3e-3}, "validation": {"every_updates": 20, "clips": 2}}
    outcome = run("learnt", settings(**more))
    first, *_, last = Curves.from_json(read_json(outcome.folder / "curves.json")).training
    assert last.values[LOSS] < 0.5 * first.values[LOSS]


@pytest.mark.parametrize("every", [1, 20])
def test_a_training_that_diverges_is_told(run: Train, every: int) -> None:
    wild = {"optimiser": {"rate": 1.0, "clip_norm": 0.0}, "options": {**SMALL["audio2face"], "reg_weight": 1e38}}
    with pytest.raises(TrainingError, match="diverged") as error:
        run("wild", settings(**wild, validation={"every_updates": every, "clips": 1}, budget={"updates": 4000}))
    assert "optimiser.rate" in (error.value.hint or "")


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"model": "audio3face", "options": {}}, "no model"),
        ({"options": {"chanels": 3}}, "chanels"),
        ({"encoder": "ear"}, "no audio encoder"),
        ({"machine": {"precision": "16-mixed", "accelerator": "cpu"}}, "needs a GPU"),
        ({"batches": {"size": 3}, "machine": {"devices": 2, "accelerator": "cpu"}}, "share evenly"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_written(run: Train, tmp_path: Path, more: dict, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        run("wrong", checked_config({"budget": {"updates": 1}, **more}, name="these"))
    assert not (tmp_path / "wrong").exists()


def _not_a_number(*_: Any) -> np.ndarray:
    return np.full((17, 25, 3), np.nan, np.float32)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        ({"frames": _not_a_number}, "not finite|no number|NaN"),
        ({"n_frames": 3}, "3 frames|short"),
        ({"sound": lambda: Sound(np.zeros(9000, np.float32), 16_000)}, "silent|silence"),
        ({"frames": lambda *_: np.zeros((17, 9, 3), np.float32)}, r"wants \(17, 25, 3\)"),
    ],
    ids=["NaN", "3 frames", "silent", "another mesh"],
)
def test_broken_clips_are_named(run: Train, corpus: SpeechCorpus, tmp_path: Path, harm: dict, told: str) -> None:
    with pytest.raises(InputError, match=told) as error:
        run("broken", settings(), data=changed(corpus, 1, **harm))
    assert corpus.clips[1].name in error.value.message
    assert not (tmp_path / "broken").exists()


def test_clips_of_several_rates_need_one(run: Train, corpus: SpeechCorpus) -> None:
    mixed = changed(corpus, 0, fps=25.0)
    with pytest.raises(UsageError, match="25, 30"):
        run("mixed", settings(), data=mixed)


def test_another_training_in_the_folder_is_left_alone(run: Train, tmp_path: Path, corpus: SpeechCorpus) -> None:
    run("one", settings())
    with pytest.raises(UsageError, match="has a training already"):
        run("one", settings())
    with pytest.raises(UsageError, match="another seed"):
        run("one", settings(seed=5), resume=True)
    with pytest.raises(InputError, match="other data"):
        run("one", settings(), data=toy_corpus(sentences=3, n_frames=16), resume=True)
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "photo.jpg").touch()
    with pytest.raises(UsageError, match="not empty"):
        run("holiday", settings())


def test_two_at_once_are_refused(run: Train, tmp_path: Path) -> None:
    run("busy", settings())
    with locked(tmp_path / "busy" / ".train.lock", what="it"), pytest.raises(BusyError):
        run("busy", settings(), resume=True)


@pytest.mark.parametrize("harm", [lambda data: data[:-100], lambda _: b"", lambda _: b"\x80\x02K\x01."])
def test_a_damaged_state_is_told(run: Train, harm: Callable[[bytes], bytes]) -> None:
    path = run("harmed", settings()).folder / "train_state.pt"
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(InputError, match="is damaged"):
        run("harmed", settings(), resume=True)


@pytest.mark.parametrize("content", ["", "[]", '{"format": 1}', '{"config": {"seed": "s"}}'])
def test_a_damaged_record_is_told(run: Train, content: str) -> None:
    """Whether the settings are given again or not."""
    path = run("recorded", settings()).folder / "run.json"
    path.write_text(content)
    for reads in (lambda: run("recorded", settings(), resume=True), lambda: resumed_config(path.parent)):
        with pytest.raises(InputError, match=r"run\.json is damaged") as error:
            reads()
        assert "another folder" in (error.value.hint or "")


def _without_a_weight(state: dict[str, Any]) -> None:
    state["weights"].popitem()


def _of_another_optimiser(state: dict[str, Any]) -> None:
    state["optimiser"]["param_groups"].clear()


def _of_no_stage(state: dict[str, Any]) -> None:
    state["told"] = state["told"].replace('"stage": 0', '"stage": 7')


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (_without_a_weight, "is damaged"),
        (_of_another_optimiser, "is damaged"),
        (_of_no_stage, "is damaged: there is no stage 7"),
    ],
)
def test_a_state_that_does_not_fit_is_told(run: Train, harm: Callable[[dict[str, Any]], None], said: str) -> None:
    path = run("harmed", settings()).folder / "train_state.pt"
    state = torch.load(path, weights_only=True)
    harm(state)
    torch.save(state, path)
    with pytest.raises(InputError, match=said):
        run("harmed", settings(), resume=True)


def test_a_full_disk_is_told(run: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    done = run("full", settings())
    before = (done.folder / "train_state.pt").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("animation.training.state.torch.save", full)
        with pytest.raises(DiskFullError, match=r"train_state\.pt"):
            run("full", settings(budget={"updates": 12}), resume=True)
    assert (done.folder / "train_state.pt").read_bytes() == before
    assert not list(done.folder.glob("*.partial*"))


def test_the_page_tells_the_last_update(tmp_path: Path) -> None:
    curves = Curves("audio2face", "toy", [Point("all", 500, 60.0, {LOSS: 1.0})], [Point("all", 505, 61.0, {LOSS: 2.0})])
    curves.write(tmp_path)
    page = (tmp_path / "curves.html").read_text()
    assert ">505<" in page
    assert ">500<" not in page


def test_curves_and_card_say_what_was_measured(run: Train) -> None:
    folder = run("told", settings("meshtalk")).folder
    curves = Curves.from_json(read_json(folder / "curves.json"))
    assert [point.stage for point in curves.validation] == ["latent", "prior"]
    assert set(curves.validation[1].values) == {LOSS, "face_mean_mm", "lips_max_mm"}
    assert not curves.running
    page = (folder / "curves.html").read_text()
    assert page.count("<svg") >= 4
    assert "refresh" not in page
    card = (folder / "README.md").read_text()
    assert "for tests" in card
    assert "face mean mm" in card
    assert "Not measured on test subjects" in card
    best = min(point.values["face_mean_mm"] for point in curves.validation[1:])
    assert f"{best:.4g}" in card


def test_a_card_tells_what_its_weights_were_measured_to_be(run: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not the best of each measure, which no weights may ever have had."""
    values = iter(
        [{LOSS: 7.0, "face_mean_mm": 2.0, "lips_max_mm": 6.5}, {LOSS: 1.5, "face_mean_mm": 3.0, "lips_max_mm": 4.5}]
    )
    monkeypatch.setattr("animation.training.validation.Validator.measure", lambda *_, **__: next(values))
    card = (run("two", settings()).folder / "README.md").read_text()
    assert "at update 4, by which the weights were chosen" in card
    assert all(told in card for told in ("| loss | 7 |", "| face mean mm | 2 |", "| lips max mm | 6.5 |"))


def test_no_loss_is_told_as_that_of_another_stage(run: Train) -> None:
    """Stages of 7 updates, a point every 5."""
    more = {"budget": {"updates": 14}, "validation": {"every_updates": 50, "clips": 1}}
    curves = Curves.from_json(read_json(run("seven", settings("meshtalk", **more)).folder / "curves.json"))
    assert [(point.stage, point.update) for point in curves.training] == [("latent", 5), ("latent", 7), ("prior", 5)]
    latent, prior = ({name for point in curves.training if point.stage == stage for name in point.values}
                     for stage in ("latent", "prior"))  # fmt: skip
    assert latent & prior == {LOSS, "rate"}


def test_the_scale_of_half_precision_goes_on_between_two_stages(run: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    taken_up, update = [], Loop._update

    def broken(self: Loop, *arguments: Any, **more: Any) -> None:
        if self.count.stage == 1:
            raise MemoryError
        update(self, *arguments, **more)

    monkeypatch.setattr(Precision, "load_state_dict", lambda _, state: taken_up.append(state))
    with monkeypatch.context() as patch:
        patch.setattr(Precision, "state_dict", lambda _: {"scale": 2.0})
        patch.setattr(Loop, "_update", broken)
        with pytest.raises(MemoryError):
            run("half", settings("meshtalk"))
    run("half", settings("meshtalk"), resume=True)
    assert taken_up == [{"scale": 2.0}]
    run("half", settings("meshtalk"), resume=True)  # where there is none, there is nothing to go on with
    assert taken_up == [{"scale": 2.0}]


def test_a_card_does_not_outlive_its_weights(run: Train, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("card", settings())
    (done.folder / "README.md").write_text("measured")
    run("card", settings(), resume=True)
    assert (done.folder / "README.md").read_text() == "measured"  # of the same weights
    monkeypatch.setattr("animation.training.run.write_styles", _no_room)
    with pytest.raises(OSError, match="No space"):
        run("card", settings(budget={"updates": 16}), resume=True)
    monkeypatch.undo()
    run("card", settings(budget={"updates": 16}), resume=True)
    assert (done.folder / "README.md").read_text() != "measured"
    assert (done.folder / "styles.npz").stat().st_mtime >= (done.folder / "model.safetensors").stat().st_mtime
    (done.folder / "styles.npz").unlink()  # or of a file of weights that a newer version has written anew
    run("card", settings(budget={"updates": 16}), resume=True)
    assert read_styles(done.folder, load_checkpoint(done.folder)) is not None


def _no_room(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left")


def test_the_checkpoint_names_no_place_on_this_machine(run: Train, tmp_path: Path) -> None:
    folder = run("public", settings(data=str(tmp_path / "secret"))).folder
    for name in ("config.json", "preprocess.json", "README.md", "curves.json", "curves.html"):
        assert "secret" not in (folder / name).read_text()
    assert resumed_config(folder).data == str(tmp_path / "secret")


@pytest.mark.parametrize(
    ("model", "more"),
    [("audio2face", {}), ("audio2face", {"composite": False, "regional": False}), ("faceformer", {}), ("meshtalk", {})],
)
def test_every_stage_uses_what_it_trains(corpus: SpeechCorpus, tmp_path: Path, model: str, more: dict) -> None:
    """Several devices wait for the gradient of each parameter."""
    config = settings(model, options=SMALL[model] | more)
    prepared = prepared_for(corpus, config, cache=tmp_path)
    made = build_model(model, preprocessing_of(prepared, config).shape, config.options, seed=0)
    batch = next(training_batches(prepared, batch_size=2, crop_frames=8, generator=generator_of(0)))
    for stage in made.stages:
        made.zero_grad()
        made.loss(batch, stage=stage)[LOSS].backward()
        assert all(parameter.grad is not None for parameter in made.trained(stage))


def test_draws_of_a_seed_do_not_repeat() -> None:
    drawn = {tuple(generator_of(0, stream, 0, update, rank).integers(1 << 62, size=2)) for stream in range(3)
             for update in range(20) for rank in range(2)}  # fmt: skip
    assert len(drawn) == 120
    assert np.array_equal(generator_of(1, 2).integers(9, size=4), generator_of(1, 2).integers(9, size=4))
