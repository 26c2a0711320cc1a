"""`mm2023`: what the public code of audio2face (ACM MM 2023) reads as its data set `voca`, 60 frames a second.

    verts_data.pkl               subject -> sequence -> tensor [T, V, 3]
    audio/SUBJECT/SEQUENCE.wav
    templates/SUBJECT.ply
    mouth_weight_mask.npy ...    0 or 1 for every vertex
    face_axis_mean.npy, face_axis_std.npy      [3] and [1], of the training clips

Its code names its people, eight to train, two and two to judge, and sentences 1 to 40. Who fits in goes by these
names, and the code runs as it is; a larger corpus goes by its own names, and subjects.json holds the lists that take
the place of `voca_div` in its dataset.py.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from animation.audio.encoder import SPEECH_RATE_HZ
from animation.data.clip import Clip
from animation.data.corpus import SPLITS, SpeechCorpus, Split
from animation.data.faceformer_folders import VOCASET_SPLITS
from animation.data.normalisation import fit_normalisation
from animation.export.naming import Named, by_split, numbered, subjects_of
from animation.export.parts import (
    blocks,
    mask_weights,
    start,
    templates_of,
    trimmed_sound,
    write_map,
)  # fmt: skip
from mmface4d.array_pickle import Items, Tensor, write_pickle
from mmface4d.exported import Exported
from mmface4d.files import write_json
from mmface4d.mesh_text import write_ply
from mmface4d.npy import write_npy
from mmface4d.npz import Streamed
from mmface4d.progress import Progress, progress
from mmface4d.wav import write_wav

FPS = 60.0
PICKLE_PROTOCOL = 4  # Python 3.8, which its README asks for
# by split the people that its code names, in its order
PEOPLE: Mapping[Split, list[str]] = {
    split: [subject for subject, theirs in VOCASET_SPLITS.items() if theirs == split] for split in SPLITS
}
ROOM: Mapping[Split, range] = {"train": range(1, 41), "validation": range(21, 41), "test": range(1, 41)}
SPLIT_NAMES: Mapping[Split, str] = {"train": "training", "validation": "validation", "test": "testing"}
MASKS = {
    "mouth_weight_mask": ("lips",), "upper_weight_mask": ("upper_face",), "eyelid_weight_mask": ("eyelids", "eyes"),
}  # fmt: skip


def write(corpus: SpeechCorpus, folder: Path) -> list[Exported]:
    """Everything; subjects.json only where the lists in its code do not do."""
    named, own = renamed(corpus)
    for name in ("audio", "templates"):
        (folder / name).mkdir()
    for subject, template in templates_of(corpus, named).items():
        (folder / "audio" / subject).mkdir()
        write_ply(folder / "templates" / f"{subject}.ply", template, corpus.topology.faces)
    started = [start(each, f"{each.subject}/{each.sentence}", fps=FPS) for each in named]
    done = [one for _, one in started]
    with progress("export (clips)", len(named)) as bar:
        content = Items(_meshes(named, [clip for clip, _ in started], n_verts=corpus.topology.n_verts, bar=bar))
        write_pickle(folder / "verts_data.pkl", content, protocol=PICKLE_PROTOCOL)
    for each, one in zip(named, done, strict=True):
        sound = trimmed_sound(each.clip, done=one)
        write_wav(folder / "audio" / each.subject / f"{each.sentence}.wav", sound, rate_hz=SPEECH_RATE_HZ)
    _write_numbers(folder, corpus)
    if own:
        write_json(folder / "subjects.json", lists(named))
    write_map(folder, corpus, named, layout="mm2023", done=done, fps=FPS, runs_unchanged=not own)
    return done


def renamed(corpus: SpeechCorpus) -> tuple[list[Named], bool]:
    """The clips by the names in its code; by their own, and true, where these are too few."""
    named = numbered(corpus, room=ROOM)
    subjects = by_split(named)
    if any(len(subjects[split]) > len(PEOPLE[split]) for split in PEOPLE):
        return numbered(corpus), True
    known = {new: old for split in PEOPLE for new, old in zip(subjects[split], PEOPLE[split], strict=False)}
    return [replace(each, subject=known[each.subject]) for each in named], False


def lists(named: list[Named]) -> dict[str, str]:
    """What takes the place of `voca_div`."""
    told = {}
    for split, name in SPLIT_NAMES.items():
        told[f"subject_for_{name}"] = " ".join(subjects_of(named, split))
        told[f"sequence_for_{name}"] = " ".join(sorted({each.sentence for each in named if each.split == split}))
    return told


def _meshes(named: list[Named], clips: list[Clip], *, n_verts: int, bar: Progress) -> Iterator[tuple[str, Items]]:
    theirs: dict[str, list[int]] = defaultdict(list)
    for number, each in enumerate(named):
        theirs[each.subject].append(number)

    def told(numbers: list[int]) -> Iterator[tuple[str, Tensor]]:
        for number in numbers:
            clip = clips[number]
            shape = (clip.n_frames, n_verts, 3)
            yield named[number].sentence, Tensor(Streamed(shape, "<f4", blocks(clip, n_verts=n_verts)))
            bar.advance()

    for subject, numbers in theirs.items():
        yield subject, Items(told(numbers))


def _write_numbers(folder: Path, corpus: SpeechCorpus) -> None:
    """Masks, and the normalisation of the training clips; of all where there are none."""
    for name, wanted in MASKS.items():
        weights = mask_weights(corpus, *wanted)
        write_npy(folder / f"{name}.npy", [weights], shape=weights.shape)
    normalisation = fit_normalisation(corpus.of_split("train") or corpus.clips, corpus.templates)
    write_npy(folder / "face_axis_mean.npy", [normalisation.mean], shape=(3,))
    write_npy(folder / "face_axis_std.npy", [np.array([normalisation.std])], shape=(1,))
