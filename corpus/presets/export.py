"""Exporting sequences to a layout: a folder that appears whole or not at all."""

import importlib
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from corpus.dataset.consent import scopes_of_sequence
from corpus.presets.clip import Clip, open_clip, refuse_equal_names
from corpus.presets.motion import Pose
from mmface4d.errors import ConsentError
from mmface4d.exported import Exported
from mmface4d.new_folder import new_folder
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
    target, _, usual_pose = PRESETS[preset]
    module, name = target.split(":")
    write: Callable[[Sequence[Clip], Path], list[Exported]] = getattr(importlib.import_module(module), name)
    clips = [open_clip(path, pose=pose or usual_pose, with_take=with_take, subject=subject) for path in paths]
    refuse_equal_names(clips)
    try:
        with new_folder(output) as folder:
            done = write(clips, folder)
            _refuse_changed(clips)
            for clip, one in zip(clips, done, strict=True):
                one.notes += quality_notes(clip)
                if preset in COLORED and "vertex_colors" in clip.motion.sequence and not clip.colors_allowed:
                    one.notes.append("no colours: the person's consent does not cover rgb")
            return done
    finally:
        for clip in clips:
            if clip.take is not None:
                clip.take.close()


def _refuse_changed(clips: Sequence[Clip]) -> None:
    """Raises ConsentError where somebody has withdrawn meanwhile, or lets out something else than before."""
    for clip in clips:
        if scopes_of_sequence(clip.motion.sequence.path, clip.motion.sequence.take_name) != clip.scopes:
            raise ConsentError(f"the consent to {clip.source} changed meanwhile", hint="run the same command again")


def quality_notes(clip: Clip) -> list[str]:
    """What a user of the vertices should know of how they were found."""
    sequence = clip.motion.sequence
    if "status" not in sequence:
        return []
    counts = Counter(sequence["status"].tolist())
    return [f"{counts[code]} of {len(sequence)} frames: {STATUS[code]}" for code in sorted(counts) if code]
