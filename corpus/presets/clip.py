"""What is exported: a sequence, the take it was made of, and the names both go by."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from corpus.dataset.consent import scopes_of_sequence
from corpus.presets.motion import Motion, Pose, steady_motion
from mmface4d.errors import InputError, UsageError
from mmface4d.names import safe_name
from mmface4d.sequence import load_sequence
from mmface4d.take import Take, open_take

UNKNOWN_SUBJECT = "actor"


@dataclass(frozen=True)
class Clip:
    """A sequence to be exported. `sentence` is the sentence's id, or the clip's name where none is known.

    `wav` is the sound of a sequence that is of no take: it begins with the first frame.
    `scopes` are those of the person's consent; None where neither a subject's record nor the take tells of one.
    """

    name: str
    subject: str
    sentence: str
    motion: Motion
    take: Take | None
    wav: Path | None = None
    scopes: frozenset[str] | None = None

    @property
    def sound_allowed(self) -> bool:
        """Whether the voice may be used; where no consent is known (imported, virtual), nothing forbids it."""
        return self.scopes is None or "audio" in self.scopes

    @property
    def colors_allowed(self) -> bool:
        """Whether the actor's colours, which are taken from the pictures, may be used."""
        return self.scopes is None or "rgb" in self.scopes

    @property
    def source(self) -> str:
        """Where it comes from, for messages."""
        return str(self.motion.sequence.path)


def open_clip(path: Path, *, pose: Pose = "world", with_take: bool = True, subject: str | None = None) -> Clip:
    """Opens a sequence and the take that it names; where it names none, the WAV of its name beside it.

    Raises InputError where the sequence or its take is missing, ConsentError where it may not be used.
    """
    sequence = load_sequence(path)
    named = sequence.take_name
    scopes = scopes_of_sequence(path, named)  # whether its take is wanted or not
    motion = steady_motion(sequence, pose=pose)
    wav = _own_sound(named, path) if with_take else None
    take = _take(named, path) if with_take and wav is None else None
    source = take.info.source if take else {}
    item = source.get("item")
    sentence = item.get("id") if isinstance(item, dict) else None
    person = str(subject or source.get("subject") or UNKNOWN_SUBJECT)
    name = f"{person}_{sentence}" if sentence else take.name if take else path.stem
    return Clip(safe_name(name), safe_name(person), safe_name(str(sentence or name)), motion, take, wav, scopes)


def _own_sound(named: str, path: Path) -> Path | None:
    """NAME.wav beside NAME.npz, as an animation has it."""
    wav = path.with_suffix(".wav")
    return wav if wav.is_file() and not named else None


def _take(named: str, path: Path) -> Take:
    folder = path.parent / named
    if not named:
        raise InputError(
            f"{path} does not say of which take it is",
            hint="put its sound beside it, or export it without: --without-take",
        )
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
