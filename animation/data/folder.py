"""Our own clips folder, read and written clip by clip.

corpus.json        names, subjects, sentences, splits, rates, and the hashes of the files; written last
clips/NAME.npy     float32 [T, V, 3], metres, head frame
clips/NAME.wav     speech, mono, 32-bit float
templates.npz      float32 [S, V, 3], in the order of corpus.json's subjects
topology.npz       faces int32 [F, 3], and the vertices of each mask
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float32
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from animation.data.check import BLOCK_FRAMES, repeated
from animation.data.clip import Clip, Sound
from animation.data.corpus import NEEDED_MASKS, SpeechCorpus, Split, Topology
from animation.data.masks import check_mask
from animation.data.sound_files import read_sound, write_sound
from mmface4d.arrays import Vertices
from mmface4d.errors import InputError, UsageError
from mmface4d.files import read_json, write_json
from mmface4d.frame_rates import MOST_FRAMES
from mmface4d.names import SAFE_NAME
from mmface4d.new_folder import new_folder
from mmface4d.npy import map_npy, write_npy
from mmface4d.npz import read_npz, write_npz
from mmface4d.progress import progress
from mmface4d.subject import mistakes

RECORD, CLIPS, TEMPLATES, TOPOLOGY = "corpus.json", "clips", "templates.npz", "topology.npz"
MOST_BYTES = 4 << 30  # of templates and topology
_HINT = "the folder is damaged or incomplete; copy or make it again"

Name = Annotated[str, StringConstraints(pattern=f"^{SAFE_NAME.pattern}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, StringConstraints(max_length=10_000)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _ClipRecord(_Strict):
    name: Name
    subject: Name
    sentence: Text
    fps: float = Field(gt=0)
    n_frames: int = Field(ge=1, le=MOST_FRAMES)
    frames_sha256: Sha256
    sound_sha256: Sha256
    sound_start_s: float = 0.0
    text: Text = ""
    language: Text = ""
    emotion: Text = ""


class _Record(_Strict):
    format: Literal[1] = 1
    origin: Text
    licence: Text = ""
    notes: list[Text] = []
    topology: Text
    n_verts: int = Field(ge=1, le=1 << 24)
    subjects: dict[Name, Split]
    clips: list[_ClipRecord]


def is_clips_folder(path: Path) -> bool:
    """Whether a path is a folder of ours, whole or damaged."""
    return (path / RECORD).is_file()


def read_folder(path: Path) -> SpeechCorpus:
    """Opens a clips folder; raises InputError where it is none or damaged. Clips are read when they are asked for."""
    record = _read_record(path)
    topology = _read_topology(path / TOPOLOGY, name=record.topology, n_verts=record.n_verts)
    templates = _read_templates(path / TEMPLATES, list(record.subjects), n_verts=record.n_verts)
    clips = tuple(_open_clip(path / CLIPS, each, n_verts=record.n_verts) for each in record.clips)
    return SpeechCorpus(
        origin=record.origin, topology=topology, clips=clips, templates=templates, splits=record.subjects,
        licence=record.licence, notes=tuple(record.notes),
    )  # fmt: skip


def _read_record(path: Path) -> _Record:
    if not is_clips_folder(path):
        raise InputError(f"{path} is no clips folder: it has no {RECORD}", hint="make one with: mmface4d clips synth")
    try:
        record = _Record.model_validate(read_json(path / RECORD, max_bytes=1 << 30))
    except ValidationError as error:
        raise InputError(f"{path / RECORD} is damaged: {mistakes(error)}", hint=_HINT) from error
    twice = repeated(each.name for each in record.clips)
    unknown = [each.name for each in record.clips if each.subject not in record.subjects]
    if twice or unknown:
        what = f"{twice[0]} stands twice" if twice else f"the subject of {unknown[0]} is in no split"
        raise InputError(f"{path / RECORD} is damaged: {what}", hint=_HINT)
    return record


def _read_topology(path: Path, *, name: str, n_verts: int) -> Topology:
    arrays = _read_arrays(path)
    faces = arrays.pop("faces", np.zeros(0, np.int32))
    if faces.ndim != 2 or faces.shape[1] != 3 or faces.dtype.kind not in "iu":
        raise InputError(f"{path} has no triangles", hint=_HINT)
    if faces.size and not 0 <= int(faces.min()) <= int(faces.max()) < n_verts:
        raise InputError(f"{path}: its triangles name vertices that there are not", hint=_HINT)
    masks = {
        key.removeprefix("mask_"): check_mask(key.removeprefix("mask_"), vertices, n_verts=n_verts, where=str(path))
        for key, vertices in arrays.items()
        if key.startswith("mask_")
    }
    if missing := [each for each in NEEDED_MASKS if each not in masks]:
        raise InputError(f"{path} has no mask {missing[0]}", hint=_HINT)
    if unsafe := [each for each in masks if not SAFE_NAME.fullmatch(each)]:  # exports call files by them
        raise InputError(f"{path}: {unsafe[0][:100]!r} is no safe name for a mask", hint=_HINT)
    return Topology(name, n_verts, faces.astype(np.int32), masks)


def _read_templates(path: Path, subjects: list[str], *, n_verts: int) -> dict[str, Vertices]:
    templates = _read_arrays(path).get("templates")
    if templates is None or templates.shape != (len(subjects), n_verts, 3) or templates.dtype.kind != "f":
        raise InputError(f"{path} does not hold {len(subjects)} templates of {n_verts} vertices", hint=_HINT)
    return dict(zip(subjects, templates.astype(np.float32), strict=True))


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file() or path.stat().st_size > MOST_BYTES:
        raise InputError(f"{path} is missing or too large", hint=_HINT)
    return read_npz(path.read_bytes(), name=str(path), hint=_HINT)


def _open_clip(folder: Path, record: _ClipRecord, *, n_verts: int) -> Clip:
    file, sound_file = folder / f"{record.name}.npy", folder / f"{record.name}.wav"

    def frames(start: int, stop: int) -> Float32[np.ndarray, "n_read n_verts 3"]:
        stored = map_npy(file, hint=_HINT)
        if stored.shape != (record.n_frames, n_verts, 3) or stored.dtype != np.float32:
            raise InputError(f"{record.name}: {file.name} holds {stored.dtype} {stored.shape}", hint=_HINT)
        return np.array(stored[start:stop])

    def sound() -> Sound:
        return read_sound(sound_file, start_s=record.sound_start_s)

    return Clip(
        name=record.name, subject=record.subject, sentence=record.sentence, fps=record.fps, n_frames=record.n_frames,
        frames=frames, sound=sound, text=record.text, language=record.language, emotion=record.emotion,
        fingerprint=_fingerprint(record, file, sound_file),
        frames_sha256=record.frames_sha256, sound_sha256=record.sound_sha256,
    )  # fmt: skip


def _fingerprint(record: _ClipRecord, *files: Path) -> str:
    """By what the record says of the files, and by size and time, which tell of a file that was changed later."""
    told = [record.frames_sha256, record.sound_sha256, repr(record.sound_start_s)]
    for file in files:
        about = file.stat() if file.is_file() else None
        told.append(f"{about.st_size} {about.st_mtime_ns}" if about else "missing")
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def write_folder(corpus: SpeechCorpus, path: Path) -> None:
    """Writes a corpus as a folder that must not exist and appears whole or not at all; one clip in memory at a time.

    Raises InputError where the folder exists or a clip cannot be read, UsageError where names do not suit files,
    ConsentError where somebody withdraws meanwhile.
    """
    _refuse_names(corpus)
    try:
        _write_folder(corpus, path)
    except ValidationError as error:
        raise InputError(f"{corpus.origin} cannot be written: {mistakes(error)}", hint="shorten or mend it") from error


def _write_folder(corpus: SpeechCorpus, path: Path) -> None:
    subjects: dict[str, Split] = {
        subject: corpus.splits[subject] for subject in corpus.templates if subject in corpus.splits
    }
    with new_folder(path) as folder:
        (folder / CLIPS).mkdir()
        with progress("clips written", len(corpus.clips)) as bar:
            records = []
            for clip in corpus.clips:
                records.append(_write_clip(clip, folder / CLIPS, n_verts=corpus.topology.n_verts))
                bar.advance()
        stacked = np.stack([corpus.templates[subject] for subject in subjects]).astype("<f4")
        write_npz(folder / TEMPLATES, {"templates": stacked})
        masks = {f"mask_{name}": mask.vertices.astype("<i4") for name, mask in corpus.topology.masks.items()}
        write_npz(folder / TOPOLOGY, {"faces": corpus.topology.faces.astype("<i4"), **masks})
        record = _Record(
            origin=corpus.origin, licence=corpus.licence, notes=list(corpus.notes), topology=corpus.topology.name,
            n_verts=corpus.topology.n_verts, subjects=subjects, clips=records,
        )  # fmt: skip
        write_json(folder / RECORD, record.model_dump(mode="json"))
        corpus.refuse_withdrawn()  # it may have taken hours


def _refuse_names(corpus: SpeechCorpus) -> None:
    names = [*(clip.name for clip in corpus.clips), *corpus.splits]
    wrong = [name for name in names if not SAFE_NAME.fullmatch(name)]
    twice = repeated(clip.name.casefold() for clip in corpus.clips)  # some disks do not tell A.npy from a.npy
    if wrong or twice:
        what = f"{wrong[0][:100]!r} is no safe name for a file" if wrong else f"several clips are called {twice[0]}"
        raise UsageError(f"{corpus.origin} cannot be written: {what}", hint="rename it; letters, digits, _ and -")


def _write_clip(clip: Clip, folder: Path, *, n_verts: int) -> _ClipRecord:
    digest = hashlib.sha256()

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, clip.n_frames, BLOCK_FRAMES):
            block = np.ascontiguousarray(clip.frames(start, min(start + BLOCK_FRAMES, clip.n_frames)), "<f4")
            digest.update(block.tobytes())
            yield block

    try:
        write_npy(folder / f"{clip.name}.npy", blocks(), shape=(clip.n_frames, n_verts, 3))
    except ValueError as error:
        raise InputError(
            f"{clip.name} has other frames than it says: {error}", hint="mend it, or leave it out"
        ) from error
    sound = clip.sound()
    write_sound(folder / f"{clip.name}.wav", sound)
    return _ClipRecord(
        name=clip.name, subject=clip.subject, sentence=clip.sentence, fps=clip.fps, n_frames=clip.n_frames,
        frames_sha256=digest.hexdigest(), sound_sha256=sound.sha256,
        sound_start_s=sound.start_s, text=clip.text, language=clip.language, emotion=clip.emotion,
    )  # fmt: skip
