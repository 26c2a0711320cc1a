"""The fast solver's energy of one tracked frame as one function, differentiable in torch: what other optimisers get.

Value and slope of every term come from the parts that the fast solver itself linearises, so whoever minimises this
minimises the very same energy, at the price of those parts. Visibility and the sensor's sigma are taken at the point
of evaluation and have no slope, as in the published method.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from reconstruct.fast_solver import FastSolver
from reconstruct.levenberg_marquardt import Prior, expression_prior, temporal_prior
from reconstruct.model_tensors import ModelTensors, tensor
from reconstruct.observation import Observation
from reconstruct.parameters import Problem, Terms, data_rows
from reconstruct.rows import Rows
from reconstruct.seen import Seen
from reconstruct.state import Actor, FrameFit
from reconstruct.tracks import ActorFit, Track
from reconstruct.vertex_offsets import OffsetSolver


@dataclass(frozen=True)
class Unknowns:
    """Of one frame, relative to a fit: a turn about its head's middle, a shift of that middle; expression, offsets."""

    turn: Float[Tensor, "3"]  # rotation vector, world axes
    shift_m: Float[Tensor, "3"]
    expression: Float[Tensor, "n_expression"]
    offsets: Float[Tensor, "n_verts 3"]  # metres, head frame, before scale


class FrameEnergy:
    """Data terms, priors on the expression and the offsets' regulariser, at any fit of one frame.

    `around` is the fit from which turn and shift count; `before` the offsets of the frame before.
    """

    def __init__(
        self,
        problem: Problem,
        seen: Seen,
        terms: Terms,
        *,
        actor: Actor,
        around: FrameFit,
        before: Float[np.ndarray, "n_verts 3"],
        offset_solver: OffsetSolver,
    ) -> None:
        device = problem.device
        self.problem, self.seen, self.terms, self.actor, self.around = problem, seen, terms, actor, around
        self._offset_solver, self._before = offset_solver, tensor(before, device)
        self._neutral = problem.tensors.neutral(actor)
        self._rotation = tensor(actor.scale * around.rotation, device)
        self._translation = tensor(around.translation, device)
        at = self.unknowns(around)
        self._pivot = (self._shape(at) @ self._rotation.T + self._translation).mean(0)

    def unknowns(self, fit: FrameFit) -> Unknowns:
        """Of a fit that has the pose of `around`."""
        device = self.problem.device
        still = torch.zeros((2, 3), device=device)
        return Unknowns(still[0], still[1], tensor(fit.expression, device), tensor(fit.offsets, device))

    def vertices(self, at: Unknowns) -> Float[Tensor, "n_verts 3"]:
        """In the world, metres."""
        posed = self._shape(at) @ self._rotation.T + self._translation
        return (posed - self._pivot) @ _rotation(at.turn).T + self._pivot + at.shift_m

    def value(self, at: Unknowns) -> Float[Tensor, ""]:
        """The energy (double precision), with slopes to all unknowns."""
        vertices = self.vertices(at)
        beta = at.expression.detach().cpu().double().numpy()
        model = self.problem.model
        prior = expression_prior(model, beta) + temporal_prior(model, beta, self.terms)
        return self._data(vertices) + _prior_energy(at.expression, prior) + self._regulariser(at.offsets)

    def at_fit(self, fit: FrameFit) -> float:
        """The energy of any fit."""
        here = FrameEnergy(
            self.problem, self.seen, self.terms, actor=self.actor, around=fit,
            before=self._before.cpu().double().numpy(), offset_solver=self._offset_solver,
        )  # fmt: skip
        return float(here.value(here.unknowns(fit)))

    def fit(self, at: Unknowns) -> FrameFit:
        """The unknowns as a fit."""
        turn, shift_m, expression, offsets, pivot = (
            part.detach().cpu().double().numpy()
            for part in (at.turn, at.shift_m, at.expression, at.offsets, self._pivot)
        )
        moved = self.around.moved(np.r_[turn, shift_m], pivot)
        return replace(moved, expression=expression, offsets=offsets, information=None)

    def _shape(self, at: Unknowns) -> Float[Tensor, "n_verts 3"]:
        tensors: ModelTensors = self.problem.tensors
        return self._neutral + (at.expression @ tensors.expression).view(-1, 3) + at.offsets

    def _data(self, vertices: Tensor) -> Tensor:
        rows = data_rows(self.problem, self.seen, vertices.detach(), self.terms)
        if rows is None:
            return vertices.sum().double() * 0
        return _Known.apply(vertices, rows.cost, _slope(rows, len(vertices)))

    def _regulariser(self, offsets: Tensor) -> Tensor:
        here = offsets.detach()
        value = self._offset_solver.energy(here, self._before)
        return _Known.apply(offsets, value, self._offset_solver.gradient([], here, before=self._before))


def tracked_energy(
    solver: FastSolver, observation: Observation, actor_fit: ActorFit, before: list[Track]
) -> FrameEnergy:
    """What `solver.track` minimises, around the prediction from which it starts."""
    start, steps = solver._predicted(observation, before)
    terms = replace(
        solver._terms(actor_fit),
        previous_expression=before[0].fit.expression,
        previous_std=solver.settings.previous_std * max(steps, 1.0) ** 0.5,
    )
    return FrameEnergy(
        solver.problem, solver._seen(observation), terms, actor=actor_fit.actor, around=start,
        before=before[0].fit.offsets, offset_solver=solver._frame_offsets,
    )  # fmt: skip


class _Known(torch.autograd.Function):
    """A term whose value and slope at a point are known."""

    @staticmethod
    def forward(ctx: Any, at: Tensor, value: float, slope: Tensor) -> Tensor:
        ctx.save_for_backward(slope)
        return at.new_tensor(value, dtype=torch.float64)

    @staticmethod
    def backward(ctx: Any, *up: Any) -> Any:
        (slope,) = ctx.saved_tensors
        return (up[0] * slope).to(slope.dtype), None, None


def _prior_energy(expression: Tensor, prior: Prior) -> Tensor:
    return _Known.apply(expression, prior.energy, tensor(prior.gradient, str(expression.device)))


def _slope(rows: Rows, vertex_count: int) -> Float[Tensor, "n_verts 3"]:
    """d energy / d vertices."""
    pull = (rows.weight * rows.residual)[:, None] * rows.gradient
    out = torch.zeros((vertex_count, 3), device=pull.device)
    for corner in range(3):
        out.index_add_(0, rows.corners[:, corner].long(), pull * rows.barycentric[:, corner : corner + 1])
    return out


def _rotation(turn: Float[Tensor, "3"]) -> Float[Tensor, "3 3"]:
    """exp of a rotation vector."""
    zero = torch.zeros_like(turn[0])
    x, y, z = turn.unbind()
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero]).view(3, 3)
    return torch.linalg.matrix_exp(cross)
