"""The face in 53 small regions, whose motions are compared with each other.

Every part is cut by itself, so that no small region reaches from a lip to the skin or from a brow to a lid. The cuts
are the same on both sides: vertices are folded onto one side, gathered around seeds that begin as far apart as possible
(Lloyd's algorithm), and unfolded. Nothing is drawn by chance.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from corpus.dataset.regions import LABEL, NO_PART, FaceRegions

# part without its side -> small regions that have a twin on the other side, and those that lie on the middle line
CUTS = {
    "forehead": (2, 2), "glabella": (0, 1), "brow": (2, 0), "eye": (2, 0), "temple": (1, 0), "nose": (1, 2),
    "cheek": (5, 0), "upper_lip": (1, 1), "lower_lip": (1, 1), "around_mouth": (3, 1), "chin": (1, 1), "jaw": (3, 0),
}  # fmt: skip
ROUNDS = 40
FLATTENED = 0.5


@dataclass(frozen=True)
class Parcels:
    """Small regions: `parcel_of` is the number of each vertex's region in `names`, -1 where it is in none."""

    names: tuple[str, ...]
    parts: tuple[str, ...]  # the part that each lies in
    parcel_of: Int[np.ndarray, "n_verts"]

    def __len__(self) -> int:
        return len(self.names)

    def means(self, vertices: Float[np.ndarray, "n_frames n_verts 3"]) -> Float[np.ndarray, "n_frames n_parcels 3"]:
        """The mean position of each small region in every frame."""
        order = np.flatnonzero(self.parcel_of != NO_PART)
        order = order[self.parcel_of[order].argsort(kind="stable")]
        counts = np.bincount(self.parcel_of[order], minlength=len(self))
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        return np.add.reduceat(vertices[:, order], starts, axis=1, dtype=np.float64) / counts[:, None]


def face_parcels(regions: FaceRegions) -> Parcels:
    """The small regions of a topology; one that no vertex belongs to is left out."""
    vertices = regions.template.astype(np.float64)
    found: list[tuple[str, str, np.ndarray]] = []
    for name, (pairs, middles) in CUTS.items():
        parts = [part for part in (name, f"{name}_left", f"{name}_right") if part in LABEL]
        members = np.flatnonzero(np.isin(regions.part_of, [LABEL[part] for part in parts]))
        if len(members):
            found += _cut(name, vertices, members, pairs=pairs, middles=middles)
    parcel_of = np.full(len(vertices), NO_PART)
    for number, (_, _, where) in enumerate(found):
        parcel_of[where] = number
    return Parcels(tuple(name for name, _, _ in found), tuple(part for _, part, _ in found), parcel_of)


def _cut(
    name: str, vertices: Float[np.ndarray, "n_verts 3"], members: np.ndarray, *, pairs: int, middles: int
) -> list[tuple[str, str, np.ndarray]]:
    """Name, part and vertices of each small region of a part and its twin."""
    nearest, kinds = _gather(_folded(vertices[members]), pairs=pairs, middles=middles)
    found = []
    for number, is_pair in enumerate(kinds):
        where = members[nearest == number]
        words = name if len(kinds) == 1 else f"{name}_{number + 1}"
        if not is_pair:
            found.append((words, name, where))
            continue
        for side, here in (("left", vertices[where, 0] >= 0), ("right", vertices[where, 0] < 0)):
            part = f"{name}_{side}" if f"{name}_{side}" in LABEL else name
            found.append((f"{words}_{side}", part, where[here]))
    return [each for each in found if len(each[2])]


def _folded(points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """Onto the left side, and flattened, so that the inside of a nostril goes with the skin around it."""
    return np.stack([np.abs(points[:, 0]), points[:, 1], FLATTENED * points[:, 2]], axis=1)


def _gather(points: Float[np.ndarray, "n 3"], *, pairs: int, middles: int) -> tuple[Int[np.ndarray, "n"], list[bool]]:
    """The seed that each folded point belongs to, and of every seed whether it has a twin; from the top down."""
    seeds = _seeds(points, pairs=pairs, middles=middles)
    for _ in range(ROUNDS):
        nearest = _nearest(points, seeds)
        for number in range(len(seeds)):
            if (nearest == number).any():
                seeds[number] = points[nearest == number].mean(axis=0)
        seeds[pairs:, 0] = 0.0  # they stay on the middle line
    order = np.lexsort((seeds[:, 0], -seeds[:, 1].round(3)))
    return order.argsort()[_nearest(points, seeds)], [bool(number < pairs) for number in order]


def _seeds(points: Float[np.ndarray, "n 3"], *, pairs: int, middles: int) -> Float[np.ndarray, "n_seeds 3"]:
    """Last the middle ones, spread over the middle line's height; each other as far as possible from all before it."""
    inner = points[points[:, 0] <= np.quantile(points[:, 0], 0.15)]
    heights = np.quantile(inner[:, 1], (np.arange(middles) + 0.5) / max(middles, 1))
    middle = [inner[np.abs(inner[:, 1] - height).argmin()] * (0, 1, 1) for height in heights]
    chosen = [*middle] or [points[np.linalg.norm(points - points.mean(axis=0), axis=1).argmax()]]
    while len(chosen) < pairs + middles:
        apart = np.min([np.linalg.norm(points - seed, axis=1) for seed in chosen], axis=0)
        chosen.append(points[apart.argmax()])
    return np.array([*chosen[len(middle) :], *middle])


def _nearest(points: Float[np.ndarray, "n 3"], seeds: Float[np.ndarray, "n_seeds 3"]) -> Int[np.ndarray, "n"]:
    return np.linalg.norm(points[:, None] - seeds[None], axis=2).argmin(axis=1)
