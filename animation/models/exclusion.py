"""Mutual exclusion: components that each move a region of their own.

Source: MMFace4D, section VI (regional nature), eq. 7. With rows w_i of the decoding matrix, |w_i| their strength at
every vertex (the norm over x, y and z: the paper does not say how it joins coordinates) and ŵ_i = |w_i| / ||w_i||,
the loss is the mean over i ≠ j of <ŵ_i, ŵ_j>: 0 where no two components share a vertex, 1 where all have one region.
"""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from animation.models.interface import AnimationModel
from mmface4d.errors import UsageError

SMALL = 1e-12


@runtime_checkable
class HasComponents(Protocol):
    """A model whose last layer adds up components: rows over x, y, z of every vertex."""

    def decoding_matrix(self) -> Float[Tensor, "n_components n_coordinates"]: ...


def vertex_strengths(matrix: Float[Tensor, "n_components n_coordinates"]) -> Float[Tensor, "n_components n_verts"]:
    """How far each component moves each vertex; with a gradient of 0, not NaN, where it moves one not at all."""
    return (matrix.T.unflatten(0, (-1, 3)).square().sum(dim=1) + SMALL**2).sqrt().T


def exclusion_loss(matrix: Float[Tensor, "n_components n_coordinates"]) -> Float[Tensor, ""]:
    """Mean overlap of two components, 0 to 1. Rows are normalised first, so that shrinking them gains nothing.

    The sum over pairs needs no matrix of pairs, since strengths are not negative: sum_ij <ŵ_i, ŵ_j> = ||sum_i ŵ_i||².
    """
    strengths = vertex_strengths(matrix)
    regions = strengths / torch.linalg.vector_norm(strengths, dim=1, keepdim=True).clamp(min=SMALL)
    n_components = len(regions)
    together = regions.sum(dim=0).square().sum() - regions.square().sum()
    return together / max(n_components * (n_components - 1), 1)


def l1_loss(matrix: Float[Tensor, "n_components n_coordinates"]) -> Float[Tensor, ""]:
    """Mean absolute weight, what the authors' code has instead; a mean, so that it does not grow with the mesh."""
    return matrix.abs().mean()


def learned_regions(model: AnimationModel) -> Float[Tensor, "n_components n_verts"]:
    """How far a component moves a vertex; the largest of a row is 1. Raises UsageError if the model has none."""
    strengths = vertex_strengths(_matrix(model))
    return strengths / strengths.amax(dim=1, keepdim=True).clamp(min=SMALL)


def exclusion_score(model: AnimationModel) -> float:
    """Mean overlap of two components, 0 to 1: lower is more regional. Raises UsageError as `learned_regions` does."""
    return float(exclusion_loss(_matrix(model)))


def _matrix(model: AnimationModel) -> Tensor:
    if not isinstance(model, HasComponents):
        raise UsageError(f"{type(model).__name__} has no components", hint="audio2face and faceformer have")
    return model.decoding_matrix().detach()
