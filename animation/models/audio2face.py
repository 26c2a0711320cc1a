"""audio2face: MMFace4D's model (section VI). Template, speech and a driving clip to displacements, all frames at once.

    embedded template + speech -> features F -> modulated by the driver's style -> ResNet1D -> components

One matrix embeds templates and drivers, one adds up components. Where the paper and the authors' earlier code differ,
the paper's form is the default and an option gives the other; `composite` and `regional` are the paper's ablations.
"""

from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from animation.data.batch import Batch, Style
from animation.models.exclusion import exclusion_loss, l1_loss
from animation.models.interface import LOSS, Capabilities, ChunkableModel, ModelShape
from animation.models.layers import FrameMask, mean_over_frames, norm_layer, squared_distance
from animation.models.modulation import Modulation, Statistic, modulate, without_statistics
from animation.models.options import ModelOptions
from animation.models.resnet1d import ResNet1d, Stage

DISPLACEMENT_SCALE = 0.1  # of displacements in normalised units, so that components and embeddings are about 1


class Audio2FaceOptions(ModelOptions):
    """Sizes, ablations, and what the authors' code does instead of what the paper says."""

    channels: int = Field(default=256, ge=8, le=4096, description="Components, and width of the decoder.")
    decoder_stages: int = Field(default=4, ge=1, le=16, description="Of two residual units each, 4 frames of halo.")
    driver_channels: int = Field(default=256, ge=8, le=4096, description="Width of the driver's encoder.")
    driver_stride: Literal[1, 2] = Field(default=2, description="Down-sampling over time in each of its two stages.")
    style_stats: tuple[Statistic, ...] = Field(
        default=("mean", "std"), min_length=1, max_length=3, strict=False,
        description="Of the driver over time; the authors' code adds dstd, the spread of its differences.",
    )  # fmt: skip
    driver_origin: Literal["template", "mean"] = Field(
        default="template", description="What is taken off the driver: its template (code) or its mean face (paper)."
    )
    template_fusion: Literal["concat", "add"] = Field(default="concat", description="add: the authors' code.")
    tie_weights: bool = Field(default=False, description="Decode by the transposed encoding matrix (code).")
    instance_norm: bool = Field(default=False, description="AdaIN to the letter; chunks are then no longer exact.")
    norm: Literal["batch", "frame"] = Field(default="batch", description="Normalisation within the networks.")
    composite: bool = Field(default=True, description="false: without the driver's modulation.")
    regional: bool = Field(default=True, description="false: without the regulariser.")
    reg: Literal["exclusive", "l1"] = Field(default="exclusive", description="l1: the authors' code.")
    reg_weight: float = Field(default=5e-4, ge=0, description="Of the regulariser, beside the mean squared distance.")


class Audio2Face(ChunkableModel):
    """The paper's model."""

    def __init__(self, shape: ModelShape, options: Audio2FaceOptions) -> None:
        super().__init__(shape)
        self.options = options
        width, n_coordinates = options.channels, 3 * shape.n_verts
        self.embedding = nn.Linear(n_coordinates, width, bias=False)
        self.components = None if options.tie_weights else nn.Linear(width, n_coordinates, bias=False)
        self.audio = nn.Linear(shape.n_audio, width, bias=False)
        self.audio_norm = norm_layer(options.norm, width)
        self.fusion = nn.Linear(2 * width, width, bias=False) if options.template_fusion == "concat" else None
        self.modulation = self._modulation() if options.composite else None
        self.decoder = ResNet1d(width, [Stage(width)] * options.decoder_stages, norm=options.norm)
        if self.components is not None:  # an untrained model shows the template
            nn.init.normal_(self.components.weight, std=0.02 / width**0.5)

    def _modulation(self) -> Modulation:
        options = self.options
        return Modulation(
            options.channels,
            n_hidden=options.driver_channels,
            stride=options.driver_stride,
            statistics=options.style_stats,
            norm=options.norm,
        )

    @property
    def capabilities(self) -> Capabilities:
        halo = None if self.options.instance_norm else self.decoder.halo_frames
        return Capabilities(style="clip" if self.options.composite else "none", autoregressive=False, halo_frames=halo)

    def decoding_matrix(self) -> Float[Tensor, "n_components n_coordinates"]:
        """What each component moves, over x, y, z of every vertex."""
        return self.embedding.weight if self.components is None else self.components.weight.T

    def loss(self, batch: Batch, *, stage: str) -> dict[str, Tensor]:
        code = self.encode_style(batch.style)
        found = self._decode(batch.audio, batch.template, code, mask=batch.frame_mask)
        terms = {"distance": mean_over_frames(squared_distance(found, batch.displacement), batch.frame_mask)}
        if self.options.regional:
            overlap = exclusion_loss if self.options.reg == "exclusive" else l1_loss
            terms["regional"] = overlap(self.decoding_matrix())
        return {LOSS: terms["distance"] + self.options.reg_weight * terms.get("regional", 0.0), **terms}

    def encode_style(self, style: Style) -> Float[Tensor, "n_batch n_style"]:
        """Scale and shift of the features; nothing without the composite part."""
        if self.modulation is None:
            return style.driver.new_zeros(len(style.driver), 0)
        driver = style.driver
        if self.options.driver_origin == "mean":
            weight = style.driver_mask[:, :, None, None].to(driver.dtype)
            driver = driver - (driver * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1)
        embedded = self.embedding(driver.flatten(2)) / DISPLACEMENT_SCALE
        return self.modulation(embedded.transpose(1, 2), style.driver_mask)

    def decode(
        self, audio: Float[Tensor, "n_batch n_frames n_audio"], template: Float[Tensor, "n_batch n_verts 3"],
        style_code: Float[Tensor, "n_batch n_style"],
    ) -> Float[Tensor, "n_batch n_frames n_verts 3"]:  # fmt: skip
        return self._decode(audio, template, style_code, mask=None)

    def _decode(self, audio: Tensor, template: Tensor, code: Tensor, *, mask: FrameMask | None) -> Tensor:
        heard = self.audio_norm(self.audio(audio).transpose(1, 2), mask)
        seen = self.embedding(template.flatten(1))
        if self.fusion is not None:
            of_speech, of_template = self.fusion.weight.chunk(2, dim=1)  # one product less a frame than on both joined
            heard = of_speech @ heard + F.linear(seen, of_template)[:, :, None]
        if self.options.instance_norm:
            heard = without_statistics(heard, mask)
        features = heard if self.modulation is None else modulate(heard, code)
        if self.fusion is None:
            features = features + seen[:, :, None]
        weights = self.decoder(features, mask).transpose(1, 2) * DISPLACEMENT_SCALE  # fewer numbers than coordinates
        return F.linear(weights, self.decoding_matrix().T).unflatten(2, (-1, 3))
