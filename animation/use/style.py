"""Whose manner of speaking a face is to have: a driving clip's, a training subject's, or the middle of all of them."""

import numpy as np
import torch
from jaxtyping import Float

from animation.data.batch import UNKNOWN_SUBJECT, Style
from animation.data.check import LEAST_FRAMES, frame_mistakes
from animation.data.clip import Clip
from animation.data.resample import resample_clip
from animation.models.interface import ChunkableModel
from animation.training.checkpoint import Trained
from animation.training.styles import StyleCodes, still_style
from animation.use.generate import StyleCode
from animation.use.template import check_template
from mmface4d.arrays import Vertices
from mmface4d.errors import InputError, UsageError

MOST_DRIVER_S = 60.0  # of a clip; a manner is known by then


def style_of_clip(trained: Trained, clip: Clip, *, template: Vertices) -> Style:
    """The manner of a clip (its first minute); `template` is the neutral face of whom it shows, metres.

    Raises InputError that names the clip where it cannot be used.
    """
    about = trained.preprocessing
    check_template(template, about, name=f"the template of {clip.name}")
    if clip.n_frames < LEAST_FRAMES:
        raise InputError(f"{clip.name} has {clip.n_frames} frames, fewer than {LEAST_FRAMES}", hint="give a longer one")
    steady = resample_clip(clip, about.fps)
    end = min(steady.n_frames, round(MOST_DRIVER_S * about.fps))
    frames = steady.frames(0, end)
    if said := frame_mistakes(clip, frames, template=template, start=0, stop=end):
        raise InputError(said[0], hint="give another clip for the style, or the template that belongs to it")
    moved = about.normalisation.displacements(frames - template.astype(np.float32))
    known = about.subjects.index(clip.subject) if clip.subject in about.subjects else UNKNOWN_SUBJECT
    return _style(moved, subject=known)


def style_of_subject(trained: Trained, subject: str, *, codes: StyleCodes | None = None) -> Style | StyleCode:
    """The manner of somebody in the training data; `codes` are the checkpoint's, for models that watch a clip.

    Raises UsageError where the model does not know the subject.
    """
    about = trained.preprocessing
    if subject not in about.subjects:
        few = ", ".join(about.subjects[:10])
        raise UsageError(f"the model was not trained on a subject {subject}", hint=f"its subjects are {few}")
    number = about.subjects.index(subject)
    if not _watches_clips(trained):
        return still_style(trained, number)
    if codes is None:
        raise UsageError("the checkpoint does not know its subjects' manners", hint="give a clip for the style")
    return codes.values[number : number + 1]


def usual_style(trained: Trained, *, codes: StyleCodes | None = None) -> Style | StyleCode:
    """Nobody's manner in particular: the mean of the training subjects'.

    Raises UsageError where the model takes it from a clip and the checkpoint knows no mean.
    """
    if not _watches_clips(trained):
        return still_style(trained, UNKNOWN_SUBJECT)
    if codes is None:
        raise UsageError(
            "the model takes its manner of speaking from a clip, and the checkpoint knows no usual one",
            hint="give one for the style",
        )
    return codes.values.mean(dim=0, keepdim=True)


def _watches_clips(trained: Trained) -> bool:
    return isinstance(trained.model, ChunkableModel) and trained.model.capabilities.style == "clip"


def _style(moved: Float[np.ndarray, "n_driver n_verts 3"], *, subject: int) -> Style:
    seen = torch.ones(1, len(moved), dtype=torch.bool)
    return Style(torch.from_numpy(np.ascontiguousarray(moved))[None], seen, torch.tensor([subject]))
