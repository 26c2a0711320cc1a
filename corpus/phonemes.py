"""What a sentence sounds like: Mandarin by pypinyin's initials and finals, other languages by espeak-ng's phonemes."""

from collections.abc import Sequence
from itertools import pairwise


def _units(text: str) -> tuple[str, ...]:
    return tuple(text.split())


MANDARIN = ("zh", "cmn")
NOT_MANDARIN = ("zh-hk", "zh-yue")  # written Chinese that is read as Cantonese
INITIALS = _units("b p m f d t n l g k h j q x zh ch sh r z c s")
# the table of the Hanyu Pinyin scheme, and er; v is ü
FINALS = _units("a ai an ang ao e ei en eng er i ia ian iang iao ie in ing iong iou o ong ou") + _units(
    "u ua uai uan uang uei uen ueng uo v van ve vn"
)
# what espeak-ng 1.52 says for English words in its voice en-us
ENGLISH = _units("p b t d k ɡ f v θ ð s z ʃ ʒ h tʃ dʒ m n ŋ l ɹ j w ɾ ʔ n̩ əl") + _units(
    "iː i ɪ ᵻ eɪ ɛ æ ɑː ɔː ɔ oʊ ʊ uː ʌ ɐ ə ɜː ɚ aɪ aʊ ɔɪ iə aɪə aɪɚ ɪɹ ɛɹ ɑːɹ ɔːɹ ʊɹ"
)


def is_mandarin(language: str) -> bool:
    """Whether a language tag means Mandarin."""
    tag = language.lower()
    return tag.split("-")[0] in MANDARIN and not tag.startswith(NOT_MANDARIN)


def phonemise(texts: Sequence[str], language: str, *, workers: int = 1) -> list[tuple[str, ...]]:
    """The phonemes of each text in speaking order, without stress and pauses, whatever stood before it.

    Mandarin: initials, and finals with the digit of their spoken tone (5 is the neutral one); others: espeak-ng's IPA.
    A text with nothing to say, or at which espeak-ng crashed, has none. Raises InputError for a language that neither
    pypinyin nor espeak-ng knows, MissingBackendError where the package is missing or does not work.
    """
    if is_mandarin(language):
        from corpus.mandarin import mandarin_phonemes

        return mandarin_phonemes(texts, workers=workers)
    from corpus.espeak_phonemes import espeak_phonemes

    return espeak_phonemes(texts, language, workers=workers)


def inventory(language: str) -> tuple[str, ...]:
    """Every unit that a corpus of the language should cover, finals without tone; nothing where no list is kept."""
    if is_mandarin(language):
        return INITIALS + FINALS
    return ENGLISH if language.lower() in ("en", "en-us") else ()


def toneless(unit: str) -> str:
    """A Mandarin final without the digit of its tone; every other unit as it is."""
    return unit.rstrip("12345")


def tone(unit: str) -> str | None:
    """The digit of a Mandarin final's tone."""
    return unit[-1] if unit[-1:] in tuple("12345") else None


def diphones(phonemes: Sequence[str]) -> list[tuple[str, str]]:
    """Neighbouring phonemes."""
    return list(pairwise(phonemes))
