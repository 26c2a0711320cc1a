"""The one interface every morphable model is brought to.

Head frame: x to the subject's left, y up, z out of the face; metres; origin at the mean of the face's vertices.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from mmface4d.arrays import Faces, Vertices

# what a region mask may be named; a model has all of them, empty where it does not know one
REGIONS = (
    "face",  # skin that depth may be compared with
    "lips",
    "upper_lip",
    "lower_lip",
    "eyes",  # lids, lashes and eyeballs: depth is unreliable
    "nostrils",
    "mouth_interior",
    "upper_face",
    "boundary",  # the mesh's border, two rings deep
)


@dataclass(frozen=True)
class LandmarkTable:
    """Points of the model that MediaPipe's face mesh detects, as barycentric points on triangles.

    `mediapipe` are indices into the 478 points; `corners` vertex indices; `group` one of brow, eye, nose, lip_outer,
    lip_inner, cheek, contour. Contour points slide over the face as it turns and are only good for a first guess.
    """

    mediapipe: Int[np.ndarray, "n_landmarks"]
    corners: Int[np.ndarray, "n_landmarks 3"]
    barycentric: Float[np.ndarray, "n_landmarks 3"]
    group: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.mediapipe)

    def positions(self, vertices: Vertices) -> Float[np.ndarray, "n_landmarks 3"]:
        """Where the landmarks lie on a posed mesh."""
        return np.einsum("lk,lkc->lc", self.barycentric, vertices[self.corners])

    def select(self, groups: tuple[str, ...]) -> "LandmarkTable":
        """The landmarks of some groups."""
        keep = np.array([g in groups for g in self.group], dtype=bool)
        return LandmarkTable(
            self.mediapipe[keep],
            self.corners[keep],
            self.barycentric[keep],
            tuple(g for g, kept in zip(self.group, keep, strict=True) if kept),
        )


@dataclass(frozen=True)
class MorphableModel:
    """S(alpha, beta) = mean + identity_basis alpha + expression_basis beta, before scale and pose.

    Bases are metres per unit of coefficient; coefficients have the given standard deviations. Texture is sRGB in 0..1.
    `expression_range` bounds coefficients that are weights (0..1 for blendshapes), or is (-inf, inf).
    """

    name: str
    mean: Vertices
    faces: Faces  # counter-clockwise seen from outside
    identity_basis: Float[np.ndarray, "n_identity n_verts 3"]
    identity_std: Float[np.ndarray, "n_identity"]
    expression_basis: Float[np.ndarray, "n_expression n_verts 3"]
    expression_std: Float[np.ndarray, "n_expression"]
    expression_names: tuple[str, ...]
    landmarks: LandmarkTable
    regions: dict[str, Bool[np.ndarray, "n_verts"]]
    texture_mean: Float[np.ndarray, "n_verts 3"] | None = None
    texture_basis: Float[np.ndarray, "n_texture n_verts 3"] | None = None
    texture_std: Float[np.ndarray, "n_texture"] | None = None
    expression_range: tuple[float, float] = (-np.inf, np.inf)
    source: str = ""  # where it came from and its licence, for `model show`

    @property
    def vertex_count(self) -> int:
        """Number of vertices."""
        return len(self.mean)

    def shape(self, identity: np.ndarray | None = None, expression: np.ndarray | None = None) -> Vertices:
        """Vertices in the head frame, metres."""
        vertices = self.mean.astype(np.float64)
        if identity is not None:
            vertices = vertices + np.tensordot(identity, self.identity_basis[: len(identity)], 1)
        if expression is not None:
            vertices = vertices + np.tensordot(expression, self.expression_basis, 1)
        return vertices

    def albedo(self, texture: np.ndarray | None = None) -> Float[np.ndarray, "n_verts 3"]:
        """sRGB in 0..1 of every vertex; a plain skin colour where the model has no texture."""
        if self.texture_mean is None:
            return np.tile(np.array([0.72, 0.56, 0.48]), (self.vertex_count, 1))
        if texture is None or self.texture_basis is None:
            return self.texture_mean.astype(np.float64)
        return self.texture_mean + np.tensordot(texture, self.texture_basis[: len(texture)], 1)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over everything that changes a reconstruction, hexadecimal."""
        digest = hashlib.sha256()
        arrays = [
            self.mean, self.faces, self.identity_basis, self.identity_std, self.expression_basis, self.expression_std,
            self.landmarks.mediapipe, self.landmarks.corners, self.landmarks.barycentric,
            *(self.regions[name] for name in sorted(self.regions)),
            *(a for a in (self.texture_mean, self.texture_basis, self.texture_std) if a is not None),
        ]  # fmt: skip
        for array in arrays:
            digest.update(str((array.dtype.str, array.shape)).encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()
