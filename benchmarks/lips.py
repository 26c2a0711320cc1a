"""How far the mouth opens: between the inner lips' landmarks of a true sequence and of a reconstructed one."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from mmface4d.errors import Mmface4dError
from reconstruct.models.library import load_model
from reconstruct.models.model import MorphableModel

PAIRS = ((13, 14), (82, 87), (312, 317))  # MediaPipe's upper and lower inner lip: the middle, and beside it
LEAST_RANGE_MM = 5.0  # a mouth that moves less says nothing


def aperture(truth_file: Path, sequence_file: Path, model: str) -> dict[str, float]:
    """Error of the opening in mm, and millimetres opened for one that is true. Empty where nothing can be compared.

    Models put the same landmark on slightly different points of a lip, so a constant difference is not an error.
    """
    try:
        of_truth, of_sequence = load_model("ict"), load_model(model)
    except Mmface4dError:
        return {}
    truth, sequence = np.load(truth_file), np.load(sequence_file)
    if truth["vertices"].shape[1:] != of_truth.mean.shape:
        return {}
    at = [int(np.abs(truth["timestamps_usec"] - usec).argmin()) for usec in sequence["timestamps_usec"]]
    true_mm = opening_mm(of_truth, truth["vertices"][at])
    if np.ptp(true_mm) < LEAST_RANGE_MM:
        return {}
    found_mm = opening_mm(of_sequence, sequence["vertices"])
    return {
        "aperture_error": float((found_mm - true_mm).std()),
        "aperture_slope": float(np.polyfit(true_mm, found_mm, 1)[0]),
    }


def opening_mm(
    model: MorphableModel, vertices: Float[np.ndarray, "n_frames n_verts 3"]
) -> Float[np.ndarray, "n_frames"]:
    """Mean distance of the pairs."""
    row = {int(index): row for row, index in enumerate(model.landmarks.mediapipe)}
    points = np.stack([model.landmarks.positions(frame) for frame in vertices.astype(np.float64)])
    gaps = [np.linalg.norm(points[:, row[upper]] - points[:, row[lower]], axis=1) for upper, lower in PAIRS]
    return 1e3 * np.mean(gaps, 0)
