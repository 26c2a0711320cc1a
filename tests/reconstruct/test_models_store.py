"""The stored form of a model: what goes in comes out, and nothing else is believed."""

from pathlib import Path

import numpy as np
import pytest

from mmface4d.errors import ModelError
from reconstruct.models.model import REGIONS, LandmarkTable, MorphableModel
from reconstruct.models.store import load_model_file, read_header, save_model


def small_model(*, textured: bool = True) -> MorphableModel:
    random = np.random.default_rng(0)
    numbers = lambda *shape: random.normal(size=shape).astype(np.float32)  # noqa: E731
    return MorphableModel(
        name="small",
        mean=numbers(12, 3),
        faces=random.integers(0, 12, (9, 3)).astype(np.int32),
        identity_basis=numbers(4, 12, 3),
        identity_std=np.ones(4, dtype=np.float32),
        expression_basis=numbers(2, 12, 3),
        expression_std=np.ones(2, dtype=np.float32),
        expression_names=("jawOpen", "smile"),
        landmarks=LandmarkTable(
            np.array([4, 33], dtype=np.int32), np.array([[0, 1, 2], [3, 4, 5]]), numbers(2, 3), ("nose", "eye")
        ),
        regions={name: random.random(12) > 0.5 for name in REGIONS},
        texture_mean=numbers(12, 3) if textured else None,
        texture_basis=numbers(3, 12, 3) if textured else None,
        texture_std=np.ones(3, dtype=np.float32) if textured else None,
        expression_range=(0.0, np.inf),
        source="made up",
    )


@pytest.mark.parametrize("textured", [True, False])
def test_a_stored_model_comes_back_as_it_was(tmp_path: Path, textured: bool) -> None:
    model = small_model(textured=textured)
    save_model(tmp_path / "small.npz", model)
    again = load_model_file(tmp_path / "small.npz")
    assert again.content_hash == model.content_hash
    assert again.expression_names == model.expression_names
    assert again.expression_range == model.expression_range
    assert again.landmarks.group == model.landmarks.group
    assert set(again.regions) == set(REGIONS)
    assert again.source == "made up"
    assert read_header(tmp_path / "small.npz")["expressions"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["small.npz"]


def test_a_changed_number_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "small.npz"
    save_model(path, small_model())
    with np.load(path) as archive:
        arrays = dict(archive)
    arrays["mean"][3, 1] += 1e-3
    np.savez(path, **arrays)
    with pytest.raises(ModelError, match="do not match the hash"):
        load_model_file(path)


def test_truncated_and_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "small.npz"
    save_model(path, small_model())
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ModelError):
        load_model_file(path)
    np.savez(tmp_path / "other.npz", mean=np.zeros((3, 3)))
    with pytest.raises(ModelError, match="not a stored model"):
        load_model_file(tmp_path / "other.npz")
    np.savez(tmp_path / "pickled.npz", header=np.array([{"format": 1}], dtype=object))
    with pytest.raises(ModelError, match="not a stored model"):
        load_model_file(tmp_path / "pickled.npz")
    with pytest.raises(ModelError, match="does not exist"):
        load_model_file(tmp_path / "nowhere.npz")


@pytest.mark.parametrize(
    "wrong",
    [
        {"expression_std": np.array([1.0, 0.0])},
        {"identity_std": np.ones(3)},
        {"faces": np.array([[0, 1, 12]], dtype=np.int32)},
        {"mean": np.zeros((11, 3))},
        {"regions": {}},
        {"identity_basis": np.ones((4, 12))},
    ],
)
def test_arrays_that_do_not_fit_are_refused_whatever_their_hash(tmp_path: Path, wrong: dict) -> None:
    model = small_model()
    for name, value in wrong.items():
        object.__setattr__(model, name, value)
    save_model(tmp_path / "small.npz", model)
    with pytest.raises(ModelError, match="not a stored model"):
        load_model_file(tmp_path / "small.npz")
