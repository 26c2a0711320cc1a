"""What a release brings for measuring predictions: vertex lists, definitions, and the scores of the simplest guess."""

import json
from typing import Any

import numpy as np
from jaxtyping import Float

from corpus.release.reader import Release, ReleaseItem
from mmface4d.transforms import rotation_from_quaternion

LISTS = ("lips", "mouth", "upper_face", "face")
MOST_SEQUENCES = 200  # of the test split, the first by name
DEFINITIONS = """\
# Evaluation

Vertex numbers count from 0. `lips.txt`, `mouth.txt`, `upper_face.txt` and `face.txt` hold those of the regions of the
same name in `topology/regions.json`, with commas between.

All errors are measured in the head's frame, in millimetres: a vertex p of the file (camera frame, metres) is
R^T (p - t) there, with `rotation` and `translation` of its frame; a prediction that is in the head's frame already
stays as it is.

| metric | definition |
|---|---|
| lip vertex error | per frame the largest distance over the vertices of `lips.txt`, then the mean over all frames |
| mean lip error | the mean distance over the vertices of `lips.txt` and all frames |
| mean face error | the mean distance over the vertices of `face.txt` and all frames |
| upper face dynamics | mean over the vertices of `upper_face.txt` of a standard deviation, true minus predicted |

The standard deviation is that over time of a vertex' distance to its mean position in the sequence.

`scores.json` holds the scores of a guess that knows nothing of the sound: every frame is the sequence's first one.
State which list you used when you compare; lists of other data sets differ.
"""


def write_evaluation(release: Release) -> None:
    """Writes `eval/`."""
    folder = release.path / "eval"
    folder.mkdir()
    for name in LISTS:
        text = ", ".join(map(str, release.regions[name]))
        (folder / f"{name}.txt").write_text(text + "\n", encoding="ascii")
    (folder / "README.md").write_text(DEFINITIONS, encoding="utf-8")
    (folder / "scores.json").write_text(json.dumps(reference_scores(release), indent=1) + "\n", encoding="utf-8")


def reference_scores(release: Release) -> dict[str, Any]:
    """Scores of the first frame held; None where the test split has no sequence."""
    items = [item for _, item in zip(range(MOST_SEQUENCES), release.items("test"), strict=False)]
    rows = [held_scores(release, item) for item in items]
    frames = np.array([item.row.frames for item in items], dtype=float)
    weights = frames / frames.sum() if rows else frames
    names = ("lip_vertex_error_mm", "mean_lip_error_mm", "mean_face_error_mm", "upper_face_dynamics_deviation_mm")
    means = (np.array(rows).T @ weights).round(4).tolist() if rows else [None] * len(names)
    guess = {"guess": "the first frame held", "split": "test", "sequences": len(rows), "frames": int(frames.sum())}
    return {**guess, **dict(zip(names, means, strict=True))}


def held_scores(release: Release, item: ReleaseItem) -> tuple[float, float, float, float]:
    """The four metrics of one sequence, in the order of the definitions."""
    mesh = release.mesh(item)
    in_head_mm = 1e3 * head_frame(mesh)
    distance = np.linalg.norm(in_head_mm - in_head_mm[:1], axis=2)
    lips, face, upper = (distance[:, release.regions[name]] for name in ("lips", "face", "upper_face"))
    moved = in_head_mm[:, release.regions["upper_face"]]
    dynamics = np.linalg.norm(moved - moved.mean(0), axis=2).std(0).mean() if upper.size else 0.0
    means = [float(part.mean()) if part.size else 0.0 for part in (lips, face)]
    return float(lips.max(1).mean()) if lips.size else 0.0, means[0], means[1], float(dynamics)


def head_frame(mesh: dict[str, np.ndarray]) -> Float[np.ndarray, "n_frames n_verts 3"]:
    """Vertices in the head's frame; as they are where the file holds no head pose."""
    vertices = mesh["vertices"].astype(np.float64)
    if "rotation" not in mesh or "translation" not in mesh:
        return vertices
    rotation = np.stack([rotation_from_quaternion(each) for each in mesh["rotation"].astype(np.float64)])
    return np.einsum("tji,tnj->tni", rotation, vertices - mesh["translation"][:, None].astype(np.float64))
