"""What solvers hand on: the fitted actor, and fitted frames with their times."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from mmface4d.arrays import Pixels, Vertices
from reconstruct.color import SkinReference
from reconstruct.observation import Observation
from reconstruct.rig_refinement import RigCorrection
from reconstruct.state import Actor, FrameFit


@dataclass(frozen=True)
class Track:
    """A fitted frame and its time, from which the next one is predicted."""

    fit: FrameFit
    timestamp_usec: int


@dataclass(frozen=True)
class ActorFit:
    """The actor, the keyframes' fits, and what to add to this actor's landmark residuals, by camera."""

    actor: Actor
    frames: list[int]
    fits: list[FrameFit]
    vertex_colors: Vertices
    landmark_bias_px: dict[str, Pixels] = field(default_factory=dict)
    references: dict[str, SkinReference] = field(default_factory=dict)
    rig: RigCorrection = field(default_factory=RigCorrection)

    def observations(self, keyframes: list[Observation]) -> list[Observation]:
        """Those of the keyframes that were fitted, as the corrected rig sees them."""
        return [self.rig.applied(observation) for observation in keyframes if observation.frame in self.frames]

    def with_appearance(self, actor: Actor, vertex_colors: Vertices) -> "ActorFit":
        """With texture, lighting and the albedo seen on the skin."""
        return replace(self, actor=actor, vertex_colors=vertex_colors)

    def arrays(self) -> dict[str, Any]:
        """Plain arrays for a file."""
        first = self.fits[0]
        lighting = {f"lighting/{serial}": gamma for serial, gamma in self.actor.lighting.items()}
        bias = {f"bias/{serial}": pixels for serial, pixels in self.landmark_bias_px.items()}
        return {
            "identity": self.actor.identity, "log_scale": self.actor.log_scale, "offsets": self.actor.offsets,
            "texture": self.actor.texture, "vertex_colors": self.vertex_colors, "frame": self.frames[0],
            "rotation": first.rotation, "translation": first.translation, "expression": first.expression,
            "first_offsets": first.offsets, **lighting, **bias,
            **{f"skin/{serial}": known.value.cpu().numpy() for serial, known in self.references.items()},
            **{f"move/{serial}": move for serial, move in self.rig.moves.items()},
            **{f"depth_bias/{serial}": np.float64(bias_m) for serial, bias_m in self.rig.depth_bias_m.items()},
            **{f"skin_sigma/{serial}": known.sigma.cpu().numpy() for serial, known in self.references.items()},
        }  # fmt: skip

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], device: str = "cpu") -> "ActorFit":
        """The inverse of `arrays`; of the keyframes only the first is kept."""

        def named(prefix: str) -> dict[str, np.ndarray]:
            return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}

        actor = Actor(
            arrays["identity"], float(arrays["log_scale"]), arrays["offsets"], arrays["texture"], named("lighting/")
        )
        fit = FrameFit(arrays["rotation"], arrays["translation"], arrays["expression"], arrays["first_offsets"])
        sigma = named("skin_sigma/")
        references = {
            serial: SkinReference(torch.from_numpy(value).to(device), torch.from_numpy(sigma[serial]).to(device))
            for serial, value in named("skin/").items()
        }
        rig = RigCorrection(named("move/"), {serial: float(bias) for serial, bias in named("depth_bias/").items()})
        return cls(actor, [int(arrays["frame"])], [fit], arrays["vertex_colors"], named("bias/"), references, rig)
