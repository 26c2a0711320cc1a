"""`unitalker`: one data set of UniTalker's mixture.

    train.json, val.json, test.json    info.id_list, and of every clip its files, identity, kind and rate
    annot/NAME.npy                     [T, 3 V], metres
    audio/NAME.wav                     16 kHz
    id_template.npy                    [people, 3 V], in the order of id_list, which is the same in all three files
    pca.npz                            principal components of what training clips are beside their templates
    dataset_config.json                the entry of this data set in its Python file dataset_config.py

Meshes of FLAME's 5023 vertices go by the name of its data set D2, VOCASET, as long as there are no more people than it
has, and the program runs as it is; other ones want the entry to be copied. Its loader takes 25 and 30 frames a second
as they are, cuts clips to 20 s and leaves those under 0.5 s out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from animation.audio.encoder import SPEECH_RATE_HZ
from animation.data.corpus import SpeechCorpus, Split
from animation.export.naming import Named, numbered
from animation.export.parts import start, templates_of, trimmed_sound, write_frames, write_map
from mmface4d.exported import Exported
from mmface4d.files import atomic_path, write_json
from mmface4d.gram import gram
from mmface4d.npy import write_npy
from mmface4d.npz import write_npz
from mmface4d.progress import progress
from mmface4d.wav import write_wav

FLAME_VERTS, D2_PEOPLE = 5023, 12
KEPT_RATES, USUAL_RATE = (25.0, 30.0), 30.0
LONGEST_S, SHORTEST_S = 20.0, 0.5
MOST_COMPONENTS = 512  # of its networks
MOST_SNAPSHOT_BYTES = 256 << 20
FILES: dict[Split, str] = {"train": "train.json", "validation": "val.json", "test": "test.json"}


@dataclass(frozen=True)
class DataSet:
    """How its dataset_config.py knows a data set."""

    name: str
    folder: str
    kind: str
    people: int
    built_in: bool

    def entry(self, *, n_verts: int) -> dict[str, Any]:
        """As its file describes it."""
        return {
            "dirname": self.folder, "annot_type": self.kind, "scale": 1.0, "annot_dim": 3 * n_verts,
            "subjects": self.people, "pca": True,
        }  # fmt: skip


def data_set(corpus: SpeechCorpus, *, people: int) -> DataSet:
    """D2 where its meshes fit, one of our own otherwise."""
    n_verts = corpus.topology.n_verts
    if n_verts == FLAME_VERTS and people <= D2_PEOPLE:
        return DataSet("D2", "vocaset", "FLAME_5023_vertices", D2_PEOPLE, True)
    return DataSet("mmface4d", "mmface4d", f"{corpus.topology.name}_{n_verts}_vertices", people, False)


def write(corpus: SpeechCorpus, folder: Path) -> list[Exported]:
    """The folder that goes into its data_root under the name of `dirname`."""
    named = numbered(corpus)
    for name in ("annot", "audio"):
        (folder / name).mkdir()
    templates = templates_of(corpus, named)
    people = list(templates)
    known_as = data_set(corpus, people=len(people))
    with progress("export (clips)", len(named)) as bar:
        done = []
        for each in named:
            done.append(_write_clip(each, folder, n_verts=corpus.topology.n_verts))
            bar.advance()
    for split, file in FILES.items():
        told = [
            _entry(each, one, people=people, known_as=known_as)
            for each, one in zip(named, done, strict=True)
            if each.split == split
        ]
        write_json(folder / file, {"info": {"id_list": people}, "data": told})
    rows = np.stack([template.reshape(-1) for template in templates.values()])
    write_npy(folder / "id_template.npy", [rows], shape=rows.shape)
    with atomic_path(folder / "pca.npz") as partial:
        write_npz(partial, components(corpus))
    write_json(folder / "dataset_config.json", {known_as.name: known_as.entry(n_verts=corpus.topology.n_verts)})
    write_map(folder, corpus, named, layout="unitalker", done=done, runs_unchanged=known_as.built_in)
    return done


def _write_clip(named: Named, folder: Path, *, n_verts: int) -> Exported:
    fps = named.clip.fps if named.clip.fps in KEPT_RATES else USUAL_RATE
    clip, done = start(named, named.stem, fps=fps)
    if clip.duration_s > LONGEST_S:
        done.notes.append(f"its loader takes the first {LONGEST_S:g} s only")
    if clip.duration_s < SHORTEST_S:
        done.notes.append(f"its loader leaves clips under {SHORTEST_S:g} s out")
    write_frames(folder / "annot" / f"{named.stem}.npy", clip, n_verts=n_verts, flat=True)
    sound = trimmed_sound(named.clip, done=done)
    write_wav(folder / "audio" / f"{named.stem}.wav", sound, rate_hz=SPEECH_RATE_HZ)
    return done


def _entry(named: Named, done: Exported, *, people: Sequence[str], known_as: DataSet) -> dict[str, Any]:
    return {
        "annot_path": f"annot/{done.name}.npy", "audio_path": f"audio/{done.name}.wav",
        "id": people.index(named.subject), "annot_type": known_as.kind, "dataset": known_as.name, "fps": int(done.fps),
    }  # fmt: skip


def components(corpus: SpeechCorpus) -> dict[str, Float32[np.ndarray, "..."]]:
    """Principal components of the displacements of training clips, by the names of its pca.npz."""
    rest = _displacements(corpus)
    mean = rest.mean(axis=0, dtype=np.float64).astype(np.float32)
    rest -= mean
    values, vectors = np.linalg.eigh(gram(rest))
    order = np.argsort(values)[::-1][: min(MOST_COMPONENTS, len(values))]
    order = order[values[order] > 1e-10 * max(float(values.max(initial=0.0)), 1e-30)]
    mixing = (vectors[:, order] / np.sqrt(values[order])).astype(np.float32)
    basis = mixing.T @ rest
    weights = rest @ basis.T
    shares = values[order] / max(float(values.sum()), 1e-30)
    return {
        "components_to_data": basis, "original_data_mean": mean,
        "data_components_mean": weights.mean(axis=0), "data_components_std": weights.std(axis=0),
        "S": np.sqrt(values[order]).astype(np.float32), "explained_variance_ratio": shares.astype(np.float32),
    }  # fmt: skip


def _displacements(corpus: SpeechCorpus) -> Float32[np.ndarray, "n_snapshots n_numbers"]:
    """Frames spread evenly over the training clips, as many as there is room for."""
    clips = corpus.of_split("train") or corpus.clips
    total = sum(clip.n_frames for clip in clips)
    most = max(2, min(total, 4 * MOST_COMPONENTS, MOST_SNAPSHOT_BYTES // (12 * corpus.topology.n_verts)))
    wanted = np.unique(np.linspace(0, total - 1, most).round().astype(int))
    ends = np.cumsum([clip.n_frames for clip in clips])
    out = np.zeros((len(wanted), 3 * corpus.topology.n_verts), np.float32)
    for number, place in enumerate(wanted.tolist()):
        which = int(np.searchsorted(ends, place, side="right"))
        clip, row = clips[which], place - (int(ends[which - 1]) if which else 0)
        out[number] = (clip.frames(row, row + 1)[0] - corpus.templates[clip.subject]).reshape(-1)
    return out
