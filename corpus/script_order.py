"""The order of a script: short blocks of one emotion.

Getting into an emotion takes an actor some sentences, and shouting or weeping for a quarter of the script tires voice
and face. So no block of an emotion has more than `BLOCK` sentences, and the emotions come round several times. Each
round begins with neutral ones as a rest, and the others come in an order that differs from round to round and from
actor to actor, lest one of them always meet a tired actor.
"""

import random
from collections.abc import Sequence
from itertools import chain

from corpus.sentence import EMOTION_PREFIXES, Sentence

BLOCK = 8


def in_blocks(sentences: Sequence[Sentence], rng: random.Random) -> list[Sentence]:
    """The sentences in rounds of blocks; blocks of an emotion are as equal as possible."""
    of_emotion = {emotion: [s for s in sentences if s.emotion == emotion] for emotion in EMOTION_PREFIXES}
    present = {emotion: rng.sample(of, len(of)) for emotion, of in of_emotion.items() if of}
    rounds = max([1, *(-(-len(of) // BLOCK) for emotion, of in present.items() if emotion != "neutral")])
    ordered: list[Sentence] = []
    for number in range(rounds):
        for emotion in _round(list(present), rng, before=ordered[-1].emotion if ordered else None):
            ordered += _part(present[emotion], number, of=rounds)
    return ordered


def _round(emotions: list[str], rng: random.Random, *, before: str | None) -> list[str]:
    """Neutral, then the others in any order that does not go on with the emotion before it."""
    others = [emotion for emotion in emotions if emotion != "neutral"]
    rng.shuffle(others)
    first = ["neutral"] if "neutral" in emotions else []
    if not first and len(others) > 1 and others[0] == before:
        others.append(others.pop(0))
    return list(chain(first, others))


def _part(sentences: Sequence[Sentence], number: int, *, of: int) -> Sequence[Sentence]:
    return sentences[len(sentences) * number // of : len(sentences) * (number + 1) // of]
