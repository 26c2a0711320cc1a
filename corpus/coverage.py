"""How evenly a set of sentences covers the sounds of its language."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from corpus.phonemes import diphones, tone, toneless


def entropy_bits(counts: Iterable[int]) -> float:
    """Shannon's entropy of a distribution given as counts; 0 for none."""
    positive = [count for count in counts if count > 0]
    total = sum(positive)
    return max(0.0, math.log2(total) - sum(count * math.log2(count) for count in positive) / total) if total else 0.0


@dataclass(frozen=True)
class Coverage:
    """Counts of phonemes and of neighbouring ones, without tones.

    With an inventory only its units count for entropies; what else occurs (sounds of foreign names) is in `foreign`.
    Without one, every unit that occurs counts.
    """

    inventory: tuple[str, ...]
    phonemes: Counter[str]
    diphones: Counter[tuple[str, str]]
    tones: Counter[str]
    foreign: Counter[str]

    @property
    def phoneme_entropy_bits(self) -> float:
        """The evenness of phonemes; `max_phoneme_entropy_bits` where all are equally frequent."""
        return entropy_bits(self.phonemes.values())

    @property
    def diphone_entropy_bits(self) -> float:
        """The evenness of diphones."""
        return entropy_bits(self.diphones.values())

    @property
    def max_phoneme_entropy_bits(self) -> float:
        """log2 of the inventory's size, or of the number of units that occur where there is no inventory."""
        units = len(self.inventory) or len(self.phonemes)
        return math.log2(units) if units else 0.0

    @property
    def max_diphone_entropy_bits(self) -> float:
        """log2 of the number of pairs; out of reach, because no language allows every pair."""
        return 2 * self.max_phoneme_entropy_bits

    @property
    def missing(self) -> tuple[str, ...]:
        """Units of the inventory that never occur."""
        return tuple(unit for unit in self.inventory if not self.phonemes[unit])

    def least_covered(self, number: int = 10) -> list[tuple[str, int]]:
        """The rarest units with their counts, missing ones first."""
        units = self.inventory or tuple(sorted(self.phonemes))
        return sorted(((unit, self.phonemes[unit]) for unit in units), key=lambda pair: pair[1])[:number]


def coverage(sequences: Iterable[Sequence[str]], inventory: Collection[str] = ()) -> Coverage:
    """The coverage of sentences given as their phonemes, with or without tones."""
    phonemes, pairs, tones = Counter[str](), Counter[tuple[str, str]](), Counter[str]()
    for sequence in sequences:
        bare = [toneless(unit) for unit in sequence]
        phonemes.update(bare)
        pairs.update(diphones(bare))
        tones.update(found for unit in sequence if (found := tone(unit)))
    known = set(inventory) or set(phonemes)
    return Coverage(
        inventory=tuple(inventory),
        phonemes=Counter({unit: count for unit, count in phonemes.items() if unit in known}),
        diphones=Counter({pair: count for pair, count in pairs.items() if known.issuperset(pair)}),
        tones=tones,
        foreign=Counter({unit: count for unit, count in phonemes.items() if unit not in known}),
    )
