"""The neutral face that is to speak."""

import numpy as np

from animation.data.check import FACE_M, FAR_M
from animation.training.preprocessing import Preprocessing
from mmface4d.arrays import Vertices
from mmface4d.errors import InputError


def check_template(template: Vertices, about: Preprocessing, *, name: str = "the template") -> None:
    """Raises InputError where a face is not one that the model can move: another mesh, unit or frame."""
    wanted = about.topology.n_verts
    if template.shape != (wanted, 3):
        raise InputError(
            f"{name} has {len(template)} vertices, the model was trained on {about.topology.name} with {wanted}",
            hint="give a face with the vertices of the training data, in their order",
        )
    if not np.isfinite(template).all():
        raise InputError(f"{name} has vertices that are no numbers", hint="make it again")
    extent_m = float(np.ptp(template, axis=0).max())
    if not FACE_M[0] <= extent_m <= FACE_M[1]:
        raise InputError(f"{name} is {extent_m:.3g} m large", hint="give it in metres")
    away_m = float(np.linalg.norm(template.mean(axis=0) - about.normalisation.mean))
    if away_m > FAR_M:
        raise InputError(
            f"{name} lies {away_m:.3g} m from the faces of the training",
            hint="bring it to the head frame that the training data have",
        )
