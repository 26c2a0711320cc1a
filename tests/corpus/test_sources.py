"""Sources are read as they are meant, and everything that is wrong with them is said at once, with its line."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.corpus_file import read_corpus, write_corpus
from corpus.mistakes import Mistakes
from corpus.sentence import Sentence
from corpus.sources import Defaults, SourceLine, emotion_of, read_sources
from mmface4d.cli import main
from mmface4d.errors import InputError
from mmface4d.session import EMOTIONS

GOOD = "The good line is here."
CSV = "id,text,language,scenario,emotion\n"
HUGE = "word " * 800_000  # 4 MB

# what is written (text, or bytes as they are), the file's name, and what the error must say
BROKEN: dict[str, tuple[str, str | bytes, tuple[str, ...]]] = {
    "UTF-16": ("a.txt", GOOD.encode("utf-16"), ("UTF-16",)),
    "UTF-16 without a mark": ("a.csv", (CSV + GOOD).encode("utf-16-le"), ("UTF-16",)),
    "GBK": ("a.txt", f"{GOOD}\n今天天气很好。\n".encode("gbk"), ("line 2", "GBK")),
    "Latin-1": ("a.csv", f'{CSV}a,"Très bien, merci.",fr,,\n'.encode("latin-1"), ("line 2", "UTF-8")),
    "binary": ("a.txt", bytes(range(256)) * 40, ("a.txt", "UTF-8")),
    "an empty file": ("a.txt", "\ufeff\n\n", ("holds no sentence",)),
    "an empty CSV": ("a.csv", "", ("line 1", "text")),
    "a CSV of a header": ("a.csv", CSV, ("holds no sentence",)),
    "duplicate ids": ("a.csv", f"{CSV}x1,One.,,,\nx2,Two.,,,\nX1,Three.,,,\n", ("line 4", "X1", "line 2")),
    "an empty text": ("a.csv", f"{CSV}a,{GOOD},,,\nb,,,,sad\n", ("line 3", "empty")),
    "an empty text in JSON": ("a.jsonl", f'{{"text": "{GOOD}"}}\n{{"text": "  "}}\n', ("line 2", "empty")),
    "an unknown emotion": ("a.csv", f"{CSV}a,{GOOD},en,,hapy\n", ("line 2", "'hapy'", "happy")),
    "an unknown scenario": ("a.jsonl", f'{{"text": "{GOOD}", "scenario": "opera"}}', ("line 1", "'opera'", "news")),
    "a 4 MB line": ("a.txt", f"{GOOD}\n{HUGE}\n{GOOD}\n", ("line 2", "4.0 MB")),
    "a 4 MB line of JSON": ("a.jsonl", f'{{"text": "{GOOD}"}}\n{{"text": "{HUGE}"}}\n', ("line 2", "4.0 MB")),
    "a 4 MB cell": ("a.csv", f'{CSV}a,{GOOD},,,\nb,"{HUGE}",,,\n', ("line 3", "4.0 MB")),
    "a long sentence": ("a.txt", f"{GOOD}\n{'word ' * 300}\n", ("line 2", "1499 characters")),
    "mixed languages": ("a.txt", f"{GOOD}\nHello 你好 there.\n", ("line 2", "Chinese letters ('你好')", "language en")),
    "another language": ("a.csv", f"{CSV}a,{GOOD},zh,,\n", ("line 2", "Latin letters", "language zh")),
    "no language": ("a.csv", f"{CSV}a,{GOOD},English,,\n", ("line 2", "'English'")),
    "a formula": ("a.csv", f"{CSV}a,\"=HYPERLINK(\"\"http://x\"\")\",,,\n", ("line 2", "formula", "=HYPERLINK")),
    "formulas of all kinds": ("a.csv", f"{CSV}a,+1 is,,,\nb,-2 is,,,\nc, @SUM,,,\nd,＝1,,,\n", ("has 4 mistakes",)),
    "a path in an id": ("a.csv", f"{CSV}../../etc/passwd,{GOOD},,,\n", ("line 2", "'../../etc/passwd'")),
    "an absolute path in an id": ("a.jsonl", json.dumps({"id": "C:\\x", "text": GOOD}), ("line 1", "id")),
    "a hidden file as an id": ("a.jsonl", json.dumps({"id": ".ssh", "text": GOOD}), ("line 1", "'.ssh'")),
    "an id of another emotion": ("a.csv", f"{CSV}23_0001,{GOOD},,,happy\n", ("line 2", "sad", "happy")),
    "no column for the text": ("a.csv", f"id,sentence\na,{GOOD}\n", ("line 1", "text")),
    "an unknown column": ("a.csv", f"text,emtion\n{GOOD},sad\n", ("line 1", "'emtion'")),
    "a column twice": ("a.csv", f"text,text\n{GOOD},{GOOD}\n", ("line 1", "twice")),
    "too many cells": ("a.csv", f"text,emotion\n{GOOD},sad\nOh, what is that,sad\n", ("line 3", "3 cells")),
    "an open quotation mark": ("a.csv", f'text,emotion\n{GOOD},sad\n"Oh what,sad\nA,sad\n', ("line 3", "quotation")),
    "a cut line of JSON": ("a.jsonl", f'{{"text": "{GOOD}"}}\n{{"text": "Half of', ("line 2", "JSON")),
    "no JSON object": ("a.jsonl", '["text"]\n', ("line 1", "object")),
    "deep JSON": ("a.jsonl", "[" * 60_000, ("line 1", "JSON")),
    "a number as text": ("a.jsonl", '{"text": 5}\n', ("line 1", "5")),
    "a huge number": ("a.jsonl", f'{{"text": {"9" * 5000}}}\n', ("line 1",)),
    "an unknown field": ("a.jsonl", f'{{"text": "{GOOD}", "name": "Jo"}}\n', ("line 1", "'name'")),
    "a lost character": ("a.txt", f"{GOOD}\nTr\ufffds bien.\n", ("line 2", "lost")),
    "another kind of file": ("a.docx", b"PK\x03\x04", ("a.docx", ".txt")),
}  # fmt: skip


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    def to(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return to


@pytest.mark.parametrize("what", BROKEN)
def test_broken_sources_are_refused_by_line_and_nothing_is_lost(
    what: str, write: Callable[[str, str | bytes], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    name, content, told = BROKEN[what]
    source, corpus = write(name, content), write("corpus.jsonl", "what was there before\n")
    with pytest.raises(SystemExit) as ended:
        main(["corpus", "build", str(source), "-o", str(corpus)])
    out, error = capfd.readouterr()
    assert (ended.value.code, out) == (3, "")
    assert error.startswith("error: ")
    assert "\n  do: " in error
    assert len(error) < 3000
    for words in (name, *told):
        assert words in error
    assert source.read_bytes() == (content if isinstance(content, bytes) else content.encode())
    assert corpus.read_text() == "what was there before\n"
    assert {path.name for path in source.parent.iterdir()} == {name, "corpus.jsonl"}


def test_all_mistakes_of_all_files_are_told_at_once(write: Callable[[str, str | bytes], Path]) -> None:
    first = write("a.csv", f"{CSV}a,{GOOD},,,\n../b,,xx xx,opera,joyful\n")
    second = write("b.jsonl", f'{{"text": "{GOOD}"}}\nnonsense\n{{"id": "A", "text": "{GOOD}"}}\n')
    with pytest.raises(InputError) as caught:
        read_sources([first, second])
    lines = caught.value.message.splitlines()
    assert lines[0] == "2 files have 7 mistakes:"
    assert [line.split(": ")[0].rpartition("/")[2] for line in lines[1:]] == [
        *["a.csv, line 3"] * 5, "b.jsonl, line 2", "b.jsonl, line 3",
    ]  # fmt: skip


def test_no_more_than_twenty_are_told(write: Callable[[str, str | bytes], Path]) -> None:
    path = write("a.csv", CSV + f"a,{GOOD},,,joy\n" * 1000)
    with pytest.raises(InputError) as caught:
        read_sources([path])
    lines = caught.value.message.splitlines()
    assert (len(lines), lines[0], lines[-1]) == (22, f"{path} has 1000 mistakes:", "  and 980 more")


def test_bad_lines_can_be_left_out(write: Callable[[str, str | bytes], Path]) -> None:
    path, mistakes = write("a.jsonl", f'{{"text": "{GOOD}"}}\nnonsense\n{{"text": "And another."}}\n'), Mistakes()
    assert [line.line for line in read_sources([path], mistakes=mistakes)] == [1, 3]
    assert [mistake.line for mistake in mistakes.first] == [2]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.txt does not exist"):
        read_sources([tmp_path / "a.txt"])


def test_what_a_line_does_not_say_holds_by_default(write: Callable[[str, str | bytes], Path]) -> None:
    path = write("a.csv", f"\ufefftext;emotion;language\r\n{GOOD};;\r\nBof, c'est ça;sad;fr\r\n;;\r\n")
    defaults = Defaults(language="en", scenario="news", emotion="angry")
    assert read_sources([path], defaults) == [
        SourceLine(path, 2, GOOD, "en", "news", "angry"),
        SourceLine(path, 3, "Bof, c'est ça", "fr", "news", "sad"),
    ]


def test_lines_are_counted_where_cells_have_several(write: Callable[[str, str | bytes], Path]) -> None:
    path = write("a.csv", f'text,emotion\n"Two\nlines",sad\n"{GOOD}",happy\n\n"Last ""one"" here",fear\n')
    assert [(line.line, line.text) for line in read_sources([path])] == [
        (2, "Two\nlines"), (4, GOOD), (6, 'Last "one" here'),
    ]  # fmt: skip


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(("name", "header"), [("a.txt", ""), ("a.csv", "text{end}")])
def test_lines_may_end_as_on_any_system(
    name: str, header: str, end: str, write: Callable[[str, str | bytes], Path]
) -> None:
    path = write(name, header.format(end=end) + f"{GOOD}{end}And another.")
    assert [line.text for line in read_sources([path])] == [GOOD, "And another."]


def test_tabs_and_dashes_are_no_formulas_outside_csv(write: Callable[[str, str | bytes], Path]) -> None:
    text, table = write("a.txt", "\t- Is it you?\n\n= a title\n"), write("b.tsv", f"text\temotion\n{GOOD}\tsad\n")
    assert [line.text for line in read_sources([text, table])] == ["- Is it you?", "= a title", GOOD]


@given(st.binary(max_size=400), st.sampled_from([".txt", ".csv", ".tsv", ".jsonl"]))
def test_no_bytes_are_a_bug(tmp_path_factory: pytest.TempPathFactory, data: bytes, suffix: str) -> None:
    path = tmp_path_factory.getbasetemp() / f"fuzz{suffix}"
    path.write_bytes(b"text,id\n" * (suffix == ".csv") + data)
    try:
        lines = read_sources([path])
    except InputError:
        return
    assert all(line.text.strip() and line.emotion in EMOTIONS for line in lines)


def test_ids_tell_their_emotion() -> None:
    told = [emotion_of(identity) for identity in ("00_0001", "26_12345", "23_17", "27_0001", "arctic_a0001")]
    assert told == ["neutral", "disgust", None, None, None]


def sentence(identity: str, text: str = GOOD) -> Sentence:
    return Sentence(id=identity, text=text, emotion="sad", language="en", scenario="news", phonemes=("ð", "ə"))


def test_a_corpus_is_read_as_it_was_written(tmp_path: Path) -> None:
    sentences = [sentence("23_0001"), sentence("23_0002", 'Line\u2028and "quotes"'), sentence("23_0003", "你好")]
    write_corpus(tmp_path / "deep" / "corpus.jsonl", sentences)
    assert read_corpus(tmp_path / "deep" / "corpus.jsonl") == sentences


def test_a_damaged_corpus_is_refused_by_line(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    write_corpus(path, [sentence("23_0001"), sentence("23_0002")])
    lines = path.read_text().splitlines()
    wrong = lines[1].replace("sad", "joyful").replace("23_0002", "../x")
    path.write_text("\n".join([lines[0], lines[0], wrong, lines[1][:40]]) + "\n")
    with pytest.raises(InputError) as caught:
        read_corpus(path)
    told = caught.value.message
    assert "3 mistakes" in told
    for words in ("line 2: the id 23_0001 stands in line 1 too", "line 3: id is '../x'", "joyful", "line 4: no JSON"):
        assert words in told
    path.write_text("\n")
    with pytest.raises(InputError, match="no sentence"):
        read_corpus(path)
