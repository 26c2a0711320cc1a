"""Adapters for models nobody may ship: files of the same layout, made from the built-in model, are read back."""

import os
import pickle  # noqa: TID251
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from scipy.io import savemat

from mmface4d.errors import ModelError
from mmface4d.safe_pickle import dense, read_pickle
from mmface4d.transforms import rotation_from_rotvec
from reconstruct.models.bfm2009 import read_bfm2009
from reconstruct.models.canonical import load_canonical
from reconstruct.models.flame import JAW, read_flame
from reconstruct.models.landmark_sets import IBUG_TO_MEDIAPIPE
from reconstruct.models.model import REGIONS, MorphableModel

SUBSTITUTES = {75: 64, 97: 2, 326: 2, 305: 294}


@pytest.fixture(scope="module")
def canonical() -> MorphableModel:
    return load_canonical()


def ibug_vertices(model: MorphableModel) -> np.ndarray:
    """The nearest vertices to the 68 points."""
    place = {int(point): i for i, point in enumerate(model.landmarks.mediapipe)}
    # nostrils may be missing from the table: what is beside them will do here
    rows = [place.get(point, place[SUBSTITUTES.get(point, 2)]) for point in IBUG_TO_MEDIAPIPE]
    best = model.landmarks.barycentric[rows].argmax(axis=1)
    return model.landmarks.corners[rows, best]


def bfm_content(model: MorphableModel) -> dict[str, np.ndarray]:
    columns = lambda basis: 10 * basis.reshape(len(basis), -1).T  # noqa: E731
    texture = model.albedo()
    return {
        "meanshape": 10 * model.mean.reshape(1, -1) + 0.5,
        "idBase": columns(model.identity_basis[:7]),
        "exBase": columns(model.expression_basis[:5]),
        "meantex": 255 * texture.reshape(1, -1),
        "texBase": np.ones((texture.size, 3)),
        "tri": model.faces[:, ::-1].astype(np.float64) + 1,
        "keypoints": ibug_vertices(model)[None].astype(np.float64) + 1,
    }


def test_bfm_is_read_in_metres(tmp_path: Path, canonical: MorphableModel) -> None:
    savemat(tmp_path / "bfm.mat", bfm_content(canonical))
    model = read_bfm2009(tmp_path / "bfm.mat", heads=0)
    assert np.allclose(model.mean, canonical.mean - canonical.mean.mean(axis=0), atol=1e-6)
    assert np.array_equal(model.faces, canonical.faces)  # turned outwards again
    assert np.allclose(model.identity_basis, canonical.identity_basis[:7], atol=1e-7)
    assert np.allclose(model.expression_basis, canonical.expression_basis[:5], atol=1e-7)
    assert np.allclose(model.albedo(), canonical.albedo(), atol=1e-6)
    assert (model.identity_std == 1).all()
    assert set(model.regions) == set(REGIONS)
    off = model.landmarks.positions(model.mean)
    truth = canonical.landmarks.positions(canonical.mean - canonical.mean.mean(axis=0))
    place = {int(p): i for i, p in enumerate(canonical.landmarks.mediapipe)}
    shared = [(i, place[int(p)]) for i, p in enumerate(model.landmarks.mediapipe) if int(p) in place]
    gaps = [np.linalg.norm(off[mine] - truth[theirs]) for mine, theirs in shared]
    assert len(gaps) > 300
    assert np.median(gaps) < 0.0015


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"exBase": None}, "no exBase"),
        ({"idBase": np.zeros((12, 3))}, "idBase is"),
        ({"keypoints": np.ones((1, 67))}, "not 68"),
        ({"tri": np.array([[0, 1, 2]])}, "not there"),
        ({"meantex": np.array(["x"])}, "numbers"),
    ],
)
def test_bfm_of_another_layout_is_refused(
    tmp_path: Path, canonical: MorphableModel, change: dict[str, Any], message: str
) -> None:
    content = {k: v for k, v in {**bfm_content(canonical), **change}.items() if v is not None}
    savemat(tmp_path / "bfm.mat", content)
    with pytest.raises(ModelError, match=message):
        read_bfm2009(tmp_path / "bfm.mat", heads=0)


def test_bfm_that_is_no_mat_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bfm.mat").write_bytes(b"not a model" * 50)
    with pytest.raises(ModelError, match="no readable MAT file"):
        read_bfm2009(tmp_path / "bfm.mat")
    with pytest.raises(ModelError, match="does not exist"):
        read_bfm2009(tmp_path / "nowhere.mat")


def flame_content(model: MorphableModel) -> dict[str, Any]:
    count = model.vertex_count
    random = np.random.default_rng(0)
    shapes = np.zeros((count, 3, 400))
    shapes[:, :, :5] = np.moveaxis(model.identity_basis[:5], 0, 2)
    shapes[:, :, 300:304] = np.moveaxis(model.expression_basis[:4], 0, 2)
    weights = np.zeros((count, 5))
    low = model.mean[:, 1] < model.landmarks.positions(model.mean)[model.landmarks.mediapipe.tolist().index(14), 1]
    weights[:, JAW], weights[:, 1] = low, ~low
    joints = sparse.csc_matrix(np.full((5, count), 1 / count))
    return {
        "v_template": model.mean.astype(np.float64) + 0.1,
        "f": model.faces.astype(np.uint32),
        "shapedirs": shapes,
        "posedirs": 1e-5 * random.normal(size=(count, 3, 36)),
        "J_regressor": joints,
        "kintree_table": np.zeros((2, 5), dtype=np.int64),
        "weights": weights,
        "bs_type": "lrotmin",
    }


@pytest.fixture
def chumpy(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A stand-in package, so that a file can name chumpy.ch.Ch; it is gone when the file is read."""

    class Ch:
        def __init__(self, x: np.ndarray) -> None:
            self.x = x

    Ch.__module__, Ch.__qualname__ = "chumpy.ch", "Ch"
    module = ModuleType("chumpy.ch")
    module.Ch = Ch  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "chumpy", ModuleType("chumpy"))
    monkeypatch.setitem(sys.modules, "chumpy.ch", module)
    return Ch


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_flame_is_read_without_chumpy(tmp_path: Path, canonical: MorphableModel, chumpy: Any, protocol: int) -> None:
    content = flame_content(canonical)
    path = tmp_path / "generic_model.pkl"
    embedding = {
        "lmk_face_idx": np.array(
            [np.flatnonzero((canonical.faces == v).any(axis=1))[0] for v in ibug_vertices(canonical)]
        ),
        "lmk_b_coords": np.zeros((68, 3)),
    }
    for row, vertex in enumerate(ibug_vertices(canonical)):
        embedding["lmk_b_coords"][row] = canonical.faces[embedding["lmk_face_idx"][row]] == vertex
    (tmp_path / "flame_static_embedding.pkl").write_bytes(pickle.dumps({k: v[17:] for k, v in embedding.items()}))
    path.write_bytes(pickle.dumps({**content, "shapedirs": chumpy(content["shapedirs"])}, protocol=protocol))
    del sys.modules["chumpy.ch"], sys.modules["chumpy"]
    model = read_flame(path, heads=0)
    assert model.vertex_count == canonical.vertex_count
    assert np.allclose(np.ptp(model.mean, axis=0), np.ptp(canonical.mean, axis=0), atol=1e-5)
    assert np.allclose(model.identity_basis[:5], canonical.identity_basis[:5], atol=1e-6)
    assert np.allclose(model.expression_basis[:4], canonical.expression_basis[:4], atol=1e-6)
    assert model.expression_names[-2:] == ("jaw_open", "jaw_turn")
    assert len(model.landmarks) > 300
    assert 0 < model.regions["face"].sum() < model.vertex_count


def test_the_jaw_opens_downwards_and_turns_sideways(tmp_path: Path, canonical: MorphableModel) -> None:
    content = flame_content(canonical)
    joint = np.array([0.0, 0.0, -0.06])  # behind the chin
    regressor = np.zeros((5, canonical.vertex_count))
    regressor[JAW] = 1 / canonical.vertex_count  # the mean of all vertices ...
    content["v_template"] = content["v_template"] - 0.1 - joint  # ... which is moved there
    (tmp_path / "flame.pkl").write_bytes(pickle.dumps({**content, "J_regressor": sparse.csr_matrix(regressor)}))
    (tmp_path / "flame_static_embedding.pkl").write_bytes(
        pickle.dumps({"lmk_face_idx": np.zeros(3, dtype=int), "lmk_b_coords": np.zeros((3, 3))})
    )
    with pytest.raises(ModelError, match="does not belong"):
        read_flame(tmp_path / "flame.pkl", heads=0)
    from reconstruct.models.flame import _read, jaw_motion

    flame = _read(tmp_path / "flame.pkl")
    moves_with_jaw = flame.weights[:, JAW] == 1
    lever = (flame.v_template - flame.J_regressor[JAW] @ flame.v_template)[moves_with_jaw]
    opened, turned = jaw_motion(flame, axis=0, angle_rad=0.2), jaw_motion(flame, axis=1, angle_rad=0.1)
    for motion, rotvec in ((opened, [0.2, 0.0, 0.0]), (turned, [0.0, 0.1, 0.0])):
        expected = lever @ rotation_from_rotvec(np.array(rotvec)).T - lever
        np.testing.assert_allclose(motion[moves_with_jaw], expected, atol=1e-4)
    chin, foremost = np.flatnonzero(moves_with_jaw)[[lever[:, 1].argmin(), lever[:, 2].argmax()]]
    assert opened[chin, 2] < -0.005  # the chin goes back
    assert opened[foremost, 1] < -0.003  # what lies before the joint goes down
    assert turned[foremost, 0] > 0.001  # to the subject's left
    assert np.abs(opened[flame.weights[:, JAW] == 0]).max() < 1e-4


class Malicious:
    """Runs a command when an ordinary reader loads it."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)  # noqa: TID251


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_malicious_pickle_is_refused_by_name_and_not_run(tmp_path: Path, protocol: int) -> None:
    marker = tmp_path / "was-run"
    (tmp_path / "flame.pkl").write_bytes(pickle.dumps({"v_template": Malicious(marker)}, protocol=protocol))
    with pytest.raises(ModelError, match=r"(posix|nt)\.system"):
        read_flame(tmp_path / "flame.pkl")
    assert not marker.exists()


@pytest.mark.parametrize(
    "name", ["builtins eval", "numpy load", "scipy.sparse._io load_npz", "chumpy.utils run", "os remove"]
)
def test_only_named_globals_pass(tmp_path: Path, name: str) -> None:
    module, attribute = name.split()
    (tmp_path / "x.pkl").write_bytes(f"c{module}\n{attribute}\n.".encode())
    with pytest.raises(ModelError, match=attribute):
        read_pickle(tmp_path / "x.pkl")


def test_arrays_pass_and_other_things_are_no_arrays(tmp_path: Path) -> None:
    values = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "s": sparse.random(4, 7, 0.5, format="csr"),
        "o": "text",
    }
    for protocol in range(6):
        (tmp_path / "x.pkl").write_bytes(pickle.dumps(values, protocol=protocol))
        content = read_pickle(tmp_path / "x.pkl")
        assert np.array_equal(dense(content["a"]), values["a"])
        assert np.array_equal(dense(content["s"]), values["s"].toarray())
        with pytest.raises(ModelError):
            dense(content["o"])
    (tmp_path / "x.pkl").write_bytes(b"\x80\x04nonsense")
    with pytest.raises(ModelError, match="no readable pickle"):
        read_pickle(tmp_path / "x.pkl")


def test_a_pickle_of_something_else_is_no_flame(tmp_path: Path) -> None:
    (tmp_path / "smpl.pkl").write_bytes(pickle.dumps({"v_template": np.zeros((4, 3))}))
    with pytest.raises(ModelError, match="it has no f, shapedirs"):
        read_flame(tmp_path / "smpl.pkl")
