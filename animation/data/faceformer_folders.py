"""The folders that FaceFormer and its relatives read: VOCASET and BIWI as they are usually prepared, or data like them.

    vertices_npy/SUBJECT_SENTENCE.npy    [T, 3 V], positions
    wav/SUBJECT_SENTENCE.wav
    templates.pkl                        a dict of subject -> [V, 3]; read without running what is in it
    *.ply or templates/*.ply             the triangles; without them a corpus has none
    masks/lips.txt, masks/upper_face.npy ...   vertex numbers, or 0 and 1 for every vertex

A folder that was exported by us has a map.json, which tells what everything was before.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from animation.data.clip import Clip, Sound
from animation.data.corpus import Mask, SpeechCorpus, Split, Topology
from animation.data.export_map import ExportMap, read_export_map
from animation.data.masks import read_masks
from animation.data.sound_files import read_sound
from animation.data.splits import split_subjects
from mmface4d.arrays import Faces, Vertices
from mmface4d.errors import InputError
from mmface4d.names import SAFE_NAME
from mmface4d.npy import map_npy
from mmface4d.ply import read_ply
from mmface4d.safe_pickle import dense, read_pickle

MESHES, SOUNDS, TEMPLATES, MASKS = "vertices_npy", "wav", "templates.pkl", "masks"
VOCASET_FPS, BIWI_FPS = 60.0, 25.0
# BIWI's positions are divided by the square root of each frame's area, which is about 0.2 m on a face
BIWI_UNIT_M = 0.2
_VOCASET: dict[Split, str] = {
    "train": "170728_03272 170904_00128 170725_00137 170915_00223 170811_03274 170913_03279 170904_03276 170912_03278",
    "validation": "170811_03275 170908_03277",
    "test": "170809_00138 170731_00024",
}
VOCASET_SPLITS: dict[str, Split] = {
    f"FaceTalk_{number}_TA": split for split, numbers in _VOCASET.items() for number in numbers.split()
}
# its own test A shares its subjects with training; two of test B serve to choose by
BIWI_SPLITS: dict[str, Split] = {
    **dict.fromkeys(("F2", "F3", "F4", "M3", "M4", "M5"), "train"),
    **dict.fromkeys(("F1", "M1"), "validation"),
    **dict.fromkeys(("F5", "F6", "F7", "F8", "M2", "M6"), "test"),
}
MASK_NAMES = {
    "lips": ("lips", "lve", "lip", "mouth"), "upper_face": ("upper_face", "upper", "fdd"), "face": ("face",),
}  # fmt: skip
KnownMasks = Callable[[int], Mapping[str, Mask]]  # of a mesh with so many vertices
_HINT = "the layout is in docs/animation-data.md"


@dataclass(frozen=True)
class _Layout:
    """What the names in a folder do not tell."""

    name: str
    fps: float
    unit_m: float
    splits: Mapping[str, Split]
    sentences_agree: bool  # whether equal numbers of two subjects are the same sentence


def is_faceformer_folder(path: Path) -> bool:
    """Whether a path looks like such a folder."""
    return (path / MESHES).is_dir() and (path / TEMPLATES).is_file()


def read_vocaset(
    path: Path, *, masks: Mapping[str, Path] | None = None, known_masks: KnownMasks | None = None,
    fps: float = VOCASET_FPS,
) -> SpeechCorpus:  # fmt: skip
    """Opens a VOCASET-style folder, whose positions are metres at 60 frames a second unless told otherwise.

    VOCASET's own subjects are split as its authors did, others by their names. `masks` are files by name, in place of
    the folder's; `known_masks` gives those of a mesh with so many vertices, where no file says them. Raises InputError
    where something is missing or does not fit.
    """
    layout = _Layout("vocaset", fps, 1.0, VOCASET_SPLITS, sentences_agree=False)
    return _read(path, layout, masks=masks, known_masks=known_masks)


def read_biwi(
    path: Path, *, masks: Mapping[str, Path] | None = None, known_masks: KnownMasks | None = None,
    fps: float = BIWI_FPS, unit_m: float = BIWI_UNIT_M,
) -> SpeechCorpus:  # fmt: skip
    """Opens a BIWI-style folder. `unit_m` is about how long its unit is: see BIWI_UNIT_M.

    Splits are disjoint in identity, which BIWI's own are not. Otherwise as `read_vocaset`.
    """
    layout = _Layout("biwi", fps, unit_m, BIWI_SPLITS, sentences_agree=True)
    return _read(path, layout, masks=masks, known_masks=known_masks)


def looks_like_biwi(path: Path) -> bool:
    """Whether all subjects of a folder are BIWI's, F1 to F8 and M1 to M6."""
    subjects = {stem.rpartition("_")[0].split("_")[0] for stem in _stems(path)}
    return bool(subjects) and subjects <= BIWI_SPLITS.keys()


def _read(
    path: Path, layout: _Layout, *, masks: Mapping[str, Path] | None, known_masks: KnownMasks | None
) -> SpeechCorpus:  # fmt: skip
    if not is_faceformer_folder(path):
        raise InputError(f"{path} has no {MESHES} and {TEMPLATES}", hint=_HINT)
    back = read_export_map(path)
    if back is not None:
        layout = replace(layout, name=back.topology.name, fps=back.fps, unit_m=1.0)
    templates = _read_templates(path / TEMPLATES, unit_m=layout.unit_m)
    n_verts = len(next(iter(templates.values())))
    found_stems = _stems(path)
    stems = [stem for stem in found_stems if (path / SOUNDS / f"{stem}.wav").is_file()]
    if not stems:
        raise InputError(f"{path / MESHES} holds no SUBJECT_SENTENCE.npy whose sound is in {SOUNDS}", hint=_HINT)
    clips = [_open_clip(path, stem, layout, templates) for stem in stems]
    files = masks if masks is not None else _mask_files(path)
    known = known_masks(n_verts) if known_masks is not None and len(files) < len(MASK_NAMES) else {}
    found = read_masks(files, n_verts=n_verts, known=known)
    topology = Topology(layout.name, n_verts, _read_faces(path, n_verts), found)
    splits = split_subjects({clip.subject for clip in clips}, given=layout.splits)
    corpus = SpeechCorpus(
        origin=path.resolve().name, topology=topology, clips=tuple(clips), splits=splits,
        templates={subject: templates[subject] for subject in splits},
        notes=_notes(topology, silent=len(found_stems) - len(stems), unnamed=_count(path) - len(found_stems)),
    )  # fmt: skip
    return corpus if back is None else _led_back(corpus, back)


def _led_back(corpus: SpeechCorpus, back: ExportMap) -> SpeechCorpus:
    """The corpus with the names and splits that it had before it was exported."""
    missing = [clip.name for clip in corpus.clips if clip.name not in back.clips]
    if missing:
        raise InputError(f"{missing[0]} is not in map.json", hint="delete map.json where the folder was changed since")
    told = [(clip, back.clips[clip.name]) for clip in corpus.clips]
    clips = tuple(
        replace(clip, name=was.clip, subject=was.subject, sentence=was.sentence, text=was.text) for clip, was in told
    )
    templates = {was.subject: corpus.templates[clip.subject] for clip, was in told}
    splits = {was.subject: was.split for _, was in told}
    return replace(corpus, origin=back.origin, licence=back.licence, clips=clips, templates=templates, splits=splits)


def _notes(topology: Topology, *, silent: int, unnamed: int) -> tuple[str, ...]:
    notes = [] if len(topology.faces) else ["no triangles: there is no PLY file beside the templates"]
    if silent:
        notes.append(f"{silent} {'mesh' if silent == 1 else 'meshes'} left out: no sound of the same name")
    if unnamed:
        notes.append(f"{unnamed} {'mesh' if unnamed == 1 else 'meshes'} left out: no SUBJECT_SENTENCE in plain letters")
    return tuple(notes)


def _stems(path: Path) -> list[str]:
    stems = sorted(file.stem for file in (path / MESHES).glob("*.npy"))
    return [stem for stem in stems if SAFE_NAME.fullmatch(stem) and "_" in stem]


def _count(path: Path) -> int:
    return sum(1 for _ in (path / MESHES).glob("*.npy"))


def _read_templates(path: Path, *, unit_m: float) -> dict[str, Vertices]:
    content = read_pickle(path)
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path} holds no templates by subject", hint=_HINT)
    templates: dict[str, Vertices] = {}
    for subject, value in content.items():
        if not isinstance(subject, str):  # and may be something that cannot even be printed
            raise InputError(f"{path} holds a template of no name", hint=_HINT)
        points = dense(value)
        if points.ndim != 2 or points.shape[1] != 3 or points.dtype.kind != "f":
            raise InputError(f"{path}: {subject[:100]!r} is no template [V, 3]", hint=_HINT)
        templates[subject] = (points * unit_m).astype(np.float32)
    if len({len(points) for points in templates.values()}) > 1:
        raise InputError(f"{path} has templates of several topologies", hint=_HINT)
    return templates


def _open_clip(path: Path, stem: str, layout: _Layout, templates: Mapping[str, Vertices]) -> Clip:
    subject, _, sentence = stem.rpartition("_")
    if subject not in templates:
        subject = subject.split("_")[0]  # as FaceDiffuser has it, and BIWI's F1_e01
    if subject not in templates:
        raise InputError(f"{stem}: {TEMPLATES} has no template of {stem.rpartition('_')[0]}", hint=_HINT)
    file, sound_file, n_verts = path / MESHES / f"{stem}.npy", path / SOUNDS / f"{stem}.wav", len(templates[subject])
    n_frames = len(_map(file, n_verts))

    def frames(start: int, stop: int) -> Float32[np.ndarray, "n_read n_verts 3"]:
        rows = np.array(_map(file, n_verts)[start:stop]).reshape(-1, n_verts, 3)
        return rows.astype(np.float32) if layout.unit_m == 1.0 else (rows * layout.unit_m).astype(np.float32)

    def sound() -> Sound:
        return read_sound(sound_file)

    return Clip(
        name=stem, subject=subject, sentence=sentence.lstrip("e") if layout.sentences_agree else stem, fps=layout.fps,
        n_frames=n_frames, frames=frames, sound=sound,
    )  # fmt: skip


def _map(path: Path, n_verts: int) -> np.ndarray:
    stored: Any = map_npy(path, hint="the file is damaged or was cut short; copy it again")
    flat, whole = stored.shape[1:] == (3 * n_verts,), stored.shape[1:] == (n_verts, 3)
    if not (flat or whole) or stored.dtype.kind != "f":
        raise InputError(
            f"{path.stem}: it holds {stored.dtype} {stored.shape}, its template has {n_verts} vertices",
            hint="meshes and templates must have one topology",
        )
    return stored


def _read_faces(path: Path, n_verts: int) -> Faces:
    """Of the first PLY file that has as many vertices as the templates."""
    for file in sorted([*path.glob("*.ply"), *(path / "templates").glob("*.ply")]):
        mesh = read_ply(file)
        if len(mesh.vertices) == n_verts and len(mesh.faces):
            return mesh.faces
    return np.zeros((0, 3), np.int32)


def _mask_files(path: Path) -> dict[str, Path]:
    """By the names that people give them, in `masks`, `regions` or the folder itself."""
    found = {}
    for name, stems in MASK_NAMES.items():
        places = [folder / f"{stem}{suffix}" for stem in stems for folder in (path / MASKS, path / "regions", path)
                  for suffix in (".txt", ".npy")]  # fmt: skip
        pickles = [folder / "FLAME_masks.pkl" for folder in (path / MASKS, path)]
        there = [place for place in (*places, *pickles) if place.is_file()]
        if there:
            found[name] = there[0]
    return found
