"""Scripts: balanced, disjoint, reproducible, the same whoever else gets one; never overwritten."""

import json
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corpus import script_folder
from corpus.actor_scripts import ActorScript, deal, emotion_seats
from corpus.corpus_file import write_corpus
from corpus.coverage import entropy_bits
from corpus.phonemes import ENGLISH
from corpus.script_folder import in_one_language, uses_elsewhere, write_scripts
from corpus.script_order import BLOCK, in_blocks
from corpus.sentence import Sentence
from mmface4d.cli import main
from mmface4d.errors import BusyError, InputError, UsageError
from mmface4d.locks import locked
from mmface4d.session import create_session, read_script

from .corpora import made_up

CORPUS = made_up(5000)


def dealt(number: int, corpus: list[Sentence] = CORPUS, **options: Any) -> list[ActorScript]:
    return list(islice(deal(corpus, **options), number))


def ids(script: ActorScript) -> list[str]:
    return [sentence.id for sentence in script.sentences]


@pytest.fixture(scope="module")
def fifty() -> list[ActorScript]:
    return dealt(50)


def sounds(sentences: list[Sentence]) -> Counter[str]:
    return Counter(chain.from_iterable(sentence.phonemes for sentence in sentences))


def entropy(sentences: list[Sentence]) -> float:
    return entropy_bits(sounds(sentences).values())


def missing(sentences: list[Sentence]) -> int:
    return len(set(ENGLISH) - set(sounds(sentences)))


def test_fifty_scripts_share_the_whole_corpus(fifty: list[ActorScript]) -> None:
    assert all(len(script.sentences) == 100 for script in fifty)
    assert sorted(name for script in fifty for name in ids(script)) == sorted(s.id for s in CORPUS)
    assert not any(script.repeated for script in fifty)


def test_every_script_has_its_share_of_every_emotion(fifty: list[ActorScript]) -> None:
    for script in fifty:
        assert set(Counter(sentence.emotion for sentence in script.sentences).values()) == {14, 15}


def test_sounds_are_shared_more_evenly_than_by_chance(fifty: list[ActorScript]) -> None:
    shuffled = random.Random(1).sample(CORPUS, len(CORPUS))
    by_chance = [shuffled[at : at + 100] for at in range(0, 5000, 100)]
    ours = [list(script.sentences) for script in fifty]
    assert min(map(entropy, ours)) > min(map(entropy, by_chance))
    assert np.mean(list(map(entropy, ours))) > np.mean(list(map(entropy, by_chance)))
    assert sum(map(missing, ours)) <= sum(map(missing, by_chance))
    lengths = [[sum(len(s.phonemes) for s in script) for script in scripts] for scripts in (ours, by_chance)]
    assert np.std(lengths[0]) < 0.5 * np.std(lengths[1])


def test_a_script_does_not_depend_on_how_many_are_made(fifty: list[ActorScript]) -> None:
    assert [script.items for script in dealt(7)] == [script.items for script in fifty[:7]]


def test_neither_order_nor_practice_change_a_script(fifty: list[ActorScript]) -> None:
    shuffled = random.Random(2).sample(CORPUS, len(CORPUS))
    assert [ids(script) for script in dealt(3, shuffled, practice=0)] == [ids(script) for script in fifty[:3]]


def test_another_seed_makes_other_scripts(fifty: list[ActorScript]) -> None:
    other = dealt(5, seed=1)
    assert all(len(set(ids(a)) & set(ids(b))) < 50 for a, b in zip(fifty, other, strict=False))


def test_practice_is_beside_the_script_and_has_several_emotions(fifty: list[ActorScript]) -> None:
    for script in fifty:
        assert [item.practice for item in script.items] == [True] * 3 + [False] * 100
        assert not {s.id for s in script.practice} & set(ids(script))
        assert script.practice[0].emotion == "neutral"
        assert len({s.emotion for s in script.practice}) == 3


@pytest.mark.parametrize(("size", "of"), [(100, 250), (100, 104), (30, 31), (30, 61), (7, 100), (1, 3)])
def test_a_corpus_that_is_used_up_is_reused_evenly(size: int, of: int) -> None:
    corpus = made_up(of)
    scripts = dealt(12, corpus, size=size, practice=1)
    uses: Counter[str] = Counter({s.id: 0 for s in corpus})
    for number, script in enumerate(scripts, 1):
        assert len(set(ids(script))) == size
        assert script.repeated == sum(uses[name] > 0 for name in ids(script))
        uses.update(ids(script))
        assert max(uses.values()) - min(uses.values()) <= 1
        assert (max(uses.values()) == 1) == (number * size <= of)


def test_uneven_emotions_keep_their_proportions() -> None:
    corpus = [s for s in made_up(2100) if s.emotion == "neutral" or int(s.id[3:]) % 3 == 0]
    counts = Counter(s.emotion for s in corpus)
    for script in dealt(9, corpus):
        for emotion, count in Counter(s.emotion for s in script.sentences).items():
            assert abs(count - 100 * counts[emotion] / len(corpus)) < 2


@pytest.mark.parametrize("seed", range(5))
def test_any_stretch_of_seats_has_its_share(seed: int) -> None:
    rng = random.Random(seed)
    counts = {emotion: rng.randint(1, 300) for emotion in ("neutral", "happy", "angry", "sad", "fear")}
    seats = emotion_seats(counts)
    assert Counter(seats) == counts
    for _ in range(20):
        begin = rng.randrange(len(seats) - 60)
        for emotion, count in counts.items():
            assert abs(seats[begin : begin + 60].count(emotion) - 60 * count / len(seats)) < 2


def test_others_sentences_come_last() -> None:
    corpus = made_up(399)
    used = {s.id: 1 for s in corpus[:200]}
    scripts = dealt(4, corpus, used=used, practice=0)
    assert scripts[0].repeated == 0
    assert scripts[1].repeated <= 7  # an emotion or two may have been used up a sentence earlier than others
    uses = Counter(used)
    uses.update(name for script in scripts for name in ids(script))
    assert set(uses.values()) <= {1, 2}


def test_a_corpus_too_small_is_refused() -> None:
    with pytest.raises(InputError, match="60 sentences, a script of 100 and 3"):
        dealt(1, made_up(60))


def test_a_corpus_without_phonemes_makes_scripts_too() -> None:
    bare = [s.model_copy(update={"phonemes": ()}) for s in made_up(300)]
    scripts = dealt(3, bare, practice=0)
    assert len({name for script in scripts for name in ids(script)}) == 300


def test_a_hostile_number_of_sounds_costs_little() -> None:
    odd = [s.model_copy(update={"phonemes": tuple(f"{n}-{at}" for at in range(200)), "language": "de"})
           for n, s in enumerate(made_up(400))]  # fmt: skip
    assert len(dealt(1, odd)[0].sentences) == 100


def test_emotions_come_in_short_blocks_that_begin_with_neutral(fifty: list[ActorScript]) -> None:
    orders = set()
    for script in fifty:
        emotions = [s.emotion for s in script.sentences]
        changes = [at for at, (a, b) in enumerate(pairwise(emotions), 1) if a != b]
        blocks = [emotions[a:b] for a, b in pairwise([0, *changes, len(emotions)])]
        assert len(blocks) == 14
        assert max(map(len, blocks)) <= BLOCK
        assert blocks[0][0] == blocks[7][0] == "neutral"
        orders.add(tuple(block[0] for block in blocks))
    assert len(orders) > 40


def test_an_order_loses_no_sentence_and_needs_no_neutral_ones() -> None:
    corpus = [s for s in made_up(210) if s.emotion in ("happy", "sad")]
    ordered = in_blocks(corpus, random.Random(0))
    assert sorted(s.id for s in ordered) == sorted(s.id for s in corpus)
    assert in_blocks([], random.Random(0)) == []


# files


def test_scripts_are_written_once_and_read_by_sessions(fifty: list[ActorScript], tmp_path: Path) -> None:
    first = write_scripts(tmp_path / "scripts", fifty[:7])
    again = write_scripts(tmp_path / "scripts", fifty[:9])
    assert [each.was_there for each in first] == [False] * 7
    assert [each.was_there for each in again] == [True] * 7 + [False] * 2
    assert read_script(first[6].path) == fifty[6].items
    assert first[6].path.name == "actor-007.jsonl"
    assert set(json.loads(first[0].path.read_text().splitlines()[0])) == {
        "id", "text", "emotion", "language", "practice",
    }  # fmt: skip


def test_a_script_that_is_there_is_never_overwritten(fifty: list[ActorScript], tmp_path: Path) -> None:
    theirs = tmp_path / "actor-002.jsonl"
    theirs.write_text("mine\n")
    with pytest.raises(InputError, match=r"other scripts of these names: actor-002\.jsonl"):
        write_scripts(tmp_path, fifty[:3])
    assert theirs.read_text() == "mine\n"
    assert [path.name for path in tmp_path.glob("*.jsonl")] == ["actor-002.jsonl"]


def test_writing_goes_on_where_it_was_cut_off(
    fifty: list[ActorScript], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = script_folder.atomic_path

    @contextmanager
    def cut_off(target: Path) -> Iterator[Path]:
        with whole(target) as partial:
            yield partial
            if target.name == "actor-003.jsonl":
                raise KeyboardInterrupt

    monkeypatch.setattr(script_folder, "atomic_path", cut_off)
    with pytest.raises(KeyboardInterrupt):
        write_scripts(tmp_path, fifty[:5])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["actor-001.jsonl", "actor-002.jsonl"]
    monkeypatch.undo()
    assert [each.was_there for each in write_scripts(tmp_path, fifty[:5])] == [True, True, False, False, False]


def test_two_processes_do_not_write_scripts_at_once(fifty: list[ActorScript], tmp_path: Path) -> None:
    with locked(tmp_path / ".lock", what="scripts"), pytest.raises(BusyError):
        write_scripts(tmp_path, fifty[:1])


def test_what_was_said_is_found_in_sessions_and_scripts(fifty: list[ActorScript], tmp_path: Path) -> None:
    create_session(tmp_path / "sessions" / "P01", subject="P01", script=fifty[0].items)
    create_session(tmp_path / "sessions" / "P02", subject="P02", script=fifty[0].items[:10])
    (tmp_path / "sessions" / "P01" / "log.jsonl").write_text("")
    later = create_session(tmp_path / "sessions" / "later" / "P03", subject="P03", script=fifty[3].items)
    assert set(uses_elsewhere(CORPUS, tmp_path / "sessions")) == set(ids(fifty[0]) + ids(fifty[3]))  # however deep
    shutil.rmtree(later.path)
    uses = uses_elsewhere(CORPUS, tmp_path / "sessions")
    assert set(uses) == set(ids(fifty[0]))
    assert Counter(uses.values()) == {2: 7, 1: 93}  # three of the ten were practice
    write_scripts(tmp_path / "scripts", fifty[1:3])
    assert set(uses_elsewhere(CORPUS, tmp_path / "scripts")) == set(ids(fifty[1]) + ids(fifty[2]))


def test_a_sentence_is_known_by_its_text_when_ids_have_changed(fifty: list[ActorScript], tmp_path: Path) -> None:
    write_scripts(tmp_path, fifty[:1])
    text = fifty[0].sentences[0].text
    anew = [Sentence(id="00_0001", text=text.upper()), Sentence(id=fifty[0].sentences[0].id, text="Something else.")]
    assert uses_elsewhere(anew, tmp_path) == {"00_0001": 1}


def test_damaged_scripts_of_others_are_named(tmp_path: Path) -> None:
    (tmp_path / "actor-001.jsonl").write_text('{"id": "a", "text": "b"}\n{"id": "c", "te')
    with pytest.raises(InputError, match=r"actor-001\.jsonl, line 2"):
        uses_elsewhere(CORPUS, tmp_path)
    with pytest.raises(InputError, match="no folder"):
        uses_elsewhere(CORPUS, tmp_path / "nowhere")


def test_a_script_has_one_language() -> None:
    mixed = [*made_up(10), *made_up(5, language="zh", first=50), *made_up(2, language="zh-TW", first=90)]
    cantonese = made_up(2, language="zh-HK", first=95)
    assert {s.language for s in in_one_language([*mixed, *cantonese], "zh")} == {"zh", "zh-TW"}
    assert len(in_one_language(mixed, "zh-TW")) == 2
    with pytest.raises(UsageError, match="en, zh, zh-TW"):
        in_one_language(mixed, None)
    with pytest.raises(InputError, match="no sentence in fr"):
        in_one_language(mixed, "fr")


# the command


def test_the_seventh_script_is_the_same_alone(run_cli: Any, tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus.jsonl", made_up(1000))
    arguments = ("corpus", "script", tmp_path / "corpus.jsonl")
    many = run_cli(*arguments, "--actors", 10, "-o", tmp_path / "many", "--json")
    alone = run_cli(*arguments, "--actor", 7, "-o", tmp_path / "alone")
    assert (many.returncode, alone.returncode) == (0, 0), many.stderr + alone.stderr
    name = "actor-007.jsonl"
    assert [path.name for path in (tmp_path / "alone").iterdir()] == [name]
    assert (tmp_path / "alone" / name).read_bytes() == (tmp_path / "many" / name).read_bytes()
    made = json.loads(many.stdout)
    assert [script["sentences"] for script in made["scripts"]] == [100] * 10
    assert "100 sentences and 3 for practice" in alone.stdout


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [((), 2, "either --actors or --actor"), (("--actors", 2, "--actor", 1), 2, "either"),
     (("--actors", 0), 2, "--actors"), (("--actor", 1, "--language", "zh"), 3, "no sentence in zh"),
     (("--actor", 1, "--size", 300), 3, "has 200 sentences")],
)  # fmt: skip
def test_what_cannot_be_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture, options: tuple, code: int, words: str
) -> None:
    write_corpus(tmp_path / "corpus.jsonl", made_up(200))
    arguments = ["corpus", "script", tmp_path / "corpus.jsonl", "-o", tmp_path / "scripts", *options]
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert ended.value.code == code
    assert words in capsys.readouterr().err
    assert not (tmp_path / "scripts").exists()


def test_a_line_of_a_corpus_is_a_line_of_a_script(tmp_path: Path) -> None:
    corpus = made_up(5)
    write_corpus(tmp_path / "corpus.jsonl", corpus)
    assert [(item.id, item.text) for item in read_script(tmp_path / "corpus.jsonl")] == [(s.id, s.text) for s in corpus]
