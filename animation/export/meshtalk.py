"""`meshtalk-npz`: clips and assets for MeshTalk, whose published data reader is an empty one to be filled in.

clips/NAME.npz, 30 frames a second, millimetres, as its own data are:
    template       [V, 3]
    geom           [T, V, 3]
    audio          16 kHz, as loud as its `load_audio` makes it, half a second of silence before and after
    window_first   [T]: frame t hears audio[window_first[t] :][:16000], the second around its middle
assets/: the files that its training names, for this topology; splits.json: the clips of every split.

Its own `audio_chunking` steps 533 samples a frame in place of 533.33, which is off by a frame after a minute; these
windows are not.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from animation.audio.encoder import SPEECH_RATE_HZ
from animation.data.clip import Clip
from animation.data.corpus import SPLITS, SpeechCorpus
from animation.export.naming import Named, numbered
from animation.export.parts import (
    blocks,
    mask_weights,
    start,
    templates_of,
    trimmed_sound,
    write_lines,
    write_map,
)  # fmt: skip
from mmface4d.errors import InputError
from mmface4d.exported import Exported
from mmface4d.files import atomic_path, write_json
from mmface4d.mesh_text import obj_text
from mmface4d.npy import write_npy
from mmface4d.npz import Streamed, write_npz
from mmface4d.progress import progress

FPS = 30.0
MM = np.float32(1000.0)
WINDOW = 16_000  # samples that a frame hears
LOUDNESS = 0.01  # the mean of |sample| that its load_audio scales to
FRAMES_OF_A_CLIP = 64
# its file -> where the mask comes from; eye and neck are empty where the topology does not know them
MASKS = {
    "weighted_mouth_mask": ("mouth", "lips"), "weighted_eye_mask": ("eyes", "upper_face"), "eye_keypoints": ("eyes",),
    "forehead_mask": ("forehead", "upper_face"), "neck_mask": ("neck",),
}  # fmt: skip


def write(corpus: SpeechCorpus, folder: Path) -> list[Exported]:
    """Clips, assets and splits."""
    named = numbered(corpus)
    for name in ("clips", "assets", "templates"):
        (folder / name).mkdir()
    templates = templates_of(corpus, named)
    with progress("export (clips)", len(named)) as bar:
        done = []
        for each in named:
            done.append(_write_clip(each, folder / "clips", corpus=corpus, template=templates[each.subject]))
            bar.advance()
    for subject, template in templates.items():
        write_lines(folder / "templates" / f"{subject}.obj", obj_text(template * MM, corpus.topology.faces))
    _write_assets(folder / "assets", corpus)
    splits = {split: [each.stem for each in named if each.split == split] for split in SPLITS}
    write_json(folder / "splits.json", splits)
    write_map(folder, corpus, named, layout="meshtalk-npz", done=done, unit="millimetre", fps=FPS)
    return done


def _write_clip(
    named: Named, folder: Path, *, corpus: SpeechCorpus, template: Float32[np.ndarray, "n_verts 3"]
) -> Exported:
    clip, done = start(named, named.stem, fps=FPS)
    n_verts = corpus.topology.n_verts
    heard = trimmed_sound(named.clip, done=done)
    heard_from = window_first(clip.n_frames)
    # at above 60 frames a second a clip may end before the middle of its last frame at 30
    after = max(WINDOW // 2, int(heard_from[-1]) + WINDOW // 2 - len(heard))
    geom = Streamed((clip.n_frames, n_verts, 3), "<f4", (block * MM for block in blocks(clip, n_verts=n_verts)))
    with atomic_path(folder / f"{named.stem}.npz") as partial:
        write_npz(partial, {
            "template": template * MM, "audio": np.pad(_levelled(heard, named.clip), (WINDOW // 2, after)),
            "window_first": heard_from, "geom": geom,
        })  # fmt: skip
    return done


def window_first(n_frames: int) -> Int64[np.ndarray, "n_frames"]:
    """Where every frame's second begins in the padded sound: its middle is the middle of the frame's time."""
    return np.round((np.arange(n_frames) + 0.5) * SPEECH_RATE_HZ / FPS).astype(np.int64)


def _levelled(samples: Float32[np.ndarray, "n_samples"], clip: Clip) -> Float32[np.ndarray, "n_samples"]:
    level = float(np.abs(samples).mean()) if len(samples) else 0.0
    if level == 0.0:
        raise InputError(f"{clip.name}: its sound is silent", hint="leave it out")
    return (samples * np.float32(LOUDNESS / level)).astype(np.float32)


def _write_assets(folder: Path, corpus: SpeechCorpus) -> None:
    for name, wanted in MASKS.items():
        weights = mask_weights(corpus, *wanted)
        write_lines(folder / f"{name}.txt", "".join(f"{weight:g}\n" for weight in weights.tolist()))
    mean, spread = vertex_spread(corpus)
    write_npy(folder / "face_mean.npy", [mean], shape=mean.shape)
    write_npy(folder / "face_std.npy", [np.full(mean.shape, spread)], shape=mean.shape)
    write_lines(folder / "face_template.obj", obj_text(mean, corpus.topology.faces))


def vertex_spread(corpus: SpeechCorpus) -> tuple[Float32[np.ndarray, "n_verts 3"], float]:
    """Of the training clips the mean position of every vertex, and one standard deviation around it; millimetres.

    One number for all vertices, because those that hardly move would blow up noise.
    """
    total, squares, count = np.zeros((corpus.topology.n_verts, 3)), 0.0, 0
    for frame in _sampled(corpus):
        exact = frame.astype(np.float64) * float(MM)
        total += exact
        squares += float(np.square(exact).mean())
        count += 1
    mean = total / max(count, 1)
    return mean.astype(np.float32), float(np.sqrt(max(squares / max(count, 1) - float(np.square(mean).mean()), 1e-12)))


def _sampled(corpus: SpeechCorpus) -> Iterator[Float32[np.ndarray, "n_verts 3"]]:
    for clip in corpus.of_split("train") or corpus.clips:
        chosen = np.unique(np.linspace(0, clip.n_frames - 1, min(FRAMES_OF_A_CLIP, clip.n_frames)).astype(int))
        for row in chosen.tolist():
            yield clip.frames(row, row + 1)[0]
