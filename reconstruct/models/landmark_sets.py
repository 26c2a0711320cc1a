"""Which of MediaPipe's 478 face points are which: counterparts of the 68 iBUG points, and the groups of the table.

Left and right are the subject's. iBUG's points run from the subject's right (left in the picture) to the left.
"""

import numpy as np
from jaxtyping import Float, Int

from reconstruct.models.model import LandmarkTable

# iBUG 68 -> MediaPipe; the first 17 are the contour, which slides over the face as it turns
IBUG_TO_MEDIAPIPE = (
    162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389,
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,
    168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181,
    78, 81, 13, 311, 308, 402, 14, 178,
)  # fmt: skip

LIP_OUTER_UPPER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
LIP_OUTER_LOWER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
LIP_INNER_UPPER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LIP_INNER_LOWER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
# the red of the lips between the two rings
LIP_MIDDLE_UPPER = (76, 184, 74, 73, 72, 11, 302, 303, 304, 408, 306, 62, 183, 42, 41, 38, 12, 268, 271, 272, 407, 292)
LIP_MIDDLE_LOWER = (77, 90, 180, 85, 16, 315, 404, 320, 307, 96, 89, 179, 86, 15, 316, 403, 319, 325)
# without the corners, which belong to both
_CORNERS = {61, 291, 76, 306, 62, 292, 78, 308}
UPPER_LIP = tuple(sorted({*LIP_OUTER_UPPER, *LIP_MIDDLE_UPPER, *LIP_INNER_UPPER} - _CORNERS))
LOWER_LIP = tuple(sorted({*LIP_OUTER_LOWER, *LIP_MIDDLE_LOWER, *LIP_INNER_LOWER} - _CORNERS))

EYE_RIGHT = (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7)
EYE_LEFT = (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249)
BROW_RIGHT = (70, 63, 105, 66, 107, 46, 53, 52, 65, 55)
BROW_LEFT = (300, 293, 334, 296, 336, 276, 283, 282, 295, 285)
NOSE = (
    168, 6, 197, 195, 5, 4, 1, 19, 94, 2, 97, 98, 99, 60, 75, 64, 102, 48, 115, 220, 45, 44, 125, 241, 242, 141, 370,
    326, 327, 328, 290, 305, 294, 331, 278, 344, 440, 275, 274, 354, 461, 462, 250, 20, 51, 281, 3, 248, 134, 363, 131,
    360, 49, 279, 198, 420, 236, 456, 174, 399, 196, 419, 122, 351, 217, 437, 209, 429, 129, 358, 218, 438, 219, 439,
    79, 309, 59, 289, 166, 392, 239, 459, 238, 458, 235, 455, 240, 460, 237, 457,
)  # fmt: skip
OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150,
    136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip

_IBUG_GROUPS = (("contour", 17), ("brow", 10), ("nose", 9), ("eye", 12), ("lip_outer", 12), ("lip_inner", 8))
IBUG_GROUP = tuple(name for name, count in _IBUG_GROUPS for _ in range(count))

_GROUPS = {
    "brow": BROW_RIGHT + BROW_LEFT,
    "eye": EYE_RIGHT + EYE_LEFT,
    "nose": NOSE,
    "lip_outer": LIP_OUTER_UPPER + LIP_OUTER_LOWER + LIP_MIDDLE_UPPER + LIP_MIDDLE_LOWER,
    "lip_inner": LIP_INNER_UPPER + LIP_INNER_LOWER,
    "contour": OVAL,
}
_GROUP_OF = {point: name for name, points in _GROUPS.items() for point in points}


def group_of(point: int) -> str:
    """The group of a MediaPipe point; what belongs to no feature is `cheek` (forehead and chin as well)."""
    return _GROUP_OF.get(point, "cheek")


def table_of_vertices(
    points: Int[np.ndarray, "n_landmarks"], vertices: Int[np.ndarray, "n_landmarks"]
) -> LandmarkTable:
    """A table whose points are vertices."""
    return LandmarkTable(
        mediapipe=points.astype(np.int32),
        corners=np.repeat(vertices.astype(np.int32)[:, None], 3, axis=1),
        barycentric=np.tile(np.array([1.0, 0.0, 0.0], dtype=np.float32), (len(points), 1)),
        group=tuple(group_of(int(point)) for point in points),
    )


def ibug_table(vertices: Int[np.ndarray, "68"]) -> LandmarkTable:
    """The table of a model that knows its vertices of the 68 iBUG points."""
    return table_of_vertices(np.array(IBUG_TO_MEDIAPIPE), vertices)


def ibug_points(table: LandmarkTable, positions: Float[np.ndarray, "n_landmarks 3"]) -> Float[np.ndarray, "68 3"]:
    """The 68 iBUG points out of a table's positions; NaN where the table has none."""
    place = {int(point): i for i, point in enumerate(table.mediapipe)}
    out = np.full((68, 3), np.nan)
    for row, point in enumerate(IBUG_TO_MEDIAPIPE):
        if point in place:
            out[row] = positions[place[point]]
    return out
