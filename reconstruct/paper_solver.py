"""The published schedule, for reference: Adam on the published energy, three stages, then 200 steps a frame.

Lengths are optimised in decimetres, the unit of the authors' model, so that a learning rate means what it meant there.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from scipy import sparse
from torch import Tensor

from mmface4d.errors import FaceNotFoundError
from reconstruct.appearance import AMBIENT, spherical_harmonics
from reconstruct.energy import ViewHits, color_energy, depth_energy, hits_of, intersect
from reconstruct.initial import initial_fit
from reconstruct.models.landmark_sets import IBUG_TO_MEDIAPIPE
from reconstruct.observation import Observation
from reconstruct.parameters import Problem
from reconstruct.state import Actor, FrameFit, average_actor
from reconstruct.topology import topology_of
from reconstruct.tracks import ActorFit, Track
from reconstruct.weights import PAPER, EnergyWeights

DECIMETRE = 0.1
# brows, nose bridge, eyes, outer lip without its corners: the 35 landmarks that are lifted by depth
LIFTED_IBUG = (*range(17, 27), *range(27, 30), *range(36, 48), *range(49, 54), *range(55, 60))


@dataclass(frozen=True)
class Stage:
    """What is free, for how many steps, at which learning rate."""

    free: tuple[str, ...]
    steps: int
    rate: float
    data: bool = True  # depth and colour count


POSE = ("quaternion", "translation")
LANDMARKS = Stage(("identity", "expression", "log_scale", *POSE), 100, 1e-2, data=False)
PARAMETERS = Stage(("identity", "expression", "log_scale", *POSE, "texture", "lighting"), 500, 1e-2)
VERTICES = Stage((*PARAMETERS.free, "offsets"), 500, 1e-2)
LATER = Stage(("expression", *POSE, "offsets"), 200, 5e-3)
LATER_LANDMARKS = Stage(("expression", *POSE), 100, 1e-2, data=False)


class PaperSolver:
    """Adam on one frame after the other."""

    def __init__(self, problem: Problem, weights: EnergyWeights = PAPER) -> None:
        self.problem, self.weights = problem, weights
        self._model = _TorchModel(problem, weights)

    def fit_actor(self, keyframes: list[Observation]) -> ActorFit:
        """All three stages on the first keyframe; raises FaceNotFoundError."""
        observation = keyframes[0]
        fit = initial_fit(self.problem, observation)
        if fit is None:
            raise FaceNotFoundError(
                f"no face was found in frame {observation.frame}", hint="look at it: mmface4d view TAKE -o DIR"
            )
        state = self._model.state(average_actor(self.problem.model), fit, _serials(observation))
        for stage in (LANDMARKS, PARAMETERS, VERTICES):
            self._model.minimise(state, observation, stage)
        actor, fit = self._model.result(state)
        return ActorFit(actor, [observation.frame], [fit], self.problem.model.albedo(actor.texture))

    def start(self, observation: Observation, actor_fit: ActorFit) -> FrameFit | None:
        """The keyframe's own fit, or landmarks and then the vertex stage; None where there is no face."""
        if observation.frame == actor_fit.frames[0]:
            return actor_fit.fits[0]
        fit = initial_fit(self.problem, observation)
        if fit is None:
            return None
        return self._later(observation, actor_fit, fit, (LATER_LANDMARKS, LATER))

    def track(self, observation: Observation, actor_fit: ActorFit, before: list[Track]) -> FrameFit:
        """The vertex stage from the frame before."""
        return self._later(observation, actor_fit, before[0].fit, (LATER,))

    def _later(self, observation: Observation, actor_fit: ActorFit, fit: FrameFit, stages: Iterable[Stage]) -> FrameFit:
        state = self._model.state(actor_fit.actor, fit, _serials(observation))
        for stage in stages:
            self._model.minimise(state, observation, stage)
        return self._model.result(state)[1]


def _serials(observation: Observation) -> tuple[str, ...]:
    return tuple(view.serial for view in observation.depth_views)


@dataclass
class _State:
    """The unknowns as tensors; lengths in decimetres."""

    values: dict[str, Tensor]
    serials: tuple[str, ...]
    actor: Actor


class _TorchModel:
    """The morphable model, the energy's operators and the Adam loop."""

    def __init__(self, problem: Problem, weights: EnergyWeights) -> None:
        self.problem, self.weights = problem, weights
        self.device = problem.rasterizer.device
        model = problem.model
        self.mean, self.identity_basis, self.expression_basis = (
            self._tensor(array) for array in (model.mean, model.identity_basis, model.expression_basis)
        )
        self.albedo = self._tensor(model.albedo())
        self.texture_basis = None if model.texture_basis is None else self._tensor(model.texture_basis)
        self.faces = torch.from_numpy(model.faces.astype(np.int64)).to(self.device)
        topology = topology_of(model)
        self.edges = torch.from_numpy(topology.edges.astype(np.int64)).to(self.device)
        self.laplacian = _torch_sparse(topology.inverse_distance_laplacian(model.mean)).to(self.device)
        wanted = [IBUG_TO_MEDIAPIPE[i] for i in LIFTED_IBUG]
        self.lifted = np.flatnonzero(np.isin(model.landmarks.mediapipe, wanted))
        table = model.landmarks
        self.landmark_corners = torch.from_numpy(table.corners[self.lifted].astype(np.int64)).to(self.device)
        self.landmark_weights = self._tensor(table.barycentric[self.lifted])
        self.std = {
            "identity": self._tensor(model.identity_std),
            "expression": self._tensor(model.expression_std),
        }
        if model.texture_std is not None:
            self.std["texture"] = self._tensor(model.texture_std)

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.asarray(array, dtype=np.float32)).to(self.device)

    def state(self, actor: Actor, fit: FrameFit, serials: tuple[str, ...]) -> _State:
        """Unknowns at a fit. The actor's own offsets are part of the frame's here."""
        from mmface4d.transforms import quaternion_from_rotation

        lighting = np.stack([actor.lighting.get(serial, np.zeros((3, 9))) for serial in serials])
        values = {
            "identity": actor.identity, "expression": fit.expression, "log_scale": np.array([actor.log_scale]),
            "quaternion": quaternion_from_rotation(fit.rotation), "translation": fit.translation / DECIMETRE,
            "texture": actor.texture, "lighting": lighting, "offsets": (actor.offsets + fit.offsets) / DECIMETRE,
        }  # fmt: skip
        return _State({name: self._tensor(value) for name, value in values.items()}, serials, actor)

    def result(self, state: _State) -> tuple[Actor, FrameFit]:
        """The unknowns as an actor and a fit."""
        from mmface4d.transforms import rotation_from_quaternion

        value = {name: tensor.detach().cpu().numpy().astype(np.float64) for name, tensor in state.values.items()}
        actor = replace(
            state.actor,
            identity=value["identity"],
            log_scale=float(value["log_scale"][0]),
            texture=value["texture"],
            lighting={**state.actor.lighting, **dict(zip(state.serials, value["lighting"], strict=True))},
        )
        fit = FrameFit(
            rotation=rotation_from_quaternion(value["quaternion"]),
            translation=value["translation"] * DECIMETRE,
            expression=value["expression"],
            offsets=value["offsets"] * DECIMETRE - state.actor.offsets,
        )
        return actor, fit

    def minimise(self, state: _State, observation: Observation, stage: Stage) -> None:
        """Adam on the stage's unknowns, in place."""
        free = {name: state.values[name].clone().requires_grad_() for name in stage.free}
        optimiser = torch.optim.Adam(list(free.values()), lr=stage.rate)
        for _ in range(stage.steps):
            optimiser.zero_grad()
            energy = self.energy({**state.values, **free}, observation, state.serials, data=stage.data)
            energy.backward()
            optimiser.step()
        state.values.update({name: tensor.detach() for name, tensor in free.items()})

    def energy(
        self, values: dict[str, Tensor], observation: Observation, serials: tuple[str, ...], *, data: bool
    ) -> Float[Tensor, ""]:
        """All terms of the published energy."""
        shape = self.mean + torch.tensordot(values["identity"], self.identity_basis, 1)
        shape = shape + torch.tensordot(values["expression"], self.expression_basis, 1)
        rotation = _rotation(values["quaternion"])
        scale, translation = values["log_scale"].exp(), values["translation"] * DECIMETRE
        smooth = scale * shape @ rotation.T + translation
        total = self._landmarks(smooth, observation) + self._prior(values)
        if data:
            vertices = scale * (shape + values["offsets"] * DECIMETRE) @ rotation.T + translation
            total = total + self._data(values, vertices, observation, serials) + self._offsets(values["offsets"])
        return total

    def _landmarks(self, vertices: Tensor, observation: Observation) -> Tensor:
        front = observation.lifted_landmarks()[self.problem.model.landmarks.mediapipe[self.lifted]]
        known = np.isfinite(front[:, 0])
        if not known.any():
            return vertices.sum() * 0
        placed = (self.landmark_weights[:, :, None] * vertices[self.landmark_corners]).sum(1)
        return self.weights.landmark_3d * (placed[known] - self._tensor(front[known])).square().sum()

    def _prior(self, values: dict[str, Tensor]) -> Tensor:
        total = self.weights.lighting * values["lighting"].square().sum()
        for name, std in self.std.items():
            total = total + getattr(self.weights, name) * (values[name] / std).square().sum()
        return total

    def _offsets(self, offsets: Tensor) -> Tensor:
        """Weights are per square metre; offsets come in decimetres."""
        metres = offsets * DECIMETRE
        a, b = self.edges.unbind(1)
        return (
            self.weights.edge * (metres[a] - metres[b]).square().sum()
            + self.weights.laplacian * torch.sparse.mm(self.laplacian, metres).square().sum()
            + self.weights.offset * metres.square().sum()
        )

    def _data(
        self, values: dict[str, Tensor], vertices: Tensor, observation: Observation, serials: tuple[str, ...]
    ) -> Tensor:
        texture = self.albedo
        if self.texture_basis is not None:
            texture = texture + torch.tensordot(values["texture"], self.texture_basis, 1)
        normals = _normals(vertices, self.faces)
        at = vertices.detach()
        views: list[ViewHits] = []
        depths, colors = [], []
        for view in observation.depth_views:
            hits = hits_of(
                view, at, self.problem.tensors.faces, compared=self.problem.compared_there,
                rasterizer=self.problem.rasterizer, sensor_sigma=self.weights.sensor_sigma,
            )  # fmt: skip
            pose = self._tensor(view.depth_from_world)
            depth, weights = intersect(vertices[hits.corners] @ pose[:3, :3].T + pose[:3, 3], hits.ray)
            normal = (weights[:, :, None] * normals[hits.corners]).sum(1) @ pose[:3, :3].T
            tone = (weights[:, :, None] * texture[hits.corners]).sum(1)
            views.append(hits)
            depths.append(depth)
            colors.append(tone * _shading(values["lighting"][serials.index(view.serial)], normal))
        if not any(len(view.depth_m) for view in views):
            return vertices.sum() * 0
        return depth_energy(views, depths, self.weights) + color_energy(views, colors, self.weights)


def _rotation(quaternion: Tensor) -> Tensor:
    w, x, y, z = (quaternion / quaternion.norm()).unbind()
    return torch.stack(
        [
            torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)]),
            torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)]),
            torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]),
        ]
    )


def _normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Normalised sum of the unit normals of the faces around each vertex."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    unit = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=1)
    out = torch.zeros_like(vertices)
    for corner in range(3):
        out = out.index_add(0, faces[:, corner], unit)
    return torch.nn.functional.normalize(out, dim=1)


def _shading(gamma: Tensor, normal: Tensor) -> Tensor:
    ambient = torch.zeros_like(gamma)
    ambient[:, 0] = AMBIENT
    return spherical_harmonics(normal) @ (gamma + ambient).T


def _torch_sparse(matrix: sparse.spmatrix) -> Tensor:
    coo = sparse.coo_matrix(matrix)
    indices = torch.from_numpy(np.stack([coo.row, coo.col]).astype(np.int64))
    values = torch.from_numpy(coo.data.astype(np.float32))
    return torch.sparse_coo_tensor(indices, values, coo.shape, check_invariants=False).coalesce()
