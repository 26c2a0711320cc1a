"""How long sentences take to say, and to record: estimates, made before anybody has spoken.

Speech: English at 12.3 phonemes a second and 0.27 s a pause inside a sentence, fitted to espeak-ng's speech of 120
sentences at its 165 words a minute; people who read aloud are about there (LJ Speech, 225 715 words in 23.9 h: 157).
Mandarin at 5.18 syllables a second (Pellegrino, Coupé and Marsico, "A cross-language perspective on speech
information rate", Language 87, 2011: read texts without their silences) of 1.85 initials and finals each.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from corpus.sentence import Sentence
from mmface4d.session import ScriptItem

UNITS_A_SECOND = {"zh": 9.6, "cmn": 9.6, "en": 12.3}
OTHERS_UNITS_A_SECOND = 12.3
PAUSE_S = 0.27
LEAST_S = 0.4  # a single word
# for texts whose phonemes are not known: of a letter, of a sign that is a syllable, of a digit ("seven")
LETTER_UNITS, SYLLABLE_UNITS, DIGIT_UNITS = 0.82, 1.85, 3.5
_SYLLABLE_SIGNS = ("CJK", "HANGUL", "HIRAGANA", "KATAKANA")
_INNER_PAUSE = re.compile(r"[,;:.!?،؛。，；：！？、…—]+\s*(?=\w)")
_INNER_OF_NUMBER = re.compile(r"(?<=\d)[.,:](?=\d)")


@dataclass(frozen=True)
class Pace:
    """What a sentence costs beside its speech, in seconds.

    The rolls and the verdict are the recorder's; the rest is what we expect of people, not measured: a moment before
    they speak and before somebody presses the key, a look at the verdict, and the sentence read silently beforehand.
    """

    countdown_s: float = 1.0
    before_speech_s: float = 0.5
    after_speech_s: float = 1.0
    post_roll_s: float = 0.5
    verdict_s: float = 0.5
    decision_s: float = 1.5
    silent_reading: float = 1.0  # of the speaking time
    retakes: float = 0.15  # of the sentences are said again

    @property
    def overhead_s(self) -> float:
        """A try without its speech and without reading it beforehand."""
        before = self.countdown_s + self.before_speech_s
        return before + self.after_speech_s + self.post_roll_s + self.verdict_s + self.decision_s


def speaking_time_s(sentence: ScriptItem) -> float:
    """From the first sound to the last, by the sentence's phonemes, or by its text where they are not known."""
    phonemes = sentence.phonemes if isinstance(sentence, Sentence) else ()
    units = len(phonemes) or units_of_text(sentence.text)
    rate = UNITS_A_SECOND.get(sentence.language.split("-")[0], OTHERS_UNITS_A_SECOND)
    return max(units / rate + PAUSE_S * inner_pauses(sentence.text), LEAST_S)


def recording_time_s(sentences: Iterable[ScriptItem], *, pace: Pace | None = None) -> float:
    """A session of these sentences without breaks; practice is recorded like the rest."""
    pace = pace or Pace()
    tries_s = sum(pace.overhead_s + speaking_time_s(sentence) * (1 + pace.silent_reading) for sentence in sentences)
    return tries_s * (1 + pace.retakes)


def inner_pauses(text: str) -> int:
    """Punctuation after which the sentence goes on."""
    return len(_INNER_PAUSE.findall(_INNER_OF_NUMBER.sub("", text)))


def units_of_text(text: str) -> float:
    """About how many phonemes a text has."""
    return sum(_units_of(character) for character in text)


def _units_of(character: str) -> float:
    if character.isdecimal():
        return DIGIT_UNITS
    if not character.isalpha():
        return 0.0
    return SYLLABLE_UNITS if unicodedata.name(character, "").startswith(_SYLLABLE_SIGNS) else LETTER_UNITS
