"""Sound as other programs want it."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from mmface4d.files import atomic_path


def write_wav(path: Path, samples: Float[np.ndarray, "n_samples"], *, rate_hz: int) -> None:
    """16-bit PCM, mono, of samples between -1 and 1."""
    import soundfile

    with atomic_path(path) as partial:
        soundfile.write(partial, samples, rate_hz, subtype="PCM_16", format="WAV")
