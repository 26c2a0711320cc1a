"""All animation models alike: seeds, padding, order, shapes, options."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from animation.data.batch import UNKNOWN_SUBJECT, Style
from animation.models.interface import LOSS
from animation.models.registry import MODELS, build_model, weight_shapes
from animation.training.devices import seeded
from mmface4d.errors import UsageError
from tests.animation.toy_models import N_VERTS, SHAPE, SMALL, built, generated, one_of, random_batch

REPOSITORY = Path(__file__).resolve().parents[2]
every_model = pytest.mark.parametrize("name", MODELS)


@every_model
def test_the_same_seed_gives_the_same_weights_and_leaves_all_other_chance_alone(name: str) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    one, same, other = (build_model(name, SHAPE, SMALL[name], seed=seed) for seed in (1, 1, 2))
    torch.testing.assert_close(torch.rand(3), expected, rtol=0, atol=0)
    for key, value in one.state_dict().items():
        torch.testing.assert_close(same.state_dict()[key], value, rtol=0, atol=0)
    assert any((other.state_dict()[key] != value).any() for key, value in one.state_dict().items())


def test_nothing_on_the_cpu_seeds_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    def seeds_all(_: int) -> None:
        raise AssertionError

    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeds_all)
    build_model("meshtalk", SHAPE, SMALL["meshtalk"], seed=1)
    before = torch.random.get_rng_state()
    with seeded(3, torch.device("cpu")):
        drawn = torch.rand(2)
    assert torch.equal(drawn, torch.rand(2, generator=torch.Generator().manual_seed(3)))
    assert torch.equal(torch.random.get_rng_state(), before)


@every_model
def test_the_sizes_of_weights_are_known_before_there_are_any(name: str) -> None:
    before = torch.random.get_rng_state()
    made = build_model(name, SHAPE, SMALL[name], seed=0)
    wanted = {weight: value.shape for weight, value in made.state_dict().items()}
    assert weight_shapes(name, SHAPE, SMALL[name]) == wanted
    assert torch.equal(torch.random.get_rng_state(), before)


@every_model
def test_the_same_losses_follow_from_the_same_weights(name: str) -> None:
    """In particular for a model that is chance itself: what is saved is enough to go on."""
    model = built(name)
    model.loss(random_batch(), stage=model.stages[0])
    again = built(name, seed=9)
    again.load_state_dict(model.state_dict())
    for stage in model.stages:
        for _ in range(2):
            one, two = (each.loss(random_batch(), stage=stage)[LOSS] for each in (model, again))
            torch.testing.assert_close(one, two, rtol=0, atol=0)


@every_model
def test_what_is_in_the_padding_counts_for_nothing(name: str) -> None:
    batch = random_batch()
    driver_mask = batch.style.driver_mask.clone()
    driver_mask[1, 7:] = False
    batch = replace(batch, style=replace(batch.style, driver_mask=driver_mask))
    padding = ~batch.frame_mask[:, :, None]
    spoilt = replace(
        batch,
        audio=batch.audio.masked_fill(padding, 50.0),
        displacement=batch.displacement.masked_fill(padding[..., None], -70.0),
        style=replace(batch.style, driver=batch.style.driver.masked_fill(~driver_mask[..., None, None], 90.0)),
    )
    for stage in built(name).stages:
        for training in (True, False):
            found = []
            for each in (batch, spoilt):
                model = built(name).train(training)
                loss = model.loss(each, stage=stage)[LOSS]
                loss.backward()
                gradients = [p.grad for p in model.trained(stage) if p.grad is not None]
                found.append((loss, torch.cat([g.flatten() for g in gradients])))
            torch.testing.assert_close(found[0], found[1])


@every_model
def test_a_clip_loses_the_same_alone_as_beside_others(name: str) -> None:
    """Where nothing is learned of the batch: losses are means over frames."""
    model, batch = built(name).eval(), random_batch()
    frames = batch.frame_mask.sum(dim=1)
    with torch.no_grad():
        together = model.loss(batch, stage=model.stages[-1])
        alone = [model.loss(one_of(batch, k), stage=model.stages[-1]) for k in range(len(frames))]
    key = "surprise" if name == "meshtalk" else "distance"
    expected = sum(n * each[key] for n, each in zip(frames, alone, strict=True)) / frames.sum()
    torch.testing.assert_close(together[key], expected)


@every_model
def test_generation_knows_nothing_of_the_other_clips_nor_of_their_order(name: str) -> None:
    model, batch = built(name), random_batch((11, 11, 11))
    whole = generated(model, batch)
    assert whole.shape == (3, 11, N_VERTS, 3)
    for k in range(3):
        torch.testing.assert_close(generated(model, one_of(batch, k))[0], whole[k], rtol=1e-4, atol=1e-5)
    order = [2, 0, 1]
    style = Style(*(getattr(batch.style, field)[order] for field in ("driver", "driver_mask", "subject")))
    turned = replace(batch, audio=batch.audio[order], template=batch.template[order], style=style)
    torch.testing.assert_close(generated(model, turned), whole[order], rtol=1e-4, atol=1e-5)


@every_model
def test_generation_repeats_itself(name: str) -> None:
    model, batch = built(name), random_batch((8,))
    torch.testing.assert_close(generated(model, batch), generated(model, batch), rtol=0, atol=0)


@every_model
@pytest.mark.parametrize("n_frames", [(1,), (1, 3), (2, 2)])
def test_the_shortest_clips_give_numbers(name: str, n_frames: tuple[int, ...]) -> None:
    batch = random_batch(n_frames)
    style = replace(batch.style, driver=batch.style.driver[:, :1], driver_mask=batch.style.driver_mask[:, :1])
    batch, model = replace(batch, style=style), built(name)
    for stage in model.stages:
        loss = model.train().loss(batch, stage=stage)[LOSS]
        loss.backward()
        assert torch.isfinite(loss)
        assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    assert torch.isfinite(generated(model, batch)).all()


@every_model
def test_stages_share_out_the_parameters_and_each_learns(name: str) -> None:
    model, batch = built(name), random_batch()
    shared = [id(parameter) for stage in model.stages for parameter in model.trained(stage)]
    assert sorted(shared) == sorted(id(parameter) for parameter in model.parameters())
    for stage in model.stages:
        parameters = model.trained(stage)
        optimiser = torch.optim.Adam(parameters, 3e-3)
        losses = []
        for _ in range(15):
            loss = model.loss(batch, stage=stage)[LOSS]
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
        assert np.mean(losses[-3:]) < 0.95 * losses[0]


@every_model
def test_half_the_precision_gives_about_the_same_loss(name: str) -> None:
    model, batch = built(name).eval(), random_batch()
    for stage in model.stages:
        with torch.no_grad():
            expected = model.loss(batch, stage=stage)[LOSS]
            with torch.autocast("cpu", torch.bfloat16):
                found = model.loss(batch, stage=stage)[LOSS]
        torch.testing.assert_close(found, expected, rtol=0.05, atol=0)


@every_model
def test_training_starts_about_where_the_template_is(name: str) -> None:
    model, batch = build_model(name, SHAPE, SMALL[name], seed=0), random_batch()
    still = batch.displacement[batch.frame_mask].square().sum(dim=-1).mean()
    assert float(model.loss(batch, stage=model.stages[0])["distance"].detach()) < 1.2 * float(still)


@every_model
def test_unknown_speakers_are_no_mistake(name: str) -> None:
    batch = random_batch((9, 9))
    style = replace(batch.style, subject=torch.tensor([UNKNOWN_SUBJECT, 1]))
    assert torch.isfinite(generated(built(name), replace(batch, style=style))).all()


@every_model
def test_options_that_cannot_be_are_refused_all_at_once(name: str) -> None:
    with pytest.raises(UsageError, match=r"widht.*colour") as caught:
        build_model(name, SHAPE, {"widht": 3, "colour": "red"}, seed=0)
    assert caught.value.hint is not None
    assert "its options are" in caught.value.hint


@every_model
def test_the_docs_tell_every_option(name: str) -> None:
    page = (REPOSITORY / "docs" / "animation-models.md").read_text()
    for option, field in MODELS[name].options.model_fields.items():
        assert f"| `{option}` | {json.dumps(field.default)} | {field.description} |" in page


def test_an_unknown_model_is_told_the_known_ones() -> None:
    with pytest.raises(UsageError, match="no model 'voca'") as caught:
        build_model("voca", SHAPE, {}, seed=0)
    assert caught.value.hint == "it can be audio2face, faceformer, meshtalk"


def test_meshtalk_without_masks_is_refused() -> None:
    with pytest.raises(UsageError, match="mask upper_face"):
        build_model("meshtalk", replace(SHAPE, masks={"lips": (1, 2)}), {}, seed=0)
