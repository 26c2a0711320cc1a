"""What stands between meshes and sound and a trained model: kept beside its weights, so that both can be made again.

`preprocess.json` holds it, but for the triangles, which are in `topology.npz`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from animation.data.corpus import NEEDED_MASKS, Mask, Topology
from animation.data.normalisation import Normalisation
from animation.models.interface import ModelShape
from mmface4d.errors import InputError
from mmface4d.files import atomic_path, write_json
from mmface4d.npz import read_npz, write_npz
from mmface4d.subject import mistakes
from mmface4d.text_file import read_text

PREPROCESS_FILE, TOPOLOGY_FILE = "preprocess.json", "topology.npz"
MAX_TOPOLOGY_BYTES, MAX_JSON_BYTES = 256 << 20, 64 << 20
DAMAGED = "the file is damaged or of another model; train again, or copy the whole folder"


@dataclass(frozen=True)
class EncoderRecord:
    """Which features of speech a model hears: what opens the encoder, what it was exactly, numbers a frame."""

    spec: str
    identity: str
    n_audio: int


@dataclass(frozen=True)
class Preprocessing:
    """How clips become what a model sees, and back."""

    model: str  # the animation model's name, such as audio2face
    fps: float
    topology: Topology
    normalisation: Normalisation
    encoder: EncoderRecord
    subjects: tuple[str, ...]  # training subjects, in the order in which the model counts them

    @property
    def shape(self) -> ModelShape:
        """What the data fix of the model's size."""
        return ModelShape(
            n_verts=self.topology.n_verts,
            n_audio=self.encoder.n_audio,
            n_subjects=len(self.subjects),
            fps=self.fps,
            masks={name: tuple(mask.vertices.tolist()) for name, mask in self.topology.masks.items()},
        )


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _MaskRecord(_Strict):
    sha256: str
    vertices: list[int] = Field(min_length=1)


class _TopologyRecord(_Strict):
    name: str
    sha256: str
    n_verts: int = Field(ge=3, le=10_000_000)
    masks: dict[str, _MaskRecord]


class _NormalisationRecord(_Strict):
    mean: tuple[float, float, float]
    std: float = Field(gt=0)


class _EncoderFile(_Strict):
    spec: str
    identity: str
    n_audio: int = Field(ge=1, le=1 << 16)


class _Record(_Strict):
    format: Literal[1] = 1
    model: str
    fps: float = Field(gt=0, le=1000)
    topology: _TopologyRecord
    normalisation: _NormalisationRecord
    encoder: _EncoderFile
    subjects: list[str] = Field(min_length=1)


def write_preprocessing(folder: Path, preprocessing: Preprocessing) -> None:
    """Writes `preprocess.json` and `topology.npz` into a folder."""
    topology = preprocessing.topology
    with atomic_path(folder / TOPOLOGY_FILE) as partial:
        write_npz(partial, {"faces": topology.faces.astype("<i4")})
    write_json(folder / PREPROCESS_FILE, preprocessing_json(preprocessing))


def preprocessing_json(preprocessing: Preprocessing) -> dict[str, Any]:
    """What `preprocess.json` says."""
    return _record(preprocessing).model_dump(mode="json")


def read_preprocessing(folder: Path) -> Preprocessing:
    """Reads what `write_preprocessing` wrote; raises InputError where anything does not fit together."""
    path = folder / PREPROCESS_FILE
    try:
        record = _Record.model_validate_json(read_text(path, max_bytes=MAX_JSON_BYTES))
    except ValidationError as error:
        raise InputError(f"{path} is damaged: {mistakes(error)}", hint=DAMAGED) from error
    return Preprocessing(
        model=record.model,
        fps=record.fps,
        topology=_topology(record.topology, _read_faces(folder / TOPOLOGY_FILE), path=path),
        normalisation=Normalisation(np.array(record.normalisation.mean), record.normalisation.std),
        encoder=EncoderRecord(**record.encoder.model_dump()),
        subjects=tuple(record.subjects),
    )


def _record(preprocessing: Preprocessing) -> _Record:
    topology, scale, encoder = preprocessing.topology, preprocessing.normalisation, preprocessing.encoder
    masks = {
        name: _MaskRecord(sha256=mask.sha256, vertices=mask.vertices.tolist()) for name, mask in topology.masks.items()
    }
    return _Record(
        model=preprocessing.model,
        fps=preprocessing.fps,
        topology=_TopologyRecord(name=topology.name, sha256=topology.sha256, n_verts=topology.n_verts, masks=masks),
        normalisation=_NormalisationRecord(mean=_xyz(scale.mean), std=float(scale.std)),
        encoder=_EncoderFile(spec=encoder.spec, identity=encoder.identity, n_audio=encoder.n_audio),
        subjects=list(preprocessing.subjects),
    )


def _xyz(point: np.ndarray) -> tuple[float, float, float]:
    x, y, z = point.tolist()
    return x, y, z


def _read_faces(path: Path) -> np.ndarray:
    if not path.is_file() or path.stat().st_size > MAX_TOPOLOGY_BYTES:
        raise InputError(f"{path} is missing or too large", hint=DAMAGED)
    faces = read_npz(path.read_bytes(), name=str(path), hint=DAMAGED).get("faces")
    if faces is None or faces.dtype.kind not in "iu" or faces.ndim != 2 or faces.shape[1] != 3:
        raise InputError(f"{path} has no triangles", hint=DAMAGED)
    return faces


def _topology(record: _TopologyRecord, faces: np.ndarray, *, path: Path) -> Topology:
    masks = {
        name: Mask(name, _vertices(mask, name, n_verts=record.n_verts, path=path))
        for name, mask in record.masks.items()
    }
    if faces.size and not 0 <= int(faces.min()) <= int(faces.max()) < record.n_verts:
        raise InputError(f"{path}: {TOPOLOGY_FILE} names vertices that there are not", hint=DAMAGED)
    topology = Topology(record.name, record.n_verts, faces.astype(np.int32), masks)
    wrong = [name for name, mask in masks.items() if mask.sha256 != record.masks[name].sha256]
    missing = [name for name in NEEDED_MASKS if name not in masks]
    if wrong or missing:
        raise InputError(f"{path}: the mask {(wrong + missing)[0]} is damaged or missing", hint=DAMAGED)
    if topology.sha256 != record.sha256:
        raise InputError(f"{path}: {TOPOLOGY_FILE} holds another mesh", hint=DAMAGED)
    return topology


def _vertices(record: _MaskRecord, name: str, *, n_verts: int, path: Path) -> np.ndarray:
    within = all(0 <= vertex < n_verts for vertex in record.vertices)
    if not within or sorted(set(record.vertices)) != record.vertices:
        raise InputError(f"{path}: the mask {name} names vertices wrongly", hint=DAMAGED)
    return np.array(record.vertices, dtype=np.int32)
