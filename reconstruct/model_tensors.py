"""A morphable model on a device, and an actor's head posed there."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from reconstruct.models.model import MorphableModel
from reconstruct.state import Actor, FrameFit


@dataclass(frozen=True)
class ModelTensors:
    """Mean, bases and faces, float32 and int32."""

    device: str
    mean: Float[Tensor, "n_verts 3"]
    identity: Float[Tensor, "n_identity n_coords"]
    expression: Float[Tensor, "n_expression n_coords"]
    faces: Int[Tensor, "n_faces 3"]

    @classmethod
    def of(cls, model: MorphableModel, device: str) -> "ModelTensors":
        """Uploads a model."""

        def flat(basis: np.ndarray) -> Tensor:
            return tensor(basis.reshape(len(basis), 3 * model.vertex_count), device)

        return cls(
            device,
            tensor(model.mean, device),
            flat(model.identity_basis),
            flat(model.expression_basis),
            torch.from_numpy(model.faces.astype(np.int32)).to(device),
        )

    @cached_property
    def identity_at_vertices(self) -> Float[Tensor, "n_verts n_identity 3"]:
        """The identity basis, a vertex's modes side by side."""
        return _at_vertices(self.identity)

    @cached_property
    def expression_at_vertices(self) -> Float[Tensor, "n_verts n_expression 3"]:
        """The expression basis, a vertex's modes side by side."""
        return _at_vertices(self.expression)

    def neutral(self, actor: Actor) -> Float[Tensor, "n_verts 3"]:
        """The actor's face at rest, head frame, before scale."""
        shape = self.mean + (tensor(actor.identity, self.device) @ self.identity).view(-1, 3)
        return shape + tensor(actor.offsets, self.device)


def tensor(array: np.ndarray, device: str) -> Tensor:
    """As float32 on a device."""
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).to(device)


def _at_vertices(basis: Tensor) -> Tensor:
    return basis.view(len(basis), -1, 3).transpose(0, 1).contiguous()


class Poser:
    """One actor's head: vertices in the world for any fit."""

    def __init__(self, tensors: ModelTensors, actor: Actor) -> None:
        self.tensors, self.actor = tensors, actor
        self._neutral = tensors.neutral(actor)

    def vertices(self, fit: FrameFit) -> Float[Tensor, "n_verts 3"]:
        """scale * R (neutral + expression + offsets) + t, metres."""
        device = self.tensors.device
        shape = self._neutral + (tensor(fit.expression, device) @ self.tensors.expression).view(-1, 3)
        shape = shape + tensor(fit.offsets, device)
        return shape @ tensor(self.actor.scale * fit.rotation.T, device) + tensor(fit.translation, device)


def vertex_normals_of(vertices: Float[Tensor, "n_verts 3"], faces: Int[Tensor, "n_faces 3"]) -> Tensor:
    """Unit normals [n_verts, 3]: the area-weighted mean of the triangles around each vertex."""
    index = faces.long()
    a, b, c = (vertices[index[:, i]] for i in range(3))
    normal = torch.linalg.cross(b - a, c - a)
    out = torch.zeros_like(vertices)
    for corner in range(3):
        out.index_add_(0, index[:, corner], normal)
    return torch.nn.functional.normalize(out, dim=1)
