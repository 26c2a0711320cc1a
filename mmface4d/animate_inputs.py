"""What `animate` is given: a neutral face, and a manner of speaking, from whatever holds them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmface4d.arrays import Faces, Vertices
from mmface4d.errors import ConsentError, InputError, UsageError
from mmface4d.names import safe_name
from mmface4d.npy import map_npy
from mmface4d.ply import read_ply
from mmface4d.sequence import load_sequence
from mmface4d.subject import NO_MESH

if TYPE_CHECKING:
    from animation.data.batch import Style
    from animation.data.clip import Clip, Sound
    from animation.data.corpus import SpeechCorpus
    from animation.training.checkpoint import Trained
    from animation.use.generate import StyleCode

    OpenCorpus = Callable[[Path], SpeechCorpus]

MOST_VERTICES = 10_000_000
NPY = "give an array of n vertices x 3, metres"
TEMPLATES = ".ply, .obj, .npy, a sequence's .npz, or DATA:SUBJECT"


@dataclass(frozen=True)
class Face:
    """A neutral face in the head frame, metres; its triangles, where the file has some."""

    vertices: Vertices
    faces: Faces | None = None


def open_template(text: str, open_corpus: "OpenCorpus") -> Face:
    """The neutral face in a file, or that of a subject of some data; raises InputError where there is none."""
    data, subject = in_data(text)
    if data is not None:
        corpus = open_corpus(data)
        if subject not in corpus.templates:
            raise InputError(f"{data} has no subject {subject}", hint=f"it has {_few(corpus.templates)}")
        return Face(corpus.templates[subject], corpus.topology.faces)
    path = Path(text)
    if not path.is_file():
        raise InputError(f"{text} is no file", hint=f"give a neutral face: {TEMPLATES}")
    readers = {".ply": _read_ply, ".obj": _read_obj, ".npy": _read_npy, ".npz": _read_sequence}
    read = readers.get(path.suffix.lower())
    if read is None:
        raise UsageError(f"{text} cannot be read as a face", hint=f"it can be {TEMPLATES}")
    return read(path)


def open_style(
    text: str | None, trained: "Trained", checkpoint: Path, open_corpus: "OpenCorpus"
) -> "Style | StyleCode":
    """The manner of a clip (DATA:CLIP, or a sequence's file), of a training subject by name, or the usual one.

    Raises InputError or UsageError where there is none of that kind.
    """
    from animation.training.styles import read_styles
    from animation.use.style import style_of_clip, style_of_subject, usual_style

    if text is None:
        return usual_style(trained, codes=read_styles(checkpoint, trained))
    data, name = in_data(text)
    if data is not None:
        clip, template = _clip_of(data, name, open_corpus)
        return style_of_clip(trained, clip, template=template)
    path = Path(text)
    if path.suffix == ".npz" or path.is_file():
        clip, template = sequence_clip(path)
        return style_of_clip(trained, clip, template=template)
    return style_of_subject(trained, text, codes=read_styles(checkpoint, trained))


def in_data(text: str) -> tuple[Path | None, str]:
    """DATA and NAME of DATA:NAME, where DATA is a folder; else None."""
    data, colon, name = text.rpartition(":")
    return (Path(data), name) if colon and Path(data).is_dir() else (None, "")


def sequence_clip(path: Path) -> "tuple[Clip, Vertices]":
    """A mesh sequence as a silent clip with the head held still, and the neutral face of whom it shows.

    Raises InputError where the sequence cannot be used, ConsentError where the person does not let it out (any more).
    """
    from animation.data.clip import Clip
    from corpus.dataset.consent import scopes_of_sequence
    from corpus.dataset.gather import model_of
    from mmface4d.sequence_clips import LOST, regions_of
    from mmface4d.steady_clips import MOST_LOST_S, SteadyFrames, frames_on_beat, longest_lost_s
    from mmface4d.subject_templates import Spoken, calm_face

    sequence = load_sequence(path)
    scopes = scopes_of_sequence(path, sequence.take_name)
    if scopes is not None and "mesh" not in scopes:
        raise ConsentError(f"{path}: {NO_MESH}", hint="give another sequence")
    n_frames, fps = frames_on_beat(sequence)
    if longest_lost_s(sequence) > MOST_LOST_S:
        raise InputError(f"{path}: {LOST}", hint="give another sequence")
    load = partial(load_sequence, path)
    frames = SteadyFrames(load, regions_of(model_of(path)))
    name = safe_name(path.stem)
    clip = Clip(name, "", name, fps, n_frames, frames, partial(_silence, path))
    return clip, calm_face([Spoken(frames, load, fingerprint="", neutral=True)])


def _silence(path: Path) -> "Sound":
    raise InputError(f"{path} is looked at without its sound", hint="give it as data instead")


def _clip_of(data: Path, name: str, open_corpus: "OpenCorpus") -> "tuple[Clip, Vertices]":
    corpus = open_corpus(data)
    for clip in corpus.clips:
        if clip.name == name:
            return clip, corpus.templates[clip.subject]
    raise InputError(f"{data} has no clip {name}", hint=f"it has {_few([clip.name for clip in corpus.clips])}")


def _read_ply(path: Path) -> Face:
    mesh = read_ply(path)
    return Face(mesh.vertices.astype(np.float32), mesh.faces if len(mesh.faces) else None)


def _read_obj(path: Path) -> Face:
    from reconstruct.models.obj import read_obj_vertices

    return Face(read_obj_vertices(path).astype(np.float32))


def _read_npy(path: Path) -> Face:
    read = map_npy(path, hint=NPY)
    if read.ndim != 2 or read.shape[1] != 3 or len(read) > MOST_VERTICES or read.dtype.kind != "f":
        raise InputError(f"{path} holds {read.dtype} {read.shape}", hint=NPY)
    return Face(np.array(read, dtype=np.float32))


def _read_sequence(path: Path) -> Face:
    return Face(sequence_clip(path)[1], load_sequence(path).faces)


def _few(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:10]) + (" ..." if len(listed) > 10 else "")
