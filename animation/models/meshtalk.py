"""MeshTalk (Richard et al. 2021): a categorical latent of speech and expression, then a prior that needs speech alone.

Stage "latent": speech and expression become `heads` choices a frame among `classes`, from which, with a template, the
face is made again. The cross-modality loss takes the lips from the speech and the upper face from the expression: with
another clip's expression the lips must still be right, with another clip's speech the upper face.
Stage "prior": which choices follow from speech and the choices so far. There is no style: a person is a template.

The published landmark losses (eyelids, lips) need landmarks that a corpus of any topology does not have.
"""

from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from animation.data.batch import Batch, Style
from animation.models.interface import LOSS, AnimationModel, Capabilities, ModelShape
from animation.models.layers import FrameMask, mean_over_frames
from animation.models.meshtalk_layers import ExpressionEncoder, FaceDecoder, SpeechConvs, leaky
from animation.models.meshtalk_prior import Codes, Prior
from animation.models.noise import CountedNoise
from animation.models.options import ModelOptions
from mmface4d.errors import UsageError

DISPLACEMENT_SCALE = 0.1  # of displacements in normalised units, so that components are about 1
DECIDED = 3.0  # beside Gumbel noise, whose spread is 1.3
NEEDED_MASKS = ("lips", "upper_face")


class MeshTalkOptions(ModelOptions):
    """Sizes of the latent and of the networks."""

    heads: int = Field(default=16, ge=1, le=256, description="Choices a frame; code 16, paper 64.")
    classes: int = Field(default=128, ge=2, le=4096, description="Among which each choice is.")
    width: int = Field(default=128, ge=8, le=2048, description="Of codes; other layers follow.")
    prior_width: int = Field(default=64, ge=8, le=2048, description="Of the prior's memory.")
    head_width: int = Field(default=32, ge=2, le=512, description="Of what the prior knows for each head.")
    gumbel_temperature: float = Field(default=1.0, gt=0, le=100, description="Of the choices while training.")
    cross_weight: float = Field(default=1.0, ge=0, description="Of the cross-modality loss, beside the distance.")
    past_noise: float = Field(
        default=0.7, ge=0, le=1, description="Share of past frames that the prior sees wrong while it trains."
    )
    temperature: float = Field(default=0.0, ge=0, le=10, description="Of the prior; 0: the most probable choice.")


class MeshTalk(AnimationModel):
    """The rival without style."""

    stages: ClassVar[tuple[str, ...]] = ("latent", "prior")

    def __init__(self, shape: ModelShape, options: MeshTalkOptions) -> None:
        super().__init__(shape)
        missing = [name for name in NEEDED_MASKS if not shape.masks.get(name)]
        if missing:
            raise UsageError(f"MeshTalk needs the mask {missing[0]}", hint="give the corpus the masks lips, upper_face")
        self.options = options
        n_coordinates, width, n_latent = 3 * shape.n_verts, options.width, options.heads * options.classes
        self.speech = SpeechConvs(shape.n_audio, width)
        self.expression = ExpressionEncoder(n_coordinates, width)
        self.fuse, self.fuse_norm = nn.Linear(2 * width, width), nn.LayerNorm(width)
        self.choose = nn.Linear(width, n_latent)
        # logits of about DECIDED from the start: the choices tell something in spite of their noise
        nn.init.normal_(self.choose.weight, std=DECIDED / width**0.5)
        self.decoder = FaceDecoder(n_coordinates, n_latent, width=width)
        self.noise = CountedNoise()
        self.prior = Prior(
            shape.n_audio,
            heads=options.heads,
            classes=options.classes,
            width=options.prior_width,
            head_width=options.head_width,
        )

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(style="none", autoregressive=True, halo_frames=None)

    def trained(self, stage: str) -> list[nn.Parameter]:
        """The prior's in its stage; all others before."""
        prior = {id(parameter) for parameter in self.prior.parameters()}
        return [each for each in self.parameters() if (id(each) in prior) == (stage == "prior")]

    def loss(self, batch: Batch, *, stage: str) -> dict[str, Tensor]:
        return self._prior_loss(batch) if stage == "prior" else self._latent_loss(batch)

    def generate(
        self, audio: Float[Tensor, "n_batch n_frames n_audio"], template: Float[Tensor, "n_batch n_verts 3"],
        style: Style,
    ) -> Float[Tensor, "n_batch n_frames n_verts 3"]:  # fmt: skip
        generator = torch.Generator().manual_seed(0)  # the same clip comes out the same
        codes = self.prior.sample(audio, temperature=self.options.temperature, generator=generator)
        return self._face(template, F.one_hot(codes, self.options.classes).to(audio.dtype))

    def reconstruct(self, batch: Batch) -> Float[Tensor, "n_batch n_frames n_verts 3"]:
        """Displacements through the latent, from speech and the true expression: what the prior can reach at best."""
        codes = self._fused(batch.audio, batch.displacement, batch.frame_mask).argmax(dim=-1)
        return self._face(batch.template, F.one_hot(codes, self.options.classes).to(batch.audio.dtype))

    def _prior_loss(self, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            codes: Codes = self._fused(*_without_padding(batch)).argmax(dim=-1)
        logits = self.prior.logits(batch.audio, codes, past=self._spoilt(codes), mask=batch.frame_mask)
        surprise = F.cross_entropy(logits.permute(0, 3, 1, 2), codes, reduction="none").mean(dim=2)
        loss = mean_over_frames(surprise, batch.frame_mask)
        right = (logits.argmax(dim=-1) == codes).to(logits.dtype).mean(dim=2)
        return {LOSS: loss, "surprise": loss, "right": mean_over_frames(right, batch.frame_mask)}

    def _spoilt(self, codes: Codes) -> Codes:
        """Some frames with the choices of another clip: a prior that trusts its past alone does not hear the speech."""
        if not self.training or self.options.past_noise == 0:
            return codes
        wrong = self.noise.uniform(codes[:, :, :1].float()) < self.options.past_noise
        return torch.where(wrong, _another(codes), codes)

    def _latent_loss(self, batch: Batch) -> dict[str, Tensor]:
        audio, truth, mask = _without_padding(batch)
        own = self._coded(self._fused(audio, truth, mask))
        heard = self._coded(self._fused(audio, _another(truth), mask))
        seen = self._coded(self._fused(_another(audio), truth, _another(mask)))
        found = self._face(batch.template.repeat(3, 1, 1), torch.cat([own, heard, seen]))
        whole, lips, upper = ((each - truth).square().sum(dim=-1) for each in found.chunk(3))
        terms = {
            "distance": mean_over_frames(whole.mean(dim=2), mask),
            "lips_by_speech": mean_over_frames(self._within(lips, "lips"), mask),
            "upper_face_by_expression": mean_over_frames(self._within(upper, "upper_face"), mask),
        }
        crossed = terms["lips_by_speech"] + terms["upper_face_by_expression"]
        return {LOSS: terms["distance"] + self.options.cross_weight * crossed, **terms}

    def _within(self, squared: Tensor, mask: str) -> Tensor:
        """Sum over a mask's vertices, over the number of all: on the scale of the mean over all."""
        vertices = torch.as_tensor(self.shape.masks[mask], device=squared.device)
        return squared[:, :, vertices].sum(dim=2) / self.shape.n_verts

    def _fused(
        self, audio: Tensor, displacement: Tensor, mask: FrameMask
    ) -> Float[Tensor, "n_batch n_frames n_heads n_classes"]:
        """Logits of the latent."""
        heard = self.speech(audio, mask)
        seen = self.expression(displacement.flatten(2) / DISPLACEMENT_SCALE)
        logits = self.choose(self.fuse_norm(leaky(self.fuse(torch.cat([heard, seen], dim=2)))))
        return logits.unflatten(2, (self.options.heads, self.options.classes))

    def _coded(self, logits: Tensor) -> Tensor:
        """One choice of each head, with the gradient of the soft one (Gumbel softmax, straight through)."""
        noisy = logits + self.noise.gumbel(logits) if self.training else logits
        soft = (noisy / self.options.gumbel_temperature).softmax(dim=-1)
        hard = F.one_hot(soft.argmax(dim=-1), self.options.classes).to(soft.dtype)
        return hard + soft - soft.detach()

    def _face(self, template: Tensor, coded: Tensor) -> Tensor:
        coordinates = self.decoder(template.flatten(1), coded.flatten(2)) * DISPLACEMENT_SCALE
        return coordinates.unflatten(2, (-1, 3))


def _without_padding(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Speech and displacements with zeros as padding, since they take the place of another clip's; and the mask."""
    mask = batch.frame_mask
    return batch.audio * mask[:, :, None], batch.displacement * mask[:, :, None, None], mask


def _another(values: Tensor) -> Tensor:
    """Another clip's in the place of each; a clip alone gets its own, from another time."""
    if len(values) > 1:
        return values.roll(1, dims=0)
    return values.roll(max(values.shape[1] // 2, 1), dims=1)
