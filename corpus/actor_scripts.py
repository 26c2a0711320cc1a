"""A script for every actor: sentences balanced over emotions and phonemes, nobody else's while there are enough.

Scripts are dealt one after the other, so that the seventh is the same whether seven or fifty are asked for:

- Emotions are laid out evenly over an endless row of seats, in the corpus's proportions; a script is a stretch of the
  row. Passing once through the corpus thus uses every sentence once.
- A seat goes to one of its emotion's least used sentences, and never to one that the script has.
- Among those, the sentence is taken with which the script's phonemes come nearest to what the sentences left have on
  average (chi-square). Choosing the richest instead would leave the poorest for the last actors.
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from corpus.phonemes import inventory, toneless
from corpus.script_order import in_blocks
from corpus.sentence import EMOTION_PREFIXES, Sentence
from mmface4d.errors import InputError
from mmface4d.session import ScriptItem

SIZE, PRACTICE = 100, 3
MOST_UNITS = 300  # no language has more phonemes than half of that


@dataclass(frozen=True)
class ActorScript:
    """What one actor is to say, practice first; actors count from 1. `repeated` sentences were given to others too."""

    actor: int
    practice: tuple[Sentence, ...]
    sentences: tuple[Sentence, ...]
    repeated: int

    @cached_property
    def items(self) -> list[ScriptItem]:
        """As a session reads them."""
        spoken = [(sentence, True) for sentence in self.practice] + [(sentence, False) for sentence in self.sentences]
        return [
            ScriptItem(id=s.id, text=s.text, emotion=s.emotion, language=s.language, practice=practice)
            for s, practice in spoken
        ]


@dataclass
class _Deck:
    """The corpus as arrays; `uses` grows as scripts are dealt."""

    sentences: tuple[Sentence, ...]
    units: Float[np.ndarray, "n_sentences n_units"]
    uses: Int[np.ndarray, "n_sentences"]

    @cached_property
    def of_emotion(self) -> dict[str, Int[np.ndarray, "n_of_emotion"]]:
        """Indices of the sentences of each emotion."""
        emotions = np.array([sentence.emotion for sentence in self.sentences])
        return {str(emotion): np.flatnonzero(emotions == emotion) for emotion in np.unique(emotions)}

    @cached_property
    def seats(self) -> list[str]:
        """The emotions of one pass through the corpus."""
        return emotion_seats({emotion: len(indices) for emotion, indices in self.of_emotion.items()})


def deal(
    corpus: Sequence[Sentence], *, size: int = SIZE, practice: int = PRACTICE, seed: int = 0,
    used: Mapping[str, int] | None = None,
) -> Iterator[ActorScript]:  # fmt: skip
    """The scripts of actors 1, 2, 3 and so on without end, of a corpus in one language.

    `used` tells by id how often a sentence was given to others. The corpus's order does not matter. Raises InputError
    where the corpus has too few sentences for one script and its practice.
    """
    if len(corpus) < size + practice:
        raise InputError(
            f"the corpus has {len(corpus)} sentences, a script of {size} and {practice} for practice needs more",
            hint="add sentences, or make shorter scripts with --size",
        )
    deck = _deck(corpus, used or {})
    actor = 0
    while True:
        actor += 1
        chosen = _chosen(deck, actor, size=size, seed=seed)
        repeated = int((deck.uses[chosen] > 0).sum())
        deck.uses[chosen] += 1
        rehearsed = _rehearsed(deck, actor, but=set(chosen), number=practice, seed=seed)
        ordered = in_blocks([deck.sentences[i] for i in chosen], random.Random(f"{seed} {actor} order"))
        yield ActorScript(actor, tuple(deck.sentences[i] for i in rehearsed), tuple(ordered), repeated)


def emotion_seats(counts: Mapping[str, int]) -> list[str]:
    """Every emotion as often as counted, spread evenly: any stretch has close to its share of each."""
    order = list(EMOTION_PREFIXES)
    places = [
        ((number + 0.5) / count, order.index(emotion), emotion)
        for emotion, count in counts.items()
        for number in range(count)
    ]
    return [emotion for _, _, emotion in sorted(places)]


def _deck(corpus: Sequence[Sentence], used: Mapping[str, int]) -> _Deck:
    sentences = tuple(sorted(corpus, key=lambda sentence: sentence.id))
    counts = [Counter(toneless(unit) for unit in sentence.phonemes) for sentence in sentences]
    columns = {unit: column for column, unit in enumerate(_balanced(counts, sentences[0].language))}
    units = np.zeros((len(sentences), len(columns)))
    for row, count in enumerate(counts):
        known = [unit for unit in count if unit in columns]
        units[row, [columns[unit] for unit in known]] = [count[unit] for unit in known]
    return _Deck(sentences, units, np.array([used.get(sentence.id, 0) for sentence in sentences]))


def _balanced(counts: Sequence[Counter[str]], language: str) -> Sequence[str]:
    """The language's list of sounds, or the most frequent ones where there is no list."""
    occurring = Counter[str]()
    for count in counts:
        occurring.update(count)
    return inventory(language) or sorted(unit for unit, _ in occurring.most_common(MOST_UNITS))


def _chosen(deck: _Deck, actor: int, *, size: int, seed: int) -> list[int]:
    """The indices of an actor's sentences."""
    begin = (actor - 1) * size
    seats = [deck.seats[seat % len(deck.seats)] for seat in range(begin, begin + size)]
    free = np.ones(len(deck.sentences), bool)
    target = _target(deck, seats, free)
    weights = 1 / (target + 1)
    squares = deck.units**2 @ weights
    excess = np.zeros_like(target)  # of the phonemes so far over the target's share
    chosen: list[int] = []
    for seat in seats:
        fit = _least_used(deck, seat, free)
        excess -= target / size
        scores = squares[fit] + 2 * deck.units[fit] @ (weights * excess)
        # the first is drawn, so that seeds differ; rounded, so that all processors agree
        best = int(np.argmin(np.round(scores, 6))) if chosen else random.Random(f"{seed} {actor}").randrange(len(fit))
        index = int(fit[best])
        chosen.append(index)
        free[index] = False
        excess += deck.units[index]
    return chosen


def _target(deck: _Deck, seats: Sequence[str], free: Bool[np.ndarray, "n_sentences"]) -> Float[np.ndarray, "n_units"]:
    """How often each phoneme should occur: as in as many average ones of the sentences that are least used."""
    parts = [number * deck.units[_least_used(deck, seat, free)].mean(0) for seat, number in Counter(seats).items()]
    return np.sum(parts, axis=0)


def _least_used(deck: _Deck, emotion: str, free: Bool[np.ndarray, "n_sentences"]) -> Int[np.ndarray, "n_fit"]:
    """The indices of an emotion's free sentences that fewest scripts have."""
    left = deck.of_emotion[emotion]
    left = left[free[left]]
    return left[deck.uses[left] == deck.uses[left].min()]


def _rehearsed(deck: _Deck, actor: int, *, but: set[int], number: int, seed: int) -> list[int]:
    """Sentences for practice, of different emotions where there are: neutral first, then others by turns."""
    rng = random.Random(f"{seed} {actor} practice")
    left = {
        emotion: rng.sample(indices, len(indices))
        for emotion, of in deck.of_emotion.items()
        if (indices := [index for index in of.tolist() if index not in but])
    }
    order = sorted(left, key=lambda emotion: (emotion != "neutral", rng.random()))
    taken: list[int] = []
    while len(taken) < number:
        taken += [left[emotion].pop() for emotion in order if left[emotion]]
    return taken[:number]
