"""The identity space: a Gaussian process over the skin plus measures that people are known to differ in.

Gaussian process morphable models: Luethi, Gerig, Jud, Vetter 2018. Kernels are made mirror-symmetric, with a weaker
part for asymmetry; everything is then reduced to the modes that carry most of the face's variance.
"""

import numpy as np
from jaxtyping import Float

# (length, standard deviation) in millimetres, for x, y and z together
SCALES_MM = ((85.0, 4.2), (38.0, 2.6), (20.0, 1.5))
COMPONENT_FACTOR = (0.75, 0.9, 1.1)  # heads differ more in depth than in width
ASYMMETRY = 0.28  # of the symmetric standard deviation
FLIP = np.array([-1.0, 1.0, 1.0])


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    square = ((a[:, None] - b[None]) ** 2).sum(axis=-1)
    kernel = np.zeros_like(square)
    for length, std in SCALES_MM:
        kernel += (std * 1e-3) ** 2 * np.exp(-square / (2 * (length * 1e-3) ** 2))
    return kernel


def _scalar_modes(
    points: np.ndarray, centers: np.ndarray, weight: np.ndarray, *, sign: float, count: int
) -> np.ndarray:
    """Nystroem's modes [n, count] of the kernel made even (sign 1) or odd (-1) in x, largest first."""
    half = centers[centers[:, 0] >= 0]
    inner = (_kernel(half, half) + sign * _kernel(half, half * FLIP)) / 2
    cross = (_kernel(points, half) + sign * _kernel(points, half * FLIP)) / 2
    values, vectors = np.linalg.eigh(inner)
    keep = values > values[-1] * 1e-7
    features = cross @ (vectors[:, keep] / np.sqrt(values[keep]))
    _, turn = np.linalg.eigh(features.T @ (weight[:, None] * features))
    return features @ turn[:, ::-1][:, :count]


def _bump(points: np.ndarray, center: np.ndarray, radius_mm: tuple[float | int, ...]) -> np.ndarray:
    return np.exp(-0.5 * (((points - center) / (1e-3 * np.array(radius_mm))) ** 2).sum(axis=1))


def _pair(points: np.ndarray, center: np.ndarray, radius_mm: tuple[float | int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """A bump on both sides, and the same with the sign of its side."""
    left = _bump(points, np.abs(center) * [1, 0, 0] + center * [0, 1, 1], radius_mm)
    right = _bump(points * FLIP, np.abs(center) * [1, 0, 0] + center * [0, 1, 1], radius_mm)
    return left + right, left - right


def measured_modes(
    points: Float[np.ndarray, "n_verts 3"], marks: Float[np.ndarray, "468 3"]
) -> Float[np.ndarray, "modes n_verts 3"]:
    """Directions people differ in, each of one standard deviation (adults' spread, rounded), metres."""
    modes: list[np.ndarray] = []

    def add(x: np.ndarray | float = 0.0, y: np.ndarray | float = 0.0, z: np.ndarray | float = 0.0) -> None:
        modes.append(np.stack([np.broadcast_to(c, len(points)) for c in (x, y, z)], axis=1) * 1e-3)

    center = points - np.array([0, -0.005, 0.0])
    add(x=center[:, 0] * 42)  # breadth
    add(y=center[:, 1] * 45)  # height
    add(z=center[:, 2] * 45)  # depth
    nose, tip, base = marks[195], marks[1], marks[2]
    along = np.clip((marks[168][1] - points[:, 1]) / (marks[168][1] - base[1]), 0, 1.15)
    on_nose = _bump(points, nose + [0, -0.004, 0.004], (11, 20, 18))
    add(z=2.2 * _bump(points, tip, (11, 13, 16)))  # the tip's protrusion
    add(y=-2.6 * on_nose * along)  # length
    add(x=1.7 * _pair(points, marks[64], (9, 10, 14))[1])  # width of the wings
    add(z=1.6 * _bump(points, marks[197], (9, 13, 14)))  # bridge
    add(y=1.5 * _bump(points, tip, (10, 9, 14)))  # tip up or down
    add(x=3.2 * _pair(points, marks[172], (22, 28, 35))[1])  # jaw
    add(z=2.6 * _bump(points, marks[199], (20, 17, 25)), y=-0.8 * _bump(points, marks[152], (22, 18, 25)))  # chin
    add(y=-3.2 * _bump(points, marks[152], (40, 26, 45)))  # length of the chin
    add(x=1.6 * _pair(points, (marks[33] + marks[133]) / 2, (16, 15, 25))[1])  # distance of the eyes
    add(z=1.7 * _pair(points, marks[52], (17, 9, 20))[0])  # brow ridge
    add(y=1.4 * _pair(points, marks[105], (18, 9, 25))[0])  # height of the brows
    add(z=-1.6 * _pair(points, (marks[159] + marks[145]) / 2, (14, 10, 22))[0])  # depth of the eyes
    cheek, outward = _pair(points, marks[50], (18, 16, 25))
    add(x=0.9 * outward, z=1.5 * cheek)  # cheekbones
    hollow, hollow_out = _pair(points, marks[207], (15, 18, 25))
    add(x=1.9 * hollow_out, z=1.6 * hollow)  # full or hollow cheeks
    above, below = marks[0] + [0, 0.0, 0], marks[17]
    lips_z = _bump(points, (marks[13] + marks[14]) / 2, (19, 8, 14))
    add(z=1.3 * lips_z)
    add(
        y=0.9 * _bump(points, above, (16, 4.5, 14)) - 0.9 * _bump(points, below, (15, 5, 14)), z=0.8 * lips_z
    )  # fullness
    add(x=1.9 * _pair(points, marks[61], (11, 9, 14))[1])  # width of the mouth
    add(y=1.5 * _bump(points, (marks[0] + marks[17]) / 2, (26, 11, 25)))  # height of the mouth
    add(z=-2.5 * _bump(points, marks[10] + [0, 0.012, 0], (60, 26, 60)))  # slope of the forehead
    return np.stack(modes)


def identity_modes(
    points: Float[np.ndarray, "n_verts 3"],
    *,
    centers: Float[np.ndarray, "n_centers 3"],
    marks: Float[np.ndarray, "468 3"],
    importance: Float[np.ndarray, "n_verts"],
    count: int,
) -> Float[np.ndarray, "count n_verts 3"]:
    """The `count` strongest modes, each one standard deviation, metres; `importance` weighs the vertices."""
    columns = [measured_modes(points, marks).transpose(1, 2, 0).reshape(-1, len(measured_modes(points[:1], marks)))]
    for axis in range(3):
        for symmetric in (True, False):
            odd = (axis == 0) == symmetric
            scale = COMPONENT_FACTOR[axis] * (1.0 if symmetric else ASYMMETRY)
            features = _scalar_modes(points, centers, importance, sign=-1.0 if odd else 1.0, count=45)
            column = np.zeros((len(points), 3, features.shape[1]))
            column[:, axis] = scale * features
            columns.append(column.reshape(-1, features.shape[1]))
    everything = np.concatenate(columns, axis=1)
    root = np.repeat(importance, 3)[:, None]
    _, turn = np.linalg.eigh(everything.T @ (root * everything))
    modes = (everything @ turn[:, ::-1][:, :count]).T
    modes *= np.sign(modes[np.arange(count), np.abs(modes).argmax(axis=1)])[:, None]
    return modes.reshape(count, -1, 3)
