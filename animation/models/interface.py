"""The one interface of all animation models."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn

from animation.data.batch import Batch, Style

LOSS = "loss"  # the key of what is minimised; other keys are its terms, for the curves


@dataclass(frozen=True)
class Capabilities:
    """What a model can do. `halo_frames`: a frame depends on so many before and after it; None where on all."""

    style: Literal["clip", "subject", "none"]
    autoregressive: bool
    halo_frames: int | None


@dataclass(frozen=True)
class ModelShape:
    """What the data fix of a model's size."""

    n_verts: int
    n_audio: int
    n_subjects: int  # training subjects, for models that know a speaker by number
    fps: float
    masks: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # vertices by name, for losses of regions


class AnimationModel(nn.Module, ABC):
    """Speech, a template and a style to displacements from the template, all in normalised units.

    `stages` are trained one after the other; most models have one. `__init__` is also run on PyTorch's device "meta",
    to know the sizes of the weights, and so may not read what a tensor holds.
    """

    stages: ClassVar[tuple[str, ...]] = ("all",)

    def __init__(self, shape: ModelShape) -> None:
        super().__init__()
        self.shape = shape

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities: ...

    @abstractmethod
    def loss(self, batch: Batch, *, stage: str) -> dict[str, Tensor]:
        """The scalar to minimise in a stage under LOSS, and its terms; padding counts for nothing."""

    @abstractmethod
    def generate(
        self, audio: Float[Tensor, "n_batch n_frames n_audio"], template: Float[Tensor, "n_batch n_verts 3"],
        style: Style,
    ) -> Float[Tensor, "n_batch n_frames n_verts 3"]:  # fmt: skip
        """Displacements of every frame. The caller sets eval mode and switches gradients off."""

    def trained(self, stage: str) -> list[nn.Parameter]:
        """The parameters that a stage changes; all of them where there is one stage."""
        return list(self.parameters())


class ChunkableModel(AnimationModel):
    """A model that encodes a style once and then decodes any stretch of speech, exact beyond its halo."""

    @abstractmethod
    def encode_style(self, style: Style) -> Float[Tensor, "n_batch n_style"]:
        """What `decode` needs of a style, however many chunks follow."""

    @abstractmethod
    def decode(
        self, audio: Float[Tensor, "n_batch n_frames n_audio"], template: Float[Tensor, "n_batch n_verts 3"],
        style_code: Float[Tensor, "n_batch n_style"],
    ) -> Float[Tensor, "n_batch n_frames n_verts 3"]:  # fmt: skip
        """As `generate`; all frames are right that have `halo_frames` frames around them, or the clip's end."""

    def generate(
        self, audio: Float[Tensor, "n_batch n_frames n_audio"], template: Float[Tensor, "n_batch n_verts 3"],
        style: Style,
    ) -> Float[Tensor, "n_batch n_frames n_verts 3"]:  # fmt: skip
        """Displacements of every frame."""
        return self.decode(audio, template, self.encode_style(style))
