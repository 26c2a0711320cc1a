"""A sequence as few shapes: the head's movement, a base, and targets whose weights change over time.

The targets are the principal components of what is left when each frame's best rigid movement is taken out.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from corpus.presets.motion import Motion
from mmface4d.arrays import Rotation
from mmface4d.gram import gram
from mmface4d.transforms import quaternion_from_rotation, rotation_from_quaternion

TOLERANCE_M = 1e-4  # a tenth of a millimetre: below what depth cameras see
MOST_TARGETS = 128
STEP = 8  # targets that are added at a time
MOST_SNAPSHOTS = 400  # frames that the targets are found from


@dataclass(frozen=True)
class Morphs:
    """All float32, as they are stored: frame = rotation (base + weights @ targets) + translation.

    `quaternions` are (w, x, y, z); `max_error_m` is the farthest that a vertex of any frame lies from where it was.
    """

    base_m: Float[np.ndarray, "n_verts 3"]
    targets_m: Float[np.ndarray, "n_targets n_verts 3"]
    weights: Float[np.ndarray, "n_frames n_targets"]
    quaternions: Float[np.ndarray, "n_frames 4"]
    translations_m: Float[np.ndarray, "n_frames 3"]
    max_error_m: float

    def frame(self, number: int) -> Float[np.ndarray, "n_verts 3"]:
        """What a viewer shows of a frame; metres."""
        shape = self.base_m + np.tensordot(self.weights[number].astype(np.float64), self.targets_m, 1)
        turn = rotation_from_quaternion(self.quaternions[number].astype(np.float64))
        return shape @ turn.T + self.translations_m[number]


def fit_morphs(motion: Motion, *, tolerance_m: float = TOLERANCE_M, most_targets: int = MOST_TARGETS) -> Morphs:
    """As few targets as keep every vertex of the frames looked at within the tolerance, at most `most_targets`."""
    reference = motion[0].astype(np.float64)
    reference -= reference.mean(axis=0)
    poses = [best_rigid(reference, vertices_m.astype(np.float64)) for vertices_m in motion]
    chosen = np.unique(np.linspace(0, len(motion) - 1, min(len(motion), MOST_SNAPSHOTS)).round().astype(int))
    rest = np.stack([_unposed(motion, frame, poses[frame]).astype(np.float32) for frame in chosen.tolist()])
    base = rest.mean(axis=0, dtype=np.float64)
    rest -= base.astype(np.float32)
    rest = rest.reshape(len(chosen), -1)
    targets = _principal(rest, tolerance_m, min(most_targets, len(chosen) - 1))
    weights = np.stack(
        [targets @ (_unposed(motion, frame, pose) - base).reshape(-1) for frame, pose in enumerate(poses)]
    )
    return _stored(motion, base, targets, weights=weights, poses=poses)


def best_rigid(
    source: Float[np.ndarray, "n_points 3"], target: Float[np.ndarray, "n_points 3"]
) -> tuple[Rotation, Float[np.ndarray, "3"]]:
    """Rotation and translation with the least squares from source to target (Kabsch 1976)."""
    source_middle, target_middle = source.mean(axis=0), target.mean(axis=0)
    left, _, right = np.linalg.svd((source - source_middle).T @ (target - target_middle))
    mirrored = np.sign(np.linalg.det(left @ right))
    turn = (left * [1.0, 1.0, mirrored or 1.0] @ right).T
    return turn, target_middle - turn @ source_middle


def _unposed(
    motion: Motion, frame: int, pose: tuple[Rotation, Float[np.ndarray, "3"]]
) -> Float[np.ndarray, "n_verts 3"]:
    turn, shift = pose
    return (motion[frame].astype(np.float64) - shift) @ turn


def _principal(
    rest: Float[np.ndarray, "n_snapshots n_numbers"], tolerance_m: float, most: int
) -> Float[np.ndarray, "n_targets n_numbers"]:
    """Orthonormal rows, by the snapshots' Gram matrix; as many as the tolerance needs."""
    values, vectors = np.linalg.eigh(gram(rest))
    order = np.argsort(values)[::-1][:most]
    order = order[values[order] > 1e-12 * max(values.max(initial=0.0), 1e-30)]
    found = np.zeros((0, rest.shape[1]), np.float32)
    left = rest.copy()
    for first in range(0, len(order), STEP):
        if max(float(np.linalg.norm(row.reshape(-1, 3), axis=1).max()) for row in left) <= tolerance_m:
            break
        columns = order[first : first + STEP]
        mixing = (vectors[:, columns] / np.sqrt(values[columns])).astype(np.float32)
        new = mixing.T @ rest
        found = np.concatenate([found, new])
        for row, whole in zip(left, rest, strict=True):  # one by one, because a second copy of all is too much
            row -= (new @ whole) @ new
    return found


def _stored(
    motion: Motion, base: Float[np.ndarray, "n_verts 3"], targets: Float[np.ndarray, "n_targets n_numbers"], *,
    weights: Float[np.ndarray, "n_frames n_targets"], poses: list[tuple[Rotation, Float[np.ndarray, "3"]]],
) -> Morphs:  # fmt: skip
    """In float32, weights within -1 .. 1; the error is measured on what is stored."""
    scale = np.maximum(np.abs(weights).max(axis=0, initial=0.0), 1e-12)
    stored = Morphs(
        base.astype(np.float32),
        (targets * scale[:, None]).astype(np.float32).reshape(len(targets), *base.shape),
        (weights / scale).astype(np.float32),
        _continuous(np.stack([quaternion_from_rotation(turn) for turn, _ in poses])).astype(np.float32),
        np.stack([shift for _, shift in poses]).astype(np.float32),
        0.0,
    )
    errors = [np.linalg.norm(stored.frame(k) - vertices, axis=1).max() for k, vertices in enumerate(motion)]
    return Morphs(**{**vars(stored), "max_error_m": float(max(errors))})


def _continuous(quaternions: Float[np.ndarray, "n_frames 4"]) -> Float[np.ndarray, "n_frames 4"]:
    """q and -q turn alike; neighbours get the sign with which a viewer's interpolation takes the short way."""
    steps = np.sign((quaternions[1:] * quaternions[:-1]).sum(axis=1))
    signs = np.cumprod(np.concatenate([[1.0], np.where(steps == 0, 1.0, steps)]))
    return quaternions * signs[:, None]
