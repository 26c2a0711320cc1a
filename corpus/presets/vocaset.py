"""`vocaset`: the folders that FaceFormer and its relatives read (CodeTalker, SelfTalk, Imitator, DiffSpeaker, ...).

Their loaders fix much: the subject is what stands before the last underscore, the sentence the last two digits; every
second frame of the 60 a second is taken; `templates.pkl` is a dict read with the encoding latin1.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from corpus.presets.clip import Clip
from corpus.presets.motion import Motion
from corpus.presets.sound import SPEECH_RATE, cut_sound
from mmface4d.array_pickle import write_pickle
from mmface4d.errors import InputError, UsageError
from mmface4d.exported import Exported
from mmface4d.files import write_json
from mmface4d.mesh_text import write_ply
from mmface4d.names import plain_names
from mmface4d.npy import write_npy
from mmface4d.progress import Progress, progress
from mmface4d.wav import write_wav

FPS = 60.0
BASE_FPS = 30.0  # what is left when every second frame is taken
MOST_SENTENCES = 100  # two digits
MOST_FRAMES = 600  # of BASE_FPS: the length of the loaders' position codes
SILENT_S = 0.05
TOPOLOGY = "FLAME_sample.ply"  # the name that their renderers ask for


def write(clips: Sequence[Clip], folder: Path) -> list[Exported]:
    """vertices_npy/, wav/, templates/, templates.pkl, and map.json, which tells what every name was before.

    Raises UsageError where a subject has more than 100 sentences or topologies differ, InputError without sound.
    """
    stems = rename(clips)
    for name in ("vertices_npy", "wav", "templates"):
        (folder / name).mkdir()
    total = sum(len(clip.motion.at(BASE_FPS).at(FPS)) for clip in clips)
    with progress("export (frames)", total) as bar:
        done = [_write_clip(clip, stems[clip.name], folder, bar=bar) for clip in clips]
    templates = _write_templates(clips, stems, folder)
    write_json(folder / "map.json", _map(clips, stems, templates))
    return done


def rename(clips: Sequence[Clip]) -> dict[str, str]:
    """By clip's name its new one: SUBJECT_sentenceNN, subjects without underscores, numbers in the order given."""
    if len({clip.motion.sequence.vertices.shape[1] for clip in clips}) > 1:
        raise UsageError("the sequences have several topologies", hint="export those of one face model at a time")
    by_subject: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        by_subject[clip.subject].append(clip)
    subjects = plain_names(by_subject)
    stems = {}
    for subject, theirs in by_subject.items():
        if len(theirs) > MOST_SENTENCES:
            raise UsageError(
                f"{subject} has {len(theirs)} sentences; the layout has room for {MOST_SENTENCES} a subject",
                hint="export them in parts, to folders of their own",
            )
        for number, clip in enumerate(theirs, 1):
            stems[clip.name] = f"{subjects[subject]}_sentence{number % MOST_SENTENCES:02}"
    return stems


def _write_clip(clip: Clip, stem: str, folder: Path, *, bar: Progress) -> Exported:
    read = clip.motion.at(BASE_FPS)  # of which the sound is as long: some loaders spread all of it over all frames
    motion, sound = read.at(FPS), cut_sound(replace(clip, motion=read), rate=SPEECH_RATE)
    if sound is None:
        why = "has no sound" if clip.sound_allowed else "has no sound that the person consented to"
        raise InputError(f"{clip.source} {why}, and this layout is nothing without", hint="leave it out")
    done = Exported(stem, len(motion), FPS)
    if clip.motion.fps != BASE_FPS:
        done.notes.append(f"brought from {clip.motion.fps:g} to {BASE_FPS:g} frames a second first")
    if sound.silent_s > SILENT_S:
        done.notes.append(f"the sound does not cover {sound.silent_s:.2f} s of it, which are silent")
    if len(read) > MOST_FRAMES:
        done.notes.append(f"longer than the {MOST_FRAMES} frames that the loaders' models can take")
    _write_vertices(folder / "vertices_npy" / f"{stem}.npy", motion, bar)
    write_wav(folder / "wav" / f"{stem}.wav", sound.samples, rate_hz=sound.rate)
    return done


def _write_vertices(path: Path, motion: Motion, bar: Progress) -> None:
    """[T, 3 N] float32, frame by frame."""

    def rows() -> Iterator[np.ndarray]:
        for vertices_m in motion:
            yield vertices_m.reshape(1, -1)
            bar.advance()

    write_npy(path, rows(), shape=(len(motion), 3 * motion.sequence.vertices.shape[1]))


def _write_templates(clips: Sequence[Clip], stems: dict[str, str], folder: Path) -> dict[str, Any]:
    """A neutral face of each subject; returns which frame it is."""
    chosen: dict[str, tuple[float, Clip, int]] = {}
    for clip in clips:
        subject = stems[clip.name].rpartition("_")[0]
        strength, frame = calmest_frame(clip)
        if subject not in chosen or strength < chosen[subject][0]:
            chosen[subject] = (strength, clip, frame)
    templates: dict[str, Float[np.ndarray, "n_verts 3"]] = {}
    for subject, (_, clip, frame) in chosen.items():
        templates[subject] = replace(clip.motion, rows=np.array([float(frame)]))[0]
        write_ply(folder / "templates" / f"{subject}.ply", templates[subject], clip.motion.sequence.faces)
    write_ply(folder / "templates" / TOPOLOGY, next(iter(templates.values())), clips[0].motion.sequence.faces)
    write_pickle(folder / "templates.pkl", templates)
    return {subject: {"sequence": clip.name, "row": frame} for subject, (_, clip, frame) in chosen.items()}


def calmest_frame(clip: Clip) -> tuple[float, int]:
    """The row with the weakest expression and how strong that is; the first where the sequence tells no expression."""
    sequence = clip.motion.sequence
    if "expression" not in sequence or not sequence["expression"].size:
        return float("inf"), 0
    strength = np.linalg.norm(np.nan_to_num(sequence["expression"].astype(np.float64), nan=1e9), axis=1)
    row = int(np.argmin(strength))
    return float(strength[row]), row


def _map(clips: Sequence[Clip], stems: dict[str, str], templates: dict[str, Any]) -> dict[str, Any]:
    sequences = {
        stems[clip.name]: {
            "sequence": clip.name, "subject": clip.subject, "sentence": clip.sentence,
            "frames": len(clip.motion), "fps": clip.motion.fps,
        }
        for clip in clips
    }  # fmt: skip
    pose = clips[0].motion.pose
    return {"format": 1, "fps": FPS, "unit": "metre", "pose": pose, "templates": templates, "sequences": sequences}
