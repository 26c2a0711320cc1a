"""The parameter stage's data: rows of a frame, chained to pose, expression, identity, scale and the rig.

Maths: ../docs/solver.md. The system is solved in levenberg_marquardt.py.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
import warp as wp
from jaxtyping import Bool, Float
from torch import Tensor

from mmface4d.arrays import Pixels, Points
from reconstruct.color import ColorTerm, SkinPoints, color_rows
from reconstruct.kernels import chain_modes
from reconstruct.model_tensors import ModelTensors, Poser, tensor, vertex_normals_of
from reconstruct.models.model import LandmarkTable, MorphableModel
from reconstruct.raster import Rasterizer
from reconstruct.raster.warp_device import launch
from reconstruct.rig_refinement import UNKNOWNS, RigCorrection
from reconstruct.rows import DepthTerm, Landmarks, LandmarkTerm, Rows, depth_rows, join, landmark_rows
from reconstruct.seen import Seen
from reconstruct.state import POSE, Actor, FrameFit

MOUTH_RINGS = 3
ROWS_A_VIEW = 4000  # of each term: neighbouring pixels say the same


@dataclass(frozen=True)
class Problem:
    """What does not change while fitting: the model, its operators, and how rows are made."""

    model: MorphableModel
    rasterizer: Rasterizer
    compared: Bool[np.ndarray, "n_faces"]
    table: LandmarkTable
    tensors: ModelTensors
    compared_there: Bool[Tensor, "n_faces"]  # the same on the device
    landmarks: Landmarks
    skin: SkinPoints

    @property
    def device(self) -> str:
        """Where tensors live."""
        return self.tensors.device


@dataclass(frozen=True)
class Terms:
    """Which terms count, and how."""

    depth: DepthTerm | None
    landmark: LandmarkTerm | None
    color: ColorTerm | None = None
    landmark_bias_px: dict[str, Pixels] | None = None
    # expression of the frame before and how far it may have moved since (in standard deviations of the model)
    previous_expression: np.ndarray | None = None
    previous_std: float = 1.0


@dataclass(frozen=True)
class Solution:
    """What the parameter stage moves."""

    actor: Actor
    fits: list[FrameFit]
    rig: RigCorrection = field(default_factory=RigCorrection)


@dataclass(frozen=True)
class Free:
    """What frames share and is free beside their pose and expression."""

    actor: bool = False  # identity and scale
    cameras: tuple[str, ...] = ()  # of which something is free
    fixed: str = ""  # the one whose pose is not
    biased: tuple[str, ...] = ()  # those whose depth may be off
    pivot: Points = field(default_factory=lambda: np.zeros(3))  # world; what cameras turn about


def make_problem(model: MorphableModel, rasterizer: Rasterizer) -> Problem:
    """Prepares a model: the triangles depth may be compared with, bases on the device, landmarks that hold still."""
    skin = model.regions["face"] & ~model.regions["eyes"] & ~model.regions["nostrils"]
    skin &= ~model.regions["mouth_interior"] & ~model.regions["boundary"]
    compared, device = skin[model.faces].all(1), rasterizer.device
    table = model.landmarks.select(("brow", "eye", "nose", "lip_outer", "lip_inner", "cheek"))
    return Problem(
        model=model,
        rasterizer=rasterizer,
        compared=compared,
        table=table,
        tensors=ModelTensors.of(model, device),
        compared_there=torch.from_numpy(compared).to(device),
        landmarks=Landmarks.of(table, device),
        skin=SkinPoints.spread(model.mean, model.faces, compared=compared & ~_mouth(model), device=device),
    )


def _mouth(model: MorphableModel) -> Bool[np.ndarray, "n_faces"]:
    """Triangles on the lips and next to them: an opening mouth changes the blurred picture there, not the skin."""
    near = model.regions["lips"] | model.regions["mouth_interior"]
    for _ in range(MOUTH_RINGS):
        near = near.copy()
        near[model.faces[near[model.faces].any(1)]] = True
    return near[model.faces].any(1)


def data_rows(
    problem: Problem,
    seen: Seen,
    vertices: Float[Tensor, "n_verts 3"],
    terms: Terms,
    *,
    most: int | None = None,
    cameras: tuple[str, ...] = (),
) -> Rows | None:
    """Rows of all terms and views of one frame (at most `most` of a term and view); None where nothing is seen.

    Rows of `cameras` can be told apart by their `camera`: twice the index for depth, one more for pictures.
    """
    faces, parts = problem.tensors.faces, []
    code = {serial: 2 * index for index, serial in enumerate(cameras)}
    if terms.depth is not None:
        for view in seen.depth:
            rows = depth_rows(
                view, vertices, faces, compared=problem.compared_there, rasterizer=problem.rasterizer,
                term=terms.depth, camera=code.get(view.serial, -1),
            )  # fmt: skip
            parts.append(rows if most is None else rows.thinned(most))
    if terms.landmark is not None:
        normals = vertex_normals_of(vertices, faces)
        bias_px = terms.landmark_bias_px or {}
        for view in seen.color:
            bias = bias_px.get(view.serial)
            parts.append(
                landmark_rows(
                    view, vertices, faces, landmarks=problem.landmarks, term=terms.landmark, normals=normals,
                    bias_px=None if bias is None else tensor(bias, problem.device),
                    camera=code.get(view.serial, -2) + 1,
                )
            )  # fmt: skip
    if terms.color is not None:
        for view in seen.color:
            rows = color_rows(
                view, vertices, faces, points=problem.skin, rasterizer=problem.rasterizer, term=terms.color,
                camera=code.get(view.serial, -2) + 1,
            )  # fmt: skip
            if rows is not None:
                parts.append(rows if most is None else rows.thinned(most))
    parts = [part for part in parts if len(part)]
    return join(parts) if parts else None


@dataclass(frozen=True)
class Linear:
    """One frame's data energy, its slope and curvature along pose, expression | identity, scale | rig."""

    energy: float
    hessian: Float[np.ndarray, "n n"]
    gradient: Float[np.ndarray, "n"]
    pivot: Points  # world; what the head turns about


def linearize(problem: Problem, seen: Seen, poser: Poser, fit: FrameFit, terms: Terms, free: Free) -> Linear:
    """The Gauss-Newton system of one frame's data terms, without priors."""
    vertices = poser.vertices(fit)
    pivot = vertices.mean(0)
    width = POSE + len(fit.expression) + _shared_size(problem.model, free)
    rows = data_rows(problem, seen, vertices, terms, most=ROWS_A_VIEW, cameras=free.cameras)
    middle = pivot.cpu().numpy().astype(np.float64)
    if rows is None:
        return Linear(0.0, np.zeros((width, width)), np.zeros(width), middle)
    jacobian = _jacobian(problem, rows, vertices, pivot=pivot, actor=poser.actor, fit=fit, free=free, width=width)
    weighted = jacobian * rows.weight[:, None]
    hessian = (weighted.T @ jacobian).double().cpu().numpy()
    gradient = (weighted.T @ rows.residual).double().cpu().numpy()
    return Linear(rows.cost, hessian, gradient, middle)


def _shared_size(model: MorphableModel, free: Free) -> int:
    actor = len(model.identity_std) + 1 if free.actor else 0
    return actor + UNKNOWNS * len(free.cameras)


def _jacobian(
    problem: Problem,
    rows: Rows,
    vertices: Tensor,
    *,
    pivot: Tensor,
    actor: Actor,
    fit: FrameFit,
    free: Free,
    width: int,
) -> Float[Tensor, "n_rows n"]:
    points = rows.points(vertices)
    out = torch.zeros((len(rows), width), device=points.device)
    out[:, :3] = torch.linalg.cross(points - pivot, rows.gradient)
    out[:, 3:POSE] = rows.gradient
    in_head = rows.gradient @ tensor(actor.scale * fit.rotation, problem.device)
    _chain(rows, in_head, problem.tensors.expression_at_vertices, out, POSE)
    at = POSE + len(fit.expression)
    if free.actor:
        _chain(rows, in_head, problem.tensors.identity_at_vertices, out, at)
        at += len(problem.model.identity_std)
        out[:, at] = ((points - tensor(fit.translation, problem.device)) * rows.gradient).sum(1)
        at += 1
    around = torch.linalg.cross(points - tensor(free.pivot, problem.device), rows.gradient)
    for index, serial in enumerate(free.cameras):
        # a camera that moves sees the head move the other way
        mine = (rows.camera.div(2, rounding_mode="floor") == index).float()[:, None]
        if serial != free.fixed:
            out[:, at : at + 3] = -around * mine
            out[:, at + 3 : at + 6] = -rows.gradient * mine
        if serial in free.biased:
            out[:, at + 6] = (rows.camera == 2 * index).float()
        at += UNKNOWNS
    return out


def _chain(rows: Rows, gradient_in_head: Tensor, basis: Tensor, out: Tensor, first: int) -> None:
    launch(
        chain_modes,
        dim=len(rows),
        inputs=[
            wp.from_torch(rows.corners, dtype=wp.vec3i), wp.from_torch(rows.barycentric, dtype=wp.vec3),
            wp.from_torch(gradient_in_head.contiguous(), dtype=wp.vec3), wp.from_torch(basis, dtype=wp.vec3), first,
        ],
        outputs=[wp.from_torch(out)],
        device=str(out.device),
    )  # fmt: skip
