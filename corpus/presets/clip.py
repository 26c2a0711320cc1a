"""What is exported: a sequence, the take it was made of, and the names both go by."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpus.dataset.consent import scopes_of_sequence
from corpus.presets.motion import Motion, Pose, steady_motion
from mmface4d.errors import InputError, UsageError
from mmface4d.sequence import load_sequence
from mmface4d.take import Take, open_take

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,95}")
UNKNOWN_SUBJECT = "actor"


@dataclass(frozen=True)
class Clip:
    """A sequence to be exported. `sentence` is the sentence's id, or the clip's name where none is known.

    `scopes` are those of the person's consent; None where neither a subject's record nor the take tells of one.
    """

    name: str
    subject: str
    sentence: str
    motion: Motion
    take: Take | None
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


@dataclass
class Exported:
    """What was written of a clip: frames at a rate, the largest error of a vertex, and what a user should know."""

    name: str
    frames: int
    fps: float
    max_error_mm: float = 0.0
    notes: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)


def open_clip(path: Path, *, pose: Pose = "world", with_take: bool = True, subject: str | None = None) -> Clip:
    """Opens a sequence and the take that it names.

    Raises InputError where the sequence or its take is missing, ConsentError where it may not be used.
    """
    sequence = load_sequence(path)
    named = sequence.take_name
    scopes = scopes_of_sequence(path, named)  # whether its take is wanted or not
    motion = steady_motion(sequence, pose=pose)
    take = _take(named, path) if with_take else None
    source = take.info.source if take else {}
    item = source.get("item")
    sentence = item.get("id") if isinstance(item, dict) else None
    person = str(subject or source.get("subject") or UNKNOWN_SUBJECT)
    name = f"{person}_{sentence}" if sentence else take.name if take else path.stem
    return Clip(safe_name(name), safe_name(person), safe_name(str(sentence or name)), motion, take, scopes)


def _take(named: str, path: Path) -> Take:
    folder = path.parent / named
    if not named:
        raise InputError(f"{path} does not say of which take it is", hint="export it without one: --without-take")
    if not folder.is_dir():
        raise InputError(
            f"{path}: its take {named} is not there",
            hint="put it back; without it there is neither sound nor depth: --without-take",
        )
    return open_take(folder)


def safe_name(text: str) -> str:
    """The text as a file's name: other letters become hyphens, so that no path can hide in it."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-_")[:96]
    return name if SAFE_NAME.fullmatch(name) else "unnamed"


def refuse_equal_names(clips: Sequence[Clip]) -> None:
    """Raises UsageError where two clips would go to the same file."""
    twice = [name for name, count in Counter(clip.name for clip in clips).items() if count > 1]
    if twice:
        sources = ", ".join(clip.source for clip in clips if clip.name == twice[0])
        raise UsageError(f"several sequences are called {twice[0]}: {sources}", hint="export them to different folders")
