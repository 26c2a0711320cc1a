"""What speaks against using a clip, in words that name it."""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from animation.data.clip import Clip, Sound
from animation.data.corpus import SpeechCorpus
from mmface4d.arrays import Vertices
from mmface4d.errors import InputError
from mmface4d.frame_rates import LEAST_FPS, MOST_FPS
from mmface4d.names import SAFE_NAME

LEAST_FRAMES = 8  # with fewer, a model that halves time twice has no spread of it left
LEAST_RATE_HZ, MOST_RATE_HZ = 8_000, 384_000
SILENT = 1e-4  # of full scale, the largest sample: -80 dB
LOUDEST = 100.0  # of full scale; whole numbers of 16 bits that nobody divided by 32 768 are above it
UNCOVERED_S = 0.5  # of a clip's length may have no sound
LONGER_BY_S = 1.0  # a sound may be twice as long as its clip and this
FACE_M = (0.02, 2.0)  # a template's largest extent, from a mask to a bust
FAR_M = 0.1  # a face that only moves its skin stays nearer than this to its template on average
MISTAKES_TOLD = 10
BLOCK_FRAMES = 64


def check_clip(clip: Clip, corpus: SpeechCorpus) -> list[str]:
    """Everything that speaks against a clip, its frames and sound read; empty where nothing does."""
    found = clip_mistakes(clip, corpus)
    if found:
        return found
    template, digest = corpus.templates[clip.subject], hashlib.sha256()
    for start in range(0, clip.n_frames, BLOCK_FRAMES):
        stop = min(start + BLOCK_FRAMES, clip.n_frames)
        try:
            frames = _frames(clip, start, stop)
            found += frame_mistakes(clip, frames, template=template, start=start, stop=stop)
            digest.update(frames.astype("<f4").tobytes())
        except InputError as error:
            found.append(error_of(clip, error))
        if found:
            break
    if not found and clip.frames_sha256 not in ("", digest.hexdigest()):
        found.append(f"{clip.name}: its frames are not those that were written")
    return found + _sound_mistakes(clip)


def check_corpus(corpus: SpeechCorpus, *, done: Callable[[], object]) -> dict[str, list[str]]:
    """By name, the clips that something speaks against, and what; `done` is called after each clip."""
    found = {}
    for clip in corpus.clips:
        if said := check_clip(clip, corpus):
            found[clip.name] = said
        done()
    return found


def without(corpus: SpeechCorpus, mistakes: Mapping[str, list[str]]) -> SpeechCorpus:
    """The corpus without the clips that something speaks against, which its notes name then.

    Nor does it have the templates of people all of whose clips are left out, which may be what is wrong with them.
    Raises InputError where no clip is left.
    """
    clips = tuple(clip for clip in corpus.clips if clip.name not in mistakes)
    if not clips:
        refuse([each for said in mistakes.values() for each in said], origin=corpus.origin)
    gone = {clip.subject for clip in corpus.clips} - {clip.subject for clip in clips}
    templates = {subject: corpus.templates[subject] for subject in corpus.templates if subject not in gone}
    notes = [f"left out: {_without_paths(name, said[0])}" for name, said in mistakes.items()]
    return replace(corpus, clips=clips, templates=templates, notes=(*corpus.notes, *notes))


def _without_paths(name: str, said: str) -> str:
    """What may stand in notes, which are passed on: no path of this machine."""
    return f"{name}: it cannot be read" if "/" in said or "\\" in said else said


def clip_mistakes(clip: Clip, corpus: SpeechCorpus) -> list[str]:
    """What can be told without reading the clip."""
    said: list[str] = []
    if not SAFE_NAME.fullmatch(clip.name):
        said.append("its name is unsafe as a file's name")
    if not np.isfinite(clip.fps) or not LEAST_FPS <= clip.fps <= MOST_FPS:
        said.append(f"it has {clip.fps:g} frames a second")
    if clip.n_frames < LEAST_FRAMES:
        said.append(f"it has {clip.n_frames} frames, fewer than {LEAST_FRAMES}")
    if clip.subject not in corpus.splits:
        said.append(f"its subject {clip.subject} is in no split")
    try:
        template = corpus.templates.get(clip.subject)
    except InputError as error:  # it is made of the subject's sentences when it is first asked for
        said.append(f"its subject's template cannot be made: {error.message}")
    else:
        said += _template_mistakes(template, clip.subject, n_verts=corpus.topology.n_verts)
    return [f"{clip.name}: {each}" for each in said]


def _template_mistakes(template: Vertices | None, subject: str, *, n_verts: int) -> list[str]:
    if template is None:
        return [f"its subject {subject} has no template"]
    if template.shape != (n_verts, 3):
        return [f"the template of {subject} has {len(template)} vertices, the topology {n_verts}"]
    if not np.isfinite(template).all():
        return [f"the template of {subject} has vertices that are no numbers"]
    extent_m = float(np.ptp(template, axis=0).max())
    if not FACE_M[0] <= extent_m <= FACE_M[1]:
        return [f"the template of {subject} is {extent_m:.3g} m large; vertices are metres"]
    return []


def frame_mistakes(
    clip: Clip, frames: Float[np.ndarray, "..."], *, template: Vertices, start: int, stop: int
) -> list[str]:
    """What is wrong with frames start to stop, as they were read."""
    wanted = (stop - start, *template.shape)
    if frames.shape != wanted:
        return [f"{clip.name}: frames {start} to {stop} came as {frames.shape}, its topology wants {wanted}"]
    finite = np.isfinite(frames).all(axis=(1, 2))
    if not finite.all():
        return [f"{clip.name}: frame {start + int(np.argmin(finite))} has vertices that are no numbers"]
    away_m = np.linalg.norm((frames.astype(np.float64) - template).mean(axis=1), axis=1)
    if away_m.max() > FAR_M:
        row = int(away_m.argmax())
        return [
            f"{clip.name}: frame {start + row} lies {away_m[row]:.3g} m from its subject's template: "
            "not in the head frame, or not in metres"
        ]
    return []


def sound_mistakes(clip: Clip, sound: Sound) -> list[str]:
    """What is wrong with a clip's sound."""
    said = _samples_mistakes(sound) or _time_mistakes(sound, clip.duration_s)
    return [f"{clip.name}: {each}" for each in said]


def _samples_mistakes(sound: Sound) -> list[str]:
    if not LEAST_RATE_HZ <= sound.rate_hz <= MOST_RATE_HZ:
        return [f"its sound has {sound.rate_hz} samples a second"]
    if not len(sound.samples):
        return ["its sound is empty"]
    if not np.isfinite(sound.samples).all() or not np.isfinite(sound.start_s):
        return ["its sound has samples that are no numbers"]
    largest = float(np.abs(sound.samples).max())
    if largest < SILENT:
        return ["its sound is silent"]
    if largest > LOUDEST:
        return [f"its sound reaches {largest:g}, where full scale is 1"]
    return []


def _time_mistakes(sound: Sound, duration_s: float) -> list[str]:
    length_s = len(sound.samples) / sound.rate_hz
    covered_s = min(sound.start_s + length_s, duration_s) - max(sound.start_s, 0.0)
    if duration_s - covered_s > UNCOVERED_S:
        return [f"its sound covers {max(covered_s, 0):.2f} s of its {duration_s:.2f} s; is one of their rates wrong?"]
    if length_s > 2 * duration_s + LONGER_BY_S:
        return [f"its sound lasts {length_s:.2f} s, its frames {duration_s:.2f} s; is one of their rates wrong?"]
    return []


def _frames(clip: Clip, start: int, stop: int) -> Float[np.ndarray, "..."]:
    return clip.frames(start, stop)


def _sound_mistakes(clip: Clip) -> list[str]:
    try:
        sound = clip.sound()
    except InputError as error:
        return [error_of(clip, error)]
    found = sound_mistakes(clip, sound)
    if not found and clip.sound_sha256 and clip.sound_sha256 != sound.sha256:
        found = [f"{clip.name}: its sound is not the one that was written"]
    return found


def error_of(clip: Clip, error: InputError) -> str:
    """The message with the clip's name, unless it says that already."""
    names_it = clip.name in re.split(r"[^A-Za-z0-9_-]+", error.message)  # s1_001 is not s1_00
    return error.message if names_it else f"{clip.name}: {error.message}"


def repeated(names: Iterable[str]) -> list[str]:
    """The names that come more than once."""
    return [name for name, count in Counter(names).items() if count > 1]


def refuse(mistakes: list[str], *, origin: str) -> None:
    """Raises InputError that tells the mistakes of all clips, the first ten in full; nothing where there is none."""
    if not mistakes:
        return
    more = f"; and {len(mistakes) - MISTAKES_TOLD} more" if len(mistakes) > MISTAKES_TOLD else ""
    raise InputError(
        f"{origin} cannot be used: {'; '.join(mistakes[:MISTAKES_TOLD])}{more}",
        hint="mend these clips, or write all others to a folder of their own: mmface4d clips export DATA --to clips "
        "--leave-out-bad -o FOLDER",
    )
