"""audio2face and its parts: halo, masks, statistics, exclusion, and the switches."""

import itertools
from typing import Any

import pytest
import torch
from torch import nn

from animation.data.batch import Batch, Style
from animation.models.audio2face import Audio2Face, Audio2FaceOptions
from animation.models.exclusion import exclusion_loss, exclusion_score, l1_loss, learned_regions
from animation.models.interface import LOSS, ModelShape
from animation.models.layers import MaskedBatchNorm
from animation.models.modulation import time_statistics
from animation.models.registry import build_model
from animation.models.resnet1d import ResNet1d, Stage
from mmface4d.errors import UsageError

SHAPE = ModelShape(n_verts=20, n_audio=6, n_subjects=3, fps=10.0)
SIZES = {"channels": 16, "driver_channels": 16}
SWITCHES = [
    {"style_stats": ["mean", "std", "dstd"]},
    {"template_fusion": "add"},
    {"tie_weights": True},
    {"driver_stride": 1},
    {"driver_origin": "mean"},
    {"norm": "frame"},
    {"reg": "l1"},
    {"composite": False},
    {"regional": False},
]


def built(**options: Any) -> Audio2Face:
    """In double precision, after a few steps of its running statistics."""
    model = build_model("audio2face", SHAPE, {**SIZES, **options}, seed=0)
    assert isinstance(model, Audio2Face)
    model.double()
    for number in range(3):
        audio, template, style = inputs(40, seed=number)
        model._decode(audio, template, model.encode_style(style), mask=None)
    return model.eval()


def inputs(n_frames: int, *, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, Style]:
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    driver = Style(0.1 * noise(2, 13, 20, 3), torch.ones(2, 13, dtype=torch.bool), torch.zeros(2, dtype=torch.int64))
    return noise(2, n_frames, 6), noise(2, 20, 3), driver


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_every_switch_trains_and_keeps_the_interface(switch: dict[str, object]) -> None:
    model = built(**switch)
    audio, template, style = inputs(12)
    assert model.generate(audio, template, style).shape == (2, 12, 20, 3)
    assert model.capabilities.halo_frames == 16
    assert model.capabilities.style == ("none" if switch == {"composite": False} else "clip")


@pytest.mark.parametrize("stages", [1, 4])
def test_a_chunk_with_its_halo_equals_the_whole(stages: int) -> None:
    model = built(decoder_stages=stages)
    halo = model.capabilities.halo_frames
    assert halo is not None
    assert halo == 4 * stages
    audio, template, style = inputs(90)
    code = model.encode_style(style)
    whole = model.decode(audio, template, code)
    pieces = []
    for start in range(0, 90, 25):
        stop = min(start + 25, 90)
        first, last = max(start - halo, 0), min(stop + halo, 90)
        pieces.append(model.decode(audio[:, first:last], template, code)[:, start - first : stop - first])
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole, rtol=0, atol=1e-10)


def test_a_frame_depends_on_all_of_its_halo_and_on_nothing_beyond() -> None:
    model = built(decoder_stages=2)
    audio, template, style = inputs(41)
    audio.requires_grad_(True)
    model.generate(audio, template, style)[0, 20].square().sum().backward()
    assert audio.grad is not None
    reached = audio.grad[0].abs().sum(dim=1).nonzero()[:, 0]
    assert (int(reached.min()), int(reached.max())) == (20 - 8, 20 + 8)


def test_with_instance_norm_there_is_no_halo_to_promise() -> None:
    model = built(instance_norm=True)
    assert model.capabilities.halo_frames is None
    audio, template, style = inputs(30)
    with torch.no_grad():
        plain, louder = (model.generate(gain * audio, template, style) for gain in (1.0, 5.0))
    # each feature's own spread is taken away
    assert float((louder - plain).abs().max()) < 1e-3 * float(plain.abs().max())


def test_strides_count_into_the_halo() -> None:
    net = ResNet1d(3, [Stage(4, stride=2), Stage(4, stride=2, n_units=1)], norm="batch").double().eval()
    assert (net.stride, net.halo_frames) == (4, 1 + 2 + 2 + 2 + 2 + 4)
    frames = torch.randn(1, 3, 65, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    net(frames, None)[0, :, 8].sum().backward()
    assert frames.grad is not None
    reached = frames.grad[0].abs().sum(dim=0).nonzero()[:, 0]
    assert int(reached.min()) == 8 * 4 - net.halo_frames
    assert int(reached.max()) == 8 * 4 + net.halo_frames


def test_masked_batch_norm_is_batch_norm_over_the_real_frames() -> None:
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn(3, 4, 10, generator=generator, dtype=torch.float64)
    mask = torch.arange(10) < torch.tensor([10, 6, 3])[:, None]
    ours, theirs = MaskedBatchNorm(4).double(), nn.BatchNorm1d(4).double()
    for _ in range(3):
        found = ours(frames, mask).transpose(1, 2)[mask]
        torch.testing.assert_close(found, theirs(frames.transpose(1, 2)[mask]))
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    torch.testing.assert_close(ours.eval()(frames, None), theirs.eval()(frames))


def test_masked_batch_norm_measures_in_full_precision() -> None:
    frames = (torch.randn(8, 4, 90, generator=torch.Generator().manual_seed(0)) + 6).bfloat16()
    half, full = MaskedBatchNorm(4).train(), MaskedBatchNorm(4).train()
    half(frames, None)
    full(frames.float(), None)
    torch.testing.assert_close(half.running_mean, full.running_mean)
    torch.testing.assert_close(half.running_var, full.running_var)


def test_masked_batch_norm_has_the_gradient_of_its_differences() -> None:
    norm = MaskedBatchNorm(2).double()
    mask = torch.tensor([[True, True, True], [True, False, False]])
    frames = torch.randn(2, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1), requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: norm(x, mask) * mask[:, None], (frames,))


def test_statistics_are_those_of_the_real_frames() -> None:
    frames = torch.randn(2, 3, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    mask = torch.arange(9) < torch.tensor([9, 5])[:, None]
    found = time_statistics(frames, mask, which=("mean", "std", "dstd"))
    for k, end in enumerate((9, 5)):
        real = frames[k, :, :end]
        expected = torch.cat([real.mean(1), real.std(1, correction=0), real.diff(dim=1).std(1, correction=0)])
        torch.testing.assert_close(found[k], expected, rtol=1e-6, atol=1e-9)


@torch.no_grad()
def test_a_style_is_a_matter_of_the_driver_alone() -> None:
    model = built()
    audio, template, style = inputs(12)
    code = model.encode_style(style)
    torch.testing.assert_close(model.encode_style(style), code)
    moved = Style(2 * style.driver, style.driver_mask, style.subject + 1)
    assert float((model.encode_style(moved) - code).abs().max()) > 1e-4
    assert float((model.generate(audio, template, moved) - model.generate(audio, template, style)).abs().max()) > 1e-4


def test_without_the_composite_part_the_driver_changes_nothing() -> None:
    model = built(composite=False)
    audio, template, style = inputs(12)
    moved = Style(2 * style.driver, style.driver_mask, style.subject)
    torch.testing.assert_close(model.generate(audio, template, moved), model.generate(audio, template, style))


def test_exclusion_is_the_mean_overlap_of_pairs() -> None:
    matrix = torch.randn(5, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    strengths = matrix.reshape(5, 4, 3).norm(dim=2)
    regions = strengths / strengths.norm(dim=1, keepdim=True)
    pairs = [float(regions[i] @ regions[j]) for i, j in itertools.permutations(range(5), 2)]
    assert float(exclusion_loss(matrix)) == pytest.approx(sum(pairs) / len(pairs))


def test_exclusion_goes_from_none_to_all() -> None:
    apart = torch.zeros(3, 9)
    for component in range(3):
        apart[component, 3 * component + component] = 2.0  # another axis of another vertex
    assert float(exclusion_loss(apart)) == pytest.approx(0.0, abs=1e-6)
    together = torch.tensor([[1.0, 0, 0, 1, 0, 0], [0, 3, 0, 0, 0, 3]])  # other axes of the same vertices
    assert float(exclusion_loss(together)) == pytest.approx(1.0)
    assert float(exclusion_loss(0.01 * together)) == pytest.approx(1.0)  # shrinking gains nothing


def test_exclusion_has_the_gradient_of_its_differences() -> None:
    matrix = torch.randn(4, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(4), requires_grad=True)
    assert torch.autograd.gradcheck(exclusion_loss, (matrix,))
    nothing = torch.zeros(4, 9, requires_grad=True)
    exclusion_loss(nothing).backward()
    assert nothing.grad is not None
    assert torch.isfinite(nothing.grad).all()


def test_the_regulariser_enters_the_loss_with_its_weight() -> None:
    audio, template, style = inputs(12)
    batch = Batch(audio, torch.zeros(2, 12, 20, 3).double(), torch.ones(2, 12, dtype=torch.bool), template, style)
    for reg, function in (("exclusive", exclusion_loss), ("l1", l1_loss)):
        model = built(reg=reg, reg_weight=0.5)
        terms = model.loss(batch, stage="all")
        torch.testing.assert_close(terms["regional"], function(model.decoding_matrix()))
        torch.testing.assert_close(terms[LOSS], terms["distance"] + 0.5 * terms["regional"])
    assert "regional" not in built(regional=False).loss(batch, stage="all")


def test_learned_regions_are_told_by_vertex() -> None:
    model = built()
    regions = learned_regions(model)
    assert regions.shape == (16, 20)
    torch.testing.assert_close(regions.amax(dim=1), torch.ones(16).double())
    assert 0 < exclusion_score(model) < 1


def test_a_model_without_components_has_no_regions() -> None:
    masks = {"lips": (0,), "upper_face": (1,)}
    model = build_model("meshtalk", ModelShape(20, 6, 3, fps=10.0, masks=masks), {"heads": 2, "classes": 3}, seed=0)
    with pytest.raises(UsageError, match="no components"):
        learned_regions(model)


def test_tied_weights_are_one_matrix() -> None:
    model = built(tie_weights=True)
    assert model.decoding_matrix().data_ptr() == model.embedding.weight.data_ptr()


def test_defaults_are_the_papers_form() -> None:
    options = Audio2FaceOptions()
    assert (options.reg, options.style_stats, options.tie_weights) == ("exclusive", ("mean", "std"), False)
    assert (options.template_fusion, options.composite, options.regional) == ("concat", True, True)
