"""The choice of a corpus: how evenly it covers the sounds, against chance, and how long it takes.

DATA holds `cmu_arctic/cmuarctic.data` and `goemotions_ekman/ekman_*.tsv`, about 12 000 English sentences.
"""

import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from statistics import mean
from typing import Any

import click
from common import print_json, run, say

from corpus.corpus_file import read_corpus
from corpus.coverage import coverage
from corpus.phonemes import inventory, phonemise
from corpus.selection import select
from corpus.sentence import Sentence
from corpus.starter import starter_files

EMOTIONS = {
    "anger": "angry", "disgust": "disgust", "fear": "fear", "joy": "happy", "neutral": "neutral",
    "sadness": "sad", "surprise": "surprise",
}  # fmt: skip
NEUTRAL, OTHERS = 440, 300  # 2 000 sentences: fear and disgust have fewer than 300
SEEDS = 10
MANY = 100_000
EVERYTHING = 1_000_000


@click.command()
@click.option("--data", required=True, type=click.Path(path_type=Path, exists=True), help="Folder of texts.")
@click.option("--work", required=True, type=click.Path(path_type=Path), help="Folder for what is made.")
@click.option("--workers", default=2, show_default=True)
def main(data: Path, work: Path, workers: int) -> None:
    """Builds a corpus of 2 000 and ones of 11 000 out of 100 000."""
    work.mkdir(parents=True, exist_ok=True)
    sources = write_sources(data, work)
    found = {"corpus_of_2000": {"by_emotion": by_emotion(sources, work), "freely": freely(sources, work)}}
    say(found)
    texts = {"en": [json.loads(line)["text"] for line in sources.read_text().splitlines()], "zh": chinese()}
    many = {language: of_many(texts[language], language, work, workers=workers) for language in texts}
    print_json({**found, "11000_of_100000": many})


def write_sources(data: Path, work: Path) -> Path:
    """All sentences with their emotions as JSON lines."""
    prompts = re.findall(r'"(.*)"', (data / "cmu_arctic" / "cmuarctic.data").read_text())
    rows = [{"text": text, "emotion": "neutral"} for text in prompts]
    labels = (data / "goemotions_ekman" / "ekman_labels.txt").read_text().split()
    for path in sorted((data / "goemotions_ekman").glob("*.tsv")):
        for line in path.read_text(encoding="utf-8").splitlines():
            text, numbers, _ = line.split("\t")
            rows.append({"text": text, "emotion": EMOTIONS[labels[int(numbers.split(",")[0])]]})
    return write_rows(work / "sources.jsonl", rows)


def write_rows(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    """JSON lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def chinese() -> list[str]:
    """The Chinese sentences of the starter corpus."""
    (path,) = [path for path in starter_files() if path.stem == "zh"]
    return [line.split(",zh,")[0].strip('"') for line in path.read_text(encoding="utf-8").splitlines()[1:]]


def build(sources: Path, output: Path, *options: object) -> tuple[list[Sentence], float]:
    """The corpus that the command makes, and its seconds."""
    seconds = run("corpus", "build", sources, "-o", output, "--skip-bad", *options)
    return read_corpus(output), round(seconds, 1)


def by_emotion(sources: Path, work: Path) -> dict[str, Any]:
    """2 000 by the command, with so many of each emotion, and as many of each by chance."""
    candidates, _ = build(sources, work / "all.jsonl", "--neutral", EVERYTHING, "--others", EVERYTHING)
    chosen, seconds = build(sources, work / "corpus.jsonl", "--neutral", NEUTRAL, "--others", OTHERS)
    sizes = {emotion: sum(each.emotion == emotion for each in chosen) for emotion in EMOTIONS.values()}
    chances = []
    for seed in range(SEEDS):
        random = Random(seed)
        pools = {emotion: [each for each in candidates if each.emotion == emotion] for emotion in sizes}
        chances.append(figures([each for emotion in sizes for each in random.sample(pools[emotion], sizes[emotion])]))
    return {"sizes": sizes, "seconds": seconds, **compared(figures(candidates), figures(chosen), chances)}


def freely(sources: Path, work: Path) -> dict[str, Any]:
    """2 000 of all candidates, whatever their emotion, by `select`, and by chance."""
    candidates = read_corpus(work / "all.jsonl")
    started = time.monotonic()
    phonemise([each.text for each in candidates], "en")
    heard = time.monotonic()
    numbers = select([each.phonemes for each in candidates], 2000, seed=0, inventory=inventory("en"))
    ended = time.monotonic()
    chances = [figures(Random(seed).sample(candidates, 2000)) for seed in range(SEEDS)]
    chosen = figures([candidates[number] for number in numbers])
    seconds = {"phonemes": round(heard - started, 1), "selection": round(ended - heard, 1)}
    return {"seconds": seconds, **compared(figures(candidates), chosen, chances)}


def figures(sentences: Sequence[Sentence]) -> dict[str, float]:
    """How evenly sentences cover the sounds."""
    found = coverage((each.phonemes for each in sentences), inventory(sentences[0].language))
    return {
        "sentences": len(sentences),
        "phoneme_entropy_bits": round(found.phoneme_entropy_bits, 4),
        "max_phoneme_entropy_bits": round(found.max_phoneme_entropy_bits, 4),
        "diphone_entropy_bits": round(found.diphone_entropy_bits, 4),
        "diphones": len(found.diphones),
        "rarest_phoneme": min(count for _, count in found.least_covered(1)),
        "phonemes_a_sentence": round(mean(len(each.phonemes) for each in sentences), 1),
    }


def compared(before: dict[str, float], after: dict[str, float], chances: list[dict[str, float]]) -> dict[str, Any]:
    """The candidates, the choice, and chance: mean and best of its seeds."""
    return {
        "before": before,
        "after": after,
        "random_mean": {name: round(mean(chance[name] for chance in chances), 4) for name in chances[0]},
        "random_best": {name: max(chance[name] for chance in chances) for name in chances[0]},
        "random_seeds": len(chances),
    }


def of_many(texts: Sequence[str], language: str, work: Path, *, workers: int) -> dict[str, Any]:
    """The paper's sizes out of 100 000 candidates: halves of two sentences put together."""
    random = Random(0)
    emotions = random.choices(list(EMOTIONS.values()), k=MANY)
    rows = [{"text": spliced(random, texts, language), "emotion": emotion} for emotion in emotions]
    path = write_rows(work / f"many-{language}.jsonl", rows)
    output = work / f"corpus-{language}.jsonl"
    chosen, seconds = build(path, output, "--language", language, "--workers", workers)
    return {"seconds": seconds, "workers": workers, **figures(chosen)}


def spliced(random: Random, texts: Sequence[str], language: str) -> str:
    """The first half of one sentence and the second of another."""
    between = "" if language == "zh" else " "
    first, second = (list(text) if language == "zh" else text.split() for text in random.choices(texts, k=2))
    return between.join([*first[: len(first) // 2], *second[len(second) // 2 :]])


if __name__ == "__main__":
    main()
