"""The 51 expressions by ARKit's names, each as a few moved control points; `tongueOut` is left out: there is no tongue.

Lengths in this table are millimetres: x out to the side that is meant, y up, z forward.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from reconstruct.models.build import topology as t
from reconstruct.models.build.control_mesh import ControlMesh
from reconstruct.models.build.expressions import Handles, LipShape, Move, Number, SkinSolver, mirrored, turn_about_x

MM = 1e-3
JAW_ANGLE = np.deg2rad(20.0)
JAW_HINGE = {"hinge_y": 0.006, "hinge_z": -0.014}  # just in front of the ears

# how far the skin follows the jawbone; right side, mirrored
JAW_FOLLOWS = {
    152: 1.0, 148: 1.0, 176: 1.0, 149: 0.98, 150: 0.95, 136: 0.88, 172: 0.74, 58: 0.46, 132: 0.18, 93: 0.04, 234: 0.0,
    175: 1.0, 199: 1.0, 200: 1.0, 18: 1.0, 171: 1.0, 208: 1.0, 201: 1.0, 83: 1.0, 140: 1.0, 32: 1.0, 194: 0.98,
    182: 0.97, 204: 0.95, 211: 0.95, 170: 0.97, 169: 0.93, 106: 0.9, 202: 0.82, 210: 0.85, 135: 0.82, 138: 0.68,
    43: 0.72, 57: 0.5, 212: 0.58, 214: 0.58, 192: 0.40, 215: 0.33, 186: 0.26, 216: 0.26, 207: 0.26, 187: 0.14,
    213: 0.22, 177: 0.10, 147: 0.07, 205: 0.07, 206: 0.10, 92: 0.08, 165: 0.03, 203: 0.0, 36: 0.0, 50: 0.0, 123: 0.0,
    137: 0.0, 101: 0.0, 116: 0.0, 227: 0.0, 164: 0.0, 167: 0.0, 2: 0.0, 97: 0.0, 98: 0.0, 1: 0.0, 4: 0.0, 6: 0.0,
    168: 0.0, 9: 0.0, 10: 0.0, 151: 0.0, 127: 0.0, 162: 0.0, 21: 0.0, 54: 0.0, 133: 0.0, 33: 0.0, 159: 0.0, 145: 0.0,
}  # fmt: skip
# of the upper and lower lip by column from the middle to the corner
JAW_UPPER_LIP = (0.0, 0.0, 0.0, 0.05, 0.20, 0.46)
JAW_LOWER_LIP = (1.0, 1.0, 0.98, 0.92, 0.76, 0.46)


def smooth_step(low: float, high: float, value: float) -> float:
    """0 below, 1 above, smooth between."""
    x = float(np.clip((value - low) / (high - low), 0, 1))
    return x * x * (3 - 2 * x)


def on_left(u: float) -> float:
    """How much a place of the lips belongs to the left side; left and right add up to one."""
    return smooth_step(-0.45, 0.45, u)


# vertices of the right side -> mm
RightSide = Mapping[Any, Move]


class ExpressionTable:
    """Builds the shapes on one control mesh."""

    def __init__(self, mesh: ControlMesh, mirror: Int[np.ndarray, "n_verts"]) -> None:
        self.mesh, self.mirror = mesh, mirror
        self.points = mesh.vertices
        self.solver = SkinSolver(mesh.vertices, mesh.faces)
        self.jaw_weight = self._jaw_weight()
        self.jaw_open = turn_about_x(self.points, JAW_ANGLE * self.jaw_weight, **JAW_HINGE)

    def build(self) -> dict[str, Float[np.ndarray, "n_verts 3"]]:
        """Name -> displacement of the control vertices at full weight, metres."""
        from reconstruct.models.build.expression_shapes import eye_and_brow_shapes, mouth_shapes

        shapes = {"jawOpen": self.jaw_open, "jawForward": self._jaw_shift(0, 0.5, 9)}
        shapes["jawLeft"] = self._jaw_shift(8, 0, 0)
        shapes["jawRight"] = mirrored(shapes["jawLeft"], self.mirror)
        for name, shape in (mouth_shapes(self) | eye_and_brow_shapes(self)).items():
            if name.endswith("Left"):
                shapes[name] = shape
                shapes[name.removesuffix("Left") + "Right"] = mirrored(shape, self.mirror)
            else:
                shapes[name] = (shape + mirrored(shape, self.mirror)) / 2
        return {name: shapes[name] for name in sorted(shapes)}

    # handles

    def both(self, handles: dict[int, float]) -> dict[int, float]:
        """A table of one side, on both."""
        return handles | {int(self.mirror[k]): value for k, value in handles.items()}

    def left(self, right_side: RightSide) -> Handles:
        """Handles given by the right side's numbers, applied to the left side; x is outwards."""
        handles: Handles = {}
        for key, move in right_side.items():
            for vertex in key if isinstance(key, tuple) else (key,):
                other = int(self.mirror[vertex])
                handles[other] = MM * np.array(move if other != vertex else (0, move[1], move[2]))
        return handles

    def still(self, vertices: tuple[int, ...] | list[int]) -> Handles:
        """Handles that keep vertices and their mirror images where they are."""
        every = {*vertices, *(int(self.mirror[v]) for v in vertices)}
        return {v: np.zeros(3) for v in every}

    def rim(self) -> Handles:
        """The outermost rings do not move by expressions other than the jaw's."""
        return self.still(self.mesh.sets["outer_2"] + self.mesh.sets["outer_3"])

    def lips(self, upper: LipShape, lower: LipShape) -> Handles:
        """Handles on all rings of both lips and on the folds behind them; corners take the mean of both."""
        handles: Handles = {}
        corners: dict[int, list[np.ndarray]] = {}
        for rings, shape, folds in (
            (t.UPPER_LIP_RINGS, upper, self.mesh.sets["mouth_upper"]),
            (t.LOWER_LIP_RINGS, lower, self.mesh.sets["mouth_lower"]),
        ):
            for number, ring in enumerate(rings):
                for column, vertex in enumerate(ring):
                    move = MM * np.array(shape((column - 5) / 5, number))
                    if column in (0, 10):
                        corners.setdefault(vertex, []).append(move)
                    else:
                        handles[vertex] = move
            for place, vertex in enumerate(folds):
                handles[vertex] = handles[rings[3][1 + place % 9]]
        return handles | {vertex: np.mean(moves, axis=0) for vertex, moves in corners.items()}

    def spread(self, handles: Handles, *, length_mm: Number = 18.0) -> np.ndarray:
        """The smooth shape."""
        return self.solver.spread(handles, length_m=length_mm * MM)

    # the jaw

    def _jaw_weight(self) -> np.ndarray:
        weights: dict[int, float] = self.both(JAW_FOLLOWS)
        for rings, by_column, folds in (
            (t.UPPER_LIP_RINGS, JAW_UPPER_LIP, "mouth_upper"),
            (t.LOWER_LIP_RINGS, JAW_LOWER_LIP, "mouth_lower"),
        ):
            weights |= {v: by_column[abs(column - 5)] for ring in rings for column, v in enumerate(ring)}
            added = self.mesh.sets[folds]
            weights |= {v: by_column[abs(place % 9 - 4)] for place, v in enumerate(added)}
            if folds == "mouth_upper":  # the curtain goes back with the jaw, so that the lower lip does not run into it
                for row, part in ((2, 0.5), (3, 1.0)):
                    weights |= {added[9 * row + k]: part * JAW_LOWER_LIP[abs(k - 4)] for k in range(9)}
        # under the chin the skin follows less and less down the neck
        for k, part in enumerate((0.96, 0.85, 0.68, 0.5)):
            for place, v in enumerate(self.mesh.sets[f"outer_{k}"]):
                weights[v] = part * weights.get(t.FACE_OVAL[place], 0.0)
        field = self.solver.spread_scalar(weights, length_m=0.06)
        return np.clip((field + field[self.mirror]) / 2, 0.0, 1.0)

    def _jaw_shift(self, x: Number, y: Number, z: Number) -> np.ndarray:
        return self.jaw_weight[:, None] * MM * np.array([x, y, z])
