"""The painted skin: an average face in sRGB and the ways in which skin differs from one person to the next."""

from itertools import pairwise

import numpy as np
from jaxtyping import Float
from scipy.spatial import KDTree

from reconstruct.models.build import topology as t

SKIN = np.array([0.800, 0.620, 0.530])
LIPS = np.array([0.680, 0.400, 0.390])
BROW = np.array([0.270, 0.190, 0.150])
LASH = np.array([0.140, 0.095, 0.080])
SCLERA = np.array([0.850, 0.830, 0.810])
IRIS = np.array([0.330, 0.230, 0.150])
MOUTH = np.array([0.170, 0.060, 0.060])
NOSTRIL = np.array([0.260, 0.130, 0.110])
IRIS_RADIUS_MM, PUPIL_RADIUS_MM = 5.6, 2.1


def distance_to_line_mm(points: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Distance to a polyline, millimetres."""
    best = np.full(len(points), np.inf)
    for a, b in pairwise(line):
        along = np.clip((points - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
        best = np.minimum(best, np.linalg.norm(points - a - along[:, None] * (b - a), axis=1))
    return best * 1e3


def soft(distance_mm: np.ndarray, edge_mm: float, blur_mm: float) -> np.ndarray:
    """1 inside an edge, 0 outside, smooth over `blur_mm`."""
    x = np.clip((edge_mm + blur_mm / 2 - distance_mm) / blur_mm, 0, 1)
    return x * x * (3 - 2 * x)


def smooth_noise(points: np.ndarray, length_mm: float | int, *, seed: int, waves: int = 60) -> np.ndarray:
    """A random field of unit variance and a given length of correlation (random Fourier features)."""
    rng = np.random.default_rng(seed)
    frequency = rng.normal(size=(waves, 3)) / (length_mm * 1e-3)
    phase = rng.uniform(0, 2 * np.pi, waves)
    return np.sqrt(2 / waves) * np.cos(points @ frequency.T + phase).sum(axis=1)


class SkinPaint:
    """Masks on the refined mesh, from which the mean and the modes are mixed.

    `soft_sets` are control sets carried over to the refined vertices (0..1).
    """

    def __init__(self, points: np.ndarray, marks: np.ndarray, soft_sets: dict[str, np.ndarray]) -> None:
        self.points, self.marks, self.soft_sets = points, marks, soft_sets
        self.brows = self._brows()
        self.lips = np.clip((soft_sets["lips"] - 0.37) / 0.24, 0, 1)
        self.cheeks = self._spots((50, 280), 17.0) + 0.5 * self._spots((205, 425), 15.0)
        self.eye_holes = np.clip(soft_sets["eyeballs"] * 6.0 - 1.8, 0, 1)
        self.irises, self.pupils, self.limbus = self._irises()

    def _spots(self, at: tuple[int, ...], radius_mm: float) -> np.ndarray:
        distance = np.stack([np.linalg.norm(self.points - self.marks[i], axis=1) for i in at]).min(axis=0)
        return np.exp(-0.5 * (distance * 1e3 / radius_mm) ** 2)

    def _brows(self) -> np.ndarray:
        """A tapering band between MediaPipe's two rows of brow points."""
        mask = np.zeros(len(self.points))
        for upper, lower in ((t.RIGHT_BROW_UPPER, t.RIGHT_BROW_LOWER), (t.LEFT_BROW_UPPER, t.LEFT_BROW_LOWER)):
            middle = 0.46 * self.marks[list(upper)] + 0.54 * self.marks[list(lower)]
            fine = np.stack([np.interp(np.linspace(0, 4, 33), np.arange(5), middle[:, c]) for c in range(3)], axis=1)
            distance, nearest = KDTree(fine).query(self.points)
            half_width = np.interp(nearest / 32, [0, 0.25, 0.75, 1.0], [1.5, 2.8, 3.9, 3.4])
            mask = np.maximum(mask, soft(distance * 1e3 - half_width, 0.0, 2.4))
        return mask

    def _irises(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Iris, pupil and the iris's dark rim around the middle of each eye's opening."""
        distance = np.full(len(self.points), np.inf)
        for upper, lower in ((t.RIGHT_EYE_UPPER, t.RIGHT_EYE_LOWER), (t.LEFT_EYE_UPPER, t.LEFT_EYE_LOWER)):
            middle = self.marks[[upper[4], lower[4]]].mean(axis=0) + np.array([0, 0.0006, 0])
            distance = np.minimum(distance, np.linalg.norm((self.points - middle)[:, :2], axis=1) * 1e3)
        inside = self.eye_holes
        iris = inside * soft(distance, IRIS_RADIUS_MM, 0.9)
        return (
            iris,
            inside * soft(distance, PUPIL_RADIUS_MM, 0.9),
            iris * (1 - soft(distance, IRIS_RADIUS_MM - 1.2, 1.2)),
        )

    def mean(self) -> Float[np.ndarray, "n_verts 3"]:
        """sRGB of the average face, 0..1."""
        color = SKIN + 0.012 * smooth_noise(self.points, 16, seed=1)[:, None]
        color = color + 0.008 * smooth_noise(self.points, 5, seed=2)[:, None]
        color = color + self.cheeks[:, None] * np.array([0.014, -0.020, -0.017])
        color = color + self._spots((1, 4), 10.0)[:, None] * np.array([0.010, -0.025, -0.022])
        color = color - self._spots((230, 450, 231, 451), 8.0)[:, None] * np.array([0.045, 0.055, 0.040])
        color = color - self._spots((27, 257, 28, 258, 29, 259), 6.5)[:, None] * np.array([0.050, 0.060, 0.055])
        color = color - self._beard()[:, None] * np.array([0.030, 0.022, 0.012])
        for mask, paint in self._layers():
            color = color + mask[:, None] * (paint - color)
        return np.clip(color, 0.02, 0.98)

    def _beard(self) -> np.ndarray:
        around = self._spots((152, 199, 175, 176, 400, 149, 378, 18), 17.0) + 0.6 * self._spots((164, 167, 393), 8.0)
        return np.clip(around, 0, 1)

    def _layers(self) -> list[tuple[np.ndarray, np.ndarray]]:
        m = self.marks
        strands = np.clip(0.84 + 0.16 * smooth_noise(self.points * np.array([1, 0.4, 1]), 2.2, seed=3), 0, 1)
        upper_lash = np.zeros(len(self.points))
        lower_lash, crease = upper_lash.copy(), upper_lash.copy()
        folds = ((247, 30, 29, 27, 28, 56, 190), (467, 260, 259, 257, 258, 286, 414))
        for upper, lower, fold in (
            (t.RIGHT_EYE_UPPER, t.RIGHT_EYE_LOWER, folds[0]),
            (t.LEFT_EYE_UPPER, t.LEFT_EYE_LOWER, folds[1]),
        ):
            upper_lash = np.maximum(upper_lash, soft(distance_to_line_mm(self.points, m[list(upper)]), 1.0, 1.2))
            lower_lash = np.maximum(lower_lash, soft(distance_to_line_mm(self.points, m[list(lower[:-1])]), 0.5, 1.2))
            crease = np.maximum(crease, soft(distance_to_line_mm(self.points, m[list(fold)]), 0.7, 1.8))
        contact = [13, *t.UPPER_LIP_RINGS[3]]
        lip_line = soft(distance_to_line_mm(self.points, m[contact[1:]]), 0.5, 1.6)
        return [
            (self.lips, LIPS),
            (0.55 * lip_line * (self.lips > 0), MOUTH + 0.12),
            (0.28 * crease, np.array([0.40, 0.26, 0.22])),
            (0.88 * self.brows * strands, BROW),
            (self.eye_holes, SCLERA),
            (self.irises, IRIS),
            (0.7 * self.limbus, LASH),
            (self.pupils, np.array([0.03, 0.03, 0.03])),
            (0.45 * lower_lash, LASH + 0.15),
            (0.92 * upper_lash, LASH),
            (0.85 * self.soft_sets["nostrils"], NOSTRIL),
            (np.clip(self.soft_sets["mouth_interior"] * 2.5, 0, 1), MOUTH),
        ]

    def modes(self) -> Float[np.ndarray, "n_modes n_verts 3"]:
        """Ways to differ, each one standard deviation in sRGB."""
        skin = (1 - np.clip(self.eye_holes + self.soft_sets["mouth_interior"] * 2, 0, 1))[:, None]
        brow, lips = self.brows[:, None], self.lips[:, None]
        bare = skin * (1 - 0.7 * brow)
        tones = [(-0.105, -0.115, -0.110), (-0.008, -0.024, -0.040), (0.012, -0.012, -0.009)]
        modes = [bare * np.array(tone) for tone in tones]
        modes.append(brow * np.array([0.13, 0.10, 0.075]))
        modes += [lips * np.array([0.030, -0.040, -0.030]), lips * np.array([-0.060, -0.055, -0.045])]
        iris = (self.irises * (1 - self.pupils))[:, None]
        modes += [iris * np.array([0.04, 0.13, 0.22]), iris * np.array([0.12, 0.09, 0.03])]
        modes.append(skin * self._beard()[:, None] * np.array([-0.075, -0.060, -0.040]))
        modes.append(skin * self.cheeks[:, None] * np.array([0.010, -0.018, -0.014]))
        modes.append(skin * self._spots((230, 450), 9.0)[:, None] * np.array([-0.035, -0.040, -0.028]))
        for seed in range(6):
            modes.append(
                bare * 0.014 * smooth_noise(self.points, 32, seed=10 + seed)[:, None] * np.array([1.0, 1.0, 1.0])
            )
        for seed in range(3):
            modes.append(
                bare * 0.006 * smooth_noise(self.points, 22, seed=20 + seed)[:, None] * np.array([0.6, -1.0, -0.8])
            )
        return np.stack(modes)
