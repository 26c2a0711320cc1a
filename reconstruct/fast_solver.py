"""The default solver: the actor from spread keyframes by second-order steps, then each frame from the one before."""

from dataclasses import dataclass, replace

import numpy as np

from mmface4d.arrays import Pixels, Vertices
from mmface4d.errors import FaceNotFoundError
from reconstruct.initial import initial_fit
from reconstruct.observation import Observation
from reconstruct.offsets import OffsetPrior, OffsetSolver, OffsetSystem, offset_system
from reconstruct.parameters import Problem, Terms, data_rows, fit_frames
from reconstruct.rows import DepthTerm, LandmarkTerm, landmark_residuals
from reconstruct.state import Actor, FrameFit, average_actor, posed
from reconstruct.topology import topology_of
from reconstruct.tracks import ActorFit, Track

MOST_BIAS_PX = 8.0
LEAST_BIAS_FRAMES = 3


@dataclass(frozen=True)
class FastSettings:
    """Weights of the fast solver, in physical units."""

    first_landmarks: LandmarkTerm = LandmarkTerm(sigma_px=4.0, weight=0.3)
    landmarks: LandmarkTerm = LandmarkTerm(sigma_px=2.0, weight=0.3)
    # tolerance added to the sensor's sigma while the first fit closes in, metres
    closing_in_m: tuple[float, ...] = (0.010, 0.005, 0.003, 0.002, 0.001, 0.0005, 0.0, 0.0)
    actor_offsets: OffsetPrior = OffsetPrior(edge=0.05, laplacian=4.0, offset=0.02, temporal=0.0, expected_data=2.0)
    frame_offsets: OffsetPrior = OffsetPrior(edge=1.0, laplacian=20.0, offset=0.2, temporal=0.5, expected_data=0.5)
    actor_rounds: int = 3
    actor_iterations: int = 30
    frame_rounds: int = 2
    frame_iterations: int = 8
    tracking_steps: tuple[float, ...] = (0.001, 0.0, 0.0)
    previous_std: float = 0.15  # how far an expression may move in one frame of 1/30 s, in its standard deviations


class FastSolver:
    """Second-order fitting of one actor; see ../docs/solver.md."""

    def __init__(self, problem: Problem, settings: FastSettings | None = None) -> None:
        self.problem = problem
        self.settings = settings or FastSettings()
        topology = topology_of(problem.model)
        self._actor_offsets = OffsetSolver(topology, self.settings.actor_offsets)
        self._frame_offsets = OffsetSolver(topology, self.settings.frame_offsets)

    def fit_actor(self, keyframes: list[Observation]) -> ActorFit:
        """Identity, scale and personal offsets from several frames at once; raises FaceNotFoundError."""
        starts = [initial_fit(self.problem, observation) for observation in keyframes]
        usable = [(o, s) for o, s in zip(keyframes, starts, strict=True) if s is not None]
        if not usable:
            raise FaceNotFoundError(
                "no face was found in any of the keyframes", hint="look at the take with: mmface4d view TAKE -o DIR"
            )
        observations, fits = [o for o, _ in usable], [s for _, s in usable]
        actor = average_actor(self.problem.model)
        landmarks_only = Terms(depth=None, landmark=self.settings.first_landmarks)
        actor, fits = self._fit(observations, actor, fits, landmarks_only, iterations=4, shared=True)
        for floor_m in self.settings.closing_in_m:
            terms = Terms(depth=DepthTerm(floor_m=floor_m), landmark=self.settings.first_landmarks)
            actor, fits = self._fit(observations, actor, fits, terms, iterations=1, shared=True)
        bias_px = self._landmark_bias(observations, actor, fits)
        terms = Terms(depth=DepthTerm(), landmark=self.settings.landmarks, landmark_bias_px=bias_px)
        for _ in range(self.settings.actor_rounds):
            actor = self._solve_actor_offsets(observations, actor, fits)
            actor, fits = self._fit(observations, actor, fits, terms, iterations=2, shared=False)
        frames = [observation.frame for observation in observations]
        return ActorFit(actor, frames, fits, self.problem.model.albedo(), bias_px)

    def track(self, observation: Observation, actor_fit: ActorFit, before: list[Track]) -> FrameFit:
        """The fit of a frame, predicted from up to two frames before it (the last one first)."""
        settings = self.settings
        start, steps = self._predicted(observation, before)
        for floor_m in settings.tracking_steps:
            terms = Terms(
                depth=DepthTerm(floor_m=floor_m),
                landmark=settings.landmarks,
                landmark_bias_px=actor_fit.landmark_bias_px,
                previous_expression=before[0].fit.expression,
                previous_std=settings.previous_std * max(steps, 1.0) ** 0.5,
            )
            _, (start,) = self._fit([observation], actor_fit.actor, [start], terms, iterations=1, shared=False)
        return self._solve_frame_offsets(observation, actor_fit, start, before[0].fit.offsets)

    def start(self, observation: Observation, actor_fit: ActorFit) -> FrameFit | None:
        """The fit of a frame without one before it; None where it has no face."""
        fit = initial_fit(self.problem, observation)
        if fit is None:
            return None
        for floor_m in self.settings.closing_in_m:
            terms = Terms(
                depth=DepthTerm(floor_m=floor_m),
                landmark=self.settings.landmarks,
                landmark_bias_px=actor_fit.landmark_bias_px,
            )
            _, (fit,) = self._fit([observation], actor_fit.actor, [fit], terms, iterations=1, shared=False)
        return self._solve_frame_offsets(observation, actor_fit, fit, fit.offsets)

    def _fit(
        self,
        observations: list[Observation],
        actor: Actor,
        fits: list[FrameFit],
        terms: Terms,
        *,
        iterations: int,
        shared: bool,
    ) -> tuple[Actor, list[FrameFit]]:
        return fit_frames(
            self.problem, observations, actor=actor, fits=fits, terms=terms, iterations=iterations, shared=shared
        )

    def _predicted(self, observation: Observation, before: list[Track]) -> tuple[FrameFit, float]:
        """Constant velocity by timestamps, and how many 1/30 s have passed."""
        last = before[0]
        passed_usec = observation.timestamp_usec - last.timestamp_usec
        steps = passed_usec * 30e-6
        if len(before) < 2 or passed_usec > 200_000:
            return last.fit, steps
        return extrapolated(before[1], last, passed_usec), steps

    def _landmark_bias(self, observations: list[Observation], actor: Actor, fits: list[FrameFit]) -> dict[str, Pixels]:
        """Minus the residuals' median over the keyframes, by camera and landmark; 0 where seldom seen."""
        seen: dict[str, list[Pixels]] = {}
        for observation, fit in zip(observations, fits, strict=True):
            vertices = posed(self.problem.model, actor, fit)
            for view in observation.color_views:
                residual = landmark_residuals(view, vertices, self.problem.model.faces, table=self.problem.table)
                seen.setdefault(view.serial, []).append(residual)
        return {serial: _median_bias(np.stack(residuals)) for serial, residuals in seen.items()}

    def _solve_actor_offsets(self, observations: list[Observation], actor: Actor, fits: list[FrameFit]) -> Actor:
        depth_only = Terms(depth=DepthTerm(), landmark=None)
        systems = [
            system
            for observation, fit in zip(observations, fits, strict=True)
            if (system := self._offset_system(observation, actor, fit, depth_only)) is not None
        ]
        offsets = self._actor_offsets.solve(
            systems, actor.offsets, before=actor.offsets, iterations=self.settings.actor_iterations
        )
        return replace(actor, offsets=offsets)

    def _solve_frame_offsets(
        self, observation: Observation, actor_fit: ActorFit, fit: FrameFit, before: Vertices
    ) -> FrameFit:
        terms = Terms(depth=DepthTerm(), landmark=self.settings.landmarks, landmark_bias_px=actor_fit.landmark_bias_px)
        for _ in range(self.settings.frame_rounds):
            system = self._offset_system(observation, actor_fit.actor, fit, terms)
            if system is None:
                return fit
            offsets = self._frame_offsets.solve(
                [system], fit.offsets, before=before, iterations=self.settings.frame_iterations
            )
            fit = replace(fit, offsets=offsets)
        return fit

    def _offset_system(
        self, observation: Observation, actor: Actor, fit: FrameFit, terms: Terms
    ) -> OffsetSystem | None:
        vertices = posed(self.problem.model, actor, fit)
        rows = data_rows(self.problem, observation, vertices, terms)
        return None if rows is None else offset_system(rows, fit.rotation, actor.scale, vertex_count=len(vertices))


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
    from scipy.spatial.transform import Rotation

    factor = passed_usec / max(last.timestamp_usec - earlier.timestamp_usec, 1)
    turn = Rotation.from_matrix(last.fit.rotation @ earlier.fit.rotation.T).as_rotvec()
    rotation = Rotation.from_rotvec(turn * factor).as_matrix() @ last.fit.rotation
    translation = last.fit.translation + (last.fit.translation - earlier.fit.translation) * factor
    return replace(last.fit, rotation=rotation, translation=translation)
