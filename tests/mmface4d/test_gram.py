"""Inner products of long rows, against the plain formula."""

import numpy as np
import pytest

from mmface4d.gram import BLOCK, gram


@pytest.mark.parametrize("columns", [0, 1, BLOCK - 1, BLOCK, 2 * BLOCK + 7])
def test_blocks_are_the_whole(columns: int) -> None:
    rows = np.random.default_rng(columns).normal(size=(3, columns)).astype(np.float32)
    exact = rows.astype(np.float64)
    np.testing.assert_allclose(gram(rows), exact @ exact.T, rtol=1e-12, atol=1e-12)
