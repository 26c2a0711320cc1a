"""What is solved for: the actor, once; pose, expression and offsets, every frame."""

from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float

from mmface4d.arrays import Points, Rotation, Vertices
from mmface4d.transforms import rotation_from_rotvec
from reconstruct.models.model import MorphableModel

POSE = 6  # unknowns of a pose: rotation vector, shift


@dataclass(frozen=True)
class Actor:
    """Constant over a sequence: identity, scale, the offsets the model's identities cannot express, texture, light."""

    identity: Float[np.ndarray, "n_identity"]
    log_scale: float
    offsets: Vertices  # model units (metres before scale), head frame
    texture: Float[np.ndarray, "n_texture"]
    lighting: dict[str, Float[np.ndarray, "3 9"]] = field(default_factory=dict)  # by camera

    @property
    def scale(self) -> float:
        """Model units to metres."""
        return float(np.exp(self.log_scale))

    def neutral(self, model: MorphableModel) -> Vertices:
        """The actor's face at rest, head frame, before scale."""
        return model.shape(self.identity) + self.offsets


@dataclass(frozen=True)
class Information:
    """What one frame's data and the expression prior, without any term in time, say around a fit.

    The energy is gradient . d + 1/2 d . hessian d for d = (rotation vector about `pivot`, shift of the pivot in
    metres, change of expression), world axes.
    """

    hessian: Float[np.ndarray, "n n"]
    gradient: Float[np.ndarray, "n"]
    pivot: Points


@dataclass(frozen=True)
class FrameFit:
    """Of one frame: V = scale * R (neutral + expression_basis beta + offsets) + t, world metres."""

    rotation: Rotation  # world_from_head
    translation: Points
    expression: Float[np.ndarray, "n_expression"]
    offsets: Vertices
    information: Information | None = None  # where the solver knows it

    def moved(self, delta: np.ndarray, pivot: Points) -> "FrameFit":
        """Turned by delta[:3] (rotation vector, world axes) about `pivot` and shifted by delta[3:6]."""
        turn = rotation_from_rotvec(np.asarray(delta[:3], dtype=float))
        translation = pivot + turn @ (self.translation - pivot) + delta[3:6]
        # re-orthonormalise: thousands of small turns add up
        left, _, right = np.linalg.svd(turn @ self.rotation)
        return replace(self, rotation=left @ right, translation=translation)


def average_actor(model: MorphableModel) -> Actor:
    """The model's mean."""
    texture = 0 if model.texture_basis is None else len(model.texture_basis)
    return Actor(
        identity=np.zeros(len(model.identity_basis)),
        log_scale=0.0,
        offsets=np.zeros((model.vertex_count, 3)),
        texture=np.zeros(texture),
    )


def head_shape(model: MorphableModel, actor: Actor, fit: FrameFit) -> Vertices:
    """Vertices in the head frame, before scale."""
    return actor.neutral(model) + np.tensordot(fit.expression, model.expression_basis, 1) + fit.offsets


def posed(model: MorphableModel, actor: Actor, fit: FrameFit) -> Vertices:
    """Vertices in the world, metres."""
    return actor.scale * head_shape(model, actor, fit) @ fit.rotation.T + fit.translation
