"""What every layout is made of: frames at its rate, sound that begins with them, templates, masks, and the map back."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int

from animation.audio.encoder import SPEECH_RATE_HZ
from animation.audio.features import check_sound, speech_samples
from animation.data.clip import Clip
from animation.data.corpus import SpeechCorpus
from animation.data.resample import resample_clip
from animation.export.naming import Named, several_names
from mmface4d.arrays import Vertices
from mmface4d.errors import InputError
from mmface4d.exported import Exported
from mmface4d.files import atomic_path, write_json
from mmface4d.npy import write_npy

BLOCK_FRAMES = 64
SILENT_S = 0.05  # of a clip without sound are worth a note
MAP_FILE = "map.json"


def blocks(clip: Clip, *, n_verts: int) -> Iterator[Float32[np.ndarray, "n_read n_verts 3"]]:
    """The clip's frames a few at a time, metres; raises InputError that names it where one cannot be used."""
    for start in range(0, clip.n_frames, BLOCK_FRAMES):
        stop = min(start + BLOCK_FRAMES, clip.n_frames)
        frames = clip.frames(start, stop)
        if frames.shape[1:] != (n_verts, 3):
            raise InputError(
                f"{clip.name}: its frames are {frames.shape[1:]}, its topology has {n_verts} vertices",
                hint="leave it out",
            )
        if len(frames) != stop - start:
            raise InputError(f"{clip.name}: it has fewer frames than it says, {clip.n_frames}", hint="leave it out")
        if not np.isfinite(frames).all():
            raise InputError(
                f"{clip.name}: frames from {start} on have vertices that are no numbers", hint="leave it out"
            )
        yield np.ascontiguousarray(frames, np.float32)


def start(named: Named, name: str, *, fps: float) -> tuple[Clip, Exported]:
    """The clip at the layout's rate, and the record of its export."""
    clip = resample_clip(named.clip, fps)
    done = Exported(name, clip.n_frames, fps)
    if fps != named.clip.fps:
        done.notes.append(f"brought from {named.clip.fps:g} to {fps:g} frames a second")
    return clip, done


def write_frames(path: Path, clip: Clip, *, n_verts: int, flat: bool, scale: float = 1.0) -> None:
    """[T, 3 V] where flat, [T, V, 3] otherwise; float32, metres times `scale`."""

    def told() -> Iterator[np.ndarray]:
        for block in blocks(clip, n_verts=n_verts):
            scaled = block if scale == 1.0 else block * np.float32(scale)
            yield scaled.reshape(len(block), -1) if flat else scaled

    write_npy(path, told(), shape=(clip.n_frames, 3 * n_verts) if flat else (clip.n_frames, n_verts, 3))


def trimmed_sound(
    clip: Clip, *, done: Exported, duration_s: float | None = None
) -> Float32[np.ndarray, "n_samples"]:  # fmt: skip
    """At 16 kHz from the first frame to the end of the last, of the clip as it was before its rate was changed.

    `duration_s` is for loaders that spread all of a sound over all frames that they read. What the sound does not cover
    is silent. Raises InputError that names the clip where it is damaged.
    """
    sound = clip.sound()
    try:
        check_sound(sound)
    except InputError as error:
        raise InputError(f"{clip.name}: {error.message}", hint=error.hint) from error
    heard, first = speech_samples(sound), round(sound.start_s * SPEECH_RATE_HZ)
    length_s = clip.duration_s if duration_s is None else duration_s
    out = np.zeros(round(length_s * SPEECH_RATE_HZ), np.float32)
    begin, end = max(first, 0), min(first + len(heard), len(out))
    if begin < end:
        out[begin:end] = heard[begin - first : end - first]
    silent_s = (len(out) - max(end - begin, 0)) / SPEECH_RATE_HZ
    if silent_s > SILENT_S:
        done.notes.append(f"the sound does not cover {silent_s:.2f} s of it, which are silent")
    return np.clip(out, -1.0, 1.0)


def pcm(samples: Float[np.ndarray, "n_samples"]) -> Int[np.ndarray, "n_samples"]:
    """16-bit whole numbers."""
    return np.clip(np.round(samples * 32768.0), -32768, 32767).astype(np.int16)


def templates_of(corpus: SpeechCorpus, named: Iterable[Named]) -> dict[str, Vertices]:
    """By the new name of each subject its neutral face, metres, float32; raises InputError where one is damaged."""
    found: dict[str, Vertices] = {}
    for each in named:
        template = corpus.templates[each.clip.subject]
        if template.shape != (corpus.topology.n_verts, 3) or not np.isfinite(template).all():
            raise InputError(f"the template of {each.clip.subject} is damaged", hint="mend it, or leave the person out")
        found[each.subject] = template.astype(np.float32)
    return found


def write_lines(path: Path, text: str) -> None:
    """A small text file."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def mask_vertices(corpus: SpeechCorpus, *names: str) -> Int[np.ndarray, "n_in_mask"]:
    """Of the first mask that the topology has; none where it has none of them."""
    for name in names:
        if name in corpus.topology.masks:
            return corpus.topology.masks[name].vertices
    return np.zeros(0, np.int32)


def mask_weights(corpus: SpeechCorpus, *names: str) -> Float32[np.ndarray, "n_verts"]:
    """1 on the first mask that the topology has, 0 elsewhere."""
    weights = np.zeros(corpus.topology.n_verts, np.float32)
    weights[mask_vertices(corpus, *names)] = 1.0
    return weights


def comma_text(vertices: Int[np.ndarray, "n_in_mask"]) -> str:
    """As FaceDiffuser and its relatives read a mask: `2, 6, 21`, counted from 0."""
    return ", ".join(str(each) for each in vertices.tolist())


def write_masks(folder: Path, corpus: SpeechCorpus, names: Mapping[str, Sequence[str]]) -> None:
    """By file's name the masks to look for, each as a text of vertex numbers; those that are not there are left out."""
    for name, wanted in names.items():
        vertices = mask_vertices(corpus, *wanted)
        if len(vertices):
            write_lines(folder / f"{name}.txt", comma_text(vertices))


def write_map(
    folder: Path, corpus: SpeechCorpus, named: Sequence[Named], *, layout: str, done: Sequence[Exported],
    unit: str = "metre", **more: Any,
) -> None:  # fmt: skip
    """map.json: what every name was before, so that an export can be led back; and what to tell the peer's program."""
    clips = {
        one.name: {
            "clip": each.clip.name, "subject": each.clip.subject, "sentence": each.clip.sentence, "split": each.split,
            "layout_subject": each.subject, "frames": one.frames, "original_frames": each.clip.n_frames,
            "original_fps": each.clip.fps, "text": each.clip.text, "language": each.clip.language,
            "emotion": each.clip.emotion,
        }
        for each, one in zip(named, done, strict=True)
    }  # fmt: skip
    masks = {name: mask.sha256 for name, mask in corpus.topology.masks.items()}
    topology = {"name": corpus.topology.name, "sha256": corpus.topology.sha256, "vertices": corpus.topology.n_verts}
    write_json(folder / MAP_FILE, {
        "format": 1, "layout": layout, "origin": corpus.origin, "licence": corpus.licence, "unit": unit,
        "topology": topology | {"masks": masks}, "several_names": several_names(named), **more, "clips": clips,
    })  # fmt: skip
