"""The library of morphable models: the built-in `canonical` and those the user has added."""

import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from mmface4d.errors import ModelError, UsageError
from reconstruct.models.model import MorphableModel
from reconstruct.models.store import load_model_file, read_header, save_model

BUILT_IN = "canonical"
KINDS = ("ict", "bfm2009", "flame")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class ModelCard:
    """What `model list` says of a model; `problem` is set where the file cannot be read."""

    name: str
    vertices: int
    identities: int
    expressions: int
    textures: int
    landmarks: int
    source: str
    path: Path | None
    problem: str | None = None


def models_folder() -> Path:
    """Where added models lie: $MMFACE4D_MODELS, or the user's data folder of the platform."""
    if folder := os.environ.get("MMFACE4D_MODELS"):
        return Path(folder).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "mmface4d" / "models"


def model_path(name: str) -> Path:
    """Where a model of that name is stored; raises UsageError for names that are no file names."""
    if not _NAME.fullmatch(name) or name.endswith("."):
        raise UsageError(f"{name!r} cannot be a model's name", hint="use letters, digits, dots, dashes and underscores")
    return models_folder() / f"{name}.npz"


def load_model(name: str) -> MorphableModel:
    """The model of that name; raises ModelError where there is none or its file is damaged."""
    if name == BUILT_IN:
        from reconstruct.models.canonical import load_canonical

        return load_canonical()
    path = model_path(name)
    if not path.is_file():
        known = ", ".join([BUILT_IN, *(p.stem for p in _stored())])
        raise ModelError(
            f"no model is called {name!r}; there are: {known}", hint="add it: mmface4d model add KIND PATH"
        )
    return load_model_file(path)


def list_models() -> list[ModelCard]:
    """Cards of all models, the built-in one first; a damaged file gets a card that says so."""
    return [_card_of(load_model(BUILT_IN), None), *(_stored_card(path) for path in _stored())]


def model_card(name: str) -> ModelCard:
    """The card of one model, whose file is read and verified."""
    return _card_of(load_model(name), None if name == BUILT_IN else model_path(name))


def add_model(kind: str, source: Path, *, name: str | None = None, region: str = "face") -> ModelCard:
    """Converts a user's model once and stores it; replaces one of the same name.

    `region` is `face` or `head`, for models that cover more than the face.
    Raises ModelError where `source` is something else.
    """
    name = name or kind
    if name == BUILT_IN:
        raise UsageError(f"{BUILT_IN} is built in and cannot be replaced", hint="give another name with --name")
    target = model_path(name)
    model = _read(kind, source, name=name, region=region)
    save_model(target, model)
    return _card_of(model, target)


def _read(kind: str, source: Path, *, name: str, region: str) -> MorphableModel:
    if kind == "ict":
        from reconstruct.models.ict import read_ict

        return read_ict(source, name=name, region=region)
    if kind == "bfm2009":
        from reconstruct.models.bfm2009 import read_bfm2009

        return read_bfm2009(source, name=name)
    if kind == "flame":
        from reconstruct.models.flame import read_flame

        return read_flame(source, name=name, region=region)
    raise UsageError(f"{kind!r} is no kind of model", hint=f"one of {', '.join(KINDS)}")


def _stored() -> list[Path]:
    folder = models_folder()
    paths = sorted(folder.glob("*.npz")) if folder.is_dir() else []
    return [path for path in paths if _NAME.fullmatch(path.stem)]  # a killed writer's partial file starts with a dot


def _stored_card(path: Path) -> ModelCard:
    try:
        header = read_header(path)
    except ModelError as error:
        return ModelCard(path.stem, 0, 0, 0, 0, 0, "", path, problem=error.message)
    names = ("vertices", "identities", "expressions", "textures", "landmarks")
    if not all(isinstance(header.get(name), int) for name in names):
        return ModelCard(path.stem, 0, 0, 0, 0, 0, "", path, problem=f"{path} does not say what it holds")
    vertices, identities, expressions, textures, landmarks = (int(header[name]) for name in names)
    source = str(header.get("source", ""))
    return ModelCard(path.stem, vertices, identities, expressions, textures, landmarks, source, path)


def _card_of(model: MorphableModel, path: Path | None) -> ModelCard:
    textures = 0 if model.texture_basis is None else len(model.texture_basis)
    counts = (
        model.vertex_count,
        len(model.identity_basis),
        len(model.expression_basis),
        textures,
        len(model.landmarks),
    )
    return ModelCard(model.name, *counts, model.source, path)
