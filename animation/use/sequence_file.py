"""An animation as a mesh-sequence file, which all of this project's other commands read."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from animation.training.preprocessing import Preprocessing
from animation.use.generate import Frames
from mmface4d.progress import progress
from mmface4d.sequence import write_sequence

# the head frame has y up and z out of the face, the world y down and z away from the camera: half a turn about x
WORLD_FROM_HEAD = np.array([0.0, 1.0, 0.0, 0.0], np.float32)  # as a quaternion (w, x, y, z)
TURN = np.array([1.0, -1.0, -1.0], np.float32)  # the same as factors of x, y, z


def write_animation(path: Path, frames: Iterator[Frames], *, n_frames: int, about: Preprocessing) -> None:
    """Writes frames of the head frame as they come; the head stands still in the world's origin."""
    rows = (row for block in frames for row in block)
    with progress(f"animating {path.stem}", n_frames) as bar:

        def read_frame(frame: int) -> dict[str, np.ndarray]:
            bar.advance()
            return {
                "vertices": next(rows) * TURN,
                "timestamps_usec": np.array(round(1e6 * frame / about.fps), np.int64),
                "rotation": WORLD_FROM_HEAD,
                "translation": np.zeros(3, np.float32),
            }

        of_sequence = {
            "faces": about.topology.faces.astype(np.int32), "fps": about.fps, "model": about.topology.name,
            "solver": about.model,
        }  # fmt: skip
        write_sequence(path, of_sequence=of_sequence, frame_count=n_frames, read_frame=read_frame)
