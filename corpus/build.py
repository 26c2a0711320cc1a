"""A corpus from what people wrote: one form, no doubles, fit lengths, sounds, and an even choice for each emotion."""

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

from corpus.coverage import Coverage, coverage
from corpus.normalise import LengthFilter, normalise, same_key
from corpus.phonemes import inventory, is_mandarin, phonemise
from corpus.selection import select
from corpus.sentence import EMOTION_PREFIXES, MAX_PHONEMES, Sentence, sentence_id
from corpus.sources import SourceLine, emotion_of
from mmface4d.errors import InputError
from mmface4d.progress import Progress
from mmface4d.session import MAX_TEXT

NEUTRAL, OTHERS = 2000, 1500  # the paper's corpus
NO_READING = "letters or digits without a Chinese reading"


@dataclass(frozen=True)
class Plan:
    """How many sentences of each emotion a corpus gets, and which are fit for it."""

    neutral: int = NEUTRAL
    others: int = OTHERS
    lengths: LengthFilter = LengthFilter()
    seed: int = 0
    workers: int = 1

    def size_of(self, emotion: str) -> int:
        """How many sentences are asked for."""
        return self.neutral if emotion == "neutral" else self.others


@dataclass(frozen=True)
class Group:
    """What became of an emotion's candidates in a language."""

    language: str
    emotion: str
    asked: int
    candidates: int
    taken: int


@dataclass(frozen=True)
class Built:
    """A corpus and how it came about; the coverages are by language."""

    sentences: list[Sentence]
    groups: list[Group]
    read: int
    left_out: dict[str, int]
    candidates: dict[str, Coverage]
    corpus: dict[str, Coverage]


@dataclass(frozen=True)
class _Candidate:
    """A sentence that may be chosen."""

    source: SourceLine
    text: str
    phonemes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Share:
    """A language's part of a corpus, and how its candidates cover its sounds."""

    language: str
    groups: list[Group]
    chosen: list[_Candidate]
    candidates: Coverage


@dataclass
class _Sieve:
    """What was let through, and how many were not, by why."""

    left_out: Counter[str] = field(default_factory=Counter)
    keys: set[tuple[str, str]] = field(default_factory=set)


def build_corpus(lines: Sequence[SourceLine], plan: Plan, *, bar: Progress | None = None) -> Built:
    """Makes a corpus; where there are fewer candidates than asked for, all are taken.

    The same lines, plan and seed give the same corpus. Raises InputError where nothing is left, and as `phonemise`.
    """
    sieve = _Sieve()
    fit = [candidate for line in lines if (candidate := _fit(line, plan.lengths, sieve))]
    if bar:
        bar.advance(len(lines) - len(fit))
    shares = []
    for language in dict.fromkeys(candidate.source.language for candidate in fit):
        of_language = [each for each in fit if each.source.language == language]
        shares.append(_share(language, _sounding(of_language, plan.workers, sieve), plan))
        if bar:
            bar.advance(len(of_language))
    chosen = [each for share in shares for each in share.chosen]
    if not chosen:
        raise InputError(
            f"no sentence is left of {len(lines)}: {_counts(sieve.left_out)}",
            hint="see --min-words, --max-words, --neutral and --others",
        )
    return Built(
        sentences=_named(chosen, ours={line.id for line in lines if line.id and emotion_of(line.id)}),
        groups=[group for share in shares for group in share.groups],
        read=len(lines),
        left_out=dict(sieve.left_out),
        candidates={share.language: share.candidates for share in shares},
        corpus={share.language: _coverage(share.chosen, share.language) for share in shares},
    )


def _share(language: str, candidates: Sequence[_Candidate], plan: Plan) -> _Share:
    """What is chosen of a language, emotion by emotion."""
    groups, chosen = list[Group](), list[_Candidate]()
    for emotion in EMOTION_PREFIXES:
        of_emotion = [each for each in candidates if each.source.emotion == emotion]
        size = plan.size_of(emotion)
        numbers = select(
            [each.phonemes for each in of_emotion], size, seed=plan.seed, inventory=inventory(language)
        )  # fmt: skip
        chosen += [of_emotion[number] for number in numbers]
        groups.append(Group(language, emotion, size, len(of_emotion), len(numbers)))
    return _Share(language, groups, chosen, _coverage(candidates, language))


def _fit(line: SourceLine, lengths: LengthFilter, sieve: _Sieve) -> _Candidate | None:
    text = normalise(line.text, line.language)
    key = (line.language, same_key(text))
    why = lengths.why_not(text, line.language) or ("too long" if len(text) > MAX_TEXT else None)
    if why is None and key in sieve.keys:
        why = "said before"
    if why is None and is_mandarin(line.language) and any(map(_is_unread, text)):
        why = NO_READING
    if why:
        sieve.left_out[why] += 1
        return None
    sieve.keys.add(key)
    return _Candidate(line, text)


def _is_unread(character: str) -> bool:
    """Whether pypinyin passes over it although it would be said."""
    return character.isascii() and character.isalnum()


def _sounding(candidates: Sequence[_Candidate], workers: int, sieve: _Sieve) -> list[_Candidate]:
    """Those of one language that have sounds, with them."""
    if not candidates:
        return []
    language = candidates[0].source.language
    sounds = phonemise([each.text for each in candidates], language, workers=workers)
    with_sounds = []
    for each, phonemes in zip(candidates, sounds, strict=True):
        if 0 < len(phonemes) <= MAX_PHONEMES:
            with_sounds.append(_Candidate(each.source, each.text, phonemes))
        else:
            sieve.left_out["too long" if phonemes else "no sounds"] += 1
    return with_sounds


def _coverage(candidates: Iterable[_Candidate], language: str) -> Coverage:
    return coverage((each.phonemes for each in candidates), inventory(language))


def _named(chosen: Sequence[_Candidate], *, ours: Container[str]) -> list[Sentence]:
    """Sentences with ids: ids of ours are kept, the others get the free numbers of their emotion in order.

    The id of a sentence that was not chosen this time stays its own: something may be recorded under it.
    """
    free = {emotion: _free_ids(emotion, ours) for emotion in EMOTION_PREFIXES}
    named = []
    for each in chosen:
        own = each.source.id
        named.append(_sentence(each, own if own and own in ours else next(free[each.source.emotion])))
    return sorted(named, key=lambda sentence: (sentence.id[:2], int(sentence.id[3:])))


def _free_ids(emotion: str, taken: Container[str]) -> Iterator[str]:
    return (identity for number in count(1) if (identity := sentence_id(emotion, number)) not in taken)


def _sentence(candidate: _Candidate, identity: str) -> Sentence:
    source = candidate.source
    return Sentence.model_validate(
        {
            "id": identity, "text": candidate.text, "emotion": source.emotion, "language": source.language,
            "scenario": source.scenario, "phonemes": candidate.phonemes,
        }
    )  # fmt: skip


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {why}" for why, count in counts.items()) or "there are none"
