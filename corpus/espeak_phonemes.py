"""Phonemes by espeak-ng, in processes of their own: a text that crashes it costs that text alone."""

import json
import re
import subprocess
import sys
import unicodedata
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any

from mmface4d import espeak
from mmface4d.errors import InputError, MissingBackendError

CHUNK = 2000  # texts a process; it needs 0.2 s for them
TIMEOUT_S = 20.0  # a hundred times what a chunk needs
MAX_FAILURES = 20  # crashes in a chunk; more of them are no odd texts but a broken library
# espeak-ng's own default for English is British
AMERICAN = {"en": "en-us"}
_INSTALL = 'install it again: pip install "mmface4d[corpus]"'
_ELLIPSIS = re.compile(r"\.{2,}|…")
_SPOKEN_SIGNS = frozenset(".,;:?!'%$€£&+@°-、。，；：？！।\u200c\u200d")


def espeak_phonemes(texts: Sequence[str], language: str, *, workers: int = 1) -> list[tuple[str, ...]]:
    """IPA phonemes of each text; none where espeak-ng finds nothing to say, or crashes or hangs."""
    library, data = espeak.espeak_paths(needed_for="what tells the sounds of a sentence", extra="corpus")
    tag = language.lower()
    request = {"library": library, "data": data, "voices": espeak.espeak_voices(AMERICAN.get(tag, tag))}
    chunks = [texts[at : at + CHUNK] for at in range(0, len(texts), CHUNK)] or [[]]
    with ThreadPoolExecutor(workers) as pool:
        answers = pool.map(partial(_chunk, request=request, language=language), chunks)
        return [phonemes for answer in answers for phonemes in answer]


def spoken_form(text: str) -> str:
    """The text as espeak-ng is given it, on one line, ending with a full stop."""
    plain = _ELLIPSIS.sub(", ", text.replace("’", "'"))
    line = " ".join("".join(character if _is_spoken(character) else " " for character in plain).split())
    # without an end that is its own, the library adds what is left of one text to the next
    return line.strip(" .,;:-") + ".\n"


@lru_cache(maxsize=4096)
def _is_spoken(character: str) -> bool:
    """Letters, their marks, digits and signs that are read; others would be spelled: "slash", "asterisk"."""
    return unicodedata.category(character)[0] in "LMN" or character in _SPOKEN_SIGNS


def _chunk(texts: Sequence[str], *, request: dict[str, Any], language: str) -> list[tuple[str, ...]]:
    forms = [spoken_form(text) for text in texts]
    done = _answers(forms, request, language)
    for _ in range(MAX_FAILURES):
        if len(done) == len(forms):
            return done
        done.append(())  # the text at which it ended
        done += _answers(forms[len(done) :], request, language)
    raise MissingBackendError("espeak-ng does not work here", hint=_INSTALL)


def _answers(forms: Sequence[str], request: dict[str, Any], language: str) -> list[tuple[str, ...]]:
    answers = _ask({**request, "texts": list(forms)})
    if answers and isinstance(answers[0], dict):
        _refuse(answers[0], language)
    return [tuple(units) for units in answers]


def _ask(request: dict[str, Any]) -> list[Any]:
    """The answers that came before the end, a crash or the time limit."""
    command = [sys.executable, "-I", str(espeak.PROCESS)]
    data = json.dumps(request).encode()
    try:
        output = subprocess.run(command, input=data, capture_output=True, timeout=TIMEOUT_S, check=False).stdout
    except subprocess.TimeoutExpired as error:
        output = error.stdout or b""
    return [json.loads(line) for line in output.split(b"\n")[:-1]]


def _refuse(answer: dict[str, str], language: str) -> None:
    if answer.get("error") == "language":
        raise InputError(f"espeak-ng speaks no language {language!r}", hint='use a code such as "en", "zh" or "de"')
    raise MissingBackendError("espeak-ng does not start", hint=_INSTALL)
