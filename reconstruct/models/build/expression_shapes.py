"""What each expression moves. Millimetres: x out to the side that is meant (left, unless both), y up, z forward."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reconstruct.models.build import topology as t
from reconstruct.models.build.expressions import Handles, LipShape, Move, Number

if TYPE_CHECKING:
    from reconstruct.models.build.expression_table import ExpressionTable

UPPER_FACE_STILL = (33, 133, 159, 145, 6, 168, 9, 105, 66, 52, 1, 4, 5, 2)
LOWER_FACE_STILL = (61, 0, 17, 152, 50, 187, 5, 4)


def _side(u: float) -> float:
    return float(np.sign(u))


def _left(u: float) -> float:
    x = float(np.clip((u + 0.45) / 0.9, 0, 1))
    return x * x * (3 - 2 * x)


def mouth_shapes(table: ExpressionTable) -> dict[str, np.ndarray]:
    """The mouth's and the cheeks' shapes; sided ones for the left."""
    shapes = _corner_shapes(table) | _lip_shapes(table) | _round_shapes(table) | _cheek_shapes(table)
    shapes["mouthClose"] = _mouth_close(table)
    shapes["mouthLeft"] = _mouth_left(table)
    return shapes


def _corner_shapes(table: ExpressionTable) -> dict[str, np.ndarray]:
    """Smile, frown, dimple, stretch: the corner is pulled and the lips follow, the more the nearer they are."""

    def pulled(corner: Move, cheek: Handles, *, reach: Number = 1.3) -> np.ndarray:
        def lip(u: float, ring: int) -> Move:
            part = max(u, 0.0) ** reach + 0.10 * _left(u) * (1 - abs(u))
            return corner[0] * part, corner[1] * part, corner[2] * part

        handles = table.lips(lip, lip) | cheek | table.still(UPPER_FACE_STILL) | table.rim()
        return table.spread(handles)

    smile_cheek = table.left(
        {205: (3.5, 5.5, 1.5), 50: (1.8, 4, 1.8), 207: (6, 5.5, -2), 206: (4, 5, 0.5), 101: (0.6, 2.5, 1)}
    )
    return {
        "mouthSmileLeft": pulled((9.0, 9.5, -7.5), smile_cheek),
        "mouthFrownLeft": pulled((0.5, -7.0, -1.0), table.left({202: (0.5, -4, 0), 204: (0, -2, 0)})),
        "mouthDimpleLeft": pulled((5.0, 1.0, -5.5), table.left({207: (2, 0.5, -2)}), reach=1.8),
        "mouthStretchLeft": pulled((8.5, -2.5, -5.5), table.left({214: (4, -1.5, -2), 202: (4, -2.5, -2.5)})),
    }


def _lip_shapes(table: ExpressionTable) -> dict[str, np.ndarray]:
    """Shapes of one lip alone or of the two against each other."""

    def still_lip(u: float, ring: int) -> Move:
        return 0.0, 0.0, 0.0

    def arch(u: float) -> float:
        return 1 - u * u

    def shape(upper: LipShape, lower: LipShape, more: Handles | None = None) -> np.ndarray:
        fixed = table.still(UPPER_FACE_STILL) | table.rim()
        return table.spread(fixed | table.lips(upper, lower) | (more or {}), length_mm=13)

    def lower_down(u: float, ring: int) -> Move:
        part = _left(u) * (1 - abs(u) ** 2.5)
        return 0.8 * part, -7.5 * part, -1.5 * part

    def upper_up(u: float, ring: int) -> Move:
        part = _left(u) * (1 - abs(u) ** 2.5)
        return 0.6 * part, 8.0 * part, 1.4 * part

    def press(sign: Number) -> LipShape:
        inward = (1.6, 1.3, 0.6, 0.0)
        back = (-0.8, -1.8, -1.8, -1.0)
        return lambda u, ring: (0.0, sign * inward[ring] * _left(u) * arch(u), back[ring] * _left(u) * arch(u))

    def roll(sign: Number) -> LipShape:
        toward = (4.2, 3.4, 1.0, 0.0)
        back = (-3.0, -6.5, -7.5, -5.5)
        return lambda u, ring: (0.0, sign * toward[ring] * arch(u), back[ring] * arch(u))

    def shrug(outer: Number, contact: Number, forward: Number) -> LipShape:
        up = np.linspace(outer, contact, 4)
        return lambda u, ring: (0.0, float(up[ring]) * arch(u) ** 0.7, forward * arch(u))

    chin_up = table.still([]) | {v: 1e-3 * np.array([0, 6.0, 1.5]) for v in (18, 200, 199, 83, 313, 201, 421)}
    return {
        "mouthLowerDownLeft": shape(still_lip, lower_down),
        "mouthUpperUpLeft": shape(
            upper_up, still_lip, table.left({206: (1.0, 4.0, 1.2), 165: (0.6, 5.5, 1.2), 203: (0.5, 2.0, 0.5)})
        ),
        "mouthPressLeft": shape(press(-1.0), press(1.0)),
        "mouthRollUpper": shape(roll(-1.0), still_lip),
        "mouthRollLower": shape(still_lip, roll(1.0)),
        "mouthShrugLower": shape(shrug(2.4, 4.0, 1.0), shrug(6.5, 4.0, 2.8), chin_up),
        "mouthShrugUpper": shape(shrug(3.2, 2.2, 2.2), shrug(0.6, 2.2, 0.8)),
    }


def _round_shapes(table: ExpressionTable) -> dict[str, np.ndarray]:
    """Funnel (open, protruded) and pucker (closed, protruded)."""

    def rounded(part_in: Number, forward: Number, open_mm: Number) -> LipShape:
        def lip(u: float, ring: int) -> Move:
            half_width = 24.0 - 0.9 * ring
            ahead = forward * (1 - 0.35 * u * u) * (0.75, 1.0, 1.08, 1.0)[ring] + 4.5 * part_in * u * u
            return (
                -_side(u) * part_in * half_width * abs(u) ** 0.9,
                open_mm * (1 - u * u) * (0.5, 0.8, 1, 1)[ring],
                ahead,
            )

        return lip

    # x of `lips` is to the left on both sides, and `rounded` gives it so
    fixed = table.still(UPPER_FACE_STILL) | table.rim()
    cheek = table.left({207: (-3, 0, 0)}) | {207: 1e-3 * np.array([3.0, 0, 0])}
    chin = {v: 1e-3 * np.array([0, 0, 1.0]) for v in (200, 199)}
    return {
        "mouthFunnel": table.spread(
            fixed | cheek | chin | table.lips(rounded(0.28, 7.0, 4.5), rounded(0.28, 7.0, -6.0))
        ),
        "mouthPucker": table.spread(
            fixed | cheek | chin | table.lips(rounded(0.44, 6.0, 0.6), rounded(0.44, 6.0, 0.6))
        ),
    }


def _cheek_shapes(table: ExpressionTable) -> dict[str, np.ndarray]:
    """Puffed cheeks, lifted cheeks, and the nose's sneer."""
    still_lips = table.lips(lambda u, ring: (0, 0, 0), lambda u, ring: (0, 0, 0))
    outer = table.rim()

    def pouting(u: float, ring: int) -> Move:
        return 0.0, 0.0, 2.0 * (1 - u * u)

    puff = table.left(
        {
            207: (9, 0, 6.5),
            187: (9, 0, 5),
            205: (6, 0, 6),
            192: (8, 0, 1.5),
            214: (8, 0, 4),
            216: (5, 0, 6.5),
            212: (6, 0, 6),
        }
    )
    puff |= {int(table.mirror[v]): move * np.array([-1, 1, 1]) for v, move in puff.items()}
    squint = table.left(
        {50: (2.2, 5.2, 3), 117: (1.8, 4.5, 2.7), 118: (0.9, 4.5, 2.7), 101: (0.8, 4.5, 2.2), 230: (0, 2.2, 1)}
    )
    sneer = table.left(
        {
            (49, 48, 129, 64, 102): (1.3, 6.5, -0.4),
            (98, 240): (0.8, 4.8, 0),
            131: (0.2, 4.6, 0.6),
            198: (0.2, 3.4, 1.2),
            203: (1.0, 6.4, 2),
            165: (0.5, 4.5, 1),
            (39, 40, 73, 74): (0.2, 2.6, 0.4),
        }
    )
    quiet = table.still((33, 133, 159, 145, 9, 105, 66, 52))
    return {
        "cheekPuff": table.spread(outer | quiet | table.lips(pouting, pouting) | puff),
        "cheekSquintLeft": table.spread(outer | quiet | still_lips | squint),
        "noseSneerLeft": table.spread(outer | quiet | table.still((1, 4, 5, 0, 17, 14, 61)) | sneer, length_mm=12),
    }


def _mouth_close(table: ExpressionTable) -> np.ndarray:
    """Brings the lips of a fully open jaw together: the upper comes down a third of the way."""
    handles = table.still(UPPER_FACE_STILL) | table.rim()
    sets = table.mesh.sets
    rows = [(t.UPPER_LIP_RINGS[3][1:-1], t.LOWER_LIP_RINGS[3][1:-1])] * 4
    for number in range(4):
        follow = (0.80, 0.92, 1.0, 1.0)[number]
        for upper, lower, inner_up, inner_low in zip(
            t.UPPER_LIP_RINGS[number][1:-1], t.LOWER_LIP_RINGS[number][1:-1], *rows[number], strict=True
        ):
            gap = table.jaw_open[inner_low] - table.jaw_open[inner_up]
            handles[upper], handles[lower] = 0.32 * follow * gap, -0.68 * (0.90, 0.96, 1, 1)[number] * gap
    for name, rings in (("mouth_upper", t.UPPER_LIP_RINGS), ("mouth_lower", t.LOWER_LIP_RINGS)):
        handles |= {v: handles[rings[3][1 + place % 9]] for place, v in enumerate(sets[name])}
    return table.spread(handles)


def _mouth_left(table: ExpressionTable) -> np.ndarray:
    def lip(u: float, ring: int) -> Move:
        return 13.0 - 1.5 * abs(u), 1.2 * u, -3.0 * u

    aside = {200: (5.5, 0, 0), 199: (3.5, 0, 0), 164: (6, 0, 0), 207: (4, 0, 1.5), 427: (5.5, 0, -2.5)}
    more = {vertex: 1e-3 * np.array(move) for vertex, move in aside.items()}
    return table.spread(table.still(UPPER_FACE_STILL) | table.rim() | table.lips(lip, lip) | more, length_mm=22)


def eye_and_brow_shapes(table: ExpressionTable) -> dict[str, np.ndarray]:
    """Lids, gaze and brows; sided ones for the left."""
    return _lid_shapes(table) | _gaze_shapes(table) | _brow_shapes(table)


def lids(
    table: ExpressionTable, upper: np.ndarray, lower: np.ndarray, *, gaze: np.ndarray, sink: Number = 0.0
) -> Handles:
    """Handles of the left lids' 9 + 9 points, the eyeball's cap between them, and the skin around (metres)."""
    contour = [*t.LEFT_EYE_UPPER, *t.LEFT_EYE_LOWER[-2:0:-1]]
    corners = (upper[[0, -1]] + lower[[0, -1]]) / 2
    moves = np.concatenate([corners[:1], upper[1:-1], corners[1:], lower[-2:0:-1]])
    handles: Handles = dict(zip(contour, moves, strict=True))
    cap = table.mesh.sets["left_eye"]
    middle = moves.mean(axis=0)
    outline = table.points[contour]
    for i, vertex in enumerate(cap):
        ring, place = divmod(i, 16)
        from_middle = np.linalg.norm((table.points[vertex] - outline.mean(axis=0))[:2])
        size = min(1.0, from_middle / np.linalg.norm((outline[place] - outline.mean(axis=0))[:2])) if ring < 3 else 0.0
        move = middle + size * (moves[place] - middle)
        handles[vertex] = move + (0.0, 0.9, 1.0, 1.0)[ring] * gaze - np.array([0, 0, sink * (0.3, 0.8, 1, 1)[ring]])
    return handles


def _lid_handles(
    table: ExpressionTable, up_mm: Number, low_mm: Number, *, gaze_mm: tuple[Number, Number] = (0, 0)
) -> Handles:
    arch = np.sin(np.linspace(0, np.pi, 9))[:, None] ** 0.8
    upper, lower = (arch * 1e-3 * np.array([0, mm, 0.12 * abs(mm)]) for mm in (up_mm, low_mm))
    gaze = 1e-3 * np.array([*gaze_mm, 0.0])
    return lids(table, upper, lower, gaze=gaze)


def _around_eye(table: ExpressionTable) -> Handles:
    return table.still((46, 53, 52, 65, 55, 168, 6, 50, 101, 4)) | table.rim()


def _lid_shapes(table: ExpressionTable) -> dict[str, np.ndarray]:
    points = table.points
    upper, lower = points[list(t.LEFT_EYE_UPPER)], points[list(t.LEFT_EYE_LOWER)]
    arch = np.sin(np.linspace(0, np.pi, 9))[:, None]
    meeting = upper + 0.86 * (lower - upper) + arch * np.array([0, 0, 0.0012])
    blink = lids(table, meeting - upper, meeting - lower, gaze=np.zeros(3), sink=0.003)
    # the fold above the lid comes down half-way and lies over the eyeball
    blink_skin = table.left({(29, 27, 28): (0, -4.4, 1.6), 30: (0, -3.2, 1.0), 56: (0, -3.2, 1.0), 223: (0, -0.8, 0)})
    blink |= blink_skin
    squint = _lid_handles(table, -1.7, 3.0) | table.left({(23, 24, 22): (0, 2.7, 1), 230: (0, 2.2, 1)})
    wide = _lid_handles(table, 2.3, -0.7) | table.left({(27, 28, 29): (0, 1.4, -0.5)})
    return {
        "eyeBlinkLeft": table.spread(_around_eye(table) | blink, length_mm=9),
        "eyeSquintLeft": table.spread(_around_eye(table) | squint, length_mm=9),
        "eyeWideLeft": table.spread(_around_eye(table) | wide, length_mm=9),
    }


def _gaze_shapes(table: ExpressionTable) -> dict[str, np.ndarray]:
    looks = {
        "eyeLookUpLeft": (2.2, 0.5, (0.0, 2.6)),
        "eyeLookDownLeft": (-4.4, -1.3, (0.0, -2.4)),
        "eyeLookInLeft": (0.0, 0.0, (-3.4, 0.0)),
        "eyeLookOutLeft": (0.0, 0.0, (3.4, 0.0)),
    }
    return {
        name: table.spread(_around_eye(table) | _lid_handles(table, up, low, gaze_mm=gaze), length_mm=8)
        for name, (up, low, gaze) in looks.items()
    }


def _brow_shapes(table: ExpressionTable) -> dict[str, np.ndarray]:
    lid_still = _lid_handles(table, 0, 0)
    quiet = table.still((1, 50, 101, 10, 61)) | table.rim() | lid_still
    right_lid = table.still((*t.RIGHT_EYE_UPPER, *t.RIGHT_EYE_LOWER))
    down = table.left(
        {
            (55, 107): (-2.2, -5.5, 0.8),
            (65, 66): (-1.6, -5.0, 0.6),
            (52, 105): (-0.8, -3.8, 0.3),
            (53, 63): (0, -2.5, 0),
            (46, 70): (0, -1.2, 0),
        }
        | {(222, 221): (0, -2.2, 0.3), (223, 224): (0, -1.5, 0.2)}
    )
    outer = table.left(
        {
            (46, 70): (0.3, 7.0, -0.6),
            (53, 63): (0.2, 9.0, -0.6),
            (52, 105): (0, 8.5, -0.6),
            (65, 66): (0, 4.2, -0.4),
            (55, 107): (0, 0.8, 0),
        }
        | {(224, 225): (0, 3.2, -0.3), 223: (0, 2.9, -0.3), (104, 68): (0, 4.5, 0)}
    )
    inner_one = table.left(
        {
            (55, 107): (-0.4, 8.0, -0.6),
            (65, 66): (-0.3, 6.0, -0.5),
            (52, 105): (0, 2.5, -0.2),
            (46, 70, 53, 63): (0, 0, 0),
        }
        | {(221, 222): (0, 2.2, -0.3), 108: (0, 3.0, 0), 69: (0, 1.5, 0)}
    )
    inner = inner_one | {int(table.mirror[v]): move * np.array([-1, 1, 1]) for v, move in inner_one.items()}
    inner |= {9: 1e-3 * np.array([0, 5.0, -0.4]), 8: 1e-3 * np.array([0, 2.5, 0]), 151: 1e-3 * np.array([0, 3.0, 0])}
    return {
        "browDownLeft": table.spread(quiet | right_lid | down, length_mm=12),
        "browOuterUpLeft": table.spread(quiet | right_lid | outer, length_mm=14),
        "browInnerUp": table.spread(quiet | right_lid | inner, length_mm=16),
    }
