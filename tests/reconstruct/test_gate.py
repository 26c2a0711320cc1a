"""The quality gate: what it doubts, what it rejects, and what a doubted frame gets instead."""

from dataclasses import replace

import numpy as np
import pytest

from mmface4d.sequence import (
    CARRIED,
    COVERAGE_FAILED,
    DEPTH_FAILED,
    LANDMARKS_FAILED,
    REFITTED,
    STARTED,
    TRACKED,
)
from mmface4d.transforms import rotation_from_rotvec
from reconstruct.fast_solver import FastSolver
from reconstruct.gate import HARD, SOFT, WINDOW, Gate
from reconstruct.observation import Observation
from reconstruct.parameters import make_problem
from reconstruct.quality import Quality
from reconstruct.raster import make_rasterizer
from reconstruct.sequence_run import Fitting, fit_frame
from reconstruct.tracks import Track
from tests.reconstruct.scene import bumpy_model, observe, pose_in_front

IDENTITY = np.array([0.5, -0.4, 0.8])
STEP_USEC = 33_333


def quality(depth_mm: float = 0.5, coverage: float = 0.85, landmark_mm: float = 1.5) -> Quality:
    return Quality(depth_mm, coverage, 2.0, landmark_mm)


def gate_after(*accepted: Quality) -> Gate:
    gate = Gate()
    for one in accepted:
        gate.accept(one)
    return gate


def test_before_anything_is_known_only_absolute_limits_hold():
    gate = Gate()
    assert gate.doubts(quality(3.9, 0.26, 14.0)) == 0
    assert gate.doubts(quality(4.1)) == DEPTH_FAILED
    assert gate.rejects(quality(5.1, 0.1, 21.0)) == DEPTH_FAILED | COVERAGE_FAILED | LANDMARKS_FAILED


def test_a_slipped_track_is_doubted_at_a_residual_that_a_worse_actor_may_have():
    good, bad = gate_after(*[quality(0.5)] * 5), gate_after(*[quality(2.4)] * 5)
    assert good.doubts(quality(1.5)) == DEPTH_FAILED
    assert good.rejects(quality(1.5)) == 0
    assert good.rejects(quality(2.5)) == DEPTH_FAILED
    assert bad.doubts(quality(2.5)) == 0


def test_each_criterion_has_its_bit():
    gate = gate_after(*[quality()] * 5)
    assert gate.doubts(quality()) == 0
    assert gate.doubts(quality(coverage=0.6)) == COVERAGE_FAILED
    assert gate.doubts(quality(landmark_mm=4.0)) == LANDMARKS_FAILED
    # landmarks that were not found say nothing; depth that was not found does
    assert gate.doubts(quality(landmark_mm=np.nan)) == 0
    assert gate.doubts(quality(depth_mm=np.nan)) == DEPTH_FAILED


def test_limits_follow_a_change_that_lasts_and_never_leave_their_bounds():
    gate = gate_after(*[quality(0.5)] * WINDOW)
    assert gate.doubts(quality(1.0)) == DEPTH_FAILED
    for _ in range(WINDOW // 2 + 1):
        gate.accept(quality(1.0))
    assert gate.doubts(quality(1.0)) == 0
    for usual in (quality(0.01, 1.0, 0.1), quality(30.0, 0.01, 300.0), quality(landmark_mm=np.nan)):
        soft, hard = SOFT.limits(usual), HARD.limits(usual)
        assert 0.8 <= soft.depth_residual_mm <= 4.0
        assert soft.depth_residual_mm < hard.depth_residual_mm
        assert 0.2 <= hard.coverage < soft.coverage <= 0.9
        assert soft.landmark_residual_mm < hard.landmark_residual_mm


@pytest.fixture(scope="module")
def fitting():
    problem = make_problem(bumpy_model(), make_rasterizer("warp"))
    solver = FastSolver(problem)
    return Fitting(problem, solver, solver.fit_actor([seen_at(problem)]))


def placed(problem, shift_m=(0.0, 0.0, 0.0), turn=(0.0, 0.0, 0.0)):
    rotation, translation = pose_in_front()
    vertices = problem.model.shape(IDENTITY, np.zeros(2))
    return vertices @ (rotation_from_rotvec(np.array(turn)) @ rotation).T + translation + shift_m


def seen_at(problem, shift_m=(0.0, 0.0, 0.0), turn=(0.0, 0.0, 0.0), frame: int = 0) -> Observation:
    seen = observe(problem.model, placed(problem, shift_m, turn), noise_m=0.0004, seed=frame)
    return replace(seen, frame=frame, timestamp_usec=1_000_000 + frame * STEP_USEC)


@pytest.fixture(scope="module")
def still(fitting):
    """Four frames of a head at rest: the tracks and the gate after them."""
    gate, before, outcomes = Gate(), [], []
    for frame in range(4):
        seen = seen_at(fitting.problem, frame=frame)
        outcome = fit_frame(fitting, seen, before, gate=gate)
        assert outcome.fit is not None
        gate.accept(outcome.quality)
        before = [Track(outcome.fit, seen.timestamp_usec), *before[:1]]
        outcomes.append(outcome)
    return before, gate, outcomes


def test_a_head_at_rest_is_started_and_tracked(still):
    _, _, outcomes = still
    assert [outcome.how for outcome in outcomes] == [STARTED, TRACKED, TRACKED, TRACKED]
    assert [outcome.failed for outcome in outcomes] == [0, 0, 0, 0]


def test_a_teleported_head_is_refitted(fitting, still):
    before, gate, _ = still
    shift, turn = (0.06, -0.03, 0.02), (0.0, 0.5, 0.0)
    outcome = fit_frame(fitting, seen_at(fitting.problem, shift, turn, frame=4), before, gate=gate)
    assert outcome.how == REFITTED
    assert outcome.failed
    inner = ~fitting.problem.model.regions["boundary"]
    error = np.linalg.norm(fitting.vertices(outcome.fit) - placed(fitting.problem, shift, turn), axis=1)[inner]
    assert error.mean() < 0.001


def test_depth_of_another_pose_does_not_pass_unmarked(fitting, still):
    before, gate, _ = still
    seen = seen_at(fitting.problem, frame=4)
    other = seen_at(fitting.problem, (0.05, 0.03, 0.0), (0.0, -0.4, 0.0), frame=4)
    outcome = fit_frame(fitting, replace(seen, depth_views=other.depth_views), before, gate=gate)
    assert outcome.failed
    assert outcome.how == CARRIED
    assert outcome.fit is None


def test_without_landmarks_depth_alone_is_tracked(fitting, still):
    before, gate, _ = still
    seen = seen_at(fitting.problem, (0.001, 0.0, 0.0), frame=4)
    blind = tuple(
        replace(view, landmarks_px=np.full((478, 2), np.nan), lifted_in_world=np.full((478, 3), np.nan))
        for view in seen.color_views
    )
    outcome = fit_frame(fitting, replace(seen, color_views=blind), before, gate=gate)
    assert (outcome.how, outcome.failed) == (TRACKED, 0)
    assert np.isnan(outcome.quality.landmark_residual_mm)
    nothing = fit_frame(fitting, replace(seen, color_views=blind, depth_views=()), before, gate=gate)
    assert (nothing.how, nothing.fit) == (CARRIED, None)
    assert nothing.failed == DEPTH_FAILED | COVERAGE_FAILED


@pytest.mark.parametrize(("part", "kept"), [(0.4, True), (0.95, False)])
def test_a_hand_before_the_face_lowers_the_coverage(fitting, still, part, kept):
    """The covered part of every picture lies 6 cm nearer to the camera."""
    before, gate, _ = still
    seen = seen_at(fitting.problem, frame=4)
    views = []
    for view in seen.depth_views:
        row = view.pixel // view.imager.width
        hidden = row < np.quantile(row, part)
        views.append(replace(view, depth_m=np.where(hidden, view.depth_m - 0.06, view.depth_m).astype(np.float32)))
    outcome = fit_frame(fitting, replace(seen, depth_views=tuple(views)), before, gate=gate)
    assert (outcome.fit is not None) == kept
    assert outcome.failed
    if kept:
        assert outcome.failed & COVERAGE_FAILED
        error = np.linalg.norm(fitting.vertices(outcome.fit) - placed(fitting.problem), axis=1)
        assert np.median(error) < 0.002
