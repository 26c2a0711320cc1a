"""The starter corpus: every emotion, every sound, nothing twice, nothing that a person could not say in a breath."""

import csv
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import combinations, pairwise
from pathlib import Path
from statistics import fmean

import pytest

from corpus.corpus_file import read_corpus
from corpus.coverage import coverage
from corpus.duration import speaking_time_s
from corpus.normalise import normalise
from corpus.phonemes import inventory, phonemise
from corpus.sentence import SCENARIOS, Sentence
from corpus.sources import read_sources
from corpus.starter import starter_files
from corpus.statistics import LanguageStatistics, PartStatistics, corpus_statistics
from mmface4d.session import EMOTIONS
from tests.conftest import RunCli

LANGUAGES = ("en", "zh")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "starter-corpus.md"
AT_LEAST = 40  # sentences of each emotion and language
HAN = re.compile(r"[\u4e00-\u9fff]")
EXPECTED_CHARACTERS = {"en": re.compile(r"[A-Za-z ,.?!']+"), "zh": re.compile(r"[\u4e00-\u9fff，。？！、]+")}
# inclusive: words, characters
EXPECTED_LENGTHS = {"en": (6, 22), "zh": (8, 30)}
# shares of common words, of common pairs of characters
NEAR_DUPLICATE = {"en": 0.4, "zh": 0.35}
every_language = pytest.mark.parametrize("language", LANGUAGES)
every_emotion = pytest.mark.parametrize("emotion", EMOTIONS)


@dataclass(frozen=True)
class Row:
    text: str
    language: str
    scenario: str
    emotion: str


@cache
def rows(language: str) -> tuple[Row, ...]:
    (path,) = (path for path in starter_files() if path.stem == language)
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(Row(**row) for row in csv.DictReader(file, strict=True))


@cache
def sounds(language: str) -> dict[str, tuple[str, ...]]:
    texts = [row.text for row in rows(language)]
    return dict(zip(texts, phonemise(texts, language), strict=True))


def pieces(text: str, language: str) -> list[str]:
    """Words, or characters without punctuation."""
    return HAN.findall(text) if language == "zh" else re.findall(r"[a-z']+", text.lower())


def likeness(first: frozenset[str], second: frozenset[str]) -> float:
    return len(first & second) / len(first | second)


def features(text: str, language: str) -> frozenset[str]:
    found = pieces(text, language)
    return frozenset(map("".join, pairwise(found)) if language == "zh" else found)


def test_there_is_a_file_for_each_language() -> None:
    assert [path.stem for path in starter_files()] == list(LANGUAGES)
    assert all(row.language == language for language in LANGUAGES for row in rows(language))


@every_language
def test_every_emotion_has_enough_sentences(language: str) -> None:
    counts = Counter(row.emotion for row in rows(language))
    assert set(counts) == set(EMOTIONS)
    assert min(counts.values()) >= AT_LEAST


@every_language
@every_emotion
def test_every_emotion_is_met_in_every_scenario(language: str, emotion: str) -> None:
    counts = Counter(row.scenario for row in rows(language) if row.emotion == emotion)
    assert set(counts) == set(SCENARIOS)
    assert min(counts.values()) >= 5


@every_language
def test_only_letters_and_plain_punctuation(language: str) -> None:
    expected = EXPECTED_CHARACTERS[language]
    assert [row.text for row in rows(language) if not expected.fullmatch(row.text)] == []


@every_language
def test_sentences_begin_and_end_as_sentences(language: str) -> None:
    end = r"[。？！]$" if language == "zh" else r"[.?!]$"
    odd = [row.text for row in rows(language) if not re.search(end, row.text) or row.text[0] != row.text[0].upper()]
    assert odd == []


@every_language
def test_english_has_single_spaces_and_chinese_none(language: str) -> None:
    assert [row.text for row in rows(language) if row.text != " ".join(row.text.split())] == []


@every_language
def test_lengths(language: str) -> None:
    least, most = EXPECTED_LENGTHS[language]
    counts = {row.text: len(pieces(row.text, language)) for row in rows(language)}
    assert {text: count for text, count in counts.items() if not least <= count <= most} == {}
    assert 12 <= sum(counts.values()) / len(counts) <= 17


@every_language
def test_sentences_are_said_in_one_to_eleven_seconds(language: str) -> None:
    for row in rows(language):
        sentence = Sentence(id="00_0001", text=row.text, language=language, phonemes=sounds(language)[row.text])
        assert 1 <= speaking_time_s(sentence) <= 11, row.text


@every_language
def test_no_sentence_occurs_twice(language: str) -> None:
    spoken = Counter("".join(pieces(row.text, language)) for row in rows(language))
    assert spoken.most_common(1)[0][1] == 1
    assert len(set(sounds(language).values())) == len(rows(language))


@every_language
def test_no_sentence_is_nearly_another(language: str) -> None:
    texts = {row.text: features(row.text, language) for row in rows(language)}
    pairs = combinations(texts.items(), 2)
    alike = [(a, b) for (a, of_a), (b, of_b) in pairs if likeness(of_a, of_b) >= NEAR_DUPLICATE[language]]
    assert alike == []


def test_near_duplicates_would_be_noticed() -> None:
    first, second = "The boy counted seven boats.", "The boy counted seven white boats."
    assert likeness(features(first, "en"), features(second, "en")) >= NEAR_DUPLICATE["en"]
    first, second = "没有人记得我的生日。", "没有人记得她的生日。"
    assert likeness(features(first, "zh"), features(second, "zh")) >= NEAR_DUPLICATE["zh"]


@every_language
def test_openings_vary(language: str) -> None:
    starts = Counter(" ".join(pieces(row.text, language)[:2]) for row in rows(language))
    assert starts.most_common(1)[0][1] <= 0.03 * len(rows(language))


@every_language
@every_emotion
def test_every_emotion_has_every_sound_twice(language: str, emotion: str) -> None:
    said = [sounds(language)[row.text] for row in rows(language) if row.emotion == emotion]
    found = coverage(said, inventory(language))
    assert [unit for unit, count in found.least_covered() if count < 2] == []


@every_language
def test_no_sound_is_foreign(language: str) -> None:
    found = coverage(sounds(language).values(), inventory(language))
    assert set(found.foreign) <= {"io"}  # 哟


@every_emotion
def test_every_emotion_has_every_tone(emotion: str) -> None:
    found = coverage(sounds("zh")[row.text] for row in rows("zh") if row.emotion == emotion)
    assert set(found.tones) == set("12345")


def readings() -> Iterable[tuple[str, str, str, str]]:
    """Each character of the Chinese sentences: what stands before it, itself, its reading, the sentence."""
    from pypinyin import Style, lazy_pinyin

    for row in rows("zh"):
        characters = HAN.findall(row.text)
        spoken = lazy_pinyin(row.text, style=Style.TONE3, errors="ignore", neutral_tone_with_five=True)
        yield from zip(["", *characters], characters, spoken, [row.text] * len(characters), strict=False)


# characters of several readings that pypinyin often reads wrongly, with what is meant in these sentences
MEANT = {
    "都": {"dou1"},
    "还": {"hai2"},
    "着": {"zhe5"},
    "咱": {"zan2"},
    "喝": {"he1"},
    "弹": {"tan2"},
    "好": {"hao3"},
    "没": {"mei2", "mo4"},  # 吞没
    "得": {"de5", "de2"},  # 难得
    "脏": {"zang1", "zang4"},
    "转": {"zhuan3"},
}


def test_characters_of_several_readings_are_read_as_meant() -> None:
    wrong = [(text, character, spoken) for _, character, spoken, text in readings()
             if spoken not in MEANT.get(character, {spoken})]  # fmt: skip
    assert wrong == []


def test_counting_words_and_particles_are_read_as_meant() -> None:
    for before, character, spoken, text in readings():
        if character == "只" and before in "一两三四五六七八九十百几那这":
            assert spoken == "zhi1", text
        if character == "得" and before != "难":
            assert spoken == "de5", text


def test_no_adverb_ends_with_a_particle_that_is_read_as_ground() -> None:
    assert [row.text for row in rows("zh") if re.search(r"(.)\1地", row.text)] == []  # 慢慢地


def test_the_files_are_beside_the_code() -> None:
    import corpus.starter

    assert corpus.starter.__file__ is not None
    assert {path.parent for path in starter_files()} == {Path(corpus.starter.__file__).parent}


def statistics_of(language: str) -> LanguageStatistics:
    corpus = [
        Sentence(id=f"00_{number:04d}", phonemes=sounds(language)[row.text], **vars(row))
        for number, row in enumerate(rows(language), 1)
    ]
    (found,) = corpus_statistics(corpus)
    return found


def page_row(name: str, part: PartStatistics) -> str:
    rarest = ", ".join(f"{unit} {count}" for unit, count in part.coverage.least_covered(4))
    seconds = f"{fmean(part.seconds):.1f} | {part.coverage.phoneme_entropy_bits:.2f}"
    return f"| {name} | {part.sentences} | {fmean(part.lengths):.1f} | {seconds} | {rarest} |"


@every_language
def test_the_page_shows_the_figures_of_the_corpus(language: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    figures = statistics_of(language)
    for emotion, part in {**figures.by_emotion, "all": figures.whole}.items():
        assert page_row(emotion, part) in page
    assert f"{figures.whole.coverage.phoneme_entropy_bits:.2f} of 5.83 bits" in page
    assert f"{len(figures.whole.coverage.diphones):,} kinds" in page
    assert f"{min(figures.whole.lengths)}-{max(figures.whole.lengths)} {figures.length_unit}" in page
    if language == "zh":
        assert ", ".join(f"{figures.whole.coverage.tones[tone]:,}" for tone in "12345") in page


@every_language
def test_the_reader_of_sources_takes_them_as_they_are(language: str) -> None:
    (path,) = (path for path in starter_files() if path.stem == language)
    lines = read_sources([path])
    read = [Row(line.text, line.language, line.scenario, line.emotion) for line in lines]
    assert tuple(read) == rows(language)
    assert [row.text for row in read if normalise(row.text, language) != row.text] == []


def test_the_program_builds_a_corpus_of_all_of_them(tmp_path: Path, run_cli: RunCli) -> None:
    done = run_cli("corpus", "build", "starter", "-o", tmp_path / "corpus.jsonl")
    assert done.returncode == 0, done.stderr
    built = read_corpus(tmp_path / "corpus.jsonl")
    written = [row for language in LANGUAGES for row in rows(language)]
    assert Counter((s.text, s.language, s.scenario, s.emotion) for s in built) == Counter(
        (row.text, row.language, row.scenario, row.emotion) for row in written
    )
    assert all(sentence.phonemes == sounds(sentence.language)[sentence.text] for sentence in built)
