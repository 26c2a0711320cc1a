"""Our own clips folder, read and written clip by clip.

corpus.json        names, subjects, sentences, splits, rates, and the hashes of the files
clips/NAME.npy     float32 [T, V, 3], metres, head frame
clips/NAME.wav     speech, mono
templates.npz      float32 [V, 3] by subject
topology.npz       faces int32 [F, 3], and the vertices of each mask
"""

from pathlib import Path

from animation.data.corpus import SpeechCorpus


def read_folder(path: Path) -> SpeechCorpus:
    """Opens a clips folder; raises InputError where it is none or damaged."""
    raise NotImplementedError


def write_folder(corpus: SpeechCorpus, path: Path) -> None:
    """Writes a corpus as a folder that must not exist and appears whole or not at all."""
    raise NotImplementedError
