"""The default solver: the actor from spread keyframes by second-order steps, then each frame from the one before."""

from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from mmface4d.arrays import Pixels, Vertices
from mmface4d.errors import FaceNotFoundError
from mmface4d.transforms import rotation_from_rotvec, rotvec_from_rotation
from reconstruct.color import ColorTerm, SkinReference, learn_references, look_at_skin, skin_values
from reconstruct.initial import initial_fit
from reconstruct.levenberg_marquardt import System, information, minimise
from reconstruct.model_tensors import Poser, tensor
from reconstruct.observation import Observation
from reconstruct.parameters import Free, Problem, Solution, Terms, data_rows
from reconstruct.rig_refinement import RigCorrection
from reconstruct.rows import DepthTerm, LandmarkTerm, landmark_residuals
from reconstruct.seen import Seen
from reconstruct.state import Actor, FrameFit, average_actor
from reconstruct.threads import one_thread
from reconstruct.topology import topology_of
from reconstruct.tracks import ActorFit, Track
from reconstruct.vertex_offsets import OffsetPrior, OffsetSolver, OffsetSystem, offset_system

MOST_BIAS_PX = 8.0
LEAST_BIAS_FRAMES = 3


@dataclass(frozen=True)
class FastSettings:
    """Weights of the fast solver, in physical units."""

    first_landmarks: LandmarkTerm = LandmarkTerm(sigma_px=4.0, weight=0.3)
    landmarks: LandmarkTerm = LandmarkTerm(sigma_px=2.0, weight=0.3)
    # tolerance added to the sensor's sigma while the first fit closes in, metres
    closing_in_m: tuple[float, ...] = (0.010, 0.005, 0.003, 0.002, 0.001, 0.0005, 0.0)
    # the same while a frame is tracked; all of them after a dropped frame, the last one else
    catching_up_m: tuple[float, ...] = (0.010, 0.005, 0.002, 0.001)
    actor_offsets: OffsetPrior = OffsetPrior(membrane=0.1, bending=4.0, zero=0.002, temporal=0.0, expected_data=0.15)
    frame_offsets: OffsetPrior = OffsetPrior(membrane=2.0, bending=20.0, zero=0.014, temporal=0.0, expected_data=0.012)
    actor_rounds: int = 3
    refine_rig: bool = False
    rig_rounds: int = 4
    color_rounds: int = 2
    color_weight: float = 0.02
    actor_iterations: int = 30
    frame_rounds: int = 2
    frame_iterations: int = 4
    previous_std: float = 0.15  # how far an expression may move in one frame of 1/30 s, in its standard deviations


class FastSolver:
    """Second-order fitting of one actor; see ../docs/solver.md."""

    def __init__(self, problem: Problem, settings: FastSettings | None = None) -> None:
        self.problem = problem
        self.settings = settings or FastSettings()
        topology = topology_of(problem.model)
        self._actor_offsets = OffsetSolver(topology, self.settings.actor_offsets, device=problem.device)
        self._frame_offsets = OffsetSolver(topology, self.settings.frame_offsets, device=problem.device)

    @one_thread()
    def fit_actor(self, keyframes: list[Observation]) -> ActorFit:
        """Identity, scale and personal offsets from several frames at once; raises FaceNotFoundError."""
        starts = [initial_fit(self.problem, observation) for observation in keyframes]
        usable = [(o, s) for o, s in zip(keyframes, starts, strict=True) if s is not None]
        if not usable:
            raise FaceNotFoundError(
                "no face was found in any of the keyframes", hint="look at the take with: mmface4d view TAKE -o DIR"
            )
        seen = [self._seen(observation) for observation, _ in usable]
        at = self._first_fit(seen, Solution(average_actor(self.problem.model), [fit for _, fit in usable]))
        bias_px = self._landmark_bias(seen, at)
        terms = Terms(depth=DepthTerm(), landmark=self.settings.landmarks, landmark_bias_px=bias_px)
        depth_only = Terms(depth=DepthTerm(), landmark=None)
        for _ in range(self.settings.actor_rounds):
            at = replace(at, actor=self._solve_actor_offsets(seen, at, depth_only))
            at, _ = minimise(self.problem, seen, at, terms, steps=2)
        rig = RigCorrection()
        if self.settings.refine_rig:
            at = self._refine_rig(seen, at, terms, fixed=_master(usable[0][0]))
            rig, seen = at.rig, [frame.moved(at.rig) for frame in seen]
            at = replace(at, rig=RigCorrection())
        references: dict[str, SkinReference] = {}
        for _ in range(self.settings.color_rounds if self.settings.color_weight > 0 else 0):
            references = self._learn_references(seen, at)
            for level in (0, 1):
                color = ColorTerm(references, level=level, weight=self.settings.color_weight)
                at, _ = minimise(self.problem, seen, at, replace(terms, color=color), steps=3)
        color = ColorTerm(references, weight=self.settings.color_weight) if references else None
        at = replace(at, actor=self._solve_actor_offsets(seen, at, replace(terms, color=color)))
        return ActorFit(
            at.actor, [observation.frame for observation, _ in usable], at.fits, self.problem.model.albedo(),
            bias_px, self._learn_references(seen, at) if references else {}, rig,
        )  # fmt: skip

    @one_thread()
    def track(self, observation: Observation, actor_fit: ActorFit, before: list[Track]) -> FrameFit:
        """The fit of a frame, predicted from up to two frames before it (the last one first)."""
        settings = self.settings
        seen = self._seen(observation)
        start, steps = self._predicted(observation, before)
        terms = replace(
            self._terms(actor_fit),
            previous_expression=before[0].fit.expression,
            previous_std=settings.previous_std * max(steps, 1.0) ** 0.5,
        )
        at = Solution(actor_fit.actor, [start])
        for floor_m in settings.catching_up_m[-1 if steps < 1.5 else 0 :]:
            close = replace(self._level(terms, 0), depth=DepthTerm(floor_m=floor_m))
            at, _ = minimise(self.problem, [seen], at, close, steps=1, checked=False)
        at, system = minimise(self.problem, [seen], at, terms, steps=2)
        return self._solve_frame_offsets(seen, actor_fit, self._informed(at, system), before[0].fit.offsets)

    @one_thread()
    def start(self, observation: Observation, actor_fit: ActorFit) -> FrameFit | None:
        """The fit of a frame without one before it; None where it has no face."""
        fit = initial_fit(self.problem, observation)
        if fit is None:
            return None
        seen, terms = self._seen(observation), self._terms(actor_fit)
        at = Solution(actor_fit.actor, [fit])
        for floor_m in self.settings.closing_in_m:
            close = replace(terms, depth=DepthTerm(floor_m=floor_m), color=None)
            at, _ = minimise(self.problem, [seen], at, close, steps=1, checked=False)
        for level in (0, 1):
            at, system = minimise(self.problem, [seen], at, self._level(terms, level), steps=2)
        return self._solve_frame_offsets(seen, actor_fit, self._informed(at, system), at.fits[0].offsets)

    def _informed(self, at: Solution, system: System) -> FrameFit:
        """The fit of one frame, and what the frame says around it."""
        fit = at.fits[0]
        return replace(fit, information=information(self.problem.model, fit, system.frames[0]))

    def _seen(self, observation: Observation) -> Seen:
        return Seen.of(observation, self.problem.device)

    def _terms(self, actor_fit: ActorFit) -> Terms:
        color = ColorTerm(actor_fit.references, weight=self.settings.color_weight) if actor_fit.references else None
        return Terms(DepthTerm(), self.settings.landmarks, color, actor_fit.landmark_bias_px)

    def _level(self, terms: Terms, level: int) -> Terms:
        return terms if terms.color is None else replace(terms, color=replace(terms.color, level=level))

    def _first_fit(self, seen: list[Seen], at: Solution) -> Solution:
        """From rigid landmarks to pose, expression, identity and scale on depth."""
        shared = Free(actor=True)
        terms = Terms(depth=None, landmark=self.settings.first_landmarks)
        at, _ = minimise(self.problem, seen, at, terms, steps=4, free=shared, checked=False)
        for floor_m in self.settings.closing_in_m:
            terms = Terms(depth=DepthTerm(floor_m=floor_m), landmark=self.settings.first_landmarks)
            at, _ = minimise(self.problem, seen, at, terms, steps=1, free=shared, checked=False)
        at, _ = minimise(self.problem, seen, at, terms, steps=2, free=shared)
        return at

    def _refine_rig(self, seen: list[Seen], at: Solution, terms: Terms, *, fixed: str) -> Solution:
        """Depth biases, and poses of all cameras but `fixed`, whose frame is the world."""
        serials = tuple(sorted({view.serial for frame in seen for view in frame.color}))
        pivot = np.mean([fit.translation for fit in at.fits], axis=0)
        free = Free(actor=True, cameras=serials, fixed=fixed, biased=serials, pivot=pivot)
        for _ in range(self.settings.rig_rounds):
            at, _ = minimise(self.problem, seen, at, terms, steps=3, free=free)
            moved = [frame.moved(at.rig) for frame in seen]
            at = replace(at, actor=self._solve_actor_offsets(moved, at, replace(terms, landmark=None)))
        return at

    def _predicted(self, observation: Observation, before: list[Track]) -> tuple[FrameFit, float]:
        """Constant velocity by timestamps, and how many 1/30 s have passed."""
        last = before[0]
        passed_usec = observation.timestamp_usec - last.timestamp_usec
        steps = passed_usec * 30e-6
        if len(before) < 2 or passed_usec > 200_000:
            return last.fit, steps
        return extrapolated(before[1], last, passed_usec), steps

    def _landmark_bias(self, seen: list[Seen], at: Solution) -> dict[str, Pixels]:
        """Minus the residuals' median over the keyframes, by camera and landmark; 0 where seldom seen."""
        found: dict[str, list[Pixels]] = {}
        poser = Poser(self.problem.tensors, at.actor)
        for frame, fit in zip(seen, at.fits, strict=True):
            vertices = poser.vertices(fit)
            for view in frame.color:
                residual = landmark_residuals(
                    view, vertices, self.problem.tensors.faces, landmarks=self.problem.landmarks
                )
                found.setdefault(view.serial, []).append(residual.cpu().double().numpy())
        return {serial: _median_bias(np.stack(residuals)) for serial, residuals in found.items()}

    def _learn_references(self, seen: list[Seen], at: Solution) -> dict[str, SkinReference]:
        looks: dict[str, list[Tensor]] = {}
        poser = Poser(self.problem.tensors, at.actor)
        for frame, fit in zip(seen, at.fits, strict=True):
            vertices = poser.vertices(fit)
            for view in frame.color:
                if view.bands is None:
                    continue
                look = look_at_skin(
                    view, vertices, self.problem.tensors.faces, points=self.problem.skin,
                    rasterizer=self.problem.rasterizer,
                )  # fmt: skip
                looks.setdefault(view.serial, []).append(skin_values(view, look))
        return learn_references(looks)

    def _solve_actor_offsets(self, seen: list[Seen], at: Solution, terms: Terms) -> Actor:
        poser = Poser(self.problem.tensors, at.actor)
        systems = [
            system
            for frame, fit in zip(seen, at.fits, strict=True)
            if (system := self._offset_system(frame, poser, fit, terms)) is not None
        ]
        start = tensor(at.actor.offsets, self.problem.device)
        offsets = self._actor_offsets.solve(systems, start, before=start, iterations=self.settings.actor_iterations)
        return replace(at.actor, offsets=_array(offsets))

    def _solve_frame_offsets(self, seen: Seen, actor_fit: ActorFit, fit: FrameFit, before: Vertices) -> FrameFit:
        terms, poser = self._terms(actor_fit), Poser(self.problem.tensors, actor_fit.actor)
        drawn_to = tensor(before, self.problem.device)
        for _ in range(self.settings.frame_rounds):
            system = self._offset_system(seen, poser, fit, terms)
            if system is None:
                return fit
            offsets = self._frame_offsets.solve(
                [system], tensor(fit.offsets, self.problem.device), before=drawn_to,
                iterations=self.settings.frame_iterations,
            )  # fmt: skip
            fit = replace(fit, offsets=_array(offsets))
        return fit

    def _offset_system(self, seen: Seen, poser: Poser, fit: FrameFit, terms: Terms) -> OffsetSystem | None:
        rows = data_rows(self.problem, seen, poser.vertices(fit), terms)
        return None if rows is None else offset_system(rows, fit.rotation, poser.actor.scale)


def _array(offsets: Tensor) -> Vertices:
    return offsets.cpu().double().numpy()


def _master(observation: Observation) -> str:
    """The camera whose frame is the world."""
    views = observation.color_views
    return min(views, key=lambda view: float(np.abs(view.color_from_world - np.eye(4)).max())).serial


def _median_bias(residuals: np.ndarray) -> Pixels:
    """[frames, landmarks, 2] -> [landmarks, 2]."""
    count = np.isfinite(residuals[..., 0]).sum(0)
    enough = count >= min(LEAST_BIAS_FRAMES, len(residuals))
    bias = np.zeros(residuals.shape[1:])
    bias[enough] = -np.nanmedian(residuals[:, enough], 0)
    far = np.linalg.norm(bias, axis=1) > MOST_BIAS_PX
    bias[far] *= MOST_BIAS_PX / np.linalg.norm(bias[far], axis=1, keepdims=True)
    return bias


def extrapolated(earlier: Track, last: Track, passed_usec: int) -> FrameFit:
    """The last fit, its head moved on at the velocity between the two."""
    factor = passed_usec / max(last.timestamp_usec - earlier.timestamp_usec, 1)
    turn = rotvec_from_rotation(last.fit.rotation @ earlier.fit.rotation.T)
    rotation = rotation_from_rotvec(turn * factor) @ last.fit.rotation
    translation = last.fit.translation + (last.fit.translation - earlier.fit.translation) * factor
    return replace(last.fit, rotation=rotation, translation=translation)
