"""Estimated times against espeak-ng's and people's, and what must hold for any text."""

from pathlib import Path

import numpy as np
import pytest

from capture.speech_activity import find_speech, levels_of
from capture.virtual.espeak import say
from corpus.duration import LEAST_S, Pace, inner_pauses, recording_time_s, speaking_time_s, units_of_text
from corpus.phonemes import phonemise
from corpus.sentence import Sentence
from mmface4d.session import ScriptItem

ENGLISH = (
    "The museum will stay open until nine o'clock on Thursday evening.",
    "I told you twice already, and you still left the gate wide open!",
    "There is something green and fuzzy growing inside this coffee mug.",
    "He turned sharply, and faced Gregson across the table.",
    "Will we ever forget it?",
    "For the twentieth time that evening the two men shook hands.",
)


def sentence(text: str, language: str = "en") -> Sentence:
    (phonemes,) = phonemise([text], language)
    return Sentence(id="00_0001", text=text, language=language, phonemes=phonemes)


def test_english_takes_as_long_as_the_virtual_actor_needs() -> None:
    pytest.importorskip("espeakng_loader")
    errors = []
    for text in ENGLISH:
        spoken = say(text)
        span_s = spoken.phonemes[-1].end_s - spoken.phonemes[0].start_s
        errors.append(speaking_time_s(sentence(text)) / span_s - 1)
    assert np.median(np.abs(errors)) < 0.08
    assert max(map(abs, errors)) < 0.2


def test_mandarin_takes_as_long_as_a_person_needs(shared_data: Path) -> None:
    pytest.importorskip("pypinyin")
    found = find_speech(levels_of(shared_data / "speech" / "zh_cosyvoice.wav"))
    assert found.begin_s is not None
    assert found.end_s is not None
    said = sentence("希望你以后能够做的比我还好呦。", "zh")
    assert speaking_time_s(said) == pytest.approx(found.end_s - found.begin_s, rel=0.15)


@pytest.mark.parametrize(("text", "language"), [(ENGLISH[0], "en"), ("这杯子里怎么长了一层绿毛啊,真恶心。", "zh")])
def test_without_phonemes_the_text_tells_about_the_same(text: str, language: str) -> None:
    pytest.importorskip("pypinyin")
    pytest.importorskip("espeakng_loader")
    item = ScriptItem(id="a", text=text, language=language)
    assert speaking_time_s(item) == pytest.approx(speaking_time_s(sentence(text, language)), rel=0.15)


def test_longer_texts_take_longer_and_nothing_takes_no_time() -> None:
    times = [speaking_time_s(ScriptItem(id="a", text="ha " * count)) for count in (1, 5, 50, 300)]
    assert times == sorted(times)
    assert speaking_time_s(ScriptItem(id="a", text="...")) == LEAST_S


@pytest.mark.parametrize(
    ("text", "pauses"),
    [("Well, no.", 1), ("At 3:30, or 1,000 times?", 1), ("你好，再见！", 1), ("End...", 0), ("So... what?!", 1)],
)
def test_pauses_are_counted_inside_the_sentence_only(text: str, pauses: int) -> None:
    assert inner_pauses(text) == pauses


def test_units_of_texts_in_other_scripts() -> None:
    assert units_of_text("1984") > units_of_text("year")
    assert units_of_text("こんにちは") == units_of_text("안녕하세요") > units_of_text("hello")
    assert units_of_text("¿?!") == 0


def test_a_session_adds_up() -> None:
    items = [ScriptItem(id=str(number), text="Good morning to you.") for number in range(100)]
    pace = Pace(retakes=0.0, silent_reading=0.0)
    assert recording_time_s(items, pace=pace) == pytest.approx(100 * (pace.overhead_s + speaking_time_s(items[0])))
    assert recording_time_s(items) > recording_time_s(items, pace=pace)
    assert 10 * 60 < recording_time_s(items) < 30 * 60
    assert recording_time_s([]) == 0
