"""`voca-raw`: the four files that VOCA itself is trained on, which FaceFormer's preparation starts from too.

data_verts.npy         [N, V, 3], all frames of all clips, 60 a second
subj_seq_to_idx.pkl    subject -> sequence -> frame -> row of data_verts.npy
raw_audio_fixed.pkl    subject -> sequence -> audio (int16) and sample_rate
templates.pkl          subject -> [V, 3]
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from animation.audio.encoder import SPEECH_RATE_HZ
from animation.data.clip import Clip
from animation.data.corpus import SpeechCorpus
from animation.export.faceformer import VOCASET, VOCASET_ROOM
from animation.export.naming import Named, by_split, numbered
from animation.export.parts import (
    blocks,
    pcm,
    start,
    templates_of,
    trimmed_sound,
    write_map,
    write_masks,
)  # fmt: skip
from mmface4d.array_pickle import Items, write_pickle
from mmface4d.exported import Exported
from mmface4d.mesh_text import write_ply
from mmface4d.npy import write_npy
from mmface4d.progress import progress

FPS = 60.0
SPLIT_NAMES = {"train": "training", "validation": "validation", "test": "testing"}


def write(corpus: SpeechCorpus, folder: Path) -> list[Exported]:
    """Numbered as VOCASET is, so that what FaceFormer's preparation makes of it is read whole."""
    named = numbered(corpus, room=VOCASET_ROOM)
    started = [start(each, each.stem, fps=FPS) for each in named]
    done = [one for _, one in started]
    _write_vertices(folder / "data_verts.npy", [clip for clip, _ in started], n_verts=corpus.topology.n_verts)
    write_pickle(folder / "subj_seq_to_idx.pkl", Items(rows(named, done).items()))
    write_pickle(folder / "raw_audio_fixed.pkl", Items(_sounds(named, done)))
    templates = templates_of(corpus, named)
    write_pickle(folder / "templates.pkl", templates)
    (folder / "templates").mkdir()
    write_ply(folder / "templates" / "FLAME_sample.ply", next(iter(templates.values())), corpus.topology.faces)
    (folder / "masks").mkdir()
    write_masks(folder / "masks", corpus, {name: (name,) for name in corpus.topology.masks})
    write_map(folder, corpus, named, layout="voca-raw", done=done, fps=FPS, arguments=arguments(named))
    return done


def arguments(named: list[Named]) -> dict[str, str]:
    """Of VOCA's training_config.cfg: subjects and sequences of every split."""
    told = {}
    for split, subjects in by_split(named).items():
        sequences = sorted({each.sentence for each in named if each.split == split})
        told[f"subject_for_{SPLIT_NAMES[split]}"] = " ".join(subjects)
        told[f"sequence_for_{SPLIT_NAMES[split]}"] = " ".join(sequences)
    return told


def rows(named: list[Named], done: list[Exported]) -> dict[str, dict[str, dict[int, int]]]:
    """Where every frame is."""
    out: dict[str, dict[str, dict[int, int]]] = defaultdict(dict)
    first = 0
    for each, one in zip(named, done, strict=True):
        out[each.subject][each.sentence] = {frame: first + frame for frame in range(one.frames)}
        first += one.frames
    return out


def _write_vertices(path: Path, clips: list[Clip], *, n_verts: int) -> None:
    def told() -> Iterator[np.ndarray]:
        with progress("export (clips)", len(clips)) as bar:
            for clip in clips:
                yield from blocks(clip, n_verts=n_verts)
                bar.advance()

    write_npy(path, told(), shape=(sum(clip.n_frames for clip in clips), n_verts, 3))


def _sounds(named: list[Named], done: list[Exported]) -> Iterator[tuple[str, Items]]:
    """One clip's sound in memory at a time."""
    theirs: dict[str, list[tuple[Named, Exported]]] = defaultdict(list)
    for each, one in zip(named, done, strict=True):
        theirs[each.subject].append((each, one))

    def told(pairs: list[tuple[Named, Exported]]) -> Iterator[tuple[str, dict[str, Any]]]:
        for each, one in pairs:
            duration_s = -(-one.frames // VOCASET.every) * VOCASET.every / FPS  # as FaceFormer reads them
            samples = pcm(trimmed_sound(each.clip, done=one, duration_s=duration_s))
            yield each.sentence, {"audio": samples, "sample_rate": SPEECH_RATE_HZ}

    for subject, pairs in theirs.items():
        yield subject, Items(told(pairs))
