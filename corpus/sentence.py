"""A corpus: sentences with their language, scenario, emotion and phonemes, a JSON object a line."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from mmface4d.session import MAX_TEXT, ScriptItem

# the published dataset's prefixes of sentence ids
EMOTION_PREFIXES = {
    "neutral": "00", "happy": "21", "angry": "22", "sad": "23", "surprise": "24", "fear": "25", "disgust": "26",
}  # fmt: skip
MAX_PHONEMES = 8 * MAX_TEXT
SCENARIOS = ("news", "conversation", "story")
Scenario = Literal["news", "conversation", "story"]
Phoneme = Annotated[str, StringConstraints(min_length=1, max_length=16)]


class Sentence(ScriptItem):
    """A sentence of a corpus.

    `phonemes` are in speaking order, without stress and pauses: espeak-ng's IPA symbols, or, in Chinese, initials and
    finals with the tone's digit (`zh`, `ang1`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    scenario: Scenario = "conversation"
    phonemes: Annotated[tuple[Phoneme, ...], Field(max_length=MAX_PHONEMES)] = ()


def sentence_id(emotion: str, number: int) -> str:
    """The id of an emotion's n-th sentence: `23_0017`."""
    return f"{EMOTION_PREFIXES[emotion]}_{number:04d}"
