"""What a corpus is like: counts, lengths, sounds and times, for each language by itself."""

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from corpus.coverage import Coverage, coverage
from corpus.duration import recording_time_s, speaking_time_s
from corpus.normalise import count_words, is_without_spaces
from corpus.phonemes import inventory, toneless
from corpus.sentence import EMOTION_PREFIXES, SCENARIOS, Sentence


@dataclass(frozen=True)
class Spread:
    """Where a quantity of the sentences lies."""

    smallest: int | float
    median: int | float
    mean: float
    largest: int | float


@dataclass(frozen=True)
class PartStatistics:
    """Some sentences of one language; times are estimates."""

    sentences: int
    lengths: tuple[int, ...]
    seconds: tuple[float, ...]
    coverage: Coverage

    @property
    def speaking_time_s(self) -> float:
        """Of all sentences together."""
        return sum(self.seconds)


@dataclass(frozen=True)
class LanguageStatistics:
    """All sentences of a language.

    `by_emotion` is in the order of the ids' prefixes, `counts` are by (emotion, scenario), and `examples` are sentences
    that have one of the least covered units.
    """

    language: str
    whole: PartStatistics
    by_emotion: dict[str, PartStatistics]
    counts: Counter[tuple[str, str]]
    examples: dict[str, str]
    recording_time_s: float

    @property
    def length_unit(self) -> str:
        """What `lengths` count."""
        return length_unit(self.language)

    @property
    def scenarios(self) -> dict[str, int]:
        """How many sentences are from where."""
        return {name: sum(self.counts[emotion, name] for emotion in self.by_emotion) for name in SCENARIOS}


def corpus_statistics(corpus: Sequence[Sentence]) -> list[LanguageStatistics]:
    """The statistics of every language, the one with the most sentences first."""
    of_language: dict[str, list[Sentence]] = {}
    for sentence in corpus:
        of_language.setdefault(sentence.language, []).append(sentence)
    ordered = sorted(of_language.items(), key=lambda entry: (-len(entry[1]), entry[0]))
    return [_of_language(language, sentences) for language, sentences in ordered]


def _of_language(language: str, sentences: Sequence[Sentence]) -> LanguageStatistics:
    parts = {emotion: [s for s in sentences if s.emotion == emotion] for emotion in EMOTION_PREFIXES}
    whole = part_statistics(sentences, language)
    return LanguageStatistics(
        language=language,
        whole=whole,
        by_emotion={emotion: part_statistics(part, language) for emotion, part in parts.items() if part},
        counts=Counter((sentence.emotion, sentence.scenario) for sentence in sentences),
        examples=_examples(sentences, {unit for unit, _ in whole.coverage.least_covered()}),
        recording_time_s=recording_time_s(sentences),
    )


def _examples(sentences: Sequence[Sentence], units: set[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for sentence in sentences:
        for unit in units.intersection(map(toneless, sentence.phonemes)):
            found.setdefault(unit, sentence.text)
    return found


def part_statistics(sentences: Sequence[Sentence], language: str) -> PartStatistics:
    """The statistics of sentences of one language."""
    return PartStatistics(
        sentences=len(sentences),
        lengths=tuple(count_words(sentence.text, language) for sentence in sentences),
        seconds=tuple(speaking_time_s(sentence) for sentence in sentences),
        coverage=coverage((sentence.phonemes for sentence in sentences), inventory(language)),
    )


def length_unit(language: str) -> str:
    """What the length of a sentence is counted in."""
    return "characters" if is_without_spaces(language) else "words"


def spread(values: Iterable[int] | Iterable[float]) -> Spread:
    """Of at least one value."""
    ordered = sorted(values)
    return Spread(ordered[0], statistics.median(ordered), statistics.fmean(ordered), ordered[-1])


def corpus_json(languages: Sequence[LanguageStatistics]) -> dict[str, Any]:
    """The figures as plain values."""
    return {
        "sentences": sum(each.whole.sentences for each in languages),
        "speaking_time_s": round(sum(each.whole.speaking_time_s for each in languages), 1),
        "recording_time_s": round(sum(each.recording_time_s for each in languages), 1),
        "languages": {each.language: _language_json(each) for each in languages},
    }


def _language_json(shown: LanguageStatistics) -> dict[str, Any]:
    return {
        **_part_json(shown.whole, shown.length_unit),
        "recording_time_s": round(shown.recording_time_s, 1),
        "scenarios": shown.scenarios,
        "emotions": {emotion: _part_json(part, shown.length_unit) for emotion, part in shown.by_emotion.items()},
    }


def _part_json(part: PartStatistics, unit: str) -> dict[str, Any]:
    sounds = part.coverage
    return {
        "sentences": part.sentences,
        f"length_{unit}": vars(spread(part.lengths)),
        "length_s": {name: round(value, 2) for name, value in vars(spread(part.seconds)).items()},
        "speaking_time_s": round(part.speaking_time_s, 1),
        "phonemes": dict(sounds.phonemes.most_common()),
        "phoneme_entropy_bits": round(sounds.phoneme_entropy_bits, 4),
        "max_phoneme_entropy_bits": round(sounds.max_phoneme_entropy_bits, 4),
        "inventory": len(sounds.inventory),
        "missing": list(sounds.missing),
        "least_covered": dict(sounds.least_covered()),
        "diphone_kinds": len(sounds.diphones),
        "diphone_entropy_bits": round(sounds.diphone_entropy_bits, 4),
        "max_diphone_entropy_bits": round(sounds.max_diphone_entropy_bits, 4),
        "tones": dict(sorted(sounds.tones.items())),
        "foreign": dict(sounds.foreign.most_common()),
    }
