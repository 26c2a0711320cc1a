"""FaceFormer and MeshTalk: what they promise of themselves, against literal re-implementations."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from animation.data.batch import UNKNOWN_SUBJECT
from animation.models.attention import periodic_bias, periodic_positions
from animation.models.faceformer import DISPLACEMENT_SCALE, FaceFormer
from animation.models.interface import LOSS
from animation.models.meshtalk import MeshTalk
from animation.models.meshtalk_prior import Prior
from animation.models.noise import CountedNoise
from tests.animation.toy_models import N_AUDIO, N_VERTS, SHAPE, built, generated, random_batch


def faceformer(**options: Any) -> FaceFormer:
    model = built("faceformer", **options)
    assert isinstance(model, FaceFormer)
    return model.double()


def literal_faceformer(model: FaceFormer, audio: Tensor, subject: Tensor) -> Tensor:
    """By torch's own decoder layer, the whole past anew for each frame, with a mask on attention to speech."""
    width, heads, n_frames, period = 16, 4, audio.shape[1], 10
    layer = nn.TransformerDecoderLayer(width, heads, 2 * width, dropout=0.0, batch_first=True).double().eval()
    ours = model.layer
    value, out = ours.speech[0], ours.speech[1]
    assert isinstance(value, nn.Linear)
    with torch.no_grad():
        layer.self_attn.in_proj_weight.copy_(ours.attention.inward.weight)
        layer.self_attn.in_proj_bias.copy_(ours.attention.inward.bias)
        layer.self_attn.out_proj.load_state_dict(ours.attention.outward.state_dict())
        layer.multihead_attn.in_proj_weight[2 * width :] = value.weight
        layer.multihead_attn.in_proj_bias[2 * width :] = value.bias
        layer.multihead_attn.out_proj.load_state_dict(out.state_dict())
        layer.linear1.load_state_dict(ours.feed[0].state_dict())
        layer.linear2.load_state_dict(ours.feed[2].state_dict())
        for norm, mine in zip((layer.norm1, layer.norm2, layer.norm3), ours.norms, strict=True):
            norm.load_state_dict(mine.state_dict())
    memory = model.heard(model.encoder(audio, None))
    place = torch.zeros(period, width, dtype=torch.float64)
    for position in range(period):
        for pair in range(0, width, 2):
            angle = position * math.exp(pair * -math.log(10000.0) / width)
            place[position, pair], place[position, pair + 1] = math.sin(angle), math.cos(angle)
    bias = torch.full((len(audio) * heads, n_frames, n_frames), -math.inf, dtype=torch.float64)
    for head in range(heads):
        for row in range(n_frames):
            for column in range(row + 1):
                bias[head::heads, row, column] = -(2.0 ** (-8.0 * (head + 1) / heads)) * ((row - column) // period)
    diagonal = torch.full((n_frames, n_frames), -math.inf, dtype=torch.float64).fill_diagonal_(0)
    style = model.styles.weight[subject][:, None]
    rows, shown = style, torch.zeros(0)
    for end in range(1, n_frames + 1):
        placed = rows + place[torch.arange(end) % period]
        hidden = layer(placed, memory, tgt_mask=bias[:, :end, :end], memory_mask=diagonal[:end])
        shown = model.components(hidden) * DISPLACEMENT_SCALE
        rows = torch.cat([rows, model.embedding(shown[:, -1:] / DISPLACEMENT_SCALE) + style], dim=1)
    return shown.unflatten(2, (-1, 3))


@pytest.mark.parametrize("decoding", ["last-row", "cached", "folded"])
def test_faceformer_equals_the_literal_one_however_it_decodes(decoding: str) -> None:
    batch, model = random_batch((25, 25)), faceformer(decoding=decoding).eval()
    with torch.no_grad():
        expected = literal_faceformer(model, batch.audio.double(), batch.style.subject)
        found = model.generate(batch.audio.double(), batch.template.double(), batch.style)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


def test_faceformer_trains_on_what_it_generates() -> None:
    batch, model = random_batch((25, 25)), faceformer().eval()
    loss = model.loss(type(batch)(**{**vars(batch), "audio": batch.audio.double()}), stage="all")[LOSS]
    with torch.no_grad():
        found = model.generate(batch.audio.double(), batch.template.double(), batch.style)
    torch.testing.assert_close(loss, (found - batch.displacement).square().sum(-1).mean())


def test_teacher_forcing_on_its_own_output_is_going_on_by_itself() -> None:
    batch, model = random_batch((15, 15)), faceformer(teacher_forcing=True).eval()
    audio = batch.audio.double()
    with torch.no_grad():
        own = model.generate(audio, batch.template.double(), batch.style)
        loss = model.loss(type(batch)(**{**vars(batch), "audio": audio, "displacement": own}), stage="all")[LOSS]
    assert float(loss) < 1e-18


def test_faceformer_sees_no_frame_of_its_future_through_its_past() -> None:
    """The speech's encoder sees all speech; the decoder only what was shown."""
    model = faceformer()
    generator = torch.Generator().manual_seed(7)
    speech = torch.randn(1, 12, 16, dtype=torch.float64, generator=generator, requires_grad=True)
    rows = model._folded(speech, torch.zeros(1, 16, dtype=torch.float64))
    rows[0, 5, :3].sum().backward()
    assert speech.grad is not None
    assert speech.grad[0, 6:].abs().max() == 0
    assert (speech.grad[0, :6].abs().sum(dim=1) > 0).all()


def test_an_unknown_speaker_gets_the_mean_of_all_styles_or_the_first() -> None:
    subject = torch.tensor([UNKNOWN_SUBJECT, 2])
    for unknown in ("mean", "first"):
        model = faceformer(unknown=unknown)
        expected = model.styles.weight.mean(dim=0) if unknown == "mean" else model.styles.weight[0]
        found = model._style(subject)
        torch.testing.assert_close(found[0], expected)
        torch.testing.assert_close(found[1], model.styles.weight[2])


def test_the_bias_and_positions_go_by_periods() -> None:
    bias = periodic_bias(7, heads=4, period=3)
    assert bias[0, 6].tolist() == [-0.5, -0.25, -0.25, -0.25, 0, 0, 0]
    assert torch.isinf(bias[0, 2, 3:]).all()
    positions = periodic_positions(7, width=8, period=3)
    torch.testing.assert_close(positions[:3], positions[3:6])


def meshtalk(**options: Any) -> MeshTalk:
    model = built("meshtalk", **options)
    assert isinstance(model, MeshTalk)
    return model


def wild_prior() -> Prior:
    """With weights that make its choices differ."""
    prior = meshtalk().prior
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return prior


def test_the_prior_samples_what_its_logits_say() -> None:
    prior, audio = wild_prior(), torch.randn(2, 40, N_AUDIO, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        codes = prior.sample(audio, temperature=0.0, generator=torch.Generator())
        logits = prior.logits(audio, codes, past=codes, mask=None)
    assert len(codes.unique()) > 2
    torch.testing.assert_close(logits.argmax(dim=-1), codes)


def test_the_prior_sees_only_what_was_chosen_before() -> None:
    prior, audio = wild_prior(), torch.randn(1, 30, N_AUDIO, generator=torch.Generator().manual_seed(3))
    codes = torch.randint(0, 5, (1, 30, 4), generator=torch.Generator().manual_seed(4))
    changed = codes.clone()
    changed[0, 10, 2] = (changed[0, 10, 2] + 1) % 5
    with torch.no_grad():
        moved = (
            (prior.logits(audio, changed, past=changed, mask=None) - prior.logits(audio, codes, past=codes, mask=None))
            .abs()
            .amax(dim=-1)[0]
        )
    assert moved[:10].max() == 0
    assert moved[10, :3].max() == 0
    assert moved[10, 3] > 0
    assert (moved[11 : 11 + prior.memory_frames] > 0).all()
    assert moved[11 + prior.memory_frames :].max() == 0


def test_a_warm_prior_samples_by_its_chances() -> None:
    prior = meshtalk().prior
    with torch.no_grad():
        prior.bias.copy_(torch.tensor([0.7, 0.1, 0.1, 0.05, 0.05]).log())
        prior.outward.zero_()
        audio = torch.zeros(50, 20, N_AUDIO)
        codes = prior.sample(audio, temperature=1.0, generator=torch.Generator().manual_seed(0))
    assert float((codes == 0).float().mean()) == pytest.approx(0.7, abs=0.03)


def test_choices_are_one_of_each_head_with_a_gradient() -> None:
    model = meshtalk()
    logits = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(5), requires_grad=True)
    coded = model._coded(logits)
    torch.testing.assert_close(coded.sum(dim=-1), torch.ones(2, 3, 4))
    torch.testing.assert_close(coded.amax(dim=-1), torch.ones(2, 3, 4))
    (coded * torch.randn(coded.shape, generator=torch.Generator().manual_seed(6))).sum().backward()
    assert logits.grad is not None
    assert (logits.grad.abs().sum(dim=-1) > 0).all()


def test_gumbel_noise_chooses_by_the_softmax() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        noise = CountedNoise()
    logits = torch.tensor([0.6, 0.3, 0.1]).log().expand(20_000, 3)
    chosen = (logits + noise.gumbel(logits)).argmax(dim=1)
    shares = torch.bincount(chosen, minlength=3) / len(chosen)
    torch.testing.assert_close(shares, torch.tensor([0.6, 0.3, 0.1]), rtol=0, atol=0.015)
    assert noise.state[1] == 1


def test_the_latent_learns_lips_by_speech_and_the_upper_face_by_expression() -> None:
    """The cross-modality losses are about their own regions only."""
    model, batch = meshtalk(cross_weight=1.0).eval(), random_batch((9, 9))
    terms = model.loss(batch, stage="latent")
    total = terms["distance"] + terms["lips_by_speech"] + terms["upper_face_by_expression"]
    torch.testing.assert_close(terms[LOSS], total)
    elsewhere = batch.displacement.clone()
    elsewhere[:, :, 6:12] += 1.0  # neither lips nor upper face
    with torch.no_grad():
        model.expression.inward.weight.view(-1, N_VERTS, 3)[:, 6:12] = 0  # nor seen
        before = model.loss(batch, stage="latent")
        after = model.loss(type(batch)(**{**vars(batch), "displacement": elsewhere}), stage="latent")
    for key in ("lips_by_speech", "upper_face_by_expression"):
        torch.testing.assert_close(after[key], before[key])
    assert after["distance"] > before["distance"]


def test_meshtalk_generates_faces_of_its_latent() -> None:
    model, batch = meshtalk(), random_batch((12, 12))
    assert generated(model, batch).shape == (2, 12, SHAPE.n_verts, 3)
    with torch.no_grad():
        assert model.reconstruct(batch).shape == batch.displacement.shape
