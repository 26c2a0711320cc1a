"""Faces that numbers are drawn on: every colour where its region is."""

import base64
import re

import cv2
import numpy as np
import pytest

from corpus.dataset import figures
from corpus.dataset.regions import NO_PART
from mmface4d.page.face_picture import HEIGHT, WIDTH, FacePicture, data_uri
from tests.corpus.faces_in_motion import canonical


@pytest.fixture(scope="module")
def picture() -> FacePicture:
    regions = canonical().regions
    inside = regions.part_of != NO_PART
    return FacePicture(regions.template, regions.faces, label_of=canonical().parcels.parcel_of, inside=inside)


@pytest.fixture(scope="module")
def centres(picture: FacePicture) -> np.ndarray:
    by = canonical()
    return picture.project(by.parcels.means(by.regions.template[None].astype(np.float64))[0])


@pytest.mark.parametrize("name", ["glabella", "chin_1_left", "cheek_3_right", "forehead_1_left"])
def test_a_region_is_painted_where_it_is(picture: FacePicture, centres: np.ndarray, name: str) -> None:
    names = canonical().parcels.names
    if name not in names:
        name = next(each for each in names if each.split("_")[0] == name.split("_")[0])
    number = names.index(name)
    painted = picture.painted([(200, 0, 0) if each == number else None for each in range(len(names))], seams=False)
    red = (painted[..., 0] > 2.0 * painted[..., 1].astype(int) + 20) & (painted[..., 3] > 0)
    rows, columns = np.nonzero(red)
    assert red.sum() > 100
    assert np.hypot(columns.mean() - centres[number, 0], rows.mean() - centres[number, 1]) < 12


def test_the_subjects_left_is_on_the_right_and_the_face_fits(picture: FacePicture, centres: np.ndarray) -> None:
    names = canonical().parcels.names
    for name, (x, y) in zip(names, centres.tolist(), strict=True):
        assert 0 < x < WIDTH
        assert 0 < y < HEIGHT
        assert not name.endswith("_left") or x > WIDTH / 2
    assert picture.painted([None] * len(names))[0, 0, 3] == 0


def test_a_picture_stands_in_a_page(picture: FacePicture) -> None:
    painted = picture.painted([None] * len(canonical().parcels))
    kind, _, code = data_uri(painted).partition(",")
    assert kind == "data:image/webp;base64"
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(code), np.uint8), cv2.IMREAD_UNCHANGED)
    assert decoded.shape == (HEIGHT, WIDTH, 4)
    assert len(code) < 60_000


def test_every_edge_is_a_line_and_every_region_a_dot(centres: np.ndarray) -> None:
    names = [f"<{name}>" for name in canonical().parcels.names]
    drawn = figures.graph_on_face("data:,", centres, [(0, 1, 0.5), (3, 9, 1.0)], names, lowest=0.5)
    assert drawn.count("<line ") == 2
    assert drawn.count("<circle ") == len(names)
    widths = [float(width) for width in re.findall(r'<line [^>]*stroke-width="([\d.]+)"', drawn)]
    assert widths[0] < widths[1]
    assert f"<{canonical().parcels.names[0]}>" not in drawn


def test_nothing_is_said_with_a_minus() -> None:
    assert [figures.signed(each) for each in (-0.001, 0.0, -0.25)] == ["0.00", "0.00", "-0.25"]
    matrix = figures.part_matrix(["a", "b"], np.array([[1.0, np.nan], [np.nan, -0.7]]))
    assert "no motion to compare" in matrix
