"""What models are trained on, from wherever it is: a release, a lab, a clips folder, or a folder of another layout."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mmface4d.errors import InputError, ModelError
from mmface4d.lab import LAB_FILE, open_lab

if TYPE_CHECKING:
    from animation.data.corpus import Mask, SpeechCorpus, Split

FLAME_VERTICES = 5023


def open_speech_corpus(path: Path, *, splits: "Mapping[str, Split] | None" = None) -> "SpeechCorpus":
    """Opens what the path holds; `splits` puts subjects elsewhere than the data would.

    Raises InputError where it is nothing of the kind, or where nothing in it may be used.
    """
    corpus = _open(path)
    return corpus if not splits else _with_splits(corpus, splits)


def _open(path: Path) -> "SpeechCorpus":
    from animation.data.faceformer_folders import is_faceformer_folder
    from animation.data.folder import is_clips_folder, read_folder
    from corpus.release.layout import RECORD
    from mmface4d.loose_clips import loose_corpus, loose_sequences
    from mmface4d.sequence_clips import lab_corpus, release_corpus

    if not path.is_dir():
        raise InputError(f"{path} is no folder", hint="give a release, a lab, or a folder of clips")
    if is_clips_folder(path):
        return read_folder(path)
    if (path / RECORD).is_file():
        return release_corpus(path)
    if (path / LAB_FILE).is_file():
        return lab_corpus(open_lab(path))
    if is_faceformer_folder(path):
        return _open_faceformer(path)
    if loose_sequences(path):
        return loose_corpus(path)
    raise InputError(
        f"{path} holds neither a release, nor a lab, clips, mesh sequences, or vertices_npy and templates.pkl",
        hint="make clips with: mmface4d clips synth, or see docs/animation-data.md",
    )


def _open_faceformer(path: Path) -> "SpeechCorpus":
    from animation.data.faceformer_folders import looks_like_biwi, read_biwi, read_vocaset

    read = read_biwi if looks_like_biwi(path) else read_vocaset
    return read(path, known_masks=_masks_of_flame)


def _masks_of_flame(n_verts: int) -> "Mapping[str, Mask]":
    """The regions of FLAME's mesh where that model has been added; nothing for other meshes."""
    from corpus.dataset.regions import face_regions
    from mmface4d.model_topology import model_topology
    from mmface4d.sequence_clips import masks_of

    try:
        return masks_of(face_regions(model_topology("flame"))) if n_verts == FLAME_VERTICES else {}
    except ModelError:
        return {}


def _with_splits(corpus: "SpeechCorpus", splits: "Mapping[str, Split]") -> "SpeechCorpus":
    from animation.data.corpus import SPLITS

    unknown = sorted(set(splits) - set(corpus.splits))
    if unknown:
        raise InputError(
            f"{corpus.origin} has no subject {unknown[0]}", hint=f"it has {', '.join(sorted(corpus.splits)[:20])}"
        )
    if wrong := sorted(set(splits.values()) - set(SPLITS)):
        raise InputError(f"there is no split {wrong[0]}", hint=f"splits are {', '.join(SPLITS)}")
    return replace(corpus, splits={**corpus.splits, **splits})
