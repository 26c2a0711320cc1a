"""Levenberg-Marquardt on frames that share an actor and a rig: steps that raise the energy are taken back.

The system is dense and small: identity + scale + rig + frames x (6 + expression).
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from scipy.linalg import cho_factor, cho_solve

from reconstruct.model_tensors import Poser
from reconstruct.models.model import MorphableModel
from reconstruct.parameters import Free, Linear, Problem, Solution, Terms, linearize
from reconstruct.rig_refinement import DEPTH_BIAS_STD_M, SHIFT_STD_M, TURN_STD, UNKNOWNS
from reconstruct.seen import Seen
from reconstruct.state import POSE, FrameFit, Information

SCALE_STD = 0.04
# a weight that should stay in its range is drawn back as if its standard deviation beyond the range were this
BEYOND_RANGE_STD = 0.03
DAMPING, LEAST_DAMPING = 1e-4, 1e-7
MOST_TURN_RAD = 0.3  # in one step; beyond it the linearisation knows nothing


@dataclass(frozen=True)
class System:
    """The whole linearised problem at a solution."""

    energy: float
    hessian: Float[np.ndarray, "n n"]
    gradient: Float[np.ndarray, "n"]
    frames: list[Linear]  # data terms alone


def minimise(
    problem: Problem,
    seen: list[Seen],
    start: Solution,
    terms: Terms,
    *,
    steps: int,
    free: Free | None = None,
    checked: bool = True,
) -> tuple[Solution, System]:
    """The solution after some steps, and the system there.

    `checked` steps are taken only where they lower the energy; the others suit a first approach, in which the energy
    changes from step to step. The system returned is that of the last linearisation.
    """
    free = free or Free()
    best, system = start, _system(problem, seen, start, terms, free)
    damping = DAMPING
    for step in range(steps):
        tried = _stepped(problem.model, best, system, free, damping)
        if not checked and step == steps - 1:
            return tried, system
        there = _system(problem, seen, tried, terms, free)
        if not checked or there.energy <= system.energy:
            best, system, damping = tried, there, max(damping / 3, LEAST_DAMPING)
        else:
            damping *= 100
    return best, system


def _system(problem: Problem, seen: list[Seen], at: Solution, terms: Terms, free: Free) -> System:
    model = problem.model
    poser = Poser(problem.tensors, at.actor)
    frames = [
        linearize(problem, frame.moved(at.rig), poser, fit, terms, free)
        for frame, fit in zip(seen, at.fits, strict=True)
    ]
    local = POSE + len(model.expression_std)
    common = len(frames[0].gradient) - local
    size = common + local * len(frames)
    hessian, gradient = np.zeros((size, size)), np.zeros(size)
    energy = sum(frame.energy for frame in frames)
    order = np.r_[np.arange(local, local + common), np.arange(local)]
    for index, (frame, fit) in enumerate(zip(frames, at.fits, strict=True)):
        where = np.r_[np.arange(common), common + index * local + np.arange(local)]
        hessian[np.ix_(where, where)] += frame.hessian[np.ix_(order, order)]
        gradient[where] += frame.gradient[order]
        expression = where[common + POSE :]
        prior = expression_prior(model, fit.expression) + temporal_prior(model, fit.expression, terms)
        hessian[expression, expression] += prior.precision
        gradient[expression] += prior.gradient
        energy += prior.energy
    shared = _shared_prior(model, at, free)
    hessian[np.arange(common), np.arange(common)] += shared.precision
    gradient[:common] += shared.gradient
    return System(energy + shared.energy, hessian, gradient, frames)


@dataclass(frozen=True)
class Prior:
    """A diagonal quadratic at a point."""

    energy: float
    precision: Float[np.ndarray, "n"]
    gradient: Float[np.ndarray, "n"]

    def __add__(self, other: "Prior") -> "Prior":
        return Prior(self.energy + other.energy, self.precision + other.precision, self.gradient + other.gradient)


def _draw(value: np.ndarray, std: "np.ndarray | float") -> Prior:
    """1/2 |value / std|^2."""
    precision = np.broadcast_to(np.asarray(std, dtype=float) ** -2.0, value.shape)
    return Prior(float((precision * value**2).sum() / 2), precision, precision * value)


def expression_prior(model: MorphableModel, beta: np.ndarray) -> Prior:
    """Zero mean, and a firm pull back into the coefficients' range."""
    low, high = model.expression_range
    beyond = np.minimum(beta - low, 0) + np.maximum(beta - high, 0)
    firm = _draw(beyond, BEYOND_RANGE_STD)
    return _draw(beta, model.expression_std) + replace(firm, precision=np.where(beyond != 0, firm.precision, 0.0))


def information(model: MorphableModel, fit: FrameFit, frame: Linear) -> Information:
    """A frame's data and expression prior at a fit."""
    prior, hessian, gradient = expression_prior(model, fit.expression), frame.hessian.copy(), frame.gradient.copy()
    expression = np.arange(POSE, len(gradient))
    hessian[expression, expression] += prior.precision
    gradient[expression] += prior.gradient
    return Information(hessian, gradient, frame.pivot)


def temporal_prior(model: MorphableModel, beta: np.ndarray, terms: Terms) -> Prior:
    """What draws an expression to that of the frame before, where there is one."""
    if terms.previous_expression is None:
        return Prior(0.0, np.zeros_like(beta), np.zeros_like(beta))
    return _draw(beta - terms.previous_expression, model.expression_std * terms.previous_std)


def _shared_prior(model: MorphableModel, at: Solution, free: Free) -> Prior:
    parts = [Prior(0.0, np.zeros(0), np.zeros(0))]
    if free.actor:
        parts.append(_draw(at.actor.identity, model.identity_std))
        parts.append(_draw(np.array([at.actor.log_scale]), SCALE_STD))
    std = np.r_[[TURN_STD] * 3, [SHIFT_STD_M] * 3, DEPTH_BIAS_STD_M]
    parts += [_draw(at.rig.deviation(serial, free.pivot), std) for serial in free.cameras]
    return Prior(
        sum(part.energy for part in parts),
        np.concatenate([part.precision for part in parts]),
        np.concatenate([part.gradient for part in parts]),
    )


def _stepped(model: MorphableModel, at: Solution, system: System, free: Free, damping: float) -> Solution:
    diagonal = system.hessian.diagonal()
    damped = system.hessian + np.diag(damping * diagonal + 1e-9)
    step = -cho_solve(cho_factor(damped), system.gradient)
    actor, rig, used = at.actor, at.rig, 0
    if free.actor:
        used = len(model.identity_std) + 1
        actor = replace(
            actor, identity=actor.identity + step[: used - 1], log_scale=actor.log_scale + float(step[used - 1])
        )
    for serial in free.cameras:
        delta = step[used : used + UNKNOWNS] * np.r_[np.ones(6), serial in free.biased]
        rig, used = rig.stepped(serial, delta, free.pivot), used + UNKNOWNS
    local = POSE + len(model.expression_std)
    fits = []
    for index, (fit, frame) in enumerate(zip(at.fits, system.frames, strict=True)):
        delta = step[used + index * local : used + (index + 1) * local]
        delta = delta / max(1.0, float(np.abs(delta[:3]).max()) / MOST_TURN_RAD)
        fits.append(replace(fit.moved(delta[:POSE], frame.pivot), expression=fit.expression + delta[POSE:]))
    return Solution(actor, fits, rig)
