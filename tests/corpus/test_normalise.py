"""Texts in one form, and which scripts they are written in."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpus.normalise import LengthFilter, count_words, normalise, same_key
from corpus.writing import other_language


@pytest.mark.parametrize(
    ("text", "language", "normal"),
    [
        ("  “Don’t”\u00a0 go\tnow… ", "en", '"Don\'t" go now...'),
        ("cafe\u0301\u200b 😀 ok", "fr", "café ok"),
        ("你 好 ，我 是 “王” 老师", "zh", "你好，我是“王”老师"),
        ("ＯＫ　１２", "en", "OK 12"),
        ("a\x00b\x1b[31m\ufeff\u202ec", "en", "a b [31mc"),
        ("می\u200cخواهم", "fa", "می\u200cخواهم"),
        ("line\u2028break\r\n", "en", "line break"),
        ("¡Sí! ¿20 °C?", "es", "¡Sí! ¿20 °C?"),
    ],
)
def test_known_forms(text: str, language: str, normal: str) -> None:
    assert normalise(text, language) == normal


@given(st.text(max_size=60), st.sampled_from(["en", "zh", "fa", "fr"]))
def test_the_form_is_final(text: str, language: str) -> None:
    once = normalise(text, language)
    assert normalise(once, language) == once
    assert unicodedata.is_normalized("NFC", once)
    assert once == once.strip()
    assert once.isprintable() or language == "fa"


@given(st.text(alphabet="aBc é1你好", max_size=30))
def test_case_spaces_and_signs_make_no_other_sentence(text: str) -> None:
    changed = "".join(unicodedata.normalize("NFD", letter.upper()) + ",  " for letter in text)
    assert same_key(changed) == same_key(text)


def test_other_words_are_another_sentence() -> None:
    assert same_key("We were here.") != same_key("We we're there.")
    assert same_key("कि") != same_key("क")


@pytest.mark.parametrize(
    ("text", "language", "words"),
    [
        ("Don't be so well-known - ever!", "en", 5),
        ("今天天气很好。", "zh", 6),
        ("我的 T恤 OK", "zh", 4),
        ("他们 3 个人", "zh", 5),
        ("नमस्ते दुनिया", "hi", 2),
        ("...", "en", 0),
    ],
)
def test_words_are_counted(text: str, language: str, words: int) -> None:
    assert count_words(text, language) == words


def test_lengths_are_bounded_on_both_sides() -> None:
    lengths = LengthFilter(2, 3)
    told = [lengths.why_not(" ".join(["word"] * count), "en") for count in range(1, 5)]
    assert told == ["too short", None, None, "too long"]


@pytest.mark.parametrize(
    ("text", "language", "other"),
    [
        ("你好", "en", "Chinese letters ('你好')"),
        ("Hello 世界", "en", "Chinese letters ('世界')"),
        ("Hello there", "zh", "Latin letters ('Hellothere')"),
        ("Привет", "de", "Cyrillic letters ('Привет')"),
        ("ありがとう", "zh", "Japanese letters ('ありがとう')"),
        ("Ρrice", "en", "Greek letters ('Ρ')"),  # a Greek letter that looks Latin
        ("我的T恤很OK", "zh", None),
        ("Ça va, Łukasz? 5 µm", "fr", None),
        ("カラオケに行く", "ja", None),
        ("Я люблю Linux", "ru", None),
        ("Да da", "sr", None),
        ("42!", "zh", None),
    ],
)
def test_letters_tell_another_language(text: str, language: str, other: str | None) -> None:
    assert other_language(text, language) == other
