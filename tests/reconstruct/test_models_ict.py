"""The reader of ICT-FaceKit folders, on a few of its real files and on folders that are something else."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from mmface4d.errors import ModelError, UsageError
from reconstruct.models.ict import read_ict
from reconstruct.models.model import REGIONS, MorphableModel
from reconstruct.models.obj import read_obj_polygons, read_obj_vertices, triangulate
from reconstruct.models.surface import border_loops
from reconstruct.topology import face_normals


@pytest.fixture(scope="module")
def folder(shared_data: Path) -> Path:
    return shared_data / "ict_subset"


@pytest.fixture(scope="module")
def model(folder: Path) -> MorphableModel:
    return read_ict(folder, heads=0)


def test_the_face_comes_with_what_the_folder_has(model: MorphableModel) -> None:
    assert model.vertex_count == 9409
    assert len(model.identity_basis) == 5
    assert model.expression_names[0] == "browDown_L"
    assert set(model.expression_names) >= {"jawOpen", "mouthPucker", "eyeBlink_R"}
    assert len(model.expression_basis) == len(model.expression_names) == 10
    assert set(model.regions) == set(REGIONS)


def test_the_head_frame_and_metres(model: MorphableModel) -> None:
    assert np.abs(model.mean.mean(axis=0)).max() < 1e-6
    assert 0.15 < np.ptp(model.mean[:, 0]) < 0.22
    nose = model.landmarks.positions(model.mean)[model.landmarks.mediapipe.tolist().index(4)]
    assert nose[2] > 0.05
    left_eye, right_eye = (
        model.landmarks.positions(model.mean)[model.landmarks.mediapipe.tolist().index(point)] for point in (263, 33)
    )
    assert left_eye[0] > 0.03 > -0.03 > right_eye[0]
    assert face_normals(model.mean, model.faces)[:, 2].sum() > 0


def test_shapes_are_those_of_the_files(model: MorphableModel, folder: Path) -> None:
    opened = read_obj_vertices(folder / "jawOpen.obj")[:9409] * 0.01
    weights = np.zeros(len(model.expression_basis))
    weights[model.expression_names.index("jawOpen")] = 1
    difference = model.shape(None, weights) - opened
    assert np.ptp(difference, axis=0).max() < 2e-6  # the same up to the shift of the origin


def test_quads_are_cut_without_holes(model: MorphableModel) -> None:
    loops = border_loops(model.faces, model.vertex_count)
    assert [len(loop) for loop in loops] == [204, 74, 42, 42]  # the outer border, the mouth, the eyes


def test_jaw_moves_the_lower_lip_and_not_the_upper(model: MorphableModel) -> None:
    motion = np.linalg.norm(model.expression_basis[model.expression_names.index("jawOpen")], axis=1)
    upper, lower = model.regions["upper_lip"], model.regions["lower_lip"]
    assert not (upper & lower).any()
    assert np.median(motion[lower]) > 3 * np.median(motion[upper])
    assert model.regions["lips"].sum() > 500


def test_regions_are_where_they_should_be(model: MorphableModel) -> None:
    points = dict(zip(model.landmarks.mediapipe.tolist(), model.landmarks.positions(model.mean), strict=True))
    middle = {name: model.mean[mask].mean(axis=0) for name, mask in model.regions.items()}
    assert abs(middle["lips"][0]) < 1e-3
    assert points[14][1] - 0.01 < middle["lips"][1] < points[13][1] + 0.01
    assert middle["nostrils"][1] < points[4][1]
    assert middle["upper_face"][1] > points[168][1]
    for name in ("eyes", "nostrils", "mouth_interior", "boundary"):
        assert not (model.regions["face"] & model.regions[name]).any()


@pytest.mark.slow
def test_surveyed_landmarks_stay_on_their_feature(folder: Path, model: MorphableModel) -> None:
    surveyed = read_ict(folder, heads=24)
    assert len(surveyed.landmarks) > 440
    new = dict(zip(surveyed.landmarks.mediapipe.tolist(), surveyed.landmarks.positions(model.mean), strict=True))
    own = dict(zip(model.landmarks.mediapipe.tolist(), model.landmarks.positions(model.mean), strict=True))
    for point in (33, 133, 263, 362, 61, 291, 13, 14):  # corners of eyes and mouth, the lips' inner rims
        assert np.linalg.norm(new[point] - own[point]) < 0.004
    assert surveyed.regions["lower_lip"][surveyed.landmarks.corners[list(new).index(14)]].any()
    mirrored = np.linalg.norm(new[234] * [-1, 1, 1] - new[454])
    assert mirrored < 0.012


def test_other_folders_are_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ModelError, match=r"generic_neutral_mesh\.obj"):
        read_ict(tmp_path)
    for name in ("generic_neutral_mesh.obj", "vertex_indices.json"):
        shutil.copy(folder / name, tmp_path)
    with pytest.raises(ModelError, match="identityNNN"):
        read_ict(tmp_path)
    shutil.copy(folder / "identity000.obj", tmp_path)
    with pytest.raises(ModelError, match="expression"):
        read_ict(tmp_path)
    (tmp_path / "smile.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    with pytest.raises(ModelError, match=r"smile\.obj has 3 vertices"):
        read_ict(tmp_path)
    with pytest.raises(UsageError):
        read_ict(folder, region="body")


def test_obj_oddities(tmp_path: Path) -> None:
    path = tmp_path / "mesh.obj"
    path.write_text(
        "# exported\nv 0 0 0 0.5 0.5 0.5\nv 1 0 0 1 1 1\nv 1 1 0 1 1 1\nv 0 1 0 1 1 1\nvt 0 0\nf 1/1/1 2//2 3/1 4\n"
    )
    vertices, polygons = read_obj_vertices(path), read_obj_polygons(path)
    assert vertices.shape == (4, 3)
    assert triangulate(vertices, polygons).shape == (2, 3)
    path.write_text("v 0 0 zero\nf 1 1 1\n")
    with pytest.raises(ModelError, match="no readable vertices"):
        read_obj_vertices(path)
    path.write_text("v 0 0 0\nf 1 2 3 4 5\n")
    with pytest.raises(ModelError, match="no triangle or quad"):
        read_obj_polygons(path)


def test_quads_are_cut_along_the_shorter_diagonal() -> None:
    kite = np.array([[0.0, 0, 0], [1, 0, 0], [3, 3, 0], [0, 1, 0]])
    cut = triangulate(kite, np.array([[0, 1, 2, 3]], dtype=np.int32))
    assert {frozenset(face) for face in cut.tolist()} == {frozenset({0, 1, 3}), frozenset({1, 2, 3})}
    assert (face_normals(kite, cut)[:, 2] > 0).all()
