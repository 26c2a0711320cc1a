"""espeak-ng: where it is installed, what it calls a language, and the file that runs as its process.

The library keeps its state in globals, ends the process on some errors of its own and can crash on odd input, so it
never runs in ours: `PROCESS` is started by its path, and a crash becomes an error.
"""

import re
from pathlib import Path

from mmface4d.errors import InputError, MissingBackendError

PROCESS = Path(__file__).with_name("espeak_process.py")
# what people write for what espeak-ng calls otherwise
VOICES = {"zh": "cmn", "mandarin": "cmn", "chinese": "cmn", "english": "en", "zh-hk": "yue", "en-uk": "en-gb"}
_LANGUAGE = re.compile(r"[A-Za-z]{2,12}(-[A-Za-z0-9]{2,8})*")


def espeak_paths(*, needed_for: str, extra: str) -> tuple[str, str]:
    """Paths of the library and of its data; raises MissingBackendError, which names the extra, where it is absent."""
    try:
        import espeakng_loader
    except ImportError as error:
        raise MissingBackendError(
            f"{needed_for}, espeak-ng, is not installed", hint=f'pip install "mmface4d[{extra}]"'
        ) from error
    return str(espeakng_loader.get_library_path()), str(espeakng_loader.get_data_path())


def espeak_voices(language: str) -> list[str]:
    """espeak-ng's names for a language tag, the most special one first."""
    tag = language.strip().replace("_", "-")
    if not _LANGUAGE.fullmatch(tag):
        raise InputError(f"{language!r} is no language", hint='use a code such as "en", "zh" or "de"')
    parts = tag.lower().split("-")
    tags = ["-".join(parts[:count]) for count in range(len(parts), 0, -1)]
    return [VOICES.get(tag, tag) for tag in tags]
