"""A clip at another rate."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float32

from animation.data.clip import Clip
from mmface4d.errors import InputError, UsageError
from mmface4d.frame_rates import LEAST_FPS, MOST_FPS, frames_at_rate


def resample_clip(clip: Clip, fps: float) -> Clip:
    """The clip with frame k at k / fps: a frame that is there bit by bit, others linear between two.

    It ends with the last instant that both have; the sound stays as it is. Nothing is read before it is asked for.
    Raises UsageError for a rate that no recording has; reading raises InputError where frames are missing.
    """
    if not LEAST_FPS <= fps <= MOST_FPS:
        raise UsageError(f"{fps:g} frames a second cannot be meant", hint="usual rates are 25, 30 and 60")
    if fps == clip.fps:
        return clip
    places = frames_at_rate(clip.n_frames, clip.fps, target_fps=fps)

    def frames(start: int, stop: int) -> Float32[np.ndarray, "n_read n_verts 3"]:
        wanted = places[start:stop]
        if not len(wanted):
            return clip.frames(0, 0)
        before = np.floor(wanted).astype(int)
        weight = (wanted - before)[:, None, None]
        first, last = int(before[0]), int(np.ceil(wanted[-1]))
        read = clip.frames(first, last + 1)
        if len(read) <= last - first:
            raise InputError(f"{clip.name}: it has fewer frames than it says, {clip.n_frames}", hint="leave it out")
        rows = before - first
        out = read[rows]
        between = weight[:, 0, 0] > 0
        after = read[rows[between] + 1].astype(np.float64)
        out[between] = (1 - weight[between]) * out[between] + weight[between] * after
        return out

    return replace(clip, fps=fps, n_frames=len(places), frames=frames, frames_sha256="")
