"""FaceFormer (Fan et al. 2022): a transformer that goes from frame to frame, as a rival that is given every chance.

A decoder layer sees the frames so far under a periodic causal bias, and the speech of its own frame; its output becomes
displacements, which are embedded again as the next frame's input. The speaker is a number. Training goes through its
own output, as the authors' code does, or by teacher forcing. Three ways of decoding give the same displacements:

    last-row  the whole past anew for each frame, of which the last row alone becomes vertices
    cached    keys and values of the past are kept
    folded    also, vertices -> embedding of the next frame is one small matrix instead of two large ones

The paper's wav2vec 2.0, a transformer trained along, is replaced by `encoder_layers` of one over the common features.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from animation.data.batch import UNKNOWN_SUBJECT, Batch, Style
from animation.models.attention import periodic_bias, periodic_positions
from animation.models.faceformer_layers import DecoderLayer, Past, SpeechEncoder
from animation.models.interface import LOSS, AnimationModel, Capabilities, ModelShape
from animation.models.layers import FrameMask, mean_over_frames, squared_distance
from animation.models.noise import CountedNoise
from animation.models.options import ModelOptions

DISPLACEMENT_SCALE = 0.1  # of displacements in normalised units, so that embedded ones are about 1


class FaceFormerOptions(ModelOptions):
    """Sizes and ways; the defaults are the published ones but for the encoder."""

    width: int = Field(default=64, ge=8, le=2048, multiple_of=4, description="Published: 64 (VOCASET), 128 (BIWI).")
    heads: Literal[1, 2, 4] = Field(default=4, description="Of the attention.")
    encoder_layers: int = Field(default=2, ge=0, le=24, description="A transformer over the speech's features.")
    encoder_width: int = Field(default=128, ge=8, le=2048, multiple_of=4, description="Its width.")
    teacher_forcing: bool = Field(default=False, description="Train on the true past instead of the model's own.")
    decoding: Literal["last-row", "cached", "folded"] = Field(default="folded", description="Same output, other speed.")
    style_dropout: float = Field(
        default=0.1, ge=0, lt=1, description="How often training takes the mean of all styles, so that it is known too."
    )
    unknown: Literal["mean", "first"] = Field(
        default="mean", description="A speaker who was not trained on: the mean of all styles, or the first."
    )


class FaceFormer(AnimationModel):
    """The rival."""

    def __init__(self, shape: ModelShape, options: FaceFormerOptions) -> None:
        super().__init__(shape)
        self.options = options
        width, n_coordinates = options.width, 3 * shape.n_verts
        encoder_width = options.encoder_width if options.encoder_layers else width
        self.encoder = SpeechEncoder(shape.n_audio, encoder_width, heads=options.heads, layers=options.encoder_layers)
        self.heard = nn.Linear(encoder_width, width)
        self.styles = nn.Embedding(max(shape.n_subjects, 1), width)
        nn.init.uniform_(self.styles.weight, -(shape.n_subjects**-0.5), shape.n_subjects**-0.5)  # as a linear layer's
        self.noise = CountedNoise()
        self.embedding = nn.Linear(n_coordinates, width)
        self.layer = DecoderLayer(width, options.heads)
        self.components = nn.Linear(width, n_coordinates)
        nn.init.zeros_(self.components.weight)  # an untrained model shows the template
        nn.init.zeros_(self.components.bias)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(style="subject", autoregressive=True, halo_frames=None)

    @property
    def period(self) -> int:
        """Frames a second, as published for 25 and 30."""
        return max(round(self.shape.fps), 1)

    def decoding_matrix(self) -> Float[Tensor, "n_components n_coordinates"]:
        """What each component moves, over x, y, z of every vertex."""
        return self.components.weight.T

    def loss(self, batch: Batch, *, stage: str) -> dict[str, Tensor]:
        speech = self._speech(batch.audio, batch.frame_mask)
        style = self._style(self._sometimes_unknown(batch.style.subject))
        if self.options.teacher_forcing:
            rows = self._forced(speech, style, batch.displacement)
        else:
            rows = self._folded(speech, style)
        squared = squared_distance(self._displacements(rows), batch.displacement)
        distance = mean_over_frames(squared, batch.frame_mask)
        return {LOSS: distance, "distance": distance}

    def generate(
        self, audio: Float[Tensor, "n_batch n_frames n_audio"], template: Float[Tensor, "n_batch n_verts 3"],
        style: Style,
    ) -> Float[Tensor, "n_batch n_frames n_verts 3"]:  # fmt: skip
        speech, code = self._speech(audio, None), self._style(style.subject)
        if self.options.decoding == "folded":
            return self._displacements(self._folded(speech, code))
        return self._literal(speech, code, keep_keys=self.options.decoding == "cached")

    def _speech(self, audio: Tensor, mask: FrameMask | None) -> Tensor:
        return self.layer.speech(self.heard(self.encoder(audio, mask)))

    def _sometimes_unknown(self, subject: Tensor) -> Tensor:
        """Numbers of speakers of which some are taken away while training, as UniTalker (2024) does for its pivot."""
        if not self.training or self.options.unknown != "mean" or self.options.style_dropout == 0:
            return subject
        kept = self.noise.uniform(subject.float()) >= self.options.style_dropout
        return torch.where(kept, subject, UNKNOWN_SUBJECT)

    def _style(self, subject: Tensor) -> Tensor:
        """One row a clip, [n_batch, width]."""
        table = self.styles.weight
        unknown = table.mean(dim=0) if self.options.unknown == "mean" else table[0]
        return torch.where((subject >= 0)[:, None], self.styles(subject.clamp(min=0)), unknown)

    def _displacements(self, rows: Tensor) -> Tensor:
        return self.components(rows).unflatten(-1, (-1, 3)) * DISPLACEMENT_SCALE

    def _embedded(self, displacements: Tensor) -> Tensor:
        return self.embedding(displacements.flatten(-2) / DISPLACEMENT_SCALE)

    def _positions(self, like: Tensor) -> Tensor:
        """Of all frames and of the one behind them."""
        return periodic_positions(like.shape[1] + 1, width=self.options.width, period=self.period).to(like)

    def _bias(self, like: Tensor) -> Tensor:
        return periodic_bias(like.shape[1], heads=self.options.heads, period=self.period).to(like)

    def _forced(self, speech: Tensor, style: Tensor, truth: Tensor) -> Tensor:
        """All rows at once, each behind the true past."""
        past = self._embedded(truth[:, :-1]) + style[:, None]
        rows = torch.cat([style[:, None], past], dim=1) + self._positions(speech)[:-1]
        return self.layer(rows, speech, self._bias(speech))

    def _folded(self, speech: Tensor, style: Tensor) -> Tensor:
        """Row after row behind the model's own past. Both large matrices become their product, of width x width."""
        onward = self.embedding.weight @ self.components.weight
        offset = self.embedding(self.components.bias) + style
        positions, past = self._positions(speech), Past(self.layer, speech, period=self.period)
        rows, row = [], style + positions[0]
        for frame in range(speech.shape[1]):
            rows.append(past.next_row(row))
            row = F.linear(rows[-1], onward) + offset + positions[frame + 1]
        return torch.stack(rows, dim=1)

    def _literal(self, speech: Tensor, style: Tensor, *, keep_keys: bool) -> Tensor:
        """Frame after frame, through the vertices."""
        positions, bias = self._positions(speech), self._bias(speech)
        past = Past(self.layer, speech, period=self.period)
        frames, rows = [], [style + positions[0]]
        for end in range(1, speech.shape[1] + 1):
            if keep_keys:
                last = past.next_row(rows[-1])
            else:
                last = self.layer(torch.stack(rows, dim=1), speech[:, :end], bias[:, :end, :end])[:, -1]
            frames.append(self._displacements(last))
            rows.append(self._embedded(frames[-1]) + style + positions[end])
        return torch.stack(frames, dim=1)
