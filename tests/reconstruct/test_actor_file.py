"""The actor's file, and one actor for several takes."""

from dataclasses import replace

import numpy as np
import pytest

from mmface4d.errors import ConsentError, InputError, ModelError
from mmface4d.results import ResultPlace
from reconstruct.actor_file import load_actor, read_actor, write_actor
from reconstruct.fast_solver import FastSolver
from reconstruct.parameters import make_problem
from reconstruct.raster import make_rasterizer
from reconstruct.session import _is_solved
from tests.mmface4d.test_results import record
from tests.reconstruct.scene import bumpy_model, observe, pose_in_front


@pytest.fixture(scope="module")
def problem():
    return make_problem(bumpy_model(), make_rasterizer("warp"))


@pytest.fixture(scope="module")
def fit(problem):
    rotation, translation = pose_in_front()
    vertices = problem.model.shape(np.array([0.5, -0.4, 0.8]), np.zeros(2)) @ rotation.T + translation
    return FastSolver(problem).fit_actor([observe(problem.model, vertices)])


@pytest.fixture
def path(tmp_path, fit, problem):
    write_actor(tmp_path / "actor.npz", fit, problem.model, key="from these")
    return tmp_path / "actor.npz"


def changed(path, **arrays):
    """The file with some arrays replaced; None takes one away."""
    content = {name: value for name, value in {**read_actor(path), **arrays}.items() if value is not None}
    np.savez(path, **content)
    return path


def test_an_actor_comes_back_as_it_was_written(path, fit, problem):
    back = load_actor(path, problem)
    assert np.array_equal(back.actor.identity, fit.actor.identity)
    assert np.array_equal(back.actor.offsets, fit.actor.offsets)
    assert back.actor.log_scale == fit.actor.log_scale
    assert np.array_equal(back.vertex_colors, fit.vertex_colors)
    assert set(back.landmark_bias_px) == set(fit.landmark_bias_px)
    assert str(read_actor(path)["key"]) == "from these"


def test_a_new_actor_takes_the_record_of_the_old_one_away(path, fit, problem):
    place = ResultPlace(path)
    record(place)
    write_actor(path, fit, problem.model, key="from others")
    assert not place.record.exists()


def test_other_arrays_may_be_added(path, problem):
    load_actor(changed(path, **{"something_new/left": np.eye(4)}), problem)


def test_an_actor_of_another_model_is_refused(path):
    model = bumpy_model()
    other = make_problem(replace(model, mean=model.mean * 1.01), make_rasterizer("warp"))
    with pytest.raises(ModelError, match="of the model bumpy, not of this"):
        load_actor(path, other)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("identity", None, "it has no identity"),
        ("identity", np.zeros(2), "its identity is"),
        ("offsets", np.zeros((4, 3)), "its offsets is"),
        ("log_scale", np.float64("nan"), "its log_scale is not finite"),
        ("bias/left", np.zeros((3, 2)), "its bias/left is"),
        ("lighting/left", np.zeros((9, 3)), "its lighting/left is"),
        ("texture", np.array([], dtype=str), "its texture is"),
        ("format", np.array(99), "it has format 99"),
        ("model_hash", None, "is no actor file"),
    ],
)
def test_damaged_files_are_refused(path, problem, name, value, said):
    with pytest.raises(InputError, match=said):
        load_actor(changed(path, **{name: value}), problem)


def test_a_session_keeps_the_actor_of_the_same_takes_only(path, problem, tmp_path):
    assert _is_solved(path, "from these", problem)
    assert not _is_solved(path, "from others", problem)
    assert not _is_solved(tmp_path / "new.npz", "from these", problem)
    np.savez(tmp_path / "foreign.npz", thesis=np.ones(3))
    with pytest.raises(InputError, match="is in the way"):
        _is_solved(tmp_path / "foreign.npz", "from these", problem)


def test_an_actor_in_a_withdrawn_session_is_refused(path, problem):
    load_actor(path, problem)
    (path.parent / "withdrawn.json").touch()
    with pytest.raises(ConsentError, match=r"actor\.npz is withdrawn"):
        load_actor(path, problem)


def test_what_is_no_actor_file_is_refused(tmp_path, problem):
    with pytest.raises(InputError, match="does not exist"):
        load_actor(tmp_path / "none.npz", problem)
    for name, content in (("a.npz", b"PK\x03\x04 cut"), ("b.npz", b""), ("c.npz", b"text")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match="is no actor file"):
            load_actor(tmp_path / name, problem)
    np.savez(tmp_path / "pickle.npz", format=np.array([{}], dtype=object))
    with pytest.raises(InputError, match="is no actor file"):
        load_actor(tmp_path / "pickle.npz", problem)
