"""The folders of FaceFormer and its relatives: CodeTalker, SelfTalk, Imitator, DiffSpeaker, FaceDiffuser.

Rules of their loaders, which these files keep:
- The data set's name decides what is read. `vocaset`: every second frame of 60 a second, sentences 1 to 40 of training
  subjects, 21 to 40 of the others. `BIWI`: all frames, 25 a second, sentences 1 to 32, 33 to 36 and 37 to 40.
- The subject is what stands before the last underscore, for some before the first one; so it has none. The sentence
  is the last two digits.
- `templates.pkl` is a dict of arrays that is read with the encoding latin1.
- The sound is as long as the frames that are read of it: some spread all of it over all of them.
- A mesh's name is its sound's with `wav` replaced.
- FaceDiffuser skips subjects that it is told of in training only; so they are named as validation subjects too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from animation.audio.encoder import SPEECH_RATE_HZ
from animation.data.corpus import SpeechCorpus, Split
from animation.export.naming import Named, by_split, numbered
from animation.export.parts import (
    start,
    templates_of,
    trimmed_sound,
    write_frames,
    write_map,
    write_masks,
)  # fmt: skip
from mmface4d.array_pickle import write_pickle
from mmface4d.exported import Exported
from mmface4d.mesh_text import write_ply
from mmface4d.progress import Progress, progress
from mmface4d.wav import write_wav

VOCASET_ROOM: Mapping[Split, range] = {
    "train": range(1, 41), "validation": range(21, 41), "test": range(21, 41),
}  # fmt: skip
BIWI_ROOM: Mapping[Split, range] = {"train": range(1, 33), "validation": range(33, 37), "test": range(37, 41)}
MOST_FRAMES = 600  # that their position codes reach to, after every second one was taken
MASKS = {"lips": ("lips",), "upper_face": ("upper_face",), "face": ("face",)}
REGIONS = {"lve": ("lips",), "fdd": ("upper_face",)}


@dataclass(frozen=True)
class Family:
    """What differs between the layouts of the family."""

    name: str
    dataset: str  # what their programs are to be told
    fps: float
    every: int  # of these frames is read
    room: Mapping[Split, range]
    topology: str  # the file that their renderers ask for


VOCASET = Family("faceformer-vocaset", "vocaset", 60.0, 2, VOCASET_ROOM, "FLAME_sample.ply")
BIWI = Family("faceformer-biwi", "BIWI", 25.0, 1, BIWI_ROOM, "BIWI.ply")
FACEDIFFUSER = Family("facediffuser", "vocaset", 60.0, 2, VOCASET_ROOM, "FLAME_sample.ply")


def write_vocaset(corpus: SpeechCorpus, folder: Path) -> list[Exported]:
    """For the data set `vocaset`."""
    return _write(corpus, folder, VOCASET, masks="masks")


def write_biwi(corpus: SpeechCorpus, folder: Path) -> list[Exported]:
    """For the data set `BIWI`; positions are metres, not BIWI's own unit, which changes from frame to frame."""
    return _write(corpus, folder, BIWI, masks="masks")


def write_facediffuser(corpus: SpeechCorpus, folder: Path) -> list[Exported]:
    """For FaceDiffuser with `--data_path FOLDER --dataset vocaset`; masks as its evaluation reads them."""
    (folder / FACEDIFFUSER.dataset).mkdir()
    return _write(corpus, folder, FACEDIFFUSER, masks="regions")


def _write(corpus: SpeechCorpus, folder: Path, family: Family, *, masks: str) -> list[Exported]:
    named = numbered(corpus, room=family.room)
    root = folder / family.dataset if (folder / family.dataset).is_dir() else folder
    for name in ("vertices_npy", "wav", "templates", masks):
        (root / name).mkdir()
    with progress("export (clips)", len(named)) as bar:
        done = [_write_clip(each, root, family, corpus=corpus, bar=bar) for each in named]
    templates = templates_of(corpus, named)
    write_pickle(root / "templates.pkl", templates)
    write_ply(root / "templates" / family.topology, next(iter(templates.values())), corpus.topology.faces)
    for subject, template in templates.items():  # after it, because somebody may be called BIWI
        write_ply(root / "templates" / f"{subject}.ply", template, corpus.topology.faces)
    write_masks(root / masks, corpus, REGIONS if masks == "regions" else MASKS)
    write_map(
        root, corpus, named, layout=family.name, done=done, fps=family.fps,
        arguments=arguments(named, family, n_verts=corpus.topology.n_verts),
    )  # fmt: skip
    return done


def arguments(named: list[Named], family: Family, *, n_verts: int) -> dict[str, str | int]:
    """What to hand to their programs, by the names of their options."""
    subjects = by_split(named)
    heard = subjects["train"] if family is FACEDIFFUSER else []
    return {
        "dataset": family.dataset,
        "vertice_dim": 3 * n_verts,
        "train_subjects": " ".join(subjects["train"]),
        "val_subjects": " ".join(subjects["validation"] + heard),
        "test_subjects": " ".join(subjects["test"]),
    }


def _write_clip(named: Named, root: Path, family: Family, *, corpus: SpeechCorpus, bar: Progress) -> Exported:
    stem = named.stem if family is not BIWI else f"{named.subject}_e{named.number:02}"
    clip, done = start(named, stem, fps=family.fps)
    frames = -(-clip.n_frames // family.every)
    if frames > MOST_FRAMES:
        done.notes.append(f"longer than the {MOST_FRAMES} frames that the loaders' models can take")
    write_frames(root / "vertices_npy" / f"{stem}.npy", clip, n_verts=corpus.topology.n_verts, flat=True)
    sound = trimmed_sound(named.clip, done=done, duration_s=frames * family.every / family.fps)
    write_wav(root / "wav" / f"{stem}.wav", sound, rate_hz=SPEECH_RATE_HZ)
    bar.advance()
    return done
