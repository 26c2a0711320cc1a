"""The safe local format of morphable models: one npz without pickles, its hash inside, checked on load."""

import hashlib
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from mmface4d.errors import ModelError
from mmface4d.files import atomic_path
from reconstruct.models.model import REGIONS, LandmarkTable, MorphableModel

FORMAT = 1
MAX_FILE_BYTES = 2 << 30  # BFM 2009 with all its bases is 96 MB
_OPTIONAL = ("texture_mean", "texture_basis", "texture_std")
_ARRAYS = ("mean", "faces", "identity_basis", "identity_std", "expression_basis", "expression_std")
_LANDMARKS = ("mediapipe", "corners", "barycentric")


def save_model(path: Path, model: MorphableModel) -> None:
    """Writes a model; the file appears whole or not at all."""
    arrays = _to_arrays(model)
    header = {**_header(model), "sha256": _digest(arrays, _header(model))}
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    with atomic_path(path) as partial, partial.open("wb") as out:
        # not compressed: bases hardly shrink, and loading is three times quicker
        np.savez(out, **arrays)  # pyright: ignore[reportArgumentType]


def load_model_file(path: Path) -> MorphableModel:
    """Reads a model and checks its hash; raises ModelError where the file is missing, damaged or of another kind."""
    header, arrays = _read(path, names=None)
    stored = header.pop("sha256", None)
    if stored != _digest(arrays, header):
        raise ModelError(
            f"{path} is damaged: its contents do not match the hash in it",
            hint="add the model again: mmface4d model add",
        )
    try:
        model = _from_arrays(header, arrays)
        _check(model)
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise _not_ours(path) from error
    return model


def read_header(path: Path) -> dict[str, Any]:
    """Name, source and counts of a stored model, without reading its arrays."""
    return _read(path, names=("header",))[0]


def _header(model: MorphableModel) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "name": model.name,
        "vertices": model.vertex_count,
        "identities": len(model.identity_basis),
        "expressions": len(model.expression_basis),
        "textures": 0 if model.texture_basis is None else len(model.texture_basis),
        "landmarks": len(model.landmarks),
        "expression_names": list(model.expression_names),
        "landmark_groups": list(model.landmarks.group),
        # JSON has no infinity
        "expression_range": [x if np.isfinite(x) else None for x in model.expression_range],
        "source": model.source,
    }


def _to_arrays(model: MorphableModel) -> dict[str, np.ndarray]:
    arrays = {name: np.asarray(getattr(model, name)) for name in _ARRAYS}
    arrays |= {name: np.asarray(v) for name in _OPTIONAL if (v := getattr(model, name)) is not None}
    arrays |= {f"landmark_{name}": np.asarray(getattr(model.landmarks, name)) for name in _LANDMARKS}
    arrays |= {f"region_{name}": np.asarray(mask) for name, mask in model.regions.items()}
    return {k: v.astype(np.float32) if v.dtype == np.float64 else v for k, v in arrays.items()}


def _from_arrays(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> MorphableModel:
    low, high = header["expression_range"]
    prefix = "region_"
    return MorphableModel(
        name=header["name"],
        **{name: arrays[name] for name in _ARRAYS},
        texture_mean=arrays.get("texture_mean"),
        texture_basis=arrays.get("texture_basis"),
        texture_std=arrays.get("texture_std"),
        expression_names=tuple(header["expression_names"]),
        landmarks=LandmarkTable(
            **{name: arrays[f"landmark_{name}"] for name in _LANDMARKS}, group=tuple(header["landmark_groups"])
        ),
        regions={k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)},
        expression_range=(-np.inf if low is None else low, np.inf if high is None else high),
        source=header["source"],
    )


def _check(model: MorphableModel) -> None:
    """Raises ValueError where arrays do not fit each other; a hash tells of damage, not of what was hashed."""
    count, marks = model.vertex_count, len(model.landmarks)
    bases = [(model.identity_basis, model.identity_std), (model.expression_basis, model.expression_std)]
    if model.texture_basis is not None and model.texture_std is not None:
        bases.append((model.texture_basis, np.maximum(model.texture_std, 1e-9)))
    fits = all(basis.shape == (len(std), count, 3) and (std > 0).all() for basis, std in bases)
    fits &= model.mean.shape == (count, 3) and all(mask.shape == (count,) for mask in model.regions.values())
    fits &= all(len(part) == marks for part in (model.landmarks.corners, model.landmarks.barycentric))
    for index, most in ((model.faces, count), (model.landmarks.corners, count), (model.landmarks.mediapipe, 478)):
        fits &= index.dtype.kind in "iu" and (not index.size or (index.min() >= 0 and index.max() < most))
    if not fits or not set(REGIONS) <= model.regions.keys():
        raise ValueError("arrays that do not fit each other")


def _digest(arrays: dict[str, np.ndarray], header: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype.str} {arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).data)
    return digest.hexdigest()


def _read(path: Path, *, names: tuple[str, ...] | None) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    if not path.is_file():
        raise ModelError(f"{path} does not exist", hint="`mmface4d model list` shows the models there are")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ModelError(f"{path} is larger than {MAX_FILE_BYTES >> 30} GiB", hint="this is not a file of ours")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in names or archive.files}
        header = json.loads(arrays.pop("header").tobytes())
    except (OSError, ValueError, KeyError, AttributeError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise _not_ours(path) from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ModelError(
            f"{path} has an unknown format", hint="add the model again with this version: mmface4d model add"
        )
    return header, arrays


def _not_ours(path: Path) -> ModelError:
    return ModelError(f"{path} is not a stored model or is damaged", hint="add the model again: mmface4d model add")
