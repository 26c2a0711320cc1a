"""Names that a peer's loader understands: it cuts them at underscores, and numbers decide what it reads at all."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from animation.data.clip import Clip
from animation.data.corpus import SPLITS, SpeechCorpus, Split
from mmface4d.errors import InputError, UsageError
from mmface4d.frame_rates import LEAST_FPS, MOST_FPS
from mmface4d.names import plain_names, unused_name


@dataclass(frozen=True)
class Named:
    """A clip under its new name: sentence `number` of `subject`, both as the layout has them."""

    clip: Clip
    split: Split
    subject: str
    number: int

    @property
    def stem(self) -> str:
        """SUBJECT_sentenceNN, as VOCASET has it."""
        return f"{self.subject}_{self.sentence}"

    @property
    def sentence(self) -> str:
        """sentenceNN."""
        return f"sentence{self.number:02}"


def numbered(corpus: SpeechCorpus, *, room: Mapping[Split, range] | None = None) -> list[Named]:
    """Every clip with a subject of letters and digits, and a number; in the corpus' order of subjects.

    With `room`, numbers are those that the loader reads of a split. Who has more sentences than that goes by several
    names, P01 and P01x2, because the loader would leave the rest out without a word. Raises UsageError where there is
    no clip, InputError where one has a rate that no recording has.
    """
    if not corpus.clips:
        raise UsageError(f"{corpus.origin} has no clip to export", hint="see what is in it with: mmface4d clips show")
    for clip in corpus.clips:
        if not LEAST_FPS <= clip.fps <= MOST_FPS:
            raise InputError(f"{clip.name}: it has {clip.fps:g} frames a second", hint="leave it out")
    theirs: dict[str, list[Clip]] = defaultdict(list)
    for clip in corpus.clips:
        theirs[clip.subject].append(clip)
    plain = plain_names(theirs)
    taken = {name.casefold() for name in plain.values()}
    out: list[Named] = []
    for subject, clips in theirs.items():
        split = corpus.splits[subject]
        numbers = list(room[split]) if room else list(range(1, len(clips) + 1))
        for first in range(0, len(clips), len(numbers)):
            name = plain[subject] if not first else unused_name(plain[subject] + "x2", taken)
            out += [
                Named(clip, split, name, number)
                for clip, number in zip(clips[first : first + len(numbers)], numbers, strict=False)
            ]
    return out


def subjects_of(named: Iterable[Named], split: Split) -> list[str]:
    """The new names of a split's subjects, each once."""
    return list(dict.fromkeys(each.subject for each in named if each.split == split))


def several_names(named: Iterable[Named]) -> dict[str, list[str]]:
    """The subjects that go by more than one new name."""
    names: dict[str, list[str]] = defaultdict(list)
    for each in named:
        if each.subject not in names[each.clip.subject]:
            names[each.clip.subject].append(each.subject)
    return {subject: new for subject, new in names.items() if len(new) > 1}


def by_split(named: Iterable[Named]) -> dict[Split, list[str]]:
    """The new names of each split's subjects."""
    named = list(named)
    return {split: subjects_of(named, split) for split in SPLITS}
