"""Corpora for tests: made-up sentences with made-up sounds, some rare."""

import random

from corpus.phonemes import ENGLISH
from corpus.sentence import EMOTION_PREFIXES, SCENARIOS, Sentence, sentence_id


def made_up(size: int, *, seed: int = 0, language: str = "en", first: int = 1) -> list[Sentence]:
    """Sentences of all emotions by turns; frequencies of sounds fall as in real languages."""
    rng = random.Random(seed)
    weights = [1 / (rank + 3) ** 1.3 for rank in range(len(ENGLISH))]
    emotions = list(EMOTION_PREFIXES)
    return [
        Sentence(
            id=sentence_id(emotions[number % 7], first + number // 7),
            text=f"Sentence {seed} of {language}, number {number}.",
            emotion=emotions[number % 7],  # type: ignore[arg-type]
            language=language,
            scenario=SCENARIOS[number % 3],
            phonemes=tuple(rng.choices(ENGLISH, weights, k=rng.randint(8, 60))),
        )
        for number in range(size)
    ]
