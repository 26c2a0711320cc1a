"""What is said about scripts that were made, for people and as plain values."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from corpus.coverage import Coverage, coverage
from corpus.duration import recording_time_s, speaking_time_s
from corpus.phonemes import inventory
from corpus.script_folder import Written
from corpus.sentence import EMOTION_PREFIXES, Sentence


def scripts_json(written: Sequence[Written], corpus: Sequence[Sentence], *, folder: Path) -> dict[str, Any]:
    """The scripts and what they have; `repeated` counts sentences that scripts before them have too."""
    return {
        "folder": str(folder),
        "language": corpus[0].language,
        "corpus_sentences": len(corpus),
        "corpus_phoneme_entropy_bits": round(_sounds(corpus).phoneme_entropy_bits, 4),
        "scripts": [_script_json(each) for each in written],
    }


def _script_json(written: Written) -> dict[str, Any]:
    sentences, sounds = written.script.sentences, _sounds(written.script.sentences)
    emotions = Counter(sentence.emotion for sentence in sentences)
    return {
        "actor": written.script.actor,
        "path": str(written.path),
        "was_there": written.was_there,
        "sentences": len(sentences),
        "practice": len(written.script.practice),
        "repeated": written.script.repeated,
        "emotions": {emotion: emotions[emotion] for emotion in EMOTION_PREFIXES if emotions[emotion]},
        "phoneme_entropy_bits": round(sounds.phoneme_entropy_bits, 4),
        "missing": list(sounds.missing),
        "speaking_time_s": round(sum(map(speaking_time_s, sentences)), 1),
        "recording_time_s": round(recording_time_s(written.script.items), 1),
    }


def _sounds(sentences: Sequence[Sentence]) -> Coverage:
    return coverage((sentence.phonemes for sentence in sentences), inventory(sentences[0].language))


def scripts_text(made: dict[str, Any]) -> str:
    """The same in a few lines."""
    scripts = made["scripts"]
    there = sum(script["was_there"] for script in scripts)
    first = scripts[0]
    one = first["path"] if len(scripts) == 1 else f"{len(scripts)} scripts in {made['folder']}"
    lines = [f"{one}: {first['sentences']} sentences and {first['practice']} for practice" + _already(there, scripts)]
    emotions = {emotion for script in scripts for emotion in script["emotions"]}
    shares = [
        f"{_range([script['emotions'].get(emotion, 0) for script in scripts], '{}')} {emotion}"
        for emotion in EMOTION_PREFIXES
        if emotion in emotions
    ]
    entropies = _range([script["phoneme_entropy_bits"] for script in scripts], "{:.2f}")
    missing = max(len(script["missing"]) for script in scripts)
    minutes = _range([round(script["recording_time_s"] / 60) for script in scripts], "{}")
    lines += [
        f"  {', '.join(shares)}",
        f"  phonemes {entropies} bits (the corpus: {made['corpus_phoneme_entropy_bits']:.2f}), "
        f"{f'up to {missing} missing' if missing else 'none missing'} in a script",
        f"  about {minutes} minutes to record without breaks",
    ]
    repeated = sum(script["repeated"] for script in scripts)
    if repeated:
        lines.append(f"  {repeated} sentences are in earlier scripts too: there are no others of their emotions left")
    return "\n".join(lines)


def _already(there: int, scripts: Sequence[Any]) -> str:
    if not there:
        return ""
    return " (it was there already)" if len(scripts) == 1 else f" ({there} of them were there already)"


def _range(values: Sequence[int] | Sequence[float], form: str) -> str:
    low, high = form.format(min(values)), form.format(max(values))
    return low if low == high else f"{low}-{high}"
