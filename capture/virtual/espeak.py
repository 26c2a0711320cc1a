"""The virtual actor's voice: espeak-ng says a sentence, and when it says which sound.

The library keeps its state in globals, ends the process on some errors of its own and can crash on odd input, so it
runs in a process of its own for every sentence (about 30 ms): a crash becomes an error, threads cannot meet in it, and
no sentence depends on the one before.
"""

import json
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from capture.virtual.voice import SAMPLE_RATE
from mmface4d.errors import InputError, MissingBackendError, UsageError
from mmface4d.espeak import PROCESS, espeak_paths, espeak_voices

MAX_CHARACTERS = 1000  # about a minute; a sentence of a corpus has less than 200
TIMEOUT_S = 60.0
STRESS = "ˈ"
LIMITS = {"rate": (80, 450), "pitch": (0, 99), "pitch_range": (0, 99)}
_INSTALL = 'pip install "mmface4d[capture]"'


@dataclass(frozen=True)
class Phoneme:
    """A sound of speech in the International Phonetic Alphabet, stress and length marks included, and its time."""

    ipa: str
    start_s: float
    end_s: float

    @property
    def stressed(self) -> bool:
        """It carries the primary stress of a word."""
        return STRESS in self.ipa


@dataclass(frozen=True)
class Spoken:
    """A sentence as sound, mono at 48 kHz in -1..1, and its phonemes in order; seconds since the first sample."""

    samples: Float[np.ndarray, "n_samples"]
    phonemes: tuple[Phoneme, ...]

    @property
    def duration_s(self) -> float:
        """Length of the sound."""
        return len(self.samples) / SAMPLE_RATE


def say(text: str, language: str = "en", *, rate: int = 165, pitch: int = 50, pitch_range: int = 50) -> Spoken:
    """Says a text in any language that espeak-ng knows.

    `rate` is in words a minute, `pitch` and `pitch_range` are espeak-ng's own scales of 0 to 99.
    Raises InputError for a text without words or too long and for an unknown language, UsageError for a parameter out
    of its bounds, MissingBackendError where espeak-ng is not installed or does not work.
    """
    text = _checked_text(text)
    numbers = {"rate": rate, "pitch": pitch, "pitch_range": pitch_range}
    for name, value in numbers.items():
        low, high = LIMITS[name]
        if not low <= value <= high:
            raise UsageError(f"{name} {value} of the voice is out of bounds", hint=f"choose {low} to {high}")
    library, data = _installed()
    request = {"library": library, "data": data, "text": text, "voices": espeak_voices(language), **numbers}
    answer, sound = _ask(request, text)
    if answer.get("error") == "language":
        raise InputError(f"espeak-ng speaks no language {language!r}", hint='use a code such as "en", "zh" or "de"')
    if "error" in answer:
        raise MissingBackendError("espeak-ng does not start", hint=f"install it again: {_INSTALL}")
    return _spoken(answer, sound, text)


def _checked_text(text: str) -> str:
    """The text on one line, without characters that are no text."""
    clean = "".join(character if character.isprintable() else " " for character in text)
    clean = " ".join(clean.split())
    if not any(character.isalnum() for character in clean):
        raise InputError(f"there is nothing to say in {text[:40]!r}", hint="give a sentence")
    if len(clean) > MAX_CHARACTERS:
        raise InputError(
            f"the text has {len(clean)} characters, the virtual actor says up to {MAX_CHARACTERS}",
            hint="split it into sentences",
        )
    return clean


def _installed() -> tuple[str, str]:
    """Paths of the library and of its data."""
    return espeak_paths(needed_for="the virtual actor's voice", extra="capture")


def _ask(request: dict[str, object], text: str) -> tuple[dict[str, object], bytes]:
    command = [sys.executable, "-I", str(PROCESS)]
    try:
        done = subprocess.run(
            command, input=json.dumps(request).encode(), capture_output=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise MissingBackendError(f"espeak-ng hangs at {text[:40]!r}", hint="change the sentence") from error
    head, _, sound = done.stdout.partition(b"\n")
    if done.returncode != 0 or not head:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise MissingBackendError(
            f"espeak-ng failed at {text[:40]!r} (exit code {done.returncode}{', ' + last if last else ''})",
            hint=f"change the sentence, or install espeak-ng again: {_INSTALL}",
        )
    return json.loads(head), sound


def _spoken(answer: dict, sound: bytes, text: str) -> Spoken:
    rate = int(answer["rate"])
    samples = np.frombuffer(sound[: len(sound) // 2 * 2], "<i2") / 32768
    events = [(ipa, sample) for ipa, sample in answer["phonemes"]]
    phonemes = _timeline(events, end_s=len(samples) / rate, rate=rate)
    if not phonemes:
        raise InputError(f"espeak-ng finds nothing to say in {text[:40]!r}", hint="does the text fit the language?")
    return Spoken(_resampled(samples, rate), phonemes)


def _timeline(events: list[tuple[str, int]], *, end_s: float, rate: int) -> tuple[Phoneme, ...]:
    """Every event lasts until the next; nameless ones are pauses, bracketed ones tell that the language changes."""
    starts = [sample / rate for _, sample in events]
    spans = zip(events, starts, [*starts[1:], end_s], strict=True)
    return tuple(
        Phoneme(ipa, start, min(end, end_s))
        for (ipa, _), start, end in spans
        if ipa and not ipa.startswith("(") and min(end, end_s) > start
    )


def _resampled(samples: Float[np.ndarray, "n_samples"], rate: int) -> Float[np.ndarray, "n_resampled"]:
    """At 48 kHz; the filter has no delay, and may overshoot."""
    if rate == SAMPLE_RATE:
        return samples
    try:
        import soxr
    except ImportError as error:
        raise MissingBackendError("the package soxr is not installed", hint=_INSTALL) from error
    return np.clip(soxr.resample(samples, rate, SAMPLE_RATE), -1.0, 1.0)
