"""A clip at another rate."""

from animation.data.clip import Clip


def resample_clip(clip: Clip, fps: float) -> Clip:
    """The clip with frame k at k / fps: a frame that is there bit by bit, others linear between two."""
    raise NotImplementedError
