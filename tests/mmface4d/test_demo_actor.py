"""The demonstration's actor: nobody the model contains, and moving as said."""

import numpy as np
import pytest

from capture.virtual.speech import speak
from mmface4d.demo_actor import BLINKS_S, BUMP_RMS_M, expression_weights, make_actor, perform, scored_vertices
from mmface4d.transforms import invert, is_rigid, rotation_angle_deg, transform
from reconstruct.models.model import REGIONS, LandmarkTable, MorphableModel

NAMES = ("jawOpen", "mouthSmileLeft", "mouthSmile_R", "mouthLeft", "eyeBlinkLeft", "mouthClose")


@pytest.fixture(scope="module")
def model() -> MorphableModel:
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.linspace(-0.08, 0.08, 30), np.linspace(-0.1, 0.1, 40))
    mean = np.stack([x, y, 0.05 - 4 * (x**2 + y**2)], -1).reshape(-1, 3)
    cells = (np.arange(39)[:, None] * 30 + np.arange(29)).ravel()
    faces = np.concatenate([np.stack([cells, cells + 1, cells + 31], 1), np.stack([cells, cells + 31, cells + 30], 1)])
    count = len(mean)
    regions = {name: np.zeros(count, bool) for name in REGIONS}
    regions["face"][:] = True
    regions["eyes"][mean[:, 1] > 0.06] = True
    return MorphableModel(
        name="sheet", mean=mean, faces=faces,
        identity_basis=0.002 * rng.standard_normal((3, count, 3)), identity_std=np.ones(3),
        expression_basis=0.001 * rng.standard_normal((len(NAMES), count, 3)), expression_std=np.ones(len(NAMES)),
        expression_names=NAMES,
        landmarks=LandmarkTable(np.zeros(0, int), np.zeros((0, 3), int), np.zeros((0, 3)), ()),
        regions=regions,
    )  # fmt: skip


def test_the_actor_is_outside_of_the_model(model):
    actor = make_actor(model, seed=3)
    difference = (actor.neutral - model.mean).ravel()
    basis = model.identity_basis.reshape(3, -1).T
    left = difference - basis @ np.linalg.lstsq(basis, difference, rcond=None)[0]
    rms_m = np.sqrt((left.reshape(-1, 3) ** 2).sum(1).mean())
    assert rms_m == pytest.approx(BUMP_RMS_M, rel=0.1)
    assert not np.allclose(make_actor(model, seed=4).neutral, actor.neutral)
    assert np.array_equal(make_actor(model, seed=3).neutral, actor.neutral)
    assert actor.colors.mean() < model.albedo().mean()


def test_names_of_either_side_get_the_same_curve(model):
    times_s = np.linspace(0, 2, 121)
    speech = speak(2.0)
    weights = dict(zip(NAMES, expression_weights(NAMES, speech, times_s).T, strict=True))
    assert np.array_equal(weights["jawOpen"], speech.curves(times_s)["jawOpen"])
    assert np.array_equal(weights["mouthSmileLeft"], weights["mouthSmile_R"])
    assert not weights["mouthLeft"].any()
    assert weights["eyeBlinkLeft"][np.abs(times_s - BLINKS_S[0]).argmin()] > 0.9
    assert min(column.min() for column in weights.values()) >= 0


def test_the_head_sways_within_its_bounds(model):
    times_s = np.arange(300) / 30
    actor = make_actor(model, seed=1)
    head = perform(actor, model, speech=speak(10.0), times_s=times_s, world_from_actor=np.eye(4), seed=1)
    assert all(is_rigid(pose) for pose in head.world_from_head)
    angles = [rotation_angle_deg(pose[:3, :3]) for pose in head.world_from_head]
    assert 5 < max(angles) < 10
    assert 0.004 < np.abs(head.world_from_head[:, :3, 3]).max() <= 0.006
    steps = np.linalg.norm(np.diff(head.vertices, axis=0), axis=-1)
    assert steps.max() < 0.012  # smooth: a frame is 33 ms
    # what is left without the pose is expression alone
    still = transform(invert(head.world_from_head[0]), head.vertices[0])
    assert np.abs(still - actor.neutral).max() < 0.01


def test_scored_vertices_are_measurable_ones(model):
    actor = make_actor(model, seed=1)
    scored = scored_vertices(actor, model)
    assert scored.any()
    assert not (scored & model.regions["eyes"]).any()
    tip = actor.neutral[actor.neutral[:, 2].argmax()]
    assert np.linalg.norm(actor.neutral[scored] - tip, axis=1).max() <= 0.075
