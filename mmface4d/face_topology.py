"""A mesh's topology as rooms that know no morphable model need it: its template, triangles, landmarks and masks."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from mmface4d.arrays import Faces, Vertices


@dataclass(frozen=True)
class FaceTopology:
    """A mean face in the head frame: x to the subject's left, y up, z out of the face, metres.

    `landmarks` are the 68 iBUG points on the template, NaN where the model has none; `masks` are the model's own:
    upper_lip, lower_lip, lips, eyes, nostrils, mouth_interior, boundary.
    """

    name: str
    template: Vertices
    faces: Faces
    landmarks: Float[np.ndarray, "68 3"]
    masks: Mapping[str, Bool[np.ndarray, "n_verts"]]
