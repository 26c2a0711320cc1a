"""In which script a language is written, and which letters of a text are of another."""

import unicodedata
from collections import Counter
from functools import lru_cache

HAN, LATIN = "Chinese", "Latin"
# names in Unicode begin with these
_SCRIPTS = {
    "CJK": HAN, "IDEOGRAPHIC": HAN, "LATIN": LATIN, "FULLWIDTH": LATIN, "HIRAGANA": "Japanese", "KATAKANA": "Japanese",
    "HANGUL": "Korean", "CYRILLIC": "Cyrillic", "GREEK": "Greek", "ARABIC": "Arabic", "HEBREW": "Hebrew",
    "DEVANAGARI": "Devanagari", "BENGALI": "Bengali", "TAMIL": "Tamil", "TELUGU": "Telugu", "THAI": "Thai",
    "GEORGIAN": "Georgian", "ARMENIAN": "Armenian", "ETHIOPIC": "Ethiopic", "KHMER": "Khmer", "MYANMAR": "Burmese",
    "GUJARATI": "Gujarati", "GURMUKHI": "Gurmukhi", "KANNADA": "Kannada", "MALAYALAM": "Malayalam",
    "SINHALA": "Sinhala", "LAO": "Lao", "ORIYA": "Odia",
}  # fmt: skip
_CHINESE, _CYRILLIC, _ARABIC = frozenset({HAN}), frozenset({"Cyrillic"}), frozenset({"Arabic"})
_EITHER = frozenset({"Cyrillic", LATIN})
_OWN: dict[str, frozenset[str]] = {
    **dict.fromkeys(("zh", "cmn", "yue"), _CHINESE),
    "ja": frozenset({HAN, "Japanese"}), "ko": frozenset({HAN, "Korean"}), "pa": frozenset({"Gurmukhi", "Arabic"}),
    **dict.fromkeys(("ru", "uk", "be", "bg", "mk", "ky", "tg", "mn", "tt", "ba", "cv"), _CYRILLIC),
    **dict.fromkeys(("sr", "uz", "kk", "az"), _EITHER),
    **dict.fromkeys(("ar", "fa", "ur", "ps", "ug", "sd"), _ARABIC),
    **dict.fromkeys(("hi", "mr", "ne", "sa", "kok"), frozenset({"Devanagari"})),
    **{
        language: frozenset({name})
        for language, name in {
            "el": "Greek", "grc": "Greek", "he": "Hebrew", "yi": "Hebrew", "th": "Thai", "ka": "Georgian",
            "hy": "Armenian", "am": "Ethiopic", "km": "Khmer", "my": "Burmese", "bn": "Bengali", "as": "Bengali",
            "ta": "Tamil", "te": "Telugu", "gu": "Gujarati", "kn": "Kannada", "ml": "Malayalam", "si": "Sinhala",
            "lo": "Lao", "or": "Odia",
        }.items()
    },
}  # fmt: skip
_LATIN = frozenset({LATIN})


def other_language(text: str, language: str) -> str | None:
    """Why a text is not in the language, where its letters tell: `Chinese letters ('你好')`.

    Where a language is not written in Latin letters, a few of them are usual: OK, T-shirt, names.
    """
    if text.isascii() and LATIN in scripts_of(language):
        return None
    own = scripts_of(language)
    letters = {letter: script(letter) for letter in text if letter.isalpha()}
    counts = Counter(found for letter in text if (found := letters.get(letter)))
    native = sum(counts[name] for name in own)
    for name in counts:
        if name not in own and not (name == LATIN and native >= counts[LATIN]):
            sample = "".join(letter for letter in text if letters.get(letter) == name)[:12]
            return f"{name} letters ({sample!r})"
    return None


def scripts_of(language: str) -> frozenset[str]:
    """The scripts that a language is written in; Latin where none is known."""
    return _OWN.get(language.lower().split("-")[0], _LATIN)


@lru_cache(maxsize=4096)
def script(letter: str) -> str | None:
    """The script of a letter; nothing for letters that all share."""
    name = unicodedata.name(letter, "")
    if name.startswith("MODIFIER LETTER") or name in ("MICRO SIGN", "FEMININE ORDINAL INDICATOR"):
        return None
    if name.startswith(("KATAKANA-HIRAGANA", "HALFWIDTH KATAKANA")):
        return "Japanese"
    first = name.partition(" ")[0]
    return _SCRIPTS.get(first, first.capitalize() or "unknown")
