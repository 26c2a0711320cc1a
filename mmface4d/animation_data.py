"""What models are trained on, from wherever it is: a release, a lab, a clips folder, or a folder of another layout."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from animation.data.corpus import SpeechCorpus, Split


def open_speech_corpus(path: Path, *, splits: "Mapping[str, Split] | None" = None) -> "SpeechCorpus":
    """Opens what the path holds; `splits` puts subjects elsewhere than the data would.

    Raises InputError where it is nothing of the kind, or where nothing in it may be used.
    """
    raise NotImplementedError
