"""Masks of a mesh's regions, from the files that people keep them in."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from animation.data.corpus import NEEDED_MASKS, Mask
from mmface4d.errors import InputError
from mmface4d.npy import map_npy
from mmface4d.safe_pickle import read_pickle
from mmface4d.text_file import read_text

MOST_TEXT_BYTES = 256 << 20
WEIGHT = 0.5  # a vertex with at least this much belongs to a mask that is given as weights
_HINT = "give vertex numbers from 0, or 0 and 1 for every vertex, as .txt or .npy"


def check_mask(name: str, vertices: np.ndarray, *, n_verts: int, where: str) -> Mask:
    """A mask of some vertices, sorted, each once; raises InputError where they are none of the mesh's."""
    if vertices.ndim != 1 or vertices.dtype.kind not in "iu" or not len(vertices):
        raise InputError(f"{where}: the mask {name} is {vertices.dtype} {vertices.shape}", hint=_HINT)
    lowest, highest = int(vertices.min()), int(vertices.max())
    if lowest < 0 or highest >= n_verts:
        raise InputError(
            f"{where}: the mask {name} names vertices from {lowest} to {highest}, there are {n_verts}",
            hint="it belongs to another topology",
        )
    return Mask(name, np.unique(vertices.astype(np.int32)))


def read_masks(files: Mapping[str, Path], *, n_verts: int, known: Mapping[str, Mask]) -> dict[str, Mask]:
    """Masks by name, from files or else those that are known; `face` is every vertex unless something says otherwise.

    Raises InputError where one is missing.
    """
    masks = {**known, **{name: read_mask(name, path, n_verts=n_verts) for name, path in files.items()}}
    masks.setdefault("face", Mask("face", np.arange(n_verts, dtype=np.int32)))
    if missing := [name for name in NEEDED_MASKS if name not in masks]:
        raise InputError(
            f"nothing says which vertices are the {missing[0]}",
            hint=f"put masks/{missing[0]}.txt or .npy into the folder, with the numbers of its vertices",
        )
    return masks


def read_mask(name: str, path: Path, *, n_verts: int) -> Mask:
    """Of vertex numbers ("2, 6, 21"), or of a number for every vertex: 0 and 1, or weights up to 1.

    Numbers for every vertex are told by their count. From FLAME_masks.pkl, the entry of that name.
    """
    values = _read_numbers(name, path)
    if values.dtype.kind not in "fiub" or not np.isfinite(values).all():
        raise InputError(f"{path} holds no vertex numbers", hint=_HINT)
    flags = len(values) == n_verts and float(values.min(initial=0)) >= 0 and float(values.max(initial=0)) <= 1
    if flags:
        values = np.flatnonzero(values >= WEIGHT)
    elif len(values) > 2 and np.isin(values, (0, 1)).all():  # as vertex numbers they would be two vertices
        raise InputError(f"{path} holds {len(values)} times 0 or 1, there are {n_verts} vertices", hint=_HINT)
    whole = values.astype(np.int64)
    if not np.array_equal(whole, values):
        raise InputError(f"{path} holds {len(values)} weights, there are {n_verts} vertices", hint=_HINT)
    return check_mask(name, whole, n_verts=n_verts, where=str(path))


def _read_numbers(name: str, path: Path) -> np.ndarray:
    if path.suffix == ".npy":
        return np.array(map_npy(path, hint=_HINT)).reshape(-1)
    if path.suffix == ".pkl":
        return _from_pickle(name, path)
    words = [word for word in re.split(r"[\s,;\[\]]+", read_text(path, max_bytes=MOST_TEXT_BYTES)) if word]
    try:
        return np.array([float(word) for word in words])
    except ValueError as error:
        raise InputError(f"{path} holds something else than numbers: {error}", hint=_HINT) from error


def _from_pickle(name: str, path: Path) -> np.ndarray:
    content = read_pickle(path)
    parts = _PARTS.get(name, (name,))
    found = [content.get(part) for part in parts] if isinstance(content, dict) else []
    arrays = [np.asarray(each).reshape(-1) for each in found if isinstance(each, np.ndarray)]
    if len(arrays) < len(parts):
        raise InputError(f"{path} has no mask {name}", hint="FLAME_masks.pkl has lips, forehead, eye_region and face")
    return np.unique(np.concatenate(arrays))


# FLAME's own file has no upper face; the field takes it for forehead and eye region
_PARTS = {"upper_face": ("forehead", "eye_region")}
