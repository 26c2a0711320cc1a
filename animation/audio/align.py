"""From an encoder's own beat to the frames': the one rule by which this project brings speech to meshes.

Every token stands for an instant, the middle of the samples that it covers: token k of an extractor that covers 400
samples and steps 320 (HuBERT, wav2vec 2.0, WavLM, our log-mel) for (320 k + 200) / 16 000 s. A frame gets what lies
between the two tokens around its instant, by a straight line; before the first and after the last token, theirs.

Stretching the tokens over the frames without looking at times, as `interpolate(tokens, size=n_frames)` does, is off by
up to half a frame: with `align_corners=True` it puts the first token, which stands for 12.5 ms, at 0 and the last one,
12.5 ms or more before the sound's end, at the last frame; both ways change with a clip's length.
"""

import numpy as np
from jaxtyping import Float, Float32

from animation.audio.encoder import Tokens
from mmface4d.errors import InputError


def align(tokens: Tokens, times_s: Float[np.ndarray, "n_frames"]) -> Float32[np.ndarray, "n_frames n_audio"]:
    """The tokens at the given instants: linear between two, held at the ends.

    `times_s` count as the tokens' own: from the first sample on. Raises InputError where there is no token, or where
    an instant is no number.
    """
    if not len(tokens.values):
        raise InputError("there are no speech features to align", hint="the sound is too short")
    if not np.isfinite(times_s).all():
        raise InputError("a frame's time is no number", hint="check the clip's rate")
    if len(tokens.values) == 1:
        return np.repeat(tokens.values, len(times_s), axis=0)
    after = np.clip(np.searchsorted(tokens.times_s, times_s), 1, len(tokens.times_s) - 1)
    start, end = tokens.times_s[after - 1], tokens.times_s[after]
    share = np.clip((times_s - start) / (end - start), 0.0, 1.0)[:, None].astype(np.float32)
    return (1.0 - share) * tokens.values[after - 1] + share * tokens.values[after]
