"""ARKit's 52 face weights by non-negative least squares, as a Live Link Face CSV.

The weights w of a frame minimise ||B w - d||^2 + r ||S w||^2 with 0 <= w <= 1, where d is the frame's displacement
from the template, the columns of B are the shapes of a morphable model that are named after ARKit's, and S holds their
sizes. The small r keeps shapes that look alike, or undo each other (jawLeft and jawRight), from being used together.
Gaze is not in a mesh's skin: the eight eyeLook weights are 0, and so are shapes that the model lacks (tongueOut).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32
from scipy.optimize import lsq_linear, nnls

from mmface4d.errors import InputError, UsageError
from mmface4d.files import atomic_path

# the order of Live Link Face's columns
ARKIT_NAMES = (
    "eyeBlinkLeft", "eyeLookDownLeft", "eyeLookInLeft", "eyeLookOutLeft", "eyeLookUpLeft", "eyeSquintLeft",
    "eyeWideLeft", "eyeBlinkRight", "eyeLookDownRight", "eyeLookInRight", "eyeLookOutRight", "eyeLookUpRight",
    "eyeSquintRight", "eyeWideRight", "jawForward", "jawRight", "jawLeft", "jawOpen", "mouthClose", "mouthFunnel",
    "mouthPucker", "mouthRight", "mouthLeft", "mouthSmileLeft", "mouthSmileRight", "mouthFrownLeft",
    "mouthFrownRight", "mouthDimpleLeft", "mouthDimpleRight", "mouthStretchLeft", "mouthStretchRight",
    "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthPressLeft", "mouthPressRight",
    "mouthLowerDownLeft", "mouthLowerDownRight", "mouthUpperUpLeft", "mouthUpperUpRight", "browDownLeft",
    "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff", "cheekSquintLeft",
    "cheekSquintRight", "noseSneerLeft", "noseSneerRight", "tongueOut",
)  # fmt: skip
ROTATIONS = (
    "HeadYaw", "HeadPitch", "HeadRoll", "LeftEyeYaw", "LeftEyePitch", "LeftEyeRoll", "RightEyeYaw", "RightEyePitch",
    "RightEyeRoll",
)  # fmt: skip
GAZE = "eyeLook"
LEAST_SHAPES = 20  # fewer are no face model's
RIDGE = 1e-4  # of a shape's squared size
DAY_S = 24 * 3600

Weights = Float32[np.ndarray, "n_frames 52"]


@dataclass(frozen=True)
class ArkitShapes:
    """Shapes of a mesh under ARKit's names, in their order; zeros where there is none. Metres at weight 1."""

    shapes_m: Float[np.ndarray, "52 n_verts 3"]

    @property
    def missing(self) -> tuple[str, ...]:
        """What the mesh cannot show."""
        return tuple(name for name, shape in zip(ARKIT_NAMES, self.shapes_m, strict=True) if not shape.any())


def arkit_shapes(names: Sequence[str], shapes_m: Float[np.ndarray, "n_shapes n_verts 3"]) -> ArkitShapes:
    """A model's shapes by ARKit's names; `_L` and `_R` are sides, and both sides of an unsided shape are added up.

    Raises InputError where hardly any of the names is ARKit's.
    """
    wanted = {name.casefold(): place for place, name in enumerate(ARKIT_NAMES)}
    out, found = np.zeros((len(ARKIT_NAMES), *shapes_m.shape[1:])), 0
    for name, shape in zip(names, shapes_m, strict=True):
        plain = name.removesuffix("_L").removesuffix("_R")
        side = {"_L": "Left", "_R": "Right"}.get(name[-2:], "")
        place = wanted.get((plain + side).casefold(), wanted.get(plain.casefold()))
        if place is not None and not ARKIT_NAMES[place].startswith(GAZE):
            out[place] += shape
            found += 1
    if found < LEAST_SHAPES:
        raise InputError(
            f"only {found} of the face model's {len(names)} expressions have ARKit's names",
            hint="ARKit's weights can be told of the models canonical and ict",
        )
    return ArkitShapes(out)


class ArkitFitter:
    """Finds weights, some frames at a time."""

    def __init__(self, shapes: ArkitShapes) -> None:
        self._matrix = shapes.shapes_m.reshape(len(ARKIT_NAMES), -1).astype(np.float64)
        size = np.linalg.norm(self._matrix, axis=1)
        self._used = np.flatnonzero(size > 0)
        self._size = size[self._used]
        self._scaled = self._matrix[self._used] / self._size[:, None]
        gram = self._scaled @ self._scaled.T + RIDGE * np.eye(len(self._used))
        self._root = np.linalg.cholesky(gram)
        self._squares, self._count, self._moved = 0.0, 0, 0.0

    def weights(self, moved_m: Float[np.ndarray, "n_frames n_verts 3"]) -> Weights:
        """Of displacements from the template; raises UsageError where they are of another mesh."""
        flat = moved_m.reshape(len(moved_m), -1).astype(np.float64)
        if flat.shape[1] != self._matrix.shape[1]:
            raise UsageError("frames and shapes are of two meshes", hint="give the model of these frames")
        out = np.zeros((len(flat), len(ARKIT_NAMES)), np.float32)
        # |R^T x - R^-1 b|^2 is x G x - 2 x b and a constant, where G = R R^T: as many equations as shapes
        right = np.linalg.solve(self._root, self._scaled @ flat.T).T
        for row, wanted in zip(out, right, strict=True):
            row[self._used] = self._solved(wanted)
        self._squares += float(np.square(out @ self._matrix - flat).sum())
        self._moved += float(np.square(flat).sum())
        self._count += flat.size // 3
        return out

    @property
    def left_rms_mm(self) -> float:
        """Of all vertices so far: how far the shapes miss them."""
        return 1000.0 * (self._squares / max(self._count, 1)) ** 0.5

    @property
    def told_share(self) -> float:
        """Of the squared displacements so far, what the weights tell."""
        return 1.0 - self._squares / self._moved if self._moved else 1.0

    def _solved(self, wanted: Float[np.ndarray, "n_used"]) -> Float[np.ndarray, "n_used"]:
        found, _ = nnls(self._root.T, wanted)
        if (found > self._size).any():  # rarely: a weight above 1
            found = lsq_linear(self._root.T, wanted, (0.0, self._size), method="bvls").x
        return np.clip(found / self._size, 0.0, 1.0)


def write_arkit_csv(path: Path, blocks: Iterable[Weights], *, fps: float) -> None:
    """Writes a row a frame: time code HH:MM:SS:FF.FFF from midnight on, the 52 weights, and rotations of 0."""
    head = ["Timecode", "BlendShapeCount", *(name[0].upper() + name[1:] for name in ARKIT_NAMES), *ROTATIONS]
    still = [f"{0:.6f}"] * len(ROTATIONS)
    frame = 0
    with atomic_path(path) as partial, partial.open("w", encoding="ascii", newline="\n") as file:
        file.write(",".join(head) + "\n")
        for block in blocks:
            for row in block.tolist():
                values = [timecode(frame, fps), str(len(head) - 2), *(f"{value:.6f}" for value in row), *still]
                file.write(",".join(values) + "\n")
                frame += 1


def timecode(frame: int, fps: float) -> str:
    """Hours, minutes, seconds, and frames with a fraction: frame k is at k / fps seconds.

    Seconds have a whole number of frames in a time code; at 29.97 frames a second, a frame's number has a fraction.
    """
    seconds = int(frame / fps + 1e-9)
    within = round(max(frame - seconds * fps, 0.0), 3)
    if within >= fps:
        seconds, within = seconds + 1, 0.0
    seconds %= DAY_S
    hours, minutes = divmod(seconds // 60, 60)
    return f"{hours:02}:{minutes:02}:{seconds % 60:02}:{within:06.3f}"
