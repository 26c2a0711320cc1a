"""Sentences whose phonemes nobody has told yet, as in a script or a corpus written by hand."""

from collections.abc import Sequence

from corpus.phonemes import phonemise
from corpus.sentence import Sentence


def phonemised(sentences: Sequence[Sentence]) -> list[Sentence]:
    """The sentences, with phonemes where they had none; raises as `phonemise` where there are such."""
    silent: dict[str, list[int]] = {}
    for number, sentence in enumerate(sentences):
        if not sentence.phonemes:
            silent.setdefault(sentence.language, []).append(number)
    whole = list(sentences)
    for language, numbers in silent.items():
        sounds = phonemise([sentences[number].text for number in numbers], language)
        for number, phonemes in zip(numbers, sounds, strict=True):
            whole[number] = sentences[number].model_copy(update={"phonemes": phonemes})
    return whole
