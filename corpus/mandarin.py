"""Mandarin's initials and finals by pypinyin."""

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any

from mmface4d.errors import MissingBackendError

CHUNK = 2000


def mandarin_phonemes(texts: Sequence[str], *, workers: int = 1) -> list[tuple[str, ...]]:
    """Initials and finals with tone of each text; characters that are no Han have none."""
    _pypinyin()
    if workers == 1 or len(texts) <= CHUNK:
        return [_phonemes(text) for text in texts]
    # threads may be running, which a forked process would lose
    context = get_context("spawn")
    try:
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_end_with_parent) as pool:
            return list(pool.map(_phonemes, texts, chunksize=CHUNK))
    except BrokenProcessPool as error:
        raise MissingBackendError(
            "a process that reads Chinese was killed", hint="is there memory left? try --workers 1"
        ) from error


def _end_with_parent() -> None:
    """A killed parent cannot tell its workers to end, and they would wait for work for ever."""
    parent = parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    Thread(target=watch, daemon=True).start()


def _pypinyin() -> Any:
    try:
        import pypinyin
    except ImportError as error:
        raise MissingBackendError(
            "pypinyin, which reads Chinese, is not installed", hint='pip install "mmface4d[corpus]"'
        ) from error
    return pypinyin


def _phonemes(text: str) -> tuple[str, ...]:
    pypinyin = _pypinyin()
    style = pypinyin.Style.TONE3
    # tones as they are spoken: 你好 is ni2 hao3
    syllables = pypinyin.lazy_pinyin(
        text, style=style, errors="ignore", neutral_tone_with_five=True, tone_sandhi=True
    )  # fmt: skip
    return tuple(unit for syllable in syllables for unit in _units(syllable))


@lru_cache(maxsize=4096)
def _units(syllable: str) -> tuple[str, ...]:
    """`zhuang1` is zh, uang1; y and w are no initials but a way to write finals."""
    from pypinyin.contrib.tone_convert import to_finals_tone3, to_initials

    initial = to_initials(syllable, strict=True)
    final = to_finals_tone3(syllable, strict=True, neutral_tone_with_five=True, v_to_u=False)
    return tuple(unit for unit in (initial, final.replace("ü", "v")) if unit)
