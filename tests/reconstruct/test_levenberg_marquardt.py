"""The parameter stage: its slopes are those of its energy, its steps lower it, and it finds what the scene has."""

from dataclasses import replace

import numpy as np
import pytest

from mmface4d.transforms import invert, rotation_angle_deg, rotation_from_rotvec, transform
from reconstruct.hits import hits_in_memory
from reconstruct.levenberg_marquardt import _system, expression_prior, minimise
from reconstruct.observation import Observation
from reconstruct.parameters import Free, Problem, Solution, Terms, make_problem
from reconstruct.raster import make_rasterizer
from reconstruct.rig_refinement import UNKNOWNS, RigCorrection
from reconstruct.rows import DepthTerm, LandmarkTerm
from reconstruct.seen import Seen
from reconstruct.state import POSE, FrameFit, average_actor, posed
from tests.reconstruct.scene import DEPTH, SERIALS, bumpy_model, observe, pose_in_front, rig

TERMS = Terms(depth=DepthTerm(), landmark=LandmarkTerm(sigma_px=2.0))
PIVOT = np.array([0.0, 0.0, 0.7])


@pytest.fixture(scope="module")
def problem():
    return make_problem(bumpy_model(), make_rasterizer("warp"))


def fit_at(model, expression=(0.3, 0.2), turn=(0.0, 0.0, 0.0), shift=(0.0, 0.0, 0.0)) -> FrameFit:
    rotation, translation = pose_in_front()
    return FrameFit(
        rotation_from_rotvec(np.array(turn, dtype=float)) @ rotation, translation + shift,
        np.array(expression, dtype=float), np.zeros_like(model.mean),
    )  # fmt: skip


def seen_of(observations) -> list[Seen]:
    return [Seen.of(observation, "cpu") for observation in observations]


def misplaced(observation, correction: RigCorrection):
    """What a rig believes whose cameras are off: `correction.applied` undoes it."""
    undone = RigCorrection(
        {serial: invert(move) for serial, move in correction.moves.items()},
        {serial: -bias for serial, bias in correction.depth_bias_m.items()},
    )
    return undone.applied(observation)


def nudged(problem: Problem, at: Solution, free: Free, index: int, step: float, pivots) -> Solution:
    """The solution with one unknown of the system moved, in the system's order."""
    actor, moved = at.actor, at.rig
    if free.actor:
        if index < len(actor.identity):
            return replace(
                at, actor=replace(actor, identity=actor.identity + step * np.eye(len(actor.identity))[index])
            )
        index -= len(actor.identity)
        if index == 0:
            return replace(at, actor=replace(actor, log_scale=actor.log_scale + step))
        index -= 1
    for serial in free.cameras:
        if index < UNKNOWNS:
            return replace(at, rig=moved.stepped(serial, step * np.eye(UNKNOWNS)[index], free.pivot))
        index -= UNKNOWNS
    local = POSE + len(problem.model.expression_std)
    frame, unknown = divmod(index, local)
    delta = step * np.eye(local)[unknown]
    fit = at.fits[frame].moved(delta[:POSE], pivots[frame])
    fits = list(at.fits)
    fits[frame] = replace(fit, expression=fit.expression + delta[POSE:])
    return replace(at, fits=fits)


def well_inside(problem: Problem, observation: Observation, vertices: np.ndarray) -> Observation:
    """Only the pixels that stay on the compared surface, and unhidden, when the mesh moves by a millimetre."""
    views = []
    inner = np.abs(problem.model.mean[:, :2]).max(0) * 0.8
    inside = (np.abs(problem.model.mean[:, :2]) < inner).all(1)[problem.model.faces].all(1)
    for view in observation.depth_views:
        hits = hits_in_memory(problem, view, vertices)
        keep = (hits.triangle >= 0) & (hits.cosine > 0.5) & inside[hits.triangle.clip(0)]
        keep &= np.abs(hits.depth_m - view.depth_m) < 0.005
        depth = np.full(DEPTH.height * DEPTH.width, np.nan)
        depth[view.pixel[keep]] = view.depth_m[keep]
        depth = depth.reshape(DEPTH.height, DEPTH.width)
        smooth = np.ones_like(depth, bool)
        for shift in (-3, 3):
            for axis in (0, 1):
                smooth &= np.abs(np.roll(depth, shift, axis) - depth) < 0.008
        keep &= smooth.ravel()[view.pixel]
        parts = {name: getattr(view, name)[keep] for name in ("pixel", "ray", "depth_m", "color_px", "color")}
        views.append(replace(view, **parts))
    return replace(observation, depth_views=tuple(views))


@pytest.mark.slow  # 136 evaluations each
@pytest.mark.parametrize("terms", [TERMS, replace(TERMS, depth=None)], ids=["depth and landmarks", "landmarks"])
def test_gradient_against_central_differences(problem, terms):
    """For pose, expression, identity, scale, every camera's turn, shift and depth bias; visibility has no slope."""
    terms = terms if terms.depth is None else replace(terms, depth=DepthTerm(floor_m=0.002))
    model = problem.model
    actor = replace(average_actor(model), identity=np.array([0.4, -0.3, 0.6]))
    truth = [fit_at(model), fit_at(model, (0.1, 0.5), turn=(0.0, 0.2, 0.0))]
    free = Free(actor=True, cameras=("left", "right"), biased=("left", "right"), pivot=PIVOT)
    start = [
        fit.moved(np.array([0.01, -0.015, 0.02, 0.0008, -0.0006, 0.0012]), fit.translation)
        for fit in (replace(fit, expression=fit.expression + 0.1) for fit in truth)
    ]
    bent = RigCorrection().stepped("right", np.r_[0.001, -0.002, 0.001, 0.0005, 0.0005, -0.0005, 0.001], PIVOT)
    at = Solution(replace(actor, log_scale=0.004), start, bent)
    seen = []
    for fit, moved in zip(truth, start, strict=True):
        observation = bent.applied(observe(model, posed(model, actor, fit), noise_m=0.0002))
        inside = well_inside(problem, observation, posed(model, at.actor, moved))
        seen += seen_of([misplaced(inside, bent)])
    system = _system(problem, seen, at, terms, free)
    pivots = [frame.pivot for frame in system.frames]
    local = POSE + len(model.expression_std)
    # steps move the surface by some hundredths of a millimetre: above float32, and few pixels change sides
    steps = np.r_[
        [0.003] * 3, 5e-4,
        np.tile(np.r_[[3e-4] * 3, [3e-5] * 3, 3e-5], 2),
        np.tile(np.r_[[5e-4] * 3, [3e-5] * 3, [0.004] * (local - POSE)], 2),
    ]  # fmt: skip
    assert len(steps) == len(system.gradient)
    scale = np.sqrt(system.hessian.diagonal() + 1e-12)
    slopes = np.empty_like(steps)
    for index, step in enumerate(steps):
        above = _system(problem, seen, nudged(problem, at, free, index, step, pivots), terms, free).energy
        below = _system(problem, seen, nudged(problem, at, free, index, -step, pivots), terms, free).energy
        slopes[index] = (above - below) / (2 * step)
    off = np.abs(slopes - system.gradient) / scale
    assert off.max() < 0.03 * np.abs(system.gradient / scale).max(), (off.argmax(), slopes, system.gradient)


def test_the_system_is_symmetric_and_knows_its_energy(problem):
    model = problem.model
    actor, fit = average_actor(model), fit_at(model)
    seen = seen_of([observe(model, posed(model, actor, fit), noise_m=0.0005)])
    free = Free(actor=True, cameras=("left",), biased=("left",), pivot=PIVOT)
    system = _system(problem, seen, Solution(actor, [fit]), TERMS, free)
    assert np.allclose(system.hessian, system.hessian.T, rtol=1e-4, atol=1e-3 * np.abs(system.hessian).max())
    assert np.linalg.eigvalsh(system.hessian).min() > 0
    assert system.energy > 0


def test_checked_steps_never_raise_the_energy(problem):
    model = problem.model
    actor, truth = average_actor(model), fit_at(model)
    seen = seen_of([observe(model, posed(model, actor, truth), noise_m=0.001)])
    at = Solution(actor, [fit_at(model, (0.0, 0.0), turn=(0.1, -0.12, 0.05), shift=(0.01, 0.008, -0.01))])
    energies = [_system(problem, seen, at, TERMS, Free()).energy]
    for _ in range(6):
        at, system = minimise(problem, seen, at, TERMS, steps=1)
        assert system.energy == pytest.approx(_system(problem, seen, at, TERMS, Free()).energy, rel=1e-6)
        energies.append(system.energy)
    assert (np.diff(energies) <= 0).all()


def test_a_start_20_mm_and_5_degrees_away_converges(problem):
    model = problem.model
    actor, truth = average_actor(model), fit_at(model)
    vertices = posed(model, actor, truth)
    seen = seen_of([observe(model, vertices, noise_m=0.0005)])
    axis = np.array([1.0, -2.0, 1.5]) / np.linalg.norm([1.0, -2.0, 1.5])
    start = truth.moved(np.r_[np.radians(5) * axis, 0.020 * axis[::-1]], vertices.mean(0))
    at = Solution(actor, [replace(start, expression=np.zeros(2))])
    for floor_m in (0.010, 0.005, 0.002, 0.001, 0.0):
        closing = replace(TERMS, depth=DepthTerm(floor_m=floor_m))
        at, _ = minimise(problem, seen, at, closing, steps=2, checked=False)
    at, _ = minimise(problem, seen, at, TERMS, steps=3)
    assert np.linalg.norm(posed(model, actor, at.fits[0]) - vertices, axis=1).max() < 0.0005
    assert rotation_angle_deg(at.fits[0].rotation.T @ truth.rotation) < 0.1
    assert np.abs(at.fits[0].expression - truth.expression).max() < 0.05


def test_expression_stays_in_its_range(problem):
    """The scene has an expression beyond what the model allows."""
    low, high = 0.0, 0.5
    model = replace(problem.model, expression_range=(low, high))
    bounded = replace(problem, model=model)
    actor, truth = average_actor(model), fit_at(model, (0.8, -0.3))
    seen = seen_of([observe(model, posed(model, actor, truth), noise_m=0.0005)])
    at, _ = minimise(bounded, seen, Solution(actor, [fit_at(model, (0.2, 0.2))]), TERMS, steps=6)
    beta = at.fits[0].expression
    assert beta[0] > 0.4
    assert (beta < high + 0.12).all()
    assert (beta > low - 0.12).all()
    free, _ = minimise(problem, seen, Solution(actor, [fit_at(model, (0.2, 0.2))]), TERMS, steps=6)
    assert np.abs(free.fits[0].expression - truth.expression).max() < 0.05


def test_the_expression_prior_has_the_slope_of_its_energy(problem):
    model = replace(problem.model, expression_range=(-0.2, 0.5))
    for beta in (np.array([0.1, 0.3]), np.array([0.9, -0.6])):
        prior = expression_prior(model, beta)
        for index, step in enumerate(1e-6 * np.eye(2)):
            slope = (expression_prior(model, beta + step).energy - expression_prior(model, beta - step).energy) / 2e-6
            assert prior.gradient[index] == pytest.approx(slope, rel=1e-5)


def test_misplaced_cameras_and_a_depth_bias_are_found(problem):
    """0.1 degrees and 1 mm on two cameras, 2 mm of depth on one, from six spread frames."""
    model, actor = problem.model, average_actor(problem.model)
    # (turn, shift) along different axes for either camera
    left = np.r_[np.radians(0.1) * np.array([0.6, -0.8, 0.0]), 0.001 * np.array([0.0, 0.6, 0.8]), 0.0]
    right = np.r_[np.radians(0.1) * np.array([0.0, 0.6, 0.8]), 0.001 * np.array([-0.8, 0.6, 0.0]), 0.002]
    truth = RigCorrection().stepped("left", left, PIVOT).stepped("right", right, PIVOT)
    turns = [(0, 0, 0), (0, 0.35, 0), (0, -0.35, 0), (0.25, 0, 0), (-0.25, 0.1, 0), (0, 0, 0.3)]
    shifts = [(0, 0, 0), (0.04, 0, 0), (-0.04, 0, 0.02), (0, 0.03, -0.03), (0, -0.03, 0), (0.02, 0.02, 0.04)]
    fits = [fit_at(model, turn=turn, shift=shift) for turn, shift in zip(turns, shifts, strict=True)]
    seen = seen_of(
        misplaced(observe(model, posed(model, actor, fit), noise_m=0.0005, seed=seed), truth)
        for seed, fit in enumerate(fits)
    )
    free = Free(actor=False, cameras=("left", "right"), biased=("right",), pivot=PIVOT)
    at, before = minimise(problem, seen, Solution(actor, fits), TERMS, steps=0, free=free)
    at, after = minimise(problem, seen, at, TERMS, steps=8, free=free)
    assert after.energy < before.energy
    found = {serial: at.rig.deviation(serial, PIVOT) for serial in ("left", "right")}
    assert at.rig.bias("left") == 0.0
    for serial, delta in (("left", left), ("right", right)):
        assert np.degrees(np.linalg.norm(found[serial][:3] - delta[:3])) < 0.04
        assert np.linalg.norm(found[serial][3:6] - delta[3:6]) < 0.0005
    assert abs(at.rig.bias("right") - 0.002) < 0.0005


def some_correction() -> RigCorrection:
    first = RigCorrection().stepped("left", np.r_[0.002, -0.001, 0.003, 0.001, 0.0, -0.002, 0.0015], PIVOT)
    return first.stepped("left", np.r_[0.001, 0.0, 0.0, 0.0, 0.001, 0.0, -0.0005], PIVOT)


def test_a_step_is_what_the_deviation_says():
    delta = np.r_[0.002, -0.001, 0.003, 0.001, 0.0, -0.002, 0.0015]
    once = RigCorrection().stepped("left", delta, PIVOT)
    assert np.allclose(once.deviation("left", PIVOT), delta, atol=1e-12)
    assert np.allclose(once.deviation("front", PIVOT), 0)
    both = some_correction()
    assert np.allclose(both.deviation("left", PIVOT)[3:6], [0.001, 0.001, -0.002], atol=1e-5)
    assert both.bias("left") == pytest.approx(0.001)
    assert np.allclose(both.deviation("left", PIVOT)[:3], [0.003, -0.001, 0.003], atol=1e-5)


def test_a_corrected_calibration_and_observation_agree(problem):
    correction, calibrated = some_correction(), rig()
    corrected = correction.calibration(calibrated)
    seen = observe(problem.model, posed(problem.model, average_actor(problem.model), fit_at(problem.model)))
    applied = correction.applied(seen)
    for view, plain in zip(applied.depth_views, seen.depth_views, strict=True):
        assert np.allclose(view.depth_from_world, invert(corrected.world_from_depth(view.serial)), atol=1e-12)
        assert np.allclose(view.depth_m, plain.depth_m - correction.bias(view.serial), atol=1e-7)
    for view, plain in zip(applied.color_views, seen.color_views, strict=True):
        assert np.allclose(view.color_from_world, invert(corrected.world_from_camera[view.serial]), atol=1e-12)
        known = np.isfinite(plain.lifted_in_world[:, 0])
        # what a camera saw at a place in its own frame stays there
        assert np.allclose(
            transform(view.color_from_world, view.lifted_in_world[known]),
            transform(plain.color_from_world, plain.lifted_in_world[known]), atol=1e-12,
        )  # fmt: skip


def test_no_correction_changes_nothing(problem):
    seen = observe(problem.model, posed(problem.model, average_actor(problem.model), fit_at(problem.model)))
    assert RigCorrection().applied(seen) is seen
    on_device = Seen.of(seen, "cpu")
    assert on_device.moved(RigCorrection()) is on_device


def test_on_the_device_a_correction_is_the_same(problem):
    seen = observe(problem.model, posed(problem.model, average_actor(problem.model), fit_at(problem.model)))
    moved = Seen.of(seen, "cpu").moved(some_correction())
    applied = Seen.of(some_correction().applied(seen), "cpu")
    assert {view.serial for view in moved.depth} == set(SERIALS)
    for one, other in zip((*moved.depth, *moved.color), (*applied.depth, *applied.color), strict=True):
        assert np.allclose(one.pose.rotation, other.pose.rotation, atol=1e-6)
        assert np.allclose(one.pose.translation, other.pose.translation, atol=1e-6)
    for one, other in zip(moved.depth, applied.depth, strict=True):
        assert np.allclose(one.depth_m, other.depth_m, atol=1e-7)
