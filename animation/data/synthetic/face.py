"""A face-like mesh around an open mouth, its regions, and the local motions that it can do.

Head frame: x to the subject's left, y up, z out of the face; metres.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Bool, Float, Int

from animation.data.corpus import Mask, Topology
from mmface4d.arrays import Faces, Vertices
from mmface4d.errors import UsageError

LEAST_VERTS = 100
MOUTH_Y = -0.045
INNER_LIPS_M, OUTLINE_M, OUTLINE_ABOVE_MOUTH_M = (0.024, 0.0008), (0.070, 0.090), 0.040
RING_SHARE, DENSER_AT_MOUTH = 1.3, 1.4  # of vertices: how many are in a ring, how much closer inner rings are
LIPS_M, UPPER_FACE_Y = (0.029, 0.010), 0.005  # half axes of the lips' outline; where the upper face begins
# where the eyes are, and the middle of the brows
EYE, BROW_Y = (0.031, 0.015), 0.038
MOTIONS = (
    "jaw", "pucker", "funnel", "smile_left", "smile_right", "upper_up", "lower_down", "roll", "close", "cheeks",
    "nostrils", "brow_inner", "brow_left", "brow_right", "frown", "squint", "lids",
)  # fmt: skip
JAW_M, CLOSE_M = 0.020, 0.010  # by which the lower lip goes down with the jaw, and up when the lips are closed


@dataclass(frozen=True)
class SyntheticFace:
    """A mean face and what it can do: `bases` are displacements in metres for a weight of 1, in MOTIONS' order.

    The first `in_ring` vertices are the inner lips, counter-clockwise from the left corner of the mouth.
    """

    topology: Topology
    mean: Vertices
    bases: Float[np.ndarray, "n_motions n_verts 3"]
    in_ring: int

    def template(self, rng: np.random.Generator) -> Vertices:
        """Somebody's neutral face."""
        return self.mean + np.tensordot(rng.standard_normal(len(_SHAPES)), _shapes(self.mean), axes=1)


@cache
def synthetic_face(n_verts: int) -> SyntheticFace:
    """The face with that many vertices, always the same; raises UsageError below LEAST_VERTS."""
    if n_verts < LEAST_VERTS:
        raise UsageError(f"a face of {n_verts} vertices is too coarse", hint=f"at least {LEAST_VERTS}")
    flat, faces, in_ring = _rings(n_verts)
    mean = np.column_stack([flat, _relief(flat)])
    last_ring = n_verts // in_ring - 1
    rim = np.arange(n_verts) // in_ring == last_ring
    topology = Topology(f"synthetic-{n_verts}", n_verts, faces, masks=_masks(mean, rim))
    return SyntheticFace(topology, mean, bases=_bases(mean), in_ring=in_ring)


def _rings(n_verts: int) -> tuple[Float[np.ndarray, "n_verts 2"], Faces, int]:
    """Rings around the mouth from the inner lips to the outline, as many points in each; the rest within triangles.

    Gives where they are as seen from the front, the triangles, counter-clockwise, and how many are in a ring.
    """
    in_ring = 4 * round(0.25 * np.sqrt(RING_SHARE * n_verts))
    n_rings = n_verts // in_ring
    out = np.linspace(0, 1, n_rings)[:, None] ** DENSER_AT_MOUTH
    angle = 2 * np.pi * np.arange(in_ring) / in_ring
    wide, tall = ((1 - out) * inner + out * outer for inner, outer in zip(INNER_LIPS_M, OUTLINE_M, strict=True))
    flat = np.stack([wide * np.cos(angle), MOUTH_Y + out**2 * OUTLINE_ABOVE_MOUTH_M + tall * np.sin(angle)], axis=2)
    flat, faces = flat.reshape(-1, 2), _between(n_rings, in_ring)
    for number in range(len(flat), n_verts):
        flat, faces = _with_one_more(flat, faces, number)
    return flat, faces, in_ring


def _between(n_rings: int, in_ring: int) -> Faces:
    """Two triangles for each field between two rings and two rays."""
    ring, ray = np.meshgrid(np.arange(n_rings - 1), np.arange(in_ring), indexing="ij")
    here, next_ray = (ring * in_ring + at % in_ring for at in (ray, ray + 1))
    lower = np.stack([here, here + in_ring, next_ray + in_ring], axis=2)
    upper = np.stack([here, next_ray + in_ring, next_ray], axis=2)
    return np.concatenate([lower, upper]).reshape(-1, 3).astype(np.int64)


def _with_one_more(
    flat: Float[np.ndarray, "n 2"], faces: Faces, number: int
) -> tuple[Float[np.ndarray, "n+1 2"], Int[np.ndarray, "n_faces+2 3"]]:
    """A vertex in the middle of the largest triangle, which becomes three."""
    a, b, c = (flat[faces[:, corner]] for corner in range(3))
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    largest = faces[int(area.argmax())]
    three = [[*largest[[corner, (corner + 1) % 3]], number] for corner in range(3)]
    kept = np.delete(faces, int(area.argmax()), axis=0)
    return np.concatenate([flat, flat[largest].mean(axis=0)[None]]), np.concatenate([kept, np.array(three)])


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
        "brow_inner": (zero, 0.009 * inner, 0.002 * inner),
        "frown": (0.005 * (knit["right"] - knit["left"]), -0.006 * sum(knit.values()), 0.001 * sum(knit.values())),
        "squint": (zero, 0.004 * squint, 0.001 * squint),
        "lids": (zero, -0.008 * lids, 0.001 * lids),
    }
    brows = {f"brow_{side}": (zero, 0.009 * at, 0.002 * at) for side, at in outer.items()}
    return {name: np.stack(field, axis=1) for name, field in (moves | brows).items()}
