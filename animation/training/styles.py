"""The manners of speaking of the training subjects, as a model that watches driving clips has them in its numbers.

With them in a checkpoint, a face can speak in the manner of a training subject, or in the mean of all, without a clip.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from animation.data.batch import Style
from animation.data.batches import clip_batch
from animation.data.prepared import Prepared, PreparedClip
from animation.models.interface import AnimationModel, ChunkableModel
from animation.training.checkpoint import WEIGHTS_FILE, Trained
from mmface4d.errors import InputError
from mmface4d.files import atomic_path, file_sha256
from mmface4d.npz import read_npz, write_npz

STYLES_FILE = "styles.npz"
CLIPS_OF_A_SUBJECT = 4
MAX_BYTES = 256 << 20
_HINT = "delete this file: the model works without it, if it is shown a driving clip"


@dataclass(frozen=True)
class StyleCodes:
    """A row for each training subject, in the order of the checkpoint's subjects."""

    values: Float[Tensor, "n_subjects n_style"]


def write_styles(folder: Path, model: AnimationModel, prepared: Prepared) -> None:
    """Writes the codes that belong to a folder's weights: of each subject the mean over its first clips.

    Nothing for models that watch no clip. `model` must hold these weights.
    """
    if not isinstance(model, ChunkableModel) or model.capabilities.style != "clip":
        return
    was_training = model.training
    model.eval()
    try:
        codes = [_code(model, prepared, subject) for subject in prepared.training_subjects]
    finally:
        model.train(was_training)
    arrays = {"codes": np.stack(codes), "weights_sha256": np.array(file_sha256(folder / WEIGHTS_FILE))}
    with atomic_path(folder / STYLES_FILE) as partial:
        write_npz(partial, arrays)


def read_styles(folder: Path, trained: Trained) -> StyleCodes | None:
    """The codes of a checkpoint; None where there are none of these weights; raises InputError if damaged."""
    path = folder / STYLES_FILE
    if not path.is_file() or not isinstance(trained.model, ChunkableModel):
        return None
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path} is larger than {MAX_BYTES >> 20} MiB", hint=_HINT)
    arrays = read_npz(path.read_bytes(), name=str(path), hint=_HINT)
    if str(arrays.get("weights_sha256")) != file_sha256(folder / WEIGHTS_FILE):
        return None  # the training went on since
    codes = arrays.get("codes")
    wanted = (len(trained.preprocessing.subjects), _width(trained))
    if codes is None or codes.dtype != np.float32 or codes.shape != wanted or not np.isfinite(codes).all():
        raise InputError(f"{path} does not hold the styles of {wanted[0]} subjects", hint=_HINT)
    return StyleCodes(torch.from_numpy(codes.copy()))


def _code(model: ChunkableModel, prepared: Prepared, subject: str) -> Float[np.ndarray, "n_style"]:
    clips = [clip for clip in prepared.of_split("train") if clip.subject == subject][:CLIPS_OF_A_SUBJECT]
    return np.mean([_code_of(model, prepared, clip) for clip in clips], axis=0).astype(np.float32)


def _code_of(model: ChunkableModel, prepared: Prepared, clip: PreparedClip) -> Float[np.ndarray, "n_style"]:
    batch = clip_batch(prepared, [clip], drivers=[clip]).to(next(model.parameters()).device)
    with torch.inference_mode():
        return model.encode_style(batch.style)[0].float().cpu().numpy()


def _width(trained: Trained) -> int:
    """How many numbers a code of this model has."""
    model = trained.model
    if not isinstance(model, ChunkableModel):
        return 0
    with torch.inference_mode():
        return model.encode_style(still_style(trained, 0).to(next(model.parameters()).device)).shape[1]


def still_style(trained: Trained, subject: int) -> Style:
    """A training subject by number (or UNKNOWN_SUBJECT), with nothing to watch."""
    still = torch.zeros(1, 2, trained.preprocessing.topology.n_verts, 3)
    return Style(still, torch.ones(1, 2, dtype=torch.bool), torch.tensor([subject]))
