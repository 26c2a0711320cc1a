"""Batches of prepared clips: random crops to train on, whole clips to judge by."""

from collections.abc import Iterator, Sequence

import numpy as np

from animation.data.batch import Batch
from animation.data.corpus import Split
from animation.data.prepared import Prepared, PreparedClip


def training_batches(
    prepared: Prepared, *, batch_size: int, crop_frames: int, generator: np.random.Generator,
    driver_frames: int | None = None, split: Split = "train",
) -> Iterator[Batch]:  # fmt: skip
    """Batches without end; each depends on the generator's state alone, so that saving that state is enough to go on.

    The clips of a batch differ where there are enough. A driver is a crop (of `driver_frames`, or `crop_frames`) of
    another clip of the same subject where there is one.
    """
    raise NotImplementedError


def clip_batch(prepared: Prepared, clips: Sequence[PreparedClip], *, drivers: Sequence[PreparedClip]) -> Batch:
    """Whole clips, each with a whole driver, padded at the end."""
    raise NotImplementedError
