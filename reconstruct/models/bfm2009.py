"""The Basel Face Model 2009 as Deng et al. write it: BFM_model_front.mat, with FaceWarehouse expressions.

The file stands in decimetres with axes of the head frame, counts from 1, and its bases carry their standard deviations.
"""

from pathlib import Path
from typing import Any

import numpy as np

from mmface4d.arrays import Vertices
from mmface4d.errors import ModelError
from reconstruct.models.furnish import SURVEYED_HEADS, Bare, furnish, outward
from reconstruct.models.landmark_sets import ibug_table
from reconstruct.models.model import MorphableModel
from reconstruct.models.texture import Texture

METRES_PER_UNIT = 0.1
KEYS = ("meanshape", "idBase", "exBase", "meantex", "texBase", "tri", "keypoints")
MAX_FILE_BYTES = 1 << 30
SOURCE = "Basel Face Model 2009, front crop of Deng et al., under the Basel licence of whoever added it"


def read_bfm2009(path: Path, *, name: str = "bfm2009", heads: int = SURVEYED_HEADS) -> MorphableModel:
    """Reads BFM_model_front.mat, of any size; raises ModelError where the file is another or its parts disagree."""
    content = _read(path)
    count = content["meanshape"].size // 3
    shape = content["meanshape"].reshape(count, 3) * METRES_PER_UNIT
    mean = shape - shape.mean(axis=0)
    identity, expression = (_basis(content[key], count) * METRES_PER_UNIT for key in ("idBase", "exBase"))
    texture = Texture(
        mean=(content["meantex"].reshape(count, 3) / 255).astype(np.float32),
        basis=(_basis(content["texBase"], count) / 255).astype(np.float32),
    )
    faces = outward(mean, content["tri"].astype(np.int32) - 1)
    anchors = ibug_table(content["keypoints"].astype(np.int64).ravel() - 1)

    def person(random: np.random.Generator) -> Vertices:
        parts = ((0.8, identity), (0.6, expression))
        return mean + sum(np.tensordot(scale * random.normal(size=len(basis)), basis, 1) for scale, basis in parts)

    furniture = furnish(Bare(mean, faces, person, anchors, texture), heads=heads)
    return MorphableModel(
        name=name,
        mean=mean.astype(np.float32),
        faces=faces,
        identity_basis=identity.astype(np.float32),
        identity_std=np.ones(len(identity), dtype=np.float32),
        expression_basis=expression.astype(np.float32),
        expression_std=np.ones(len(expression), dtype=np.float32),
        expression_names=tuple(f"expression{i:02d}" for i in range(len(expression))),
        landmarks=furniture.landmarks,
        regions=furniture.regions,
        texture_mean=texture.mean,
        texture_basis=texture.basis,
        texture_std=texture.std,
        source=f"{SOURCE}; {furniture.note}",
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    """The arrays, checked against each other."""
    from scipy.io import loadmat

    if not path.is_file():
        raise ModelError(f"{path} does not exist or is a folder", hint="give the file BFM_model_front.mat")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ModelError(f"{path} is larger than {MAX_FILE_BYTES >> 30} GiB", hint="BFM_model_front.mat has 0.1 GiB")
    try:
        content: dict[str, Any] = loadmat(path, variable_names=list(KEYS))
    except Exception as error:  # loadmat raises nearly anything on damaged files
        raise ModelError(f"{path} is no readable MAT file: {error}", hint=_HINT) from error
    missing = [key for key in KEYS if key not in content]
    if missing:
        raise ModelError(f"{path} is not Deng et al.'s BFM: it has no {', '.join(missing)}", hint=_HINT)
    arrays = {key: content[key] for key in KEYS}
    if wrong := _first_disagreement(arrays):
        raise ModelError(f"{path} is not Deng et al.'s BFM: {wrong}", hint=_HINT)
    return {key: array.astype(np.float64) for key, array in arrays.items()}


_HINT = "make BFM_model_front.mat with transferBFM09 of Deng et al.'s code from the Basel Face Model 2009"


def _first_disagreement(content: dict[str, np.ndarray]) -> str | None:
    for key in KEYS:
        if content[key].dtype.kind not in "fiu" or not np.isfinite(content[key]).all():
            return f"{key} does not consist of numbers"
    size = content["meanshape"].size
    if size % 3 or size == 0:
        return f"meanshape has {size} numbers"
    for key in ("idBase", "exBase", "texBase"):
        if content[key].ndim != 2 or len(content[key]) != size:
            return f"{key} is {content[key].shape}, meanshape has {size} numbers"
    if content["meantex"].size != size:
        return f"meantex has {content['meantex'].size} numbers, meanshape {size}"
    if content["tri"].ndim != 2 or content["tri"].shape[1] != 3 or content["keypoints"].size != 68:
        return f"tri is {content['tri'].shape} and there are {content['keypoints'].size} keypoints, not 68"
    for key in ("tri", "keypoints"):
        if content[key].min() < 1 or content[key].max() > size // 3:
            return f"{key} names vertices that are not there"
    return None


def _basis(columns: np.ndarray, count: int) -> np.ndarray:
    """[3N, K] -> [K, N, 3]."""
    return columns.T.reshape(-1, count, 3)
