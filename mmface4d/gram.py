"""Inner products of rows that are too long to be copied in double precision."""

import numpy as np
from jaxtyping import Float, Float64

BLOCK = 1 << 14  # columns at a time


def gram(rows: Float[np.ndarray, "n_rows n_columns"]) -> Float64[np.ndarray, "n_rows n_rows"]:
    """rows @ rows.T in float64, in blocks, because float64 of everything would need twice the memory."""
    out = np.zeros((len(rows), len(rows)))
    for first in range(0, rows.shape[1], BLOCK):
        block = rows[:, first : first + BLOCK].astype(np.float64)
        out += block @ block.T
    return out
