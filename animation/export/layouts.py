"""The layouts of peers, by name. An export is a folder that appears whole or not at all."""

import importlib
from collections.abc import Callable
from pathlib import Path

from animation.data.corpus import SpeechCorpus
from mmface4d.errors import UsageError
from mmface4d.exported import Exported
from mmface4d.new_folder import new_folder

Writer = Callable[[SpeechCorpus, Path], list[Exported]]
# name -> (module:function, for whom)
TARGETS: dict[str, tuple[str, str]] = {
    "faceformer-vocaset": ("faceformer:write_vocaset", "FaceFormer, CodeTalker, SelfTalk, DiffSpeaker, as vocaset"),
    "faceformer-biwi": ("faceformer:write_biwi", "the same, as BIWI: 25 frames a second"),
    "facediffuser": ("faceformer:write_facediffuser", "FaceDiffuser"),
    "voca-raw": ("voca_raw:write", "VOCA, and what starts from its files"),
    "mm2023": ("mm2023:write", "the public code of audio2face"),
    "meshtalk-npz": ("meshtalk:write", "MeshTalk"),
    "unitalker": ("unitalker:write", "UniTalker"),
    "a2f3d": ("a2f3d:write", "NVIDIA's Audio2Face-3D training framework"),
}
# these hold FLAME's coefficients and no vertices
WANT_COEFFICIENTS = ("mmhead", "diffposetalk-lmdb", "flame-npz")


def _writer(target: str) -> Writer:
    def write(corpus: SpeechCorpus, folder: Path) -> list[Exported]:
        module, name = target.split(":")
        return getattr(importlib.import_module(f"animation.export.{module}"), name)(corpus, folder)

    return write


# each writes into a folder that is there and empty
LAYOUTS: dict[str, Writer] = {name: _writer(target) for name, (target, _) in TARGETS.items()}


def refuse_unknown(layout: str) -> None:
    """Raises UsageError for a layout that there is not."""
    if layout in WANT_COEFFICIENTS:
        raise UsageError(
            f"{layout} holds coefficients of FLAME, and clips are vertices",
            hint=f"choose a layout of vertices: {', '.join(LAYOUTS)}",
        )
    if layout not in LAYOUTS:
        raise UsageError(f"there is no layout {layout!r}", hint=f"choose of {', '.join(LAYOUTS)}")


def export_corpus(corpus: SpeechCorpus, output: Path, *, layout: str) -> list[Exported]:
    """Writes all clips of a corpus; the folder must not exist.

    Raises UsageError for a layout that there is not, InputError that names the clip where one cannot be used,
    ConsentError where somebody withdraws meanwhile.
    """
    refuse_unknown(layout)
    with new_folder(output) as folder:
        done = LAYOUTS[layout](corpus, folder)
        corpus.refuse_withdrawn()  # it may have taken hours
        return done
