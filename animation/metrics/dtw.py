"""Dynamic time warping of a predicted and a true motion: what comes late costs less than what is wrong."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.distance import cdist

TABLE_VALUES = 1 << 21  # in memory at a time


def dtw(
    predicted: Float[np.ndarray, "n_predicted n_verts 3"], truth: Float[np.ndarray, "n_true n_verts 3"],
    *, vertices: Int[np.ndarray, "n_in_mask"],
) -> float:  # fmt: skip
    """The cheapest path's sum, in metres, where a pair of frames costs the mean distance of the mask's vertices.

    Steps go on by one frame in either or both, with weight 1; the sum is not divided by anything (the MM 2023
    audio2face code), so that it grows with the length.
    """
    return path_cost(_costs(predicted[:, vertices], truth[:, vertices]))


def path_cost(rows: Iterator[Float[np.ndarray, "n_columns"]]) -> float:
    """The sum of the cheapest path through a table that comes row by row.

    Within a row the recurrence a[j] = c[j] + min(a[j - 1], m[j]) has the solution C[j] + min over k <= j of
    m[k] - C[k - 1], where C are the running sums of c.
    """
    before: np.ndarray | None = None
    for row in rows:
        sums = np.cumsum(row)
        if before is None:
            before = sums
            continue
        entered = np.minimum(before, np.concatenate([[np.inf], before[:-1]]))
        before = sums + np.minimum.accumulate(entered - (sums - row))
    return float(before[-1]) if before is not None and len(before) else float("nan")


def _costs(predicted: np.ndarray, truth: np.ndarray) -> Iterator[np.ndarray]:
    """Rows of the table, some at a time."""
    n_verts = truth.shape[1]
    at_once = max(1, TABLE_VALUES // max(1, len(truth)))
    for start in range(0, len(predicted), at_once):
        some = predicted[start : start + at_once]
        total = np.zeros((len(some), len(truth)))
        for vertex in range(n_verts):
            total += cdist(some[:, vertex], truth[:, vertex])
        yield from total / n_verts
