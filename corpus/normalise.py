"""Texts in one form: what looks the same is the same, and what cannot be said is not there."""

import re
import unicodedata
from dataclasses import dataclass

from corpus.writing import HAN, script, scripts_of

MIN_WORDS, MAX_WORDS = 3, 30
_WITHOUT_SPACES = ("zh", "cmn", "yue", "ja", "th", "lo", "km", "my")
_JOINERS = "\u200c\u200d"  # letters of Persian and of Indian languages are written with them
_QUOTES = str.maketrans(
    {**dict.fromkeys("‘’‛ʼ′`´", "'"), **dict.fromkeys("“”„‟«»″", '"'), "‐": "-", "‑": "-", "…": "..."}
)
_FULL_WIDTH = str.maketrans({0xFEE0 + code: code for code in range(0x21, 0x7F) if chr(code).isalnum()})
# pictures, and characters without a form of their own
_UNSAYABLE = {"So", "Sk", "Cc", "Cf", "Cs", "Co", "Cn"}
_HAN_OR_ITS_SIGN = r"[\u3400-\u9fff\u3000-\u303f\uff00-\uffef\u2018-\u201d]"
_BETWEEN_HAN = re.compile(f"(?<={_HAN_OR_ITS_SIGN}) (?={_HAN_OR_ITS_SIGN})")


@dataclass(frozen=True)
class LengthFilter:
    """Bounds of a sentence's length in words, or in characters where a language is written without spaces."""

    min_words: int = MIN_WORDS
    max_words: int = MAX_WORDS

    def why_not(self, text: str, language: str) -> str | None:
        """Why the sentence is left out: too short, too long."""
        words = count_words(text, language)
        if words < self.min_words:
            return "too short"
        return "too long" if words > self.max_words else None


def normalise(text: str, language: str) -> str:
    """The text on one line in Unicode's NFC, with plain quotation marks (Chinese keeps its own) and single spaces."""
    spaced = "".join(_sayable(character, language) for character in unicodedata.normalize("NFC", text))
    line = " ".join(spaced.translate(_FULL_WIDTH).split())
    return _BETWEEN_HAN.sub("", line) if HAN in scripts_of(language) else " ".join(line.translate(_QUOTES).split())


def _sayable(character: str, language: str) -> str:
    if character.isspace() or character in "\x1c\x1d\x1e\x1f":
        return " "
    kind = unicodedata.category(character)
    if kind not in _UNSAYABLE or character in "^`´¨°" or (character in _JOINERS and _is_joined(language)):
        return character
    return " " if kind in ("So", "Cc") else ""


def _is_joined(language: str) -> bool:
    return bool(scripts_of(language) & {"Arabic", "Devanagari", "Bengali", "Tamil", "Telugu", "Malayalam", "Sinhala"})


def same_key(text: str) -> str:
    """What two sentences share that differ in case, punctuation and spaces only."""
    return "".join(
        letter for letter in unicodedata.normalize("NFKC", text).casefold() if letter.isalnum() or _is_mark(letter)
    )


def _is_mark(character: str) -> bool:
    return unicodedata.category(character) in ("Mn", "Mc")


def count_words(text: str, language: str) -> int:
    """Words; in languages without spaces, letters, and one for a word in other letters."""
    words = [word for word in text.split() if any(map(str.isalnum, word))]
    if not is_without_spaces(language):
        return len(words)
    own = scripts_of(language)
    native = [[letter for letter in word if letter.isalpha() and script(letter) in own] for word in words]
    return sum(max(1, len(letters)) for letters in native)


def is_without_spaces(language: str) -> bool:
    """Whether the language is written without spaces between words."""
    return language.lower().split("-")[0] in _WITHOUT_SPACES
