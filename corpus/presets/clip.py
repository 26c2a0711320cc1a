"""What is exported: a sequence, the take it was made of, and the names both go by."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from corpus.presets.motion import Motion, Pose, steady_motion
from mmface4d.errors import InputError, UsageError
from mmface4d.names import safe_name
from mmface4d.sequence import load_sequence
from mmface4d.take import Take, open_take
from mmface4d.withdrawal import refuse_withdrawn

UNKNOWN_SUBJECT = "actor"


@dataclass(frozen=True)
class Clip:
    """A sequence to be exported. `sentence` is the sentence's id, or the clip's name where none is known.

    `wav` is the sound of a sequence that is of no take: it begins with the first frame.
    """

    name: str
    subject: str
    sentence: str
    motion: Motion
    take: Take | None
    wav: Path | None = None

    @property
    def sound_allowed(self) -> bool:
        """Whether the voice may be used; a take that records no consent (imported, virtual) does not forbid it."""
        consent = self.take.info.source.get("consent") if self.take else None
        return consent is None or (isinstance(consent, dict) and "audio" in consent.get("scopes", ()))

    @property
    def source(self) -> str:
        """Where it comes from, for messages."""
        return str(self.motion.sequence.path)


def open_clip(path: Path, *, pose: Pose = "world", with_take: bool = True, subject: str | None = None) -> Clip:
    """Opens a sequence and the take that it names; where it names none, the WAV of its name beside it.

    Raises InputError where the sequence or its take is missing, ConsentError where the person has withdrawn.
    """
    refuse_withdrawn(path.parent)
    motion = steady_motion(load_sequence(path), pose=pose)
    wav = _own_sound(motion, path) if with_take else None
    take = _take(motion, path) if with_take and wav is None else None
    source = take.info.source if take else {}
    item = source.get("item")
    sentence = item.get("id") if isinstance(item, dict) else None
    person = str(subject or source.get("subject") or UNKNOWN_SUBJECT)
    name = f"{person}_{sentence}" if sentence else take.name if take else path.stem
    return Clip(safe_name(name), safe_name(person), safe_name(str(sentence or name)), motion, take, wav)


def _own_sound(motion: Motion, path: Path) -> Path | None:
    """NAME.wav beside NAME.npz, as an animation has it."""
    wav = path.with_suffix(".wav")
    names_take = "take" in motion.sequence and str(motion.sequence["take"])
    return wav if wav.is_file() and not names_take else None


def _take(motion: Motion, path: Path) -> Take:
    named = str(motion.sequence["take"]) if "take" in motion.sequence else ""
    if not named:
        raise InputError(
            f"{path} does not say of which take it is",
            hint="put its sound beside it, or export it without: --without-take",
        )
    folder = path.parent / named
    if not folder.is_dir():
        raise InputError(
            f"{path}: its take {named} is not there",
            hint="put it back; without it there is neither sound nor depth: --without-take",
        )
    return open_take(folder)


def refuse_equal_names(clips: Sequence[Clip]) -> None:
    """Raises UsageError where two clips would go to the same file."""
    twice = [name for name, count in Counter(clip.name for clip in clips).items() if count > 1]
    if twice:
        sources = ", ".join(clip.source for clip in clips if clip.name == twice[0])
        raise UsageError(f"several sequences are called {twice[0]}: {sources}", hint="export them to different folders")
