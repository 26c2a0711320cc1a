"""The regions of a face by name, for any topology: found on its template by its landmarks and masks.

The skin is cut into 17 parts that do not overlap; all other regions are unions of parts. Left and right are the
subject's. Lengths are fractions of the distance between the outer corners of the eyes (90 mm on a mean face), so that
a template's size does not matter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from mmface4d.arrays import Faces, Points, Vertices
from mmface4d.errors import InputError
from mmface4d.face_topology import FaceTopology

PARTS = (
    "forehead", "temple_left", "temple_right", "brow_left", "brow_right", "glabella", "eye_left", "eye_right", "nose",
    "cheek_left", "cheek_right", "upper_lip", "lower_lip", "around_mouth", "chin", "jaw_left", "jaw_right",
)  # fmt: skip
# region -> the parts it is the union of; every part is a region of its own name too
UNIONS: dict[str, tuple[str, ...]] = {
    "lips": ("upper_lip", "lower_lip"),
    "mouth": ("upper_lip", "lower_lip", "around_mouth"),
    "jaw": ("chin", "jaw_left", "jaw_right"),
    "cheeks": ("cheek_left", "cheek_right"),
    "eyes": ("eye_left", "eye_right"),
    "brows": ("brow_left", "brow_right", "glabella"),
    "temples": ("temple_left", "temple_right"),
    "upper_face": (
        "forehead", "temple_left", "temple_right", "brow_left", "brow_right", "glabella", "eye_left", "eye_right",
    ),
    "lower_face": ("upper_lip", "lower_lip", "around_mouth", "chin", "jaw_left", "jaw_right"),
    "face": PARTS,
}  # fmt: skip
REGION_NAMES = (*UNIONS, *(part for part in PARTS if part not in UNIONS))
# what speech and expressions move least: the head's motion is measured there
STEADY_PARTS = ("forehead", "temple_left", "temple_right", "nose")
MEAN_EYES_M = 0.090
RIGHT_BROW, LEFT_BROW = range(17, 22), range(22, 27)
RIGHT_EYE, LEFT_EYE = range(36, 42), range(42, 48)
OUTER_LIPS = range(48, 60)
BRIDGE, TIP, NOSE_BASE, CHIN = 27, 30, 33, 8
# the twin of each of the 68 points on the other side
TWIN = (
    *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46, 39, 38, 37, 36,
    41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
)  # fmt: skip
LABEL = {part: number for number, part in enumerate(PARTS)}
NO_PART = -1


@dataclass(frozen=True)
class FaceRegions:
    """The parts of one topology: `part_of` is the number of each vertex's part in PARTS, -1 where it is in none."""

    name: str
    template: Vertices
    faces: Faces
    part_of: Int[np.ndarray, "n_verts"]

    def mask(self, region: str) -> Bool[np.ndarray, "n_verts"]:
        """The vertices of a part or a union; raises KeyError for other names."""
        parts = UNIONS.get(region, (region,))
        return np.isin(self.part_of, [LABEL[part] for part in parts])

    @cached_property
    def steady(self) -> Bool[np.ndarray, "n_verts"]:
        """Where the head's rigid motion is measured."""
        return np.isin(self.part_of, [LABEL[part] for part in STEADY_PARTS])

    @classmethod
    def from_json(
        cls, told: Mapping[str, Sequence[int]], *, name: str, template: Vertices, faces: Faces
    ) -> "FaceRegions":
        """From what `to_json` gives; raises InputError where a part is missing or names vertices that there are not."""
        part_of = np.full(len(template), NO_PART)
        for part, number in LABEL.items():
            vertices = np.array(told.get(part, ()), dtype=object)
            whole = all(type(each) is int and 0 <= each < len(template) for each in vertices)
            if part not in told or not whole:
                raise InputError(f"the regions of {name} are damaged: {part}", hint="the file is of another kind")
            part_of[vertices.astype(int)] = number
        return cls(name, template, faces, part_of)

    def to_json(self) -> dict[str, list[int]]:
        """Vertex numbers of every region, counted from 0."""
        return {region: np.flatnonzero(self.mask(region)).tolist() for region in REGION_NAMES}


def face_regions(topology: FaceTopology) -> FaceRegions:
    """The regions of a topology; raises InputError where it lacks the landmarks of brows, eyes, nose or lips."""
    return FaceRegions(topology.name, topology.template, topology.faces, _Cutter(topology).cut())


class _Cutter:
    """Gives every vertex of a template its part: the later rules only get what the earlier ones left."""

    def __init__(self, topology: FaceTopology) -> None:
        self.masks, self.name = topology.masks, topology.name
        self.landmarks = even(topology.landmarks)
        self.vertices = topology.template.astype(np.float64)
        self.x, self.y, self.z = self.vertices.T
        self.side = np.abs(self.x)
        self.part_of = np.full(len(self.vertices), NO_PART)
        eyes = [self._points(rows, "eyes") for rows in (RIGHT_EYE, LEFT_EYE)]
        self.outer_eye = max(float(np.abs(points[:, 0]).max()) for points in eyes)
        self.unit = 2 * self.outer_eye / MEAN_EYES_M
        self.eye_y = float(np.concatenate(eyes)[:, 1].mean())
        self.to_eye = np.minimum(*(distance_to_line(self.vertices, points, closed=True) for points in eyes))

    def cut(self) -> Int[np.ndarray, "n_verts"]:
        """The parts."""
        skin = ~(self.masks["mouth_interior"] | self.masks["boundary"]) & self._is_face()
        free = skin.copy()
        for part, where in (*self._lips(), *self._eyes(), *self._nose(), *self._brows(), *self._rest()):
            self.part_of[free & where] = LABEL[part]
            free &= ~where
        return self.part_of

    def _points(self, rows: Sequence[int], what: str) -> Points:
        points = self.landmarks[list(rows)]
        points = points[np.isfinite(points).all(1)].astype(np.float64)
        if not len(points):
            raise InputError(
                f"the model {self.name} has no landmarks of the {what}", hint="its regions cannot be told; add it again"
            )
        return points

    def _is_face(self) -> np.ndarray:
        """Neither neck nor ears nor the back of the head."""
        base, lips = self._points([NOSE_BASE], "nose")[0], self._points(OUTER_LIPS, "lips")
        chin = self.landmarks[CHIN]
        chin_y = float(chin[1]) if np.isfinite(chin).all() else lips[:, 1].mean() - 2.2 * (base[1] - lips[:, 1].mean())
        jaw_line = chin_y - self._m(8) + 0.2 * self.side  # it rises towards the ears
        return (self.y > jaw_line) & (self.z > self._points([BRIDGE], "nose")[0][2] - self._m(80))

    def _m(self, mm: int | float) -> float:
        """Metres on this template of a length on a mean face."""
        return mm * 1e-3 * self.unit

    def _lips(self) -> list[tuple[str, np.ndarray]]:
        lips, upper, lower = (self.masks[name] for name in ("lips", "upper_lip", "lower_lip"))
        points = self._points(OUTER_LIPS, "lips")
        corners_y = points[[points[:, 0].argmin(), points[:, 0].argmax()], 1].mean()
        # the landmarks belong to the lips, even where the model's mask ends a little before them
        near = distance_to_line(self.vertices, points, closed=True) < self._m(1)
        near[[int(np.linalg.norm(self.vertices - point, axis=1).argmin()) for point in points]] = True
        undecided = (lips | near) & ~upper & ~lower
        return [
            ("upper_lip", upper | (undecided & (self.y >= corners_y))),
            ("lower_lip", lower | (undecided & (self.y < corners_y))),
        ]

    def _eyes(self) -> list[tuple[str, np.ndarray]]:
        return self._sided("eye", self.masks["eyes"])

    def _nose(self) -> list[tuple[str, np.ndarray]]:
        """Between the eyes narrow, at the nostrils wide."""
        ys = [self._points([row], "nose")[0][1] for row in (NOSE_BASE, TIP, BRIDGE)]
        half = np.interp(self.y, ys, [self._m(19), self._m(16), self._m(9)])
        low, high = ys[0] - self._m(3), ys[2] + self._m(4)
        in_front = self.z > self._points([BRIDGE], "nose")[0][2] - self._m(25)
        return [("nose", self.masks["nostrils"] | ((self.side < half) & (self.y > low) & (self.y < high) & in_front))]

    def _brows(self) -> list[tuple[str, np.ndarray]]:
        brows = [self._points(rows, "brows") for rows in (RIGHT_BROW, LEFT_BROW)]
        to_brow = np.minimum(*(distance_to_line(self.vertices, points, closed=False) for points in brows))
        inner, outer = (float(edge([np.abs(points[:, 0]) for points in brows])) for edge in (np.min, np.max))
        brow_y, between = self._brow_height(brows), self.y > self.eye_y
        self.above_brow, self.outer_brow = self.y > brow_y, outer
        below_brow = between & ~self.above_brow & (self.side < outer) & (self.side > inner)
        is_brow = ((to_brow < self._m(8)) & (self.to_eye > to_brow)) | (below_brow & (to_brow < self.to_eye))
        bridge_y = self._points([BRIDGE], "nose")[0][1]
        middle = (self.side < inner) & (self.y > bridge_y) & (self.y < brow_y + self._m(8))
        return [
            ("glabella", middle),
            *self._sided("brow", is_brow),
            *self._sided("eye", below_brow | ((self.to_eye < self._m(7)) & (self.side > self._m(10)))),
        ]

    def _brow_height(self, brows: list[Points]) -> np.ndarray:
        """The height of the brows over every vertex, by its distance from the middle; level beyond their ends."""
        folded = np.concatenate([np.abs(points[:, :2] * (1, 0)) + points[:, :2] * (0, 1) for points in brows])
        folded = folded[folded[:, 0].argsort()]
        return np.interp(self.side, folded[:, 0], folded[:, 1])

    def _rest(self) -> list[tuple[str, np.ndarray]]:
        lips = self._points(OUTER_LIPS, "lips")
        corner, mouth_y = float(np.abs(lips[:, 0]).max()), float(lips[:, 1].mean())
        to_lips = distance_to_line(self.vertices, lips, closed=True)
        inside = (self.side < corner) & (self.y > lips[:, 1].min()) & (self.y < lips[:, 1].max())
        below_eyes = self.y < self.eye_y - self._m(6)
        around = ((to_lips < self._m(13)) | inside) & below_eyes
        return [
            ("around_mouth", around),
            ("forehead", self.above_brow & (self.side < self.outer_brow)),
            *self._sided("temple", ~below_eyes),
            ("chin", (self.y < mouth_y) & (self.side < 0.9 * corner)),
            *self._sided("jaw", self.y < mouth_y),
            *self._sided("cheek", np.ones(len(self.x), dtype=bool)),
        ]

    def _sided(self, name: str, where: np.ndarray) -> list[tuple[str, np.ndarray]]:
        return [(f"{name}_left", where & (self.x >= 0)), (f"{name}_right", where & (self.x < 0))]


def even(landmarks: Float[np.ndarray, "68 3"]) -> Float[np.ndarray, "68 3"]:
    """Landmarks that are the same on both sides: the mean of each and its mirrored twin; one that is NaN is filled."""
    both = np.stack([landmarks, landmarks[list(TWIN)] * [-1, 1, 1]]).astype(np.float64)
    known = np.isfinite(both).all(axis=2, keepdims=True)
    total = np.where(known, both, 0.0).sum(axis=0)
    return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)


def distance_to_line(
    points: Float[np.ndarray, "n 3"], line: Float[np.ndarray, "m 3"], *, closed: bool
) -> Float[np.ndarray, "n"]:
    """Distances in metres of points to a chain of straight pieces."""
    starts, ends = (line, np.roll(line, -1, axis=0)) if closed else (line[:-1], line[1:])
    if not len(starts):
        return np.linalg.norm(points - line[0], axis=1)
    nearest = np.full(len(points), np.inf)
    for start, end in zip(starts, ends, strict=True):
        along = end - start
        share = np.clip((points - start) @ along / max(float(along @ along), 1e-18), 0, 1)
        nearest = np.minimum(nearest, np.linalg.norm(points - start - share[:, None] * along, axis=1))
    return nearest
