"""Actors' scripts against a random division of the same corpus, and estimated times against the virtual actor's."""

import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import click
import numpy as np
from common import print_json, say

from capture.virtual.espeak import say as speak
from corpus.actor_scripts import deal
from corpus.corpus_file import read_corpus
from corpus.coverage import coverage
from corpus.duration import speaking_time_s
from corpus.phonemes import inventory
from corpus.script_folder import in_one_language
from corpus.sentence import Sentence


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True))
@click.option("--language", help="Needed where the corpus has several.")
@click.option("--size", default=100, show_default=True)
@click.option("--seeds", default=3, show_default=True)
@click.option("--spoken", default=120, show_default=True, help="Sentences that the virtual actor says.")
def main(file: Path, language: str | None, size: int, seeds: int, spoken: int) -> None:
    """As many scripts of FILE, a corpus, as it has sentences for, with several seeds."""
    corpus = in_one_language(read_corpus(file), language)
    found = {"scripts": [divided(corpus, size, seed) for seed in range(seeds)]}
    say(found)
    print_json({**found, "times": timed(Random(0).sample(corpus, min(spoken, len(corpus))))})


def divided(corpus: Sequence[Sentence], size: int, seed: int) -> dict[str, Any]:
    """The scripts of one seed, and a random division."""
    number = len(corpus) // size
    started = time.monotonic()
    scripts = [script.sentences for script in islice(deal(corpus, size=size, practice=0, seed=seed), number)]
    seconds = round(time.monotonic() - started, 2)
    shuffled = Random(seed).sample(corpus, len(corpus))
    by_chance = [shuffled[at * size : (at + 1) * size] for at in range(number)]
    distinct = len({sentence.id for script in scripts for sentence in script})
    return {
        "seed": seed, "number": number, "seconds": seconds, "distinct_sentences": distinct,
        "ours": figures(scripts), "by_chance": figures(by_chance),
    }  # fmt: skip


def figures(scripts: Sequence[Sequence[Sentence]]) -> dict[str, Any]:
    """How evenly scripts cover the sounds: smallest, mean and largest."""
    language = scripts[0][0].language
    sounds = [coverage((each.phonemes for each in script), inventory(language)) for script in scripts]
    return {
        "phoneme_entropy_bits": spread([each.phoneme_entropy_bits for each in sounds]),
        "scripts_that_lack_a_phoneme": sum(bool(each.missing) for each in sounds),
        "phonemes": spread([float(sum(len(each.phonemes) for each in script)) for script in scripts]),
    }


def timed(sentences: Sequence[Sentence]) -> dict[str, float]:
    """The estimate against what the virtual actor needs, from the first sound to the last."""
    spoken = [speak(each.text, each.language).phonemes for each in sentences]
    real_s = np.array([phonemes[-1].end_s - phonemes[0].start_s for phonemes in spoken])
    estimated_s = np.array([speaking_time_s(each) for each in sentences])
    errors = np.abs(estimated_s / real_s - 1)
    return {
        "sentences": len(sentences),
        "estimate_of_all": round(float(estimated_s.sum() / real_s.sum()), 3),
        "error_median": round(float(np.median(errors)), 3),
        "error_p95": round(float(np.percentile(errors, 95)), 3),
    }


def spread(values: Sequence[float]) -> list[float]:
    """Smallest, mean, largest."""
    return [round(value, 3) for value in (min(values), float(np.mean(values)), max(values))]


if __name__ == "__main__":
    main()
