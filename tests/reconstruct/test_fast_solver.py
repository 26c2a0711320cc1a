"""The fast solver recovers what the scene was made from."""

from dataclasses import replace

import numpy as np
import pytest

from mmface4d.errors import FaceNotFoundError
from mmface4d.transforms import rotation_angle_deg, rotation_from_rotvec
from reconstruct.fast_solver import FastSolver, extrapolated
from reconstruct.parameters import make_problem
from reconstruct.raster import make_rasterizer
from reconstruct.state import Actor, FrameFit, average_actor, posed
from reconstruct.tracks import Track
from tests.reconstruct.scene import bumpy_model, observe, pose_in_front


@pytest.fixture(scope="module")
def problem():
    return make_problem(bumpy_model(), make_rasterizer("warp"))


def true_actor(model) -> Actor:
    bump = 0.0015 * np.sin(model.mean[:, :1] * 90) * np.cos(model.mean[:, 1:2] * 70) * [0, 0, 1]
    return replace(average_actor(model), identity=np.array([0.8, -0.5, 1.2]), offsets=bump)


def true_fit(model, expression, turn=(0.0, 0.0, 0.0), shift=(0.0, 0.0, 0.0)) -> FrameFit:
    rotation, translation = pose_in_front()
    return FrameFit(
        rotation_from_rotvec(np.array(turn)) @ rotation, translation + shift, np.array(expression, dtype=float),
        np.zeros_like(model.mean),
    )  # fmt: skip


def test_actor_and_motion_are_recovered(problem):
    model = problem.model
    actor = true_actor(model)
    motion = [
        true_fit(model, [0.8, 0.0]),
        true_fit(model, [0.0, 0.7], turn=(0.01, 0.03, 0.0), shift=(0.003, 0.0, 0.002)),
        true_fit(model, [0.2, 0.2], turn=(0.02, 0.05, 0.01), shift=(0.005, 0.001, 0.0)),
    ]
    truth = [posed(model, actor, fit) for fit in motion]
    seen = [
        replace(observe(model, vertices, noise_m=0.0005, seed=i), frame=i, timestamp_usec=i * 33333)
        for i, vertices in enumerate(truth)
    ]
    solver = FastSolver(problem)
    found = solver.fit_actor(seen)
    inner = ~model.regions["boundary"]
    for fit, vertices in zip(found.fits, truth, strict=True):
        error = np.linalg.norm(posed(model, found.actor, fit) - vertices, axis=1)[inner]
        assert error.mean() < 0.0005
    before = [Track(found.fits[0], 0)]
    for i in (1, 2):
        fit = solver.track(seen[i], found, before)
        error = np.linalg.norm(posed(model, found.actor, fit) - truth[i], axis=1)[inner]
        assert error.mean() < 0.0006
        assert rotation_angle_deg(fit.rotation.T @ motion[i].rotation) < 0.5
        before = [Track(fit, i * 33333), *before[:1]]


def test_one_camera_missing_still_tracks(problem):
    model = problem.model
    actor, fit = true_actor(model), true_fit(model, [0.5, 0.1])
    truth = posed(model, actor, fit)
    whole = observe(model, truth)
    solver = FastSolver(problem)
    found = solver.fit_actor([whole])
    part = replace(whole, depth_views=whole.depth_views[1:], color_views=whole.color_views[1:], missing=("left",))
    again = solver.track(part, found, [Track(found.fits[0], 0)])
    inner = ~model.regions["boundary"]
    assert np.linalg.norm(posed(model, found.actor, again) - truth, axis=1)[inner].mean() < 0.0005


def test_no_landmarks_is_no_face(problem):
    model = problem.model
    seen = observe(model, posed(model, true_actor(model), true_fit(model, [0.0, 0.0])))
    blind = replace(
        seen,
        color_views=tuple(
            replace(v, landmarks_px=v.landmarks_px * np.nan, lifted_in_world=v.lifted_in_world * np.nan)
            for v in seen.color_views
        ),
    )
    assert not blind.has_face
    with pytest.raises(FaceNotFoundError):
        FastSolver(problem).fit_actor([blind])


def test_prediction_uses_time_not_frames(problem):
    model = problem.model
    first = Track(true_fit(model, [0, 0]), 0)
    second = Track(true_fit(model, [0, 0], turn=(0, 0.02, 0), shift=(0.001, 0, 0)), 33333)
    one, three = extrapolated(first, second, 33333), extrapolated(first, second, 100000)
    assert np.allclose(one.translation - second.fit.translation, [0.001, 0, 0], atol=1e-9)
    assert np.allclose(three.translation - second.fit.translation, [0.003, 0, 0], atol=1e-6)
    assert rotation_angle_deg(three.rotation @ second.fit.rotation.T) == pytest.approx(np.degrees(0.06), rel=1e-3)
