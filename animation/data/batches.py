"""Batches of prepared clips: random crops to train on, whole clips to judge by."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float32

from animation.data.batch import UNKNOWN_SUBJECT, Batch, Style
from animation.data.corpus import Split
from animation.data.prepared import Prepared, PreparedClip
from mmface4d.errors import InputError, UsageError

Crop = tuple[PreparedClip, int, int]  # a clip's frames from start to stop


def training_batches(
    prepared: Prepared, *, batch_size: int, crop_frames: int, generator: np.random.Generator,
    driver_frames: int | None = None, split: Split = "train",
) -> Iterator[Batch]:  # fmt: skip
    """Batches without end; each depends on the generator's state alone, so that saving that state is enough to go on.

    The clips of a batch differ where there are enough, and all are as likely. A driver is a crop (of `driver_frames`,
    or `crop_frames`) of another sentence of the same subject where there is one. Raises InputError without clips.
    """
    clips = prepared.of_split(split)
    if not clips:
        raise InputError(f"{prepared.origin} has no clip in {split}", hint="see: mmface4d clips show DATA")
    if batch_size < 1 or crop_frames < 1:
        raise UsageError("a batch needs clips, and a crop frames", hint="usual are 8 clips of 60 frames")
    return _batches(
        prepared, clips, batch_size=batch_size, lengths=(crop_frames, driver_frames or crop_frames), generator=generator
    )


def _batches(
    prepared: Prepared, clips: Sequence[PreparedClip], *, batch_size: int, lengths: tuple[int, int],
    generator: np.random.Generator,
) -> Iterator[Batch]:  # fmt: skip
    theirs: dict[str, list[PreparedClip]] = {}
    for clip in clips:
        theirs.setdefault(clip.subject, []).append(clip)
    others = {clip.name: others_of(clip, theirs[clip.subject]) for clip in clips}
    while True:
        chosen = [clips[k] for k in generator.choice(len(clips), batch_size, replace=batch_size > len(clips)).tolist()]
        crops = [_crop(clip, lengths[0], generator) for clip in chosen]
        drivers = [_crop(_one_of(others[clip.name], generator), lengths[1], generator) for clip in chosen]
        yield _batch(prepared, crops, drivers)


def clip_batch(prepared: Prepared, clips: Sequence[PreparedClip], *, drivers: Sequence[PreparedClip]) -> Batch:
    """Whole clips, each with a whole driver, padded at the end."""
    if not clips or len(drivers) != len(clips):
        raise UsageError(f"{len(clips)} clips and {len(drivers)} drivers", hint="give each clip a driver of its own")
    whole, driving = ([(each, 0, each.n_frames) for each in group] for group in (clips, drivers))
    return _batch(prepared, whole, driving)


def others_of(clip: PreparedClip, clips: Sequence[PreparedClip]) -> list[PreparedClip]:
    """The clips in which the same subject says something else; the clip itself where there is none."""
    theirs = [each for each in clips if each.subject == clip.subject and each.name != clip.name]
    return [each for each in theirs if each.sentence != clip.sentence] or theirs or [clip]


def _one_of(clips: Sequence[PreparedClip], generator: np.random.Generator) -> PreparedClip:
    return clips[int(generator.integers(len(clips)))]


def _crop(clip: PreparedClip, length: int, generator: np.random.Generator) -> Crop:
    start = int(generator.integers(max(clip.n_frames - length, 0) + 1))
    return clip, start, min(start + length, clip.n_frames)


def _batch(prepared: Prepared, crops: Sequence[Crop], drivers: Sequence[Crop]) -> Batch:
    scale, numbers = prepared.normalisation, {name: k for k, name in enumerate(prepared.training_subjects)}
    audio, mask = _padded([clip.features(start, stop) for clip, start, stop in crops])
    motion, _ = _padded([clip.displacement_m(start, stop) for clip, start, stop in crops])
    driver, driver_mask = _padded([clip.displacement_m(start, stop) for clip, start, stop in drivers])
    templates = np.stack([scale.positions(prepared.templates[clip.subject]) for clip, _, _ in crops])
    subjects = [numbers.get(clip.subject, UNKNOWN_SUBJECT) for clip, _, _ in drivers]
    style = Style(torch.from_numpy(scale.displacements(driver)), torch.from_numpy(driver_mask), torch.tensor(subjects))
    return Batch(
        audio=torch.from_numpy(audio), displacement=torch.from_numpy(scale.displacements(motion)),
        frame_mask=torch.from_numpy(mask), template=torch.from_numpy(templates), style=style,
    )  # fmt: skip


def _padded(
    parts: Sequence[Float32[np.ndarray, "..."]],
) -> tuple[Float32[np.ndarray, "n_batch n_most ..."], Bool[np.ndarray, "n_batch n_most"]]:
    """Parts of several lengths side by side, zeros behind, and where they are no zeros of ours."""
    longest = max(len(part) for part in parts)
    out = np.zeros((len(parts), longest, *parts[0].shape[1:]), np.float32)
    mask = np.zeros((len(parts), longest), bool)
    for row, part in enumerate(parts):
        out[row, : len(part)] = part
        mask[row, : len(part)] = True
    return out, mask
