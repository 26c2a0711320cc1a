"""A corpus built: sizes as asked for, ids that tell the emotion, the same every time, nothing left out in silence."""

import json
from collections import Counter
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from corpus.build import Plan, build_corpus
from corpus.corpus_file import read_corpus
from corpus.normalise import LengthFilter
from corpus.phonemes import phonemise
from corpus.sentence import EMOTION_PREFIXES
from corpus.sources import SourceLine, emotion_of
from corpus.starter import starter_files
from mmface4d.cli import main
from mmface4d.errors import InputError
from mmface4d.session import EMOTIONS, read_script

pytest.importorskip("espeakng_loader", reason="espeak-ng is not installed: pip install 'mmface4d[corpus]'")
pytest.importorskip("pypinyin", reason="pypinyin is not installed: pip install 'mmface4d[corpus]'")

WHO, DOES, WHAT = (
    ("My mother", "Nobody", "The judge", "Zoë"),
    ("sees", "would buy", "enjoys"),
    ("fish", "a quiet evening"),
)


def lines(**changes: Any) -> list[SourceLine]:
    """24 sentences, the emotions in turn."""
    texts = [" ".join(words) + "." for words in product(WHO, DOES, WHAT)]
    return [
        line(text, number=number, emotion=EMOTIONS[number % 7], **changes) for number, text in enumerate(texts)
    ]  # fmt: skip


def line(text: str, *, number: int = 0, emotion: str = "neutral", language: str = "en", identity: str | None = None):
    return SourceLine(Path("a.txt"), number + 1, text, language, "conversation", emotion, identity)


@pytest.fixture
def run_main(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def run(*arguments: object) -> str:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        assert ended.value.code == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return run


def test_each_emotion_gets_its_size_and_its_prefix() -> None:
    built = build_corpus(lines(), Plan(neutral=3, others=2))
    assert Counter(each.emotion for each in built.sentences) == {"neutral": 3, **dict.fromkeys(EMOTIONS[1:], 2)}
    for emotion, prefix in EMOTION_PREFIXES.items():
        ids = [each.id for each in built.sentences if each.emotion == emotion]
        assert ids == [f"{prefix}_{number:04d}" for number in range(1, len(ids) + 1)]
    assert built.read == 24
    assert sum(group.candidates for group in built.groups) == 24


def test_sentences_come_with_their_sounds() -> None:
    built = build_corpus(lines(), Plan())
    assert [each.phonemes for each in built.sentences] == phonemise([each.text for each in built.sentences], "en")


def test_the_same_lines_and_seed_give_the_same_corpus() -> None:
    plan = Plan(neutral=2, others=1, seed=3)
    assert build_corpus(lines(), plan) == build_corpus(lines(), plan)


def test_what_is_left_out_is_counted_with_its_reason() -> None:
    sources = [
        line("A good line stands here."), line("a GOOD line, stands here!"), line("Too short."),
        line("word " * 31), line("A good line stands here.", emotion="sad"), line("今天天气很好。", language="zh"),
        line("今天有 3 个人来了。", language="zh"), line("他穿 T恤 上班去了。", language="zh"),
    ]  # fmt: skip
    built = build_corpus(sources, Plan())
    assert [each.text for each in built.sentences] == ["A good line stands here.", "今天天气很好。"]
    assert built.left_out == {
        "said before": 2, "too short": 1, "too long": 1, "letters or digits without a Chinese reading": 2,
    }  # fmt: skip
    assert len(sources) == len(built.sentences) + sum(built.left_out.values())


def test_lengths_are_as_asked_for() -> None:
    built = build_corpus(lines(), Plan(lengths=LengthFilter(5, 6)))
    assert {len(each.text.split()) for each in built.sentences} == {5, 6}


def test_nothing_left_is_an_error_that_says_why() -> None:
    with pytest.raises(InputError, match="no sentence is left of 1: 1 too short") as caught:
        build_corpus([line("No.")], Plan())
    assert "--min-words" in str(caught.value.hint)


def test_odd_characters_end_no_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corpus.build.MAX_PHONEMES", 60)
    endless = "They counted to 777777777777777777777."
    dots = "Dots " + "…" * 400 + " and two words"
    built = build_corpus([line("A lone \ud800 half\x00 of a pair."), line(dots), line(endless)], Plan())
    assert built.left_out == {"too long": 2}
    assert [each.text for each in built.sentences] == ["A lone half of a pair."]


def test_ids_of_ours_are_kept_and_no_others() -> None:
    sources = [
        line("One of the old lines.", identity="00_0002"), line("A line that is new."),
        line("Another line that is new.", identity="mine-7"), line("And one more of them."),
    ]  # fmt: skip
    told = {each.text: each.id for each in build_corpus(sources, Plan()).sentences}
    assert list(told.items()) == [
        ("A line that is new.", "00_0001"), ("One of the old lines.", "00_0002"),
        ("Another line that is new.", "00_0003"), ("And one more of them.", "00_0004"),
    ]  # fmt: skip


def test_the_id_of_a_sentence_that_is_not_chosen_is_given_to_no_other() -> None:
    old = [line(f"The word is {word} today.", identity=f"00_{number:04d}") for number, word in enumerate(WHO, 1)]
    new = [line(f"And now we say {word} instead.") for word in (*WHO, *WHAT)]
    told = {each.text: each.id for each in build_corpus([*old, *new], Plan(neutral=5)).sentences}
    assert len(told) == 5
    for source in old:
        assert told.get(source.text, source.id) == source.id
    assert {told[source.text] for source in new if source.text in told}.isdisjoint(source.id for source in old)


def test_the_starter_corpus_is_built_and_grows_without_new_names(tmp_path: Path, run_main: Callable[..., str]) -> None:
    small, large = tmp_path / "small.jsonl", tmp_path / "large.jsonl"
    told = json.loads(run_main("corpus", "build", "starter", "-o", small, "--neutral", 8, "--others", 5, "--json"))
    assert (told["sentences"], set(told["coverage"])) == (2 * (8 + 6 * 5), {"zh", "en"})
    for language, figures in told["coverage"].items():
        assert figures["candidates"]["missing"] == [], language
        assert figures["corpus"]["phoneme_entropy_bits"] > figures["candidates"]["phoneme_entropy_bits"]
    run_main("corpus", "build", small, "starter", "-o", large)
    before, after = ({each.text: each for each in read_corpus(path)} for path in (small, large))
    assert len(after) > len(before)
    assert all(after[text] == sentence for text, sentence in before.items())
    assert all(emotion_of(each.id) == each.emotion for each in after.values())
    assert len(read_script(large)) == len(after)


def test_one_language_of_the_starter_corpus(tmp_path: Path, run_main: Callable[..., str]) -> None:
    assert {path.stem for path in starter_files()} == {"zh", "en"}
    run_main("corpus", "build", "starter-zh", "-o", tmp_path / "corpus.jsonl", "--neutral", 2, "--others", 0)
    assert [each.language for each in read_corpus(tmp_path / "corpus.jsonl")] == ["zh", "zh"]


def test_the_outcome_is_told(tmp_path: Path, run_main: Callable[..., str]) -> None:
    source, corpus = tmp_path / "a.txt", tmp_path / "corpus.jsonl"
    source.write_text("We bought bread.\nWe bought bread!\nNo.\nThe snow was deep.\nHello 你好 you.\n")
    told = run_main("corpus", "build", source, "-o", corpus, "--skip-bad", "--emotion", "sad", "--others", 3)
    first, entropies, *rest = told.splitlines()
    assert first == f"{corpus}: 2 of 4 sentences"
    assert entropies.startswith("en: entropy of phonemes ")
    assert "never said: " in entropies
    assert rest == [
        "  sad           2 of 2 candidates, 3 were asked for",
        "left out: 1 said before, 1 too short, 1 mistakes",
    ]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--emotion", "joyful"], "joyful"),
        (["--scenario", "opera"], "opera"),
        (["--language", "English"], "English"),
        (["--min-words", "9", "--max-words", "4"], "--min-words"),
    ],
)
def test_options_that_cannot_be_meant(
    tmp_path: Path, options: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["corpus", "build", "starter", "-o", str(tmp_path / "corpus.jsonl"), *options])
    assert ended.value.code == 2
    assert told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def built(source: Path, output: Path, *options: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["corpus", "build", str(source), "-o", str(output), *options])
    return int(left.value.code or 0)


def test_no_sentence_that_was_chosen_before_is_lost_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "own.txt"
    own.write_text("The train is late today.\nWe are all at home now.\nThe kettle sings again.\n")
    corpus = tmp_path / "corpus.jsonl"
    assert built(own, own) == 3
    assert "no corpus" in capsys.readouterr().err
    assert own.read_text().startswith("The train")
    assert built(own, corpus) == 0
    before = corpus.read_bytes()
    assert built(own, corpus) == 0  # the same again
    assert built(corpus, corpus, "--neutral", "1") == 3
    assert "2 of its 3 sentences would be lost" in capsys.readouterr().err
    assert corpus.read_bytes() == before
    assert built(corpus, corpus, "--neutral", "1", "--replace") == 0
    assert len(read_corpus(corpus)) == 1
    assert built(own, tmp_path) == 3
    assert "is a folder" in capsys.readouterr().err
