"""The parameter stage: Gauss-Newton on pose, expression and, shared by several frames, identity and scale.

Maths: ../docs/solver.md. Every frame's rows are chained to its unknowns; the shared ones couple the frames in one
dense system, which is small (identity + 1 + frames x (6 + expression)).
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float
from scipy.linalg import cho_factor, cho_solve

from mmface4d.arrays import Pixels, Points, Vertices
from reconstruct.models.model import LandmarkTable, MorphableModel
from reconstruct.observation import Observation
from reconstruct.raster import Rasterizer
from reconstruct.rows import DepthTerm, LandmarkTerm, Rows, depth_rows, join, landmark_rows
from reconstruct.state import Actor, FrameFit, posed
from reconstruct.topology import vertex_normals

POSE = 6
SCALE_STD = 0.04
ROWS_A_FRAME = 12000
# a weight that should stay in its range is drawn back as if its standard deviation beyond the range were this
BEYOND_RANGE_STD = 0.03
LEVENBERG = 1e-4


@dataclass(frozen=True)
class Problem:
    """What does not change while fitting: the model, its operators, and how rows are made."""

    model: MorphableModel
    rasterizer: Rasterizer
    compared: Bool[np.ndarray, "n_faces"]
    table: LandmarkTable
    identity_columns: Float[np.ndarray, "n_coords n_identity"]
    expression_columns: Float[np.ndarray, "n_coords n_expression"]


@dataclass(frozen=True)
class Terms:
    """Which terms count, and how."""

    depth: DepthTerm | None
    landmark: LandmarkTerm | None
    landmark_bias_px: dict[str, Pixels] | None = None
    # expression of the frame before and how far it may have moved since (in standard deviations of the model)
    previous_expression: np.ndarray | None = None
    previous_std: float = 1.0


def make_problem(model: MorphableModel, rasterizer: Rasterizer) -> Problem:
    """Prepares a model: which triangles depth may be compared with, flat bases, the landmarks that hold still."""
    skin = model.regions["face"] & ~model.regions["eyes"] & ~model.regions["nostrils"]
    skin &= ~model.regions["mouth_interior"] & ~model.regions["boundary"]
    count = model.vertex_count * 3
    return Problem(
        model=model,
        rasterizer=rasterizer,
        compared=skin[model.faces].all(1),
        table=model.landmarks.select(("brow", "eye", "nose", "lip_outer", "lip_inner", "cheek")),
        identity_columns=_columns(model.identity_basis, count),
        expression_columns=_columns(model.expression_basis, count),
    )


def _columns(basis: np.ndarray, count: int) -> Float[np.ndarray, "n_coords n_modes"]:
    return np.ascontiguousarray(basis.reshape(len(basis), count).T, dtype=np.float32)


def data_rows(problem: Problem, observation: Observation, vertices: Vertices, terms: Terms) -> Rows | None:
    """Depth and landmark rows of all views of one frame; None where nothing is seen."""
    faces, parts = problem.model.faces, []
    if terms.depth is not None:
        parts += [
            depth_rows(
                view, vertices, faces, compared=problem.compared, rasterizer=problem.rasterizer, term=terms.depth
            )
            for view in observation.depth_views
        ]
    if terms.landmark is not None:
        normals = vertex_normals(vertices, faces)
        bias_px = terms.landmark_bias_px or {}
        parts += [
            landmark_rows(
                view, vertices, faces, table=problem.table, term=terms.landmark,
                bias_px=bias_px.get(view.serial), normals=normals,
            )
            for view in observation.color_views
        ]  # fmt: skip
    parts = [part for part in parts if len(part)]
    return join(parts) if parts else None


@dataclass(frozen=True)
class _Linear:
    """Normal equations of one frame: pose, expression | identity, scale."""

    hessian: np.ndarray
    gradient: np.ndarray


def _linearize(
    problem: Problem, rows: Rows, *, actor: Actor, fit: FrameFit, vertices: Vertices, shared: bool
) -> _Linear:
    kept = rows.thinned(ROWS_A_FRAME)
    points = kept.points(vertices)
    pivot = vertices.mean(0)
    gradient_in_head = actor.scale * kept.gradient @ fit.rotation
    sparse_rows = kept.jacobian(gradient_in_head, len(vertices))
    columns = [
        np.cross(points - pivot, kept.gradient),
        kept.gradient,
        sparse_rows @ problem.expression_columns,
    ]
    if shared:
        along_scale = ((points - fit.translation) * kept.gradient).sum(1, keepdims=True)
        columns += [sparse_rows @ problem.identity_columns, along_scale]
    jacobian = np.concatenate(columns, 1)
    weighted = jacobian * kept.weight[:, None]
    return _Linear(weighted.T @ jacobian, weighted.T @ kept.residual)


def _expression_prior(
    model: MorphableModel, beta: np.ndarray, terms: Terms
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """Precision and gradient of the prior: zero mean, and a firm pull back into the coefficients' range."""
    precision = model.expression_std**-2.0
    gradient = precision * beta
    low, high = model.expression_range
    beyond = np.minimum(beta - low, 0) + np.maximum(beta - high, 0)
    firm = np.where(beyond != 0, BEYOND_RANGE_STD**-2.0, 0.0)
    precision, gradient = precision + firm, gradient + firm * beyond
    if terms.previous_expression is not None:
        smooth = (model.expression_std * terms.previous_std) ** -2.0
        precision, gradient = precision + smooth, gradient + smooth * (beta - terms.previous_expression)
    return precision, gradient


def fit_frames(
    problem: Problem,
    observations: list[Observation],
    *,
    actor: Actor,
    fits: list[FrameFit],
    terms: Terms,
    iterations: int,
    shared: bool,
) -> tuple[Actor, list[FrameFit]]:
    """Gauss-Newton steps on all frames; with `shared`, also on identity and scale."""
    for _ in range(iterations):
        linear = []
        for observation, fit in zip(observations, fits, strict=True):
            vertices = posed(problem.model, actor, fit)
            rows = data_rows(problem, observation, vertices, terms)
            linear.append(
                (None, vertices.mean(0))
                if rows is None
                else (
                    _linearize(problem, rows, actor=actor, fit=fit, vertices=vertices, shared=shared),
                    vertices.mean(0),
                )
            )
        actor, fits = _step(problem.model, linear, actor=actor, fits=fits, terms=terms, shared=shared)
    return actor, fits


def _step(
    model: MorphableModel,
    linear: list[tuple[_Linear | None, Points]],
    *,
    actor: Actor,
    fits: list[FrameFit],
    terms: Terms,
    shared: bool,
) -> tuple[Actor, list[FrameFit]]:
    local = POSE + len(model.expression_std)
    common = len(model.identity_std) + 1 if shared else 0
    size = common + local * len(fits)
    hessian, gradient = np.zeros((size, size)), np.zeros(size)
    order = np.r_[np.arange(local, local + common), np.arange(local)]
    for index, (part, _) in enumerate(linear):
        where = np.r_[np.arange(common), common + index * local + np.arange(local)]
        if part is not None:
            hessian[np.ix_(where, where)] += part.hessian[np.ix_(order, order)]
            gradient[where] += part.gradient[order]
        expression = common + index * local + POSE + np.arange(local - POSE)
        precision, slope = _expression_prior(model, fits[index].expression, terms)
        hessian[expression, expression] += precision
        gradient[expression] += slope
    if shared:
        precision = np.r_[model.identity_std**-2.0, SCALE_STD**-2.0]
        hessian[np.arange(common), np.arange(common)] += precision
        gradient[:common] += precision * np.r_[actor.identity, actor.log_scale]
    diagonal = hessian.diagonal()
    hessian[np.arange(size), np.arange(size)] += LEVENBERG * diagonal + 1e-9
    step = -cho_solve(cho_factor(hessian), gradient)
    if shared:
        actor = replace(
            actor, identity=actor.identity + step[: common - 1], log_scale=actor.log_scale + float(step[common - 1])
        )
    moved = []
    for index, (fit, (_, pivot)) in enumerate(zip(fits, linear, strict=True)):
        delta = step[common + index * local : common + (index + 1) * local]
        # a turn of more than 0.3 rad in one step is outside what the linearisation knows
        delta = delta / max(1.0, float(np.abs(delta[:3]).max()) / 0.3)
        moved.append(replace(fit.moved(delta[:POSE], pivot), expression=fit.expression + delta[POSE:]))
    return actor, moved
