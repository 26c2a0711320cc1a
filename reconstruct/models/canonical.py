"""The `canonical` morphable model, which ships with the project."""

from functools import cache
from importlib import resources

import numpy as np

from mmface4d.errors import ModelError
from reconstruct.models.model import REGIONS, LandmarkTable, MorphableModel

FORMAT = 1
SOURCE = (
    "built into the project (MIT) by reconstruct.models.build.canonical; topology and mean shape start from "
    "MediaPipe's canonical face mesh (Apache License 2.0)"
)


@cache
def load_canonical() -> MorphableModel:
    """The built-in head front: 80 identity modes, 51 expressions named after ARKit's, a texture; metres.

    Raises ModelError where the installation is incomplete.
    """
    file = resources.files("reconstruct.models") / "data" / "canonical.npz"
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        if int(arrays["format"]) != FORMAT:
            raise ModelError(f"{file} has format {int(arrays['format'])}, not {FORMAT}", hint="install mmface4d again")
        return _model(arrays)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"the built-in model {file} is damaged: {error}", hint="install mmface4d again") from error


def _basis(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    """A stored basis [modes, n_verts, 3], in metres or sRGB."""
    return (arrays[f"{name}_values"] * arrays[f"{name}_scale"][:, None, None]).astype(np.float32)


def _model(arrays: dict[str, np.ndarray]) -> MorphableModel:
    identity, expression, texture = (_basis(arrays, name) for name in ("identity", "expression", "texture"))
    return MorphableModel(
        name="canonical",
        mean=arrays["mean"],
        faces=arrays["faces"],
        identity_basis=identity,
        identity_std=np.ones(len(identity), dtype=np.float32),
        expression_basis=expression,
        expression_std=arrays["expression_std"].astype(np.float32),
        expression_names=tuple(str(name) for name in arrays["expression_names"]),
        landmarks=LandmarkTable(
            arrays["landmark_mediapipe"],
            arrays["landmark_corners"],
            arrays["landmark_barycentric"],
            tuple(str(group) for group in arrays["landmark_group"]),
        ),
        regions={name: arrays[f"region_{name}"] for name in REGIONS},
        texture_mean=arrays["texture_mean"],
        texture_basis=texture,
        texture_std=np.ones(len(texture), dtype=np.float32),
        expression_range=(0.0, 1.0),
        source=SOURCE,
    )
