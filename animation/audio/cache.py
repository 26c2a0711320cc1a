"""An encoder's tokens on the disk, so that no sound is encoded twice by the same encoder.

The key is the sha256 of the sound's content and of the encoder's identity. What is in the cache can always be made
again: an entry that is damaged, or that another program left there, is made anew.
"""

import hashlib
import json
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from animation.audio.encoder import AudioEncoder, Tokens
from animation.data.clip import Sound
from mmface4d.files import atomic_path

FORMAT = 1  # of an entry; a part of its key, as everything is that the tokens depend on
MOST_BYTES = 4 << 30  # of an entry: a day of HuBERT-large has 17 GB, an hour 0.7
MOST_HEAD_BYTES = 1 << 16
MAGIC = b"mmface4d speech features\n"


@dataclass(frozen=True)
class FeatureCache:
    """A folder of tokens."""

    folder: Path

    def tokens(self, sound: Sound, encoder: AudioEncoder) -> Tokens:
        """From the folder, or encoded and put there. A folder that cannot be written is an error of the system."""
        from animation.audio.features import encode

        path = self.path(sound, encoder.identity)
        found = read_tokens(path, n_audio=encoder.n_audio)
        if found is None:
            found = encode(sound, encoder)
            write_tokens(path, found)
        return found

    def path(self, sound: Sound, identity: str) -> Path:
        """Where an entry is: its key, in folders by the first two digits. `start_s` does not matter to the tokens."""
        key = entry_key(sound, identity)
        return self.folder / key[:2] / f"{key}.tokens"


def entry_key(sound: Sound, identity: str) -> str:
    """Of the samples bit by bit, their rate, and what the encoder says that it is."""
    head = json.dumps([FORMAT, sound.rate_hz, len(sound.samples), identity]).encode()
    return hashlib.sha256(head + b"\n" + np.ascontiguousarray(sound.samples, "<f4").tobytes()).hexdigest()


def write_tokens(path: Path, tokens: Tokens) -> None:
    """A line of magic, a head of JSON, the times as float64 and the values as float32; little-endian."""
    body = np.ascontiguousarray(tokens.times_s, "<f8").tobytes() + np.ascontiguousarray(tokens.values, "<f4").tobytes()
    about = {"shape": list(tokens.values.shape), "sha256": hashlib.sha256(body).hexdigest()}
    head = json.dumps(about).encode()
    with atomic_path(path) as partial:
        partial.write_bytes(MAGIC + struct.pack("<I", len(head)) + head + body)


def read_tokens(path: Path, *, n_audio: int) -> Tokens | None:
    """An entry; None where there is none that is whole and of this width."""
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            return None
        return _parsed(path.read_bytes(), n_audio)
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError, struct.error):
        return None


def _parsed(data: bytes, n_audio: int) -> Tokens | None:
    start = len(MAGIC) + 4
    (length,) = struct.unpack("<I", data[len(MAGIC) : start])
    if not data.startswith(MAGIC) or length > MOST_HEAD_BYTES:
        return None
    about = json.loads(data[start : start + length])
    count, width = (int(size) for size in about["shape"])
    body = memoryview(data)[start + length :]
    if width != n_audio or count < 1 or len(body) != count * (8 + 4 * width):
        return None
    if hashlib.sha256(body).hexdigest() != about["sha256"]:
        return None
    times_s = np.frombuffer(body[: 8 * count], "<f8")
    return Tokens(np.frombuffer(body[8 * count :], "<f4").reshape(count, width), times_s)
