"""`actor.npz`: one actor's shape, skin and light, to be held for several takes; plain arrays, no pickles.

The arrays are those of ActorFit; `format`, `model`, `model_hash` and `key` say what they belong to.
"""

import zipfile
from pathlib import Path

import numpy as np

from mmface4d.errors import InputError, ModelError
from mmface4d.files import atomic_path
from mmface4d.results import forget_record
from mmface4d.transforms import is_rigid
from mmface4d.withdrawal import refuse_withdrawn
from reconstruct.models.model import MorphableModel
from reconstruct.parameters import Problem
from reconstruct.tracks import ActorFit

FORMAT = 1
OF_FILE = ("format", "model", "model_hash", "key")
_MAKE = "make it with: mmface4d reconstruct TAKE... --one-actor"


def write_actor(path: Path, fit: ActorFit, model: MorphableModel, *, key: str = "") -> None:
    """Writes the file by way of a temporary name; `key` says from what it was computed.

    A batch's record of the file that was there before is taken away.
    """
    forget_record(path)
    of_file = {"format": FORMAT, "model": model.name, "model_hash": model.content_hash, "key": key}
    with atomic_path(path) as partial:
        np.savez(partial, **of_file, **fit.arrays())


def read_actor(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file; raises InputError where it is no actor file, ConsentError in a withdrawn session."""
    refuse_withdrawn(path)
    if not path.is_file():
        raise InputError(f"{path} does not exist", hint=_MAKE)
    try:
        # numpy leaves a file open that it opened and cannot read
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        if int(arrays["format"]) != FORMAT:
            raise ValueError(f"it has format {arrays['format']}, this program reads {FORMAT}")
        if not all(arrays[name].shape == () for name in OF_FILE):
            raise ValueError("it does not say what it belongs to")
    # what numpy and zipfile raise on damaged and hostile files
    except (
        OSError,
        EOFError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        MemoryError,
        zipfile.BadZipFile,
    ) as error:
        raise InputError(f"{path} is no actor file: {error}", hint=_MAKE) from error
    return arrays


def load_actor(path: Path, problem: Problem) -> ActorFit:
    """An actor of the problem's model, on its device.

    Raises ModelError where the file belongs to another model, InputError where it is damaged.
    """
    arrays = read_actor(path)
    if str(arrays["model_hash"]) != problem.model.content_hash:
        raise ModelError(
            f"{path} is an actor of the model {arrays['model']}, not of this {problem.model.name}",
            hint=f"choose its model with --model, or {_MAKE}",
        )
    content = {name: value for name, value in arrays.items() if name not in OF_FILE}
    try:
        _check(content, problem)
        return ActorFit.from_arrays(content, problem.device)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is a damaged actor file: {error}", hint=_MAKE) from error


def _check(arrays: dict[str, np.ndarray], problem: Problem) -> None:
    """Raises ValueError where an array is missing, of another shape or not finite; others may be of any shape."""
    model = problem.model
    expected = {
        "identity": model.identity_std.shape,
        "expression": model.expression_std.shape,
        "texture": (0 if model.texture_basis is None else len(model.texture_basis),),
        "rotation": (3, 3),
        "translation": (3,),
        "log_scale": (),
        "frame": (),
        **dict.fromkeys(("offsets", "first_offsets", "vertex_colors"), model.mean.shape),
    }
    for name, shape in expected.items():
        if name not in arrays:
            raise ValueError(f"it has no {name}")
        if arrays[name].shape != shape:
            raise ValueError(f"its {name} is {arrays[name].shape}, the model asks for {shape}")
    for name, value in arrays.items():
        shape = {"lighting": (3, 9), "bias": (len(problem.table.mediapipe), 2), "move": (4, 4), "depth_bias": ()}.get(
            name.split("/")[0]
        )
        if shape is not None and value.shape != shape:
            raise ValueError(f"its {name} is {value.shape}, the model asks for {shape}")
        # skin of which a keyframe showed nothing is NaN
        if value.dtype.kind == "f" and not name.startswith("skin") and not np.isfinite(value).all():
            raise ValueError(f"its {name} is not finite")
        if name.startswith("move/") and not is_rigid(value):
            raise ValueError(f"its {name} is no rigid transform")
        if value.dtype.kind not in "fiub":
            raise ValueError(f"its {name} is {value.dtype}")
