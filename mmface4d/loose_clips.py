"""Clips of mesh sequences that lie in a folder, outside any lab: beside their takes, or beside a WAV of their name."""

from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mmface4d.errors import ConsentError, InputError
from mmface4d.names import safe_name
from mmface4d.sequence import MeshSequence, load_sequence
from mmface4d.sequence_clips import (
    DAMAGED,
    LOST,
    SILENT_TAKE,
    Gathering,
    as_sound,
    free_name,
    regions_of,
    stamp,
)  # fmt: skip
from mmface4d.steady_clips import MOST_LOST_S, VERSION, SteadyFrames, frames_on_beat, longest_lost_s
from mmface4d.subject import NO_MESH, NO_SOUND

if TYPE_CHECKING:
    from animation.data.clip import Sound
    from animation.data.corpus import SpeechCorpus
    from corpus.presets.clip import Clip as Exported

UNKNOWN_LICENCE = "unknown"
SEQUENCE = "sequence.npz"


def loose_sequences(path: Path) -> list[Path]:
    """The `NAME.npz` in a folder and the `sequence.npz` in the folders below it that may be mesh sequences."""
    files = [*path.glob("*.npz"), *path.glob(f"*/{SEQUENCE}")]
    return sorted(file for file in files if file.name[0] != "." and file.is_file())


def loose_corpus(path: Path) -> "SpeechCorpus":
    """The sequences of a folder with the sound of NAME.wav, or else of the take that each names.

    Takes say whom they show; beside a WAV, where none does, what stands before the first underscore of a name says it.
    Raises InputError where nothing may be used.
    """
    from animation.data.splits import split_subjects
    from corpus.dataset.gather import model_of

    left_out: Counter[str] = Counter()
    by_model: dict[str, list[Path]] = {}
    for file in loose_sequences(path):
        try:
            by_model.setdefault(model_of(file), []).append(file)
        except InputError:
            left_out["no mesh sequence"] += 1
    model = max(by_model, key=lambda name: len(by_model[name]), default="canonical")
    gathering = Gathering(regions_of(model))
    gathering.left_out = left_out + Counter(
        {f"they show the model {name}, most {model}": len(files) for name, files in by_model.items() if name != model}
    )
    names: set[str] = set()
    for file in by_model.get(model, []):
        reason = _add(gathering, file, names)
        if reason is not None:
            gathering.left_out[reason] += 1
    origin = path.resolve().name
    return gathering.corpus(origin, splits=split_subjects(gathering.spoken), licence=UNKNOWN_LICENCE)


def _add(gathering: Gathering, file: Path, names: set[str]) -> str | None:
    """Takes a sequence in, or says why not."""
    from animation.data.clip import Clip
    from corpus.dataset.survey import content_fingerprint

    wav = file.with_suffix(".wav")
    try:
        opened = _opened(file, wav)
        reason = _why_not(opened, wav)
        sequence = opened.motion.sequence
        n_frames, fps = frames_on_beat(sequence)
    except ConsentError:
        return "consent withdrawn, run out, or not for meshes"
    except InputError:
        return DAMAGED
    if reason is not None or longest_lost_s(sequence) > MOST_LOST_S:
        return reason or LOST
    told = stamp(opened.take.path / "take.json") if opened.take is not None and not wav.is_file() else stamp(wav)
    load: Callable[[], MeshSequence] = partial(load_sequence, file)
    frames = SteadyFrames(load, gathering.regions)
    item = opened.take.info.source.get("item") if opened.take is not None else None
    said = item if isinstance(item, dict) else {}
    # a sequence.npz is known by its folder
    own_name = safe_name(file.parent.name if file.name == SEQUENCE else file.stem)
    name, subject, sentence = own_name, safe_name(own_name.partition("_")[0]), own_name
    if opened.take is not None and (opened.take.info.source.get("subject") or not wav.is_file()):
        name, subject, sentence = opened.name, opened.subject, opened.sentence
    clip = Clip(
        name=free_name(name, names), subject=subject, sentence=sentence, fps=fps, n_frames=n_frames,
        frames=frames, sound=partial(_sound, file, wav), text=str(said.get("text", "")),
        language=str(said.get("language", "")), emotion=str(said.get("emotion", "")),
        fingerprint=f"{VERSION} {content_fingerprint(file)} {told}",
    )  # fmt: skip
    gathering.add(clip, load, frames, asked=sequence)
    return None


def _opened(file: Path, wav: Path) -> "Exported":
    """With its take, which says whom it shows; beside a WAV it need not be there."""
    from corpus.presets.clip import open_clip

    opened = open_clip(file, with_take=not wav.is_file())
    named = opened.motion.sequence.take_name
    if opened.take is None and named and (file.parent / named / "take.json").is_file():
        opened = open_clip(file)
    if opened.take is not None:
        opened.take.close()  # there may be more takes than files that can be open
    return opened


def _why_not(opened: "Exported", wav: Path) -> str | None:
    if opened.scopes is not None and "mesh" not in opened.scopes:
        return NO_MESH
    if not opened.sound_allowed:
        return NO_SOUND
    heard = wav.is_file() or (opened.take is not None and opened.take.info.audio is not None)
    return None if heard else SILENT_TAKE


def _sound(file: Path, wav: Path) -> "Sound":
    from animation.data.sound_files import read_sound
    from corpus.presets.sound import cut_sound

    if wav.is_file():
        return read_sound(wav)
    return as_sound(cut_sound(_opened(file, wav)), where=f"the take of {file}")
