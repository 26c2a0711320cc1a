"""Exporting sequences to a layout: a folder that appears whole or not at all."""

import glob
import importlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from corpus.dataset.consent import scopes_of_sequence
from corpus.presets.clip import Clip, Exported, open_clip, refuse_equal_names
from corpus.presets.motion import Pose
from mmface4d.errors import InputError
from mmface4d.files import atomic_folder
from mmface4d.locks import locked
from mmface4d.sequence import STATUS

# name -> (module:function, what it is, whether heads stand still unless asked otherwise)
PRESETS: dict[str, tuple[str, str, Pose]] = {
    "mmface4d": ("corpus.presets.mmface4d_files:write", "the MMFace4D data set's own files", "world"),
    "vocaset": ("corpus.presets.vocaset:write", "for FaceFormer and its relatives", "head"),
    "wav+npz": ("corpus.presets.wav_npz:write", "a mesh sequence and its sound", "world"),
    "gltf": ("corpus.presets.gltf:write", "glTF 2.0 with morph targets", "world"),
    "ply": ("corpus.presets.mesh_files:write_ply", "a PLY a frame", "world"),
    "obj": ("corpus.presets.mesh_files:write_obj", "an OBJ a frame", "world"),
}
COLORED = ("wav+npz", "gltf", "ply")  # those that have room for the actor's colours


def export_sequences(
    paths: Sequence[Path], output: Path, *, preset: str, pose: Pose | None = None, with_take: bool = True,
    subject: str | None = None,
) -> list[Exported]:  # fmt: skip
    """Writes the sequences in a layout of PRESETS; the folder must not exist.

    Raises InputError, UsageError or ConsentError where a sequence or its take cannot or may not be used.
    """
    if output.exists():
        raise InputError(f"{output} exists; exports are never overwritten", hint="choose another name, or delete it")
    target, _, usual_pose = PRESETS[preset]
    module, name = target.split(":")
    write: Callable[[Sequence[Clip], Path], list[Exported]] = getattr(importlib.import_module(module), name)
    clips = [open_clip(path, pose=pose or usual_pose, with_take=with_take, subject=subject) for path in paths]
    refuse_equal_names(clips)
    try:
        with _claimed(output), atomic_folder(output) as folder:
            done = write(clips, folder)
            for clip in clips:  # somebody may have withdrawn meanwhile
                scopes_of_sequence(clip.motion.sequence.path, clip.motion.sequence.take_name)
            for clip, one in zip(clips, done, strict=True):
                one.notes += quality_notes(clip)
                if preset in COLORED and "vertex_colors" in clip.motion.sequence and not clip.colors_allowed:
                    one.notes.append("no colours: the person's consent does not cover rgb")
            return done
    finally:
        for clip in clips:
            if clip.take is not None:
                clip.take.close()


@contextmanager
def _claimed(output: Path) -> Iterator[None]:
    """Keeps a second export from the same folder, and clears what a killed one left."""
    with locked(output.with_name(f".{output.name}.lock"), what=str(output)):
        for leftover in output.parent.glob(f".{glob.escape(output.name)}.*.partial"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield


def quality_notes(clip: Clip) -> list[str]:
    """What a user of the vertices should know of how they were found."""
    sequence = clip.motion.sequence
    if "status" not in sequence:
        return []
    counts = Counter(sequence["status"].tolist())
    return [f"{counts[code]} of {len(sequence)} frames: {STATUS[code]}" for code in sorted(counts) if code]


def exported_json(done: Exported) -> dict[str, Any]:
    """The figures for scripts."""
    return asdict(done)


def exported_text(done: Exported) -> str:
    """The figures for a person."""
    figures = "".join(f", {count} {name}" for name, count in done.figures.items())
    error = f", vertices within {done.max_error_mm:.4f} mm" if done.max_error_mm else ", vertices exact"
    lines = [f"{done.name}: {done.frames} frames at {done.fps:g} a second{figures}{error}"]
    return "\n".join(lines + [f"  note: {note}" for note in done.notes])
