"""The regions of a face: a partition, the same on both sides, where the landmarks say."""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.spatial import KDTree

from corpus.dataset.parcels import CUTS, Parcels, face_parcels
from corpus.dataset.regions import NO_PART, PARTS, REGION_NAMES, UNIONS, FaceRegions, face_regions
from mmface4d.errors import InputError, ModelError
from mmface4d.face_topology import FaceTopology
from mmface4d.model_topology import model_topology


@cache
def topology(name: str) -> FaceTopology:
    return model_topology(name)


@cache
def regions_of(name: str) -> FaceRegions:
    return face_regions(topology(name))


@cache
def parcels_of(name: str) -> Parcels:
    return face_parcels(regions_of(name))


@pytest.fixture(params=["canonical", "ict"])
def face(request: pytest.FixtureRequest) -> tuple[FaceTopology, FaceRegions]:
    try:
        found = topology(request.param)
    except ModelError:
        pytest.skip(
            f"the model {request.param} is not among the models in {os.environ.get('MMFACE4D_MODELS', 'the home')}"
        )
    return found, regions_of(request.param)


Face = tuple[FaceTopology, FaceRegions]


def nearest(topology: FaceTopology, rows: range) -> np.ndarray:
    points = topology.landmarks[list(rows)]
    points = points[np.isfinite(points).all(1)]
    return np.asarray(KDTree(topology.template).query(points)[1])


def test_parts_are_disjoint_and_unions_are_what_they_say(face: Face) -> None:
    _, regions = face
    counted = np.sum([regions.mask(part) for part in PARTS], axis=0)
    assert counted.max() == 1
    for name, parts in UNIONS.items():
        assert np.array_equal(regions.mask(name), np.any([regions.mask(part) for part in parts], axis=0))
    assert not (regions.mask("lips") & regions.mask("cheeks")).any()
    assert not (regions.mask("upper_face") & regions.mask("lower_face")).any()


def test_they_cover_the_face_and_nothing_inside_the_mouth(face: Face) -> None:
    topology, regions = face
    chin_y, eyes_z = topology.landmarks[8, 1], topology.landmarks[36:48, 2].min()
    front = (topology.template[:, 1] > chin_y) & (topology.template[:, 2] > eyes_z)
    front &= topology.masks["face"] & ~topology.masks["mouth_interior"]
    assert regions.mask("face")[front].all()
    assert not (regions.mask("face") & topology.masks["mouth_interior"]).any()


def test_every_part_has_room_for_a_mean(face: Face) -> None:
    _, regions = face
    assert all(regions.mask(part).sum() >= 50 for part in PARTS)


@pytest.mark.parametrize(
    ("region", "rows"),
    [("lips", range(48, 60)), ("brow_right", range(17, 22)), ("brow_left", range(22, 27)), ("nose", range(28, 33)),
     ("eye_right", range(36, 42)), ("eye_left", range(42, 48))],
)  # fmt: skip
def test_landmarks_lie_in_their_regions(face: Face, region: str, rows: range) -> None:
    topology, regions = face
    assert regions.mask(region)[nearest(topology, rows)].all()


def test_both_sides_are_the_same(face: Face) -> None:
    topology, regions = face
    mirrored = KDTree(topology.template).query(topology.template * [-1, 1, 1])[1]
    for part in PARTS:
        twin = part.replace("_left", "_RIGHT").replace("_right", "_left").replace("_RIGHT", "_right")
        here, there = regions.mask(part), regions.mask(twin)[mirrored]
        assert (here & there).sum() >= 0.95 * (here | there).sum(), part


def test_a_larger_head_has_the_same_regions(face: Face) -> None:
    topology, regions = face
    larger = replace(topology, template=1.3 * topology.template, landmarks=1.3 * topology.landmarks)
    assert (face_regions(larger).part_of == regions.part_of).mean() > 0.999


def test_regions_are_told_as_vertex_numbers(face: Face) -> None:
    _, regions = face
    told = regions.to_json()
    assert tuple(told) == REGION_NAMES
    assert told["lips"] == sorted({*told["upper_lip"], *told["lower_lip"]})


def test_regions_are_read_as_they_were_told(face: Face) -> None:
    _, regions = face
    again = FaceRegions.from_json(regions.to_json(), name=regions.name, template=regions.template, faces=regions.faces)
    assert np.array_equal(again.part_of, regions.part_of)


@pytest.mark.parametrize("wrong", [[10**9], [-1], ["1"], [1.5], [True]])
def test_damaged_regions_are_refused(wrong: list) -> None:
    regions = regions_of("canonical")
    told = {**regions.to_json(), "chin": wrong}
    with pytest.raises(InputError, match="damaged: chin"):
        FaceRegions.from_json(told, name="x", template=regions.template, faces=regions.faces)


def test_a_model_without_brows_is_refused() -> None:
    whole = topology("canonical")
    landmarks = whole.landmarks.copy()
    landmarks[17:27] = np.nan
    with pytest.raises(InputError, match="landmarks of the brows"):
        face_regions(replace(whole, landmarks=landmarks))


@pytest.fixture
def parcels(face: Face) -> Parcels:
    return parcels_of(face[0].name)


def test_small_regions_fill_the_face_and_stay_in_their_parts(face: Face, parcels: Parcels) -> None:
    _, regions = face
    assert 30 <= len(parcels) <= 60
    assert len(parcels) == sum((2 * pairs + middles) for pairs, middles in CUTS.values())
    assert len(set(parcels.names)) == len(parcels)
    assert np.array_equal(parcels.parcel_of == NO_PART, regions.part_of == NO_PART)
    inside = parcels.parcel_of != NO_PART
    parts = np.array(parcels.parts)[parcels.parcel_of[inside]]
    assert np.array_equal(parts, np.array(PARTS)[regions.part_of[inside]])


def test_small_regions_have_twins(face: Face, parcels: Parcels) -> None:
    topology, _ = face
    centres = parcels.means(topology.template[None].astype(np.float64))[0]
    place = dict(zip(parcels.names, centres, strict=True))
    for name in parcels.names:
        if name.endswith("_left"):
            twin = place[name.removesuffix("_left") + "_right"]
            assert np.linalg.norm(place[name] * [-1, 1, 1] - twin) < 0.004, name


def test_means_are_means(face: Face, parcels: Parcels) -> None:
    topology, _ = face
    frames = np.stack([topology.template, topology.template + 0.01]).astype(np.float64)
    means = parcels.means(frames)
    where = parcels.parcel_of == 7
    assert np.allclose(means[:, 7], frames[:, where].mean(axis=1))


def test_regions_are_the_same_every_time(face: Face) -> None:
    make: Callable[[], np.ndarray] = lambda: face_parcels(face_regions(face[0])).parcel_of  # noqa: E731
    assert np.array_equal(make(), make())
