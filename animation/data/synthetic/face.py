"""A face-like mesh around an open mouth, its regions, and the local motions that it can do.

Head frame: x to the subject's left, y up, z out of the face; metres.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Bool, Float

from animation.data.corpus import Mask, Topology
from mmface4d.arrays import Faces, Vertices
from mmface4d.errors import UsageError

LEAST_VERTS = 100
MOUTH_Y = -0.045
INNER_LIPS_M, OUTLINE_M, OUTLINE_ABOVE_MOUTH_M = (0.024, 0.0008), (0.070, 0.090), 0.040
HOLE, RIM_SHARE, DENSER_AT_MOUTH = 0.25, 0.07, 1.5  # of the unit disc that is unrolled onto the face
LIPS_M, UPPER_FACE_Y = (0.029, 0.010), 0.005  # half axes of the lips' outline; where the upper face begins
GOLDEN_ANGLE = np.pi * (3 - np.sqrt(5))
# where the eyes are, and the middle of the brows
EYE, BROW_Y = (0.031, 0.015), 0.038
MOTIONS = (
    "jaw", "pucker", "funnel", "smile_left", "smile_right", "upper_up", "lower_down", "roll", "close", "cheeks",
    "nostrils", "brow_inner", "brow_left", "brow_right", "frown", "squint", "lids",
)  # fmt: skip
JAW_M, CLOSE_M = 0.020, 0.010  # by which the lower lip goes down with the jaw, and up when the lips are closed


@dataclass(frozen=True)
class SyntheticFace:
    """A mean face and what it can do: `bases` are displacements in metres for a weight of 1, in MOTIONS' order."""

    topology: Topology
    mean: Vertices
    bases: Float[np.ndarray, "n_motions n_verts 3"]

    def template(self, rng: np.random.Generator) -> Vertices:
        """Somebody's neutral face."""
        return self.mean + np.tensordot(rng.standard_normal(len(_SHAPES)), _shapes(self.mean), axes=1)


@cache
def synthetic_face(n_verts: int) -> SyntheticFace:
    """The face with that many vertices, always the same; raises UsageError below LEAST_VERTS."""
    if n_verts < LEAST_VERTS:
        raise UsageError(f"a face of {n_verts} vertices is too coarse", hint=f"at least {LEAST_VERTS}")
    disc, n_lip, n_rim = _disc(n_verts)
    flat = _unrolled(disc)
    mean = np.column_stack([flat, _relief(flat)])
    rim = np.arange(n_verts) >= n_verts - n_rim
    topology = Topology(f"synthetic-{n_verts}", n_verts, _triangles(disc, n_lip), masks=_masks(mean, rim))
    return SyntheticFace(topology, mean, bases=_bases(mean))


def _disc(n_verts: int) -> tuple[Float[np.ndarray, "n_verts 2"], int, int]:
    """Points of a ring between HOLE and 1: those on the hole first, a sunflower's seeds, those on the rim last."""
    n_edge = max(12, round(RIM_SHARE * n_verts))
    count = n_verts - 2 * n_edge
    inner, outer = HOLE + 0.5 / np.sqrt(n_verts), 1 - 0.7 / np.sqrt(n_verts)
    radius = np.sqrt(inner**2 + (outer**2 - inner**2) * (np.arange(count) + 0.5) / count)
    seeds = _polar(radius, GOLDEN_ANGLE * np.arange(count))
    around = 2 * np.pi * np.arange(n_edge) / n_edge
    return np.concatenate([_polar(HOLE, around), seeds, _polar(1.0, around)]), n_edge, n_edge


def _polar(radius: float | np.ndarray, angle: np.ndarray) -> Float[np.ndarray, "n 2"]:
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _triangles(disc: Float[np.ndarray, "n_verts 2"], n_lip: int) -> Faces:
    """Counter-clockwise as seen from the front; none over the hole."""
    from scipy.spatial import Delaunay

    found = Delaunay(disc).simplices
    a, b, c = (disc[found[:, corner]] for corner in range(3))
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    found = np.where((area > 0)[:, None], found, found[:, [0, 2, 1]])
    return found[(found >= n_lip).any(axis=1) & (np.abs(area) > 1e-9)].astype(np.int64)


def _unrolled(disc: Float[np.ndarray, "n_verts 2"]) -> Float[np.ndarray, "n_verts 2"]:
    """The hole becomes the line between the lips, the rim the face's outline; more points near the mouth."""
    radius = np.linalg.norm(disc, axis=1)
    cos, sin = (disc / radius[:, None]).T
    out = ((radius - HOLE) / (1 - HOLE)).clip(0, 1) ** DENSER_AT_MOUTH
    wide = (1 - out) * INNER_LIPS_M[0] + out * OUTLINE_M[0]
    tall = (1 - out) * INNER_LIPS_M[1] + out * OUTLINE_M[1]
    return np.stack([wide * cos, MOUTH_Y + out * OUTLINE_ABOVE_MOUTH_M + tall * sin], axis=1)


def _relief(flat: Float[np.ndarray, "n_verts 2"]) -> Float[np.ndarray, "n_verts"]:
    """Depth: a bowl with nose, lips, chin and the hollows of the eyes."""
    x, y = flat.T
    bowl = 0.07 * np.sqrt((1 - (x / 0.09) ** 2 - ((y + 0.005) / 0.12) ** 2).clip(0.02))
    sides = sum(_bump(flat, (side * EYE[0], EYE[1]), (0.013, 0.010)) for side in (-1, 1))
    nose = _bump(flat, (0.0, -0.012), (0.009, 0.013)) + 0.4 * _bump(flat, (0.0, 0.010), (0.007, 0.015))
    lips, chin = _bump(flat, (0.0, MOUTH_Y), (0.022, 0.009)), _bump(flat, (0.0, -0.085), (0.015, 0.012))
    return bowl + 0.020 * nose + 0.006 * lips + 0.004 * chin - 0.005 * sides


def _bump(flat: np.ndarray, centre: tuple[float, float], width: tuple[float, float]) -> Float[np.ndarray, "n_verts"]:
    away = (flat[:, :2] - centre) / width
    return np.exp(-0.5 * (away**2).sum(axis=1))


def _masks(mean: Vertices, rim: Bool[np.ndarray, "n_verts"]) -> dict[str, Mask]:
    in_lips = ((mean[:, 0] / LIPS_M[0]) ** 2 + ((mean[:, 1] - MOUTH_Y) / LIPS_M[1]) ** 2) < 1
    chosen = {"lips": in_lips, "upper_face": mean[:, 1] > UPPER_FACE_Y, "face": ~rim}
    return {name: Mask(name, np.flatnonzero(where)) for name, where in chosen.items()}


# what makes faces differ: standard deviations of factors and shifts
_SHAPES = ("size", "width", "length", "depth", "nose", "jaw", "brows", "lips", "cheeks")


def _shapes(mean: Vertices) -> Float[np.ndarray, "n_shapes n_verts 3"]:
    """One displacement field in metres for each of _SHAPES, one standard deviation of it."""
    x, y, z = mean.T
    zero = np.zeros(len(mean))
    low = 1 / (1 + np.exp((y + 0.05) / 0.012))
    both = sum(_bump(mean, (side * 0.042, -0.015), (0.018, 0.018)) for side in (-1, 1))
    fields = (
        0.030 * mean.T, (0.030 * x, zero, zero), (zero, 0.030 * y, zero), (zero, zero, 0.05 * (z - z.mean())),
        (zero, zero, 0.0025 * _bump(mean, (0.0, -0.012), (0.012, 0.016))),
        (0.04 * x * low, -0.002 * low, zero),
        (zero, 0.002 * _bump(mean, (0.0, BROW_Y), (0.05, 0.012)), zero),
        (0.03 * x * _bump(mean, (0.0, MOUTH_Y), (0.03, 0.012)), zero,
         0.0015 * _bump(mean, (0.0, MOUTH_Y), (0.022, 0.009))),
        (zero, zero, 0.002 * both),
    )  # fmt: skip
    return np.stack([np.stack(tuple(field), axis=1) for field in fields])


def _bases(mean: Vertices) -> Float[np.ndarray, "n_motions n_verts 3"]:
    """The displacement fields of MOTIONS: each is local, and the lips part where they part."""
    moves = _mouth(mean) | _upper(mean)
    return np.stack([moves[name] for name in MOTIONS])


def _mouth(mean: Vertices) -> dict[str, np.ndarray]:
    x, y, _ = mean.T
    below = 1 / (1 + np.exp(((y - MOUTH_Y) / 0.0003).clip(-60, 60)))  # the lower lip and the chin
    above = 1 - below
    jaw = below * np.exp(-0.5 * (x / 0.035) ** 2)
    around = _bump(mean, (0.0, MOUTH_Y), (0.022, 0.016))
    upper, lower = (lip * _bump(mean, (0.0, MOUTH_Y), (0.016, 0.010)) for lip in (above, below))
    corner = {side: _bump(mean, (sign * 0.025, MOUTH_Y), (0.014, 0.014)) for side, sign in SIDES.items()}
    cheeks = sum(_bump(mean, (sign * 0.040, -0.018), (0.015, 0.014)) for sign in (-1, 1))
    wings = sum(np.sign(x) * _bump(mean, (sign * 0.013, -0.020), (0.006, 0.006)) for sign in (-1, 1))
    zero = np.zeros(len(mean))
    moves = {
        "jaw": (zero, -JAW_M * jaw, -0.006 * jaw),
        "pucker": (-0.35 * x * around, zero, 0.008 * around),
        "funnel": (-0.15 * x * around, 0.005 * (upper - lower), 0.006 * around),
        "upper_up": (zero, 0.006 * upper, 0.001 * upper),
        "lower_down": (zero, -0.007 * lower, 0.001 * lower),
        "roll": (zero, 0.003 * lower, -0.005 * lower),
        "close": (zero, CLOSE_M * below * around, zero),
        "cheeks": (zero, 0.005 * cheeks, 0.004 * cheeks),
        "nostrils": (0.0025 * wings, 0.001 * np.abs(wings), zero),
    }  # fmt: skip
    smiles = {f"smile_{side}": (SIDES[side] * 0.008 * at, 0.006 * at, -0.003 * at) for side, at in corner.items()}
    return {name: np.stack(field, axis=1) for name, field in (moves | smiles).items()}


SIDES = {"left": 1.0, "right": -1.0}  # the subject's


def _upper(mean: Vertices) -> dict[str, np.ndarray]:
    inner = _bump(mean, (0.0, BROW_Y + 0.004), (0.014, 0.013))
    outer = {side: _bump(mean, (sign * 0.036, BROW_Y + 0.004), (0.015, 0.013)) for side, sign in SIDES.items()}
    knit = {side: _bump(mean, (sign * 0.016, BROW_Y - 0.004), (0.010, 0.010)) for side, sign in SIDES.items()}
    lids, squint = (
        sum(_bump(mean, (sign * EYE[0], EYE[1] + up), (0.012, 0.006)) for sign in (-1, 1)) for up in (0.003, -0.008)
    )  # fmt: skip
    zero = np.zeros(len(mean))
    moves = {
        "brow_inner": (zero, 0.006 * inner, 0.001 * inner),
        "frown": (0.003 * (knit["right"] - knit["left"]), -0.004 * sum(knit.values()), 0.001 * sum(knit.values())),
        "squint": (zero, 0.003 * squint, 0.001 * squint),
        "lids": (zero, -0.008 * lids, 0.001 * lids),
    }
    brows = {f"brow_{side}": (zero, 0.006 * at, 0.001 * at) for side, at in outer.items()}
    return {name: np.stack(field, axis=1) for name, field in (moves | brows).items()}
