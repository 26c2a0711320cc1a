"""The head's own motion taken out of a mesh sequence, so that what is left is the face's.

The rigid motion is measured on the steady parts of the upper face (forehead, temples, nose). Only rotation and
translation are free in every frame. Size, reference shape and how far each vertex is trusted are one for the whole
sequence: were they free too, a raised brow or a flared nostril would be taken for a nod.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from mmface4d.arrays import Vertices

ROUNDS = 8
CONVERGED_M = 1e-7
CHUNK_FRAMES = 64  # in memory at once
LEAST_VERTICES = 12
TUKEY = 4.685  # where Tukey's weight reaches zero, in robust standard deviations: 95 % efficient on normal errors
FLOOR_M = 1e-5  # errors below this are not told apart


@dataclass(frozen=True)
class Stabiliser:
    """Brings the frames it was made of into the head frame: x to the subject's left, y up, z forward, metres."""

    rotations: Float[np.ndarray, "n_frames 3 3"]
    translations: Float[np.ndarray, "n_frames 3"]
    trust: Float[np.ndarray, "n_steady"]
    residual_m: float  # RMS that rigid motion leaves of the trusted vertices

    def apply(
        self, vertices: Float[np.ndarray, "n_some n_verts 3"], frames: Int[np.ndarray, "n_some"]
    ) -> Float[np.ndarray, "n_some n_verts 3"]:
        """Frames in the head frame."""
        turned = np.einsum("tij,tnj->tni", self.rotations[frames], vertices)
        return turned + self.translations[frames][:, None]


def stabiliser(
    steady: Float[np.ndarray, "n_frames n_steady 3"], template: Float[np.ndarray, "n_steady 3"]
) -> Stabiliser:
    """From the steady vertices of all usable frames, and the same vertices of the template, which gives the axes.

    Iteratively reweighted generalised Procrustes without scale; Tukey's weights from each vertex's RMS over all frames.
    Raises ValueError where there are fewer than 12 vertices or no frame.
    """
    if len(template) < LEAST_VERTICES or not len(steady):
        raise ValueError("too few steady vertices to tell the head's motion")
    trust, reference = np.ones(len(template)), template.astype(np.float64)
    rotations, translations = rigid_fits(steady, reference, trust)
    for _ in range(ROUNDS):
        moved = np.einsum("tij,tnj->tni", rotations, steady) + translations[:, None]
        shape = _on_axes(moved.mean(axis=0), template, trust)
        errors = np.sqrt(np.square(moved - moved.mean(axis=0)).sum(axis=2).mean(axis=0))
        trust = _tukey(errors)
        step, reference = float(np.abs(shape - reference).max()), shape
        rotations, translations = rigid_fits(steady, reference, trust)
        if step < CONVERGED_M:
            break
    moved = np.einsum("tij,tnj->tni", rotations, steady) + translations[:, None]
    squares = np.square(moved - reference).sum(axis=2).mean(axis=0)
    return Stabiliser(rotations, translations, trust, float(np.sqrt((trust * squares).sum() / trust.sum())))


def _on_axes(shape: Vertices, template: Vertices, trust: Float[np.ndarray, "n_verts"]) -> Vertices:
    """A shape turned and moved, not resized, to lie as the template does."""
    rotations, translations = rigid_fits(shape[None], template.astype(np.float64), trust)
    return shape @ rotations[0].T + translations[0]


def _tukey(errors: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """Full trust around the usual error, none far above it; at least half of the vertices keep some."""
    usual = float(np.median(errors))
    deviation = max(1.4826 * float(np.median(np.abs(errors - usual))), FLOOR_M)
    beyond = np.clip((errors - usual) / (TUKEY * deviation), 0.0, 1.0)
    return np.square(1 - np.square(beyond))


def rigid_fits(
    moving: Float[np.ndarray, "n_frames n 3"], fixed: Float[np.ndarray, "n 3"], weights: Float[np.ndarray, "n"]
) -> tuple[Float[np.ndarray, "n_frames 3 3"], Float[np.ndarray, "n_frames 3"]]:
    """Rotations and translations that bring each frame nearest to fixed points, by weighted least squares (Kabsch)."""
    share = weights / weights.sum()
    centre = np.einsum("n,tnc->tc", share, moving)
    fixed_centre = share @ fixed
    spread = np.einsum("n,ni,tnj->tij", share, fixed - fixed_centre, moving - centre[:, None])
    left, _, right = np.linalg.svd(spread)
    mirror = np.sign(np.linalg.det(left @ right))
    left[:, :, 2] *= mirror[:, None]
    rotations = left @ right
    return rotations, fixed_centre - np.einsum("tij,tj->ti", rotations, centre)


def usable_frames(
    status: Integer[np.ndarray, "n_frames"] | None, finite: Bool[np.ndarray, "n_frames"]
) -> Bool[np.ndarray, "n_frames"]:
    """Frames in which the face was seen: by their status (0 or 1) where there is one, and without gaps in the mesh."""
    return finite if status is None else finite & (status <= 1)
