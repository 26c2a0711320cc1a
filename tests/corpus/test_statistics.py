"""A corpus's figures against counts by hand; the report with hostile sentences, and with little to show."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from corpus import charts
from corpus.corpus_file import write_corpus
from corpus.phonemised import phonemised
from corpus.sentence import Sentence
from corpus.statistics import corpus_json, corpus_statistics
from corpus.statistics_report import statistics_text, write_statistics_report
from mmface4d.cli import main

from .corpora import made_up

HOSTILE = "<script>alert('x')</script> & \"more\""


def zh(number: int, text: str, *phonemes: str, emotion: Any = "sad") -> Sentence:
    return Sentence(id=f"23_{number:04d}", text=text, emotion=emotion, language="zh", phonemes=phonemes)


def test_figures_are_what_one_counts_by_hand() -> None:
    corpus = [
        zh(1, "妈妈好。", "m", "a1", "m", "a5", "h", "ao3"),
        zh(2, "好, 马!", "h", "ao3", "m", "a3", emotion="happy"),
    ]
    shown = corpus_json(corpus_statistics(corpus))
    language = shown["languages"]["zh"]
    assert (shown["sentences"], language["sentences"]) == (2, 2)
    assert language["phonemes"] == {"m": 3, "a": 3, "h": 2, "ao": 2}
    assert language["tones"] == {"1": 1, "3": 3, "5": 1}
    assert language["length_characters"] == {"smallest": 2, "median": 2.5, "mean": 2.5, "largest": 3}
    assert language["emotions"]["happy"]["phonemes"] == {"h": 1, "ao": 1, "m": 1, "a": 1}
    assert language["emotions"]["happy"]["phoneme_entropy_bits"] == 2
    assert list(language["emotions"]) == ["happy", "sad"]
    assert language["scenarios"] == {"news": 0, "conversation": 2, "story": 0}
    assert language["diphone_kinds"] == 5  # m-a, a-m, a-h, h-ao, ao-m
    assert "iong" in language["missing"]


def test_parts_add_up() -> None:
    corpus = [*made_up(200), *made_up(90, language="de", first=40)]
    shown = corpus_json(corpus_statistics(corpus))
    assert list(shown["languages"]) == ["en", "de"]
    for language in shown["languages"].values():
        parts = language["emotions"].values()
        for name in ("sentences", "speaking_time_s"):
            assert sum(part[name] for part in parts) == pytest.approx(language[name], abs=1)
        assert sum(language["scenarios"].values()) == language["sentences"]
        for unit, count in language["phonemes"].items():
            assert sum(part["phonemes"].get(unit, 0) for part in parts) == count
        assert language["phoneme_entropy_bits"] <= language["max_phoneme_entropy_bits"]
        assert language["speaking_time_s"] < language["recording_time_s"]


def test_the_text_says_what_is_missing() -> None:
    text = statistics_text(corpus_json(corpus_statistics([zh(1, "妈妈好。", "m", "a1")])))
    assert text.startswith("zh: 1 sentences\n")
    assert "missing: b p f" in text
    assert " and " in text.partition("missing: ")[2].partition("\n")[0]


def test_the_report_escapes_what_people_wrote(tmp_path: Path) -> None:
    sentence = Sentence(id="00_0001", text=HOSTILE, language="de", phonemes=("<b>", "&", "ʒ", '"'))
    write_statistics_report(tmp_path / "r.html", corpus_statistics([sentence]), name="<i>corpus</i>.jsonl")
    page = (tmp_path / "r.html").read_text()
    assert not [piece for piece in ("<script", "alert('", "<i>corpus", "http:", "https:") if piece in page]
    assert "&lt;b&gt;" in page
    assert "&lt;script&gt;" in page
    assert "&lt;i&gt;corpus" in page


@pytest.mark.parametrize(
    "corpus",
    [
        made_up(300),
        [Sentence(id="a", text="Hm.")],
        [Sentence(id="a", text="Well, no.", phonemes=("<", "&"))],
        [zh(1, "妈。", "m", "a1")],
        [Sentence(id="a", text="Ja.", language="de", phonemes=("j", "ɑː"))],
    ],
    ids=["many", "nothing known", "odd", "one", "without inventory"],
)
def test_figures_are_well_formed(corpus: list[Sentence]) -> None:
    (shown,) = corpus_statistics(corpus)
    sounds = shown.whole.coverage
    drawn = [
        charts.emotion_bars(shown.counts),
        charts.histogram(shown.whole.lengths, unit="words"),
        charts.histogram(shown.whole.seconds, unit="s"),
        charts.unit_bars(sounds.phonemes, inventory=sounds.inventory),
        charts.pair_map(sounds.diphones, sounds.inventory or tuple(sounds.phonemes)),
        charts.tone_bars(sounds.tones),
    ]
    for figure in drawn:
        if figure:
            assert ElementTree.fromstring(figure).tag == "svg"
            assert "nan" not in figure


def test_every_sentence_is_in_a_bar_of_the_histograms() -> None:
    for values in ([1], [3, 3, 7], list(range(1, 60)), [0.4, 11.4], [1.0] * 5):
        figure = ElementTree.fromstring(charts.histogram(values, unit="s"))
        counts = [int((title.text or "").rpartition(": ")[2]) for title in figure.iter("title")]
        assert sum(counts) == len(values)


def test_phonemes_that_are_not_there_are_found() -> None:
    pytest.importorskip("espeakng_loader")
    pytest.importorskip("pypinyin")
    known = Sentence(id="a", text="Known.", phonemes=("x",))
    corpus = [zh(1, "你好。"), Sentence(id="b", text="A day."), known]
    assert [s.phonemes for s in phonemised(corpus)] == [("n", "i2", "h", "ao3"), ("ɐ", "d", "eɪ"), ("x",)]
    assert [(s.id, s.text) for s in phonemised(corpus)] == [(s.id, s.text) for s in corpus]


def test_without_a_list_of_sounds_none_is_said_to_be_covered(tmp_path: Path) -> None:
    languages = corpus_statistics([Sentence(id="a", text="Ja.", language="de", phonemes=("j", "ɑː"))])
    write_statistics_report(tmp_path / "r.html", languages, name="x")
    assert "Every sound occurs" not in (tmp_path / "r.html").read_text()
    assert "missing: no list of its sounds is kept" in statistics_text(corpus_json(languages))


def test_a_report_never_replaces_the_corpus(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "corpus.jsonl"
    write_corpus(path, made_up(3))
    before = path.read_bytes()
    with pytest.raises(SystemExit) as ended:
        main(["corpus", "stats", str(path), "--html", str(tmp_path / "." / "corpus.jsonl")])
    assert (ended.value.code, path.read_bytes()) == (2, before)
    assert "is the corpus itself" in capsys.readouterr().err


def test_the_command(run_cli: Any, tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus.jsonl", made_up(70))
    done = run_cli("corpus", "stats", tmp_path / "corpus.jsonl", "--json", "--html", tmp_path / "out" / "report.html")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["languages"]["en"]["sentences"] == 70
    assert "report.html" in done.stderr
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<svg") == 5
    assert str(tmp_path) not in page
