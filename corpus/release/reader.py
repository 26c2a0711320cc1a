"""Reading a release: its tables, and any file of any item by where the tables say that it is.

Nothing is unpacked, no name in an archive is believed, and nothing is a pickle.
"""

import hashlib
import io
import json
import os
import wave
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int16
from pydantic import NonNegativeInt, TypeAdapter, ValidationError

from corpus.release.layout import (
    FACES,
    FILES_TABLE,
    FORMAT,
    ITEM_ID,
    MAX_MEMBER_BYTES,
    MEMBERS,
    RECORD,
    REGIONS,
    SEQUENCES_TABLE,
    SHARD,
    SPLITS,
    SPLITS_FILE,
    SUBJECT_ID,
    SUBJECTS_TABLE,
    TOMBSTONES,
    FileRow,
    ReleaseRecord,
    SequenceRow,
    SubjectRow,
    Tombstone,
)
from corpus.release.meshes import dequantised
from corpus.release.tables import read_table
from mmface4d.arrays import Faces
from mmface4d.errors import InputError
from mmface4d.files import read_json
from mmface4d.npz import read_npz
from mmface4d.subject import mistakes

_HINT = "see what is damaged with: mmface4d release verify"


@dataclass(frozen=True)
class ReleaseItem:
    """A released sequence: its row, its subject's, and its files by suffix (`mesh.npz`, `audio.wav` ...)."""

    row: SequenceRow
    subject: SubjectRow
    files: dict[str, FileRow]

    @property
    def id(self) -> str:
        """Its name."""
        return self.row.id


class Release:
    """An open release."""

    def __init__(self, path: Path, record: ReleaseRecord) -> None:
        self.path, self.record = path, record

    @cached_property
    def sequences(self) -> list[SequenceRow]:
        """The rows of `index/sequences.parquet`."""
        rows = read_table(self.path / SEQUENCES_TABLE, SequenceRow)
        wrong = [row.id for row in rows if not (ITEM_ID.fullmatch(row.id) and SHARD.fullmatch(row.shard))]
        _refuse([*wrong, *(row.id for row in rows if row.split not in SPLITS)], SEQUENCES_TABLE)
        return rows

    @cached_property
    def files(self) -> list[FileRow]:
        """The rows of `index/files.parquet`."""
        rows = read_table(self.path / FILES_TABLE, FileRow)
        _refuse([row.name for row in rows if not _is_sound(row)], FILES_TABLE)
        return rows

    @cached_property
    def subjects(self) -> dict[str, SubjectRow]:
        """The rows of `index/subjects.parquet` by pseudonym."""
        rows = read_table(self.path / SUBJECTS_TABLE, SubjectRow)
        _refuse([row.pseudonym for row in rows if not SUBJECT_ID.fullmatch(row.pseudonym)], SUBJECTS_TABLE)
        return {row.pseudonym: row for row in rows}

    @cached_property
    def splits(self) -> dict[str, list[str]]:
        """The subjects of each split."""
        value = read_json(self.path / SPLITS_FILE)
        lists = {split: value.get(split) for split in SPLITS} if isinstance(value, dict) else {}
        if not lists or not all(
            isinstance(ids, list) and all(_is_subject(each) for each in ids) for ids in lists.values()
        ):
            raise InputError(f"{self.path / SPLITS_FILE} is damaged", hint=_HINT)
        return lists  # type: ignore[return-value]

    @cached_property
    def tombstones(self) -> list[Tombstone]:
        """Who was in an earlier release and is no more."""
        try:
            return TypeAdapter(list[Tombstone]).validate_python(read_json(self.path / TOMBSTONES))
        except ValidationError as error:
            raise InputError(f"{self.path / TOMBSTONES} is damaged: {mistakes(error)}", hint=_HINT) from error

    @cached_property
    def faces(self) -> Faces:
        """int32 [F,3], the triangles of every mesh."""
        try:  # mapped, because a header may promise more than there is memory
            faces = np.lib.format.open_memmap(self.path / FACES, mode="r")
            if faces.ndim != 2 or faces.shape[1] != 3 or faces.dtype.kind not in "iu" or not len(faces):
                raise ValueError(f"it holds {faces.dtype} {faces.shape}")
            if faces.min() < 0 or faces.max() >= self.record.vertex_count:
                raise ValueError("it names vertices that there are not")
            return np.asarray(faces, dtype=np.int32)
        except (OSError, ValueError, EOFError, OverflowError) as error:
            raise InputError(f"{self.path / FACES} is damaged: {error}", hint=_HINT) from error

    @cached_property
    def regions(self) -> dict[str, list[int]]:
        """Vertex numbers by the name of a region."""
        told = read_json(self.path / REGIONS)
        regions = told.get("regions") if isinstance(told, dict) else None
        try:
            found = TypeAdapter(dict[str, list[NonNegativeInt]]).validate_python(regions, strict=True)
        except ValidationError as error:
            raise InputError(f"{self.path / REGIONS} is damaged: {mistakes(error)}", hint=_HINT) from error
        if any(max(vertices, default=0) >= self.record.vertex_count for vertices in found.values()):
            raise InputError(f"{self.path / REGIONS} is damaged: it names vertices that there are not", hint=_HINT)
        return found

    def items(self, split: str | None = None) -> Iterator[ReleaseItem]:
        """The sequences, of one split or of all, in the order of the index."""
        for row in self.sequences:
            if split in (None, row.split):
                yield self._item(row)

    def item(self, item_id: str) -> ReleaseItem:
        """One sequence; raises InputError where there is none of that name."""
        if item_id not in self._rows:
            raise InputError(f"{self.path} has no sequence {item_id}", hint=f"they are listed in {SEQUENCES_TABLE}")
        return self._item(self._rows[item_id])

    @cached_property
    def _rows(self) -> dict[str, SequenceRow]:
        return {row.id: row for row in self.sequences}

    @cached_property
    def _files(self) -> dict[str, dict[str, FileRow]]:
        found: dict[str, dict[str, FileRow]] = {}
        for row in self.files:
            # cameras.json stands beside landmarks, depth and pictures; any of them is the same
            found.setdefault(row.id, {}).setdefault(row.name.partition(".")[2], row)
        return found

    def _item(self, row: SequenceRow) -> ReleaseItem:
        if row.subject not in self.subjects:
            raise InputError(f"{row.id} is of {row.subject}, who is not in {SUBJECTS_TABLE}", hint=_HINT)
        return ReleaseItem(row, self.subjects[row.subject], self._files.get(row.id, {}))

    def read(self, item: ReleaseItem, suffix: str) -> bytes:
        """The bytes of a file, their hash compared; raises InputError where it is not there or damaged."""
        if suffix not in item.files:
            raise InputError(f"{item.id} has no {suffix}", hint="what is missing, and why, stands in missing.csv")
        row = item.files[suffix]
        data = read_member(self.path, row)
        if hashlib.sha256(data).hexdigest() != row.sha256:
            raise InputError(f"{row.shard}: {row.name} is damaged", hint=_HINT)
        return data

    def mesh(self, item: ReleaseItem) -> dict[str, np.ndarray]:
        """The arrays of the mesh file; `vertices` are float32 [T,N,3] in metres, however they are stored."""
        return mesh_arrays(self.read(item, "mesh.npz"), name=item.id)

    def vertices(self, item: ReleaseItem) -> Float32[np.ndarray, "n_frames n_verts 3"]:
        """Metres, in the frame of the master camera."""
        return self.mesh(item)["vertices"]

    def audio(self, item: ReleaseItem) -> tuple[Int16[np.ndarray, "n_samples n_channels"], int]:
        """The samples and their rate; the first one belongs to the first frame."""
        return sound_samples(self.read(item, "audio.wav"), name=item.id)

    def landmarks(self, item: ReleaseItem) -> Float32[np.ndarray, "n_frames n_cameras n_points 2"]:
        """Pixels of the colour pictures, NaN where no face was found."""
        return read_npz(self.read(item, "landmarks.npz"), name=item.id)["pixels"]

    def depth_mm(self, item: ReleaseItem) -> list[np.ndarray]:
        """uint16 [T,H,W] of each camera, 0 where invalid."""
        from corpus.release.pictures import read_videos

        return read_videos(self.read(item, "depth.mkv"), name=item.id)

    def cameras(self, item: ReleaseItem) -> list[dict[str, Any]]:
        """Lenses, poses and missed frames of each camera."""
        return json.loads(self.read(item, "cameras.json"))["cameras"]


def open_release(path: Path | str) -> Release:
    """Opens a release; raises InputError where it is none, or of a later format."""
    path = Path(path)
    if not (path / RECORD).is_file():
        raise InputError(f"{path} is no release: it has no {RECORD}", hint="make one with: mmface4d release build LAB")
    value = read_json(path / RECORD, max_bytes=1 << 20)
    if isinstance(value, dict) and isinstance(value.get("format"), int) and value["format"] > FORMAT:
        raise InputError(f"{path} has format {value['format']}, this program reads {FORMAT}", hint="update mmface4d")
    try:
        return Release(path, ReleaseRecord.model_validate(value))
    except ValidationError as error:
        raise InputError(f"{path / RECORD} is damaged: {mistakes(error)}", hint=_HINT) from error


def read_member(folder: Path, row: FileRow) -> bytes:
    """The bytes of a row, unverified; raises InputError where the shard ends before them."""
    try:
        with (folder / row.shard).open("rb") as file:
            if row.offset + row.bytes > os.fstat(file.fileno()).st_size:
                raise InputError(f"{row.shard} is cut short", hint=_HINT)
            file.seek(row.offset)
            return file.read(row.bytes)
    except OSError as error:
        raise InputError(f"{row.shard} cannot be read: {error.strerror}", hint=_HINT) from error


def mesh_arrays(data: bytes, *, name: str) -> dict[str, np.ndarray]:
    """The arrays of a mesh file, its vertices in metres."""
    arrays = read_npz(data, name=name)
    if "vertices_int16" in arrays:
        steps = arrays.pop("vertices_int16")
        arrays["vertices"] = dequantised(steps, arrays.pop("offset_m"), arrays.pop("step_m"))
    if "vertices" not in arrays:
        raise InputError(f"{name} is damaged: it has no vertices", hint=_HINT)
    return arrays


def sound_samples(data: bytes, *, name: str) -> tuple[Int16[np.ndarray, "n_samples n_channels"], int]:
    """Samples and rate of a 16-bit WAV."""
    try:
        with wave.open(io.BytesIO(data)) as file:
            if file.getsampwidth() != 2:
                raise wave.Error("it is not of 16 bits")
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.int16)
            return samples.reshape(-1, file.getnchannels()), file.getframerate()
    except (wave.Error, EOFError, ValueError) as error:
        raise InputError(f"{name} is damaged: {error}", hint=_HINT) from error


def _is_subject(value: object) -> bool:
    return isinstance(value, str) and bool(SUBJECT_ID.fullmatch(value))


def _is_sound(row: FileRow) -> bool:
    """Whether a row can only mean a part of one of the release's shards."""
    name, _, suffix = row.name.partition(".")
    found = SHARD.fullmatch(row.shard)
    return bool(
        found
        and found["component"] == row.component
        and ITEM_ID.fullmatch(row.id)
        and (name, suffix in MEMBERS) == (row.id, True)
        and row.offset >= 0
        and 0 <= row.bytes < MAX_MEMBER_BYTES
    )


def _refuse(wrong: Iterable[str], table: str) -> None:
    wrong = list(wrong)
    if wrong:
        raise InputError(f"{table} is damaged: {len(wrong)} rows, the first: {wrong[0][:100]!r}", hint=_HINT)
