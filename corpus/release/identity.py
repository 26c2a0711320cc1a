"""New names for people and takes: keyed hashes, stable from release to release, which nobody without the key undoes.

The key is made once and stays in the lab (`LAB/.release-key`). Codes of the lab such as P07 could be found by trying
them all if they were hashed without one.
"""

import base64
import hashlib
import hmac
import os
import re
from pathlib import Path

from mmface4d.errors import InputError
from mmface4d.files import atomic_path
from mmface4d.locks import locked

KEY_FILE = ".release-key"
KEY_BYTES = 32
AGE_BANDS = ((17, "0-17"), (29, "18-29"), (39, "30-39"), (49, "40-49"), (59, "50-59"), (69, "60-69"))
OLDEST_BAND = "70+"


class Identity:
    """The names that one lab's key gives."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def _digest(self, purpose: str, *parts: str) -> bytes:
        return hmac.new(self._key, "\0".join((purpose, *parts)).encode(), hashlib.sha256).digest()

    @property
    def fingerprint(self) -> str:
        """Tells keys apart, and gives nothing away."""
        return self._digest("fingerprint").hex()[:16]

    def subject(self, pseudonym: str) -> str:
        """The released name of a subject."""
        return "s" + base64.b32encode(self._digest("subject", pseudonym)[:5]).decode().lower()

    def token(self, *parts: str) -> str:
        """The same for one sentence of one session in every release."""
        return self._digest("token", *parts).hex()[:24]

    def position(self, pseudonym: str) -> float:
        """A number in [0, 1) that decides about a subject's split."""
        return int.from_bytes(self._digest("split", pseudonym)[:7], "big") / (1 << 56)


def lab_identity(lab: Path, *, make: bool = True) -> Identity:
    """The lab's key, made where there is none; raises InputError where it is damaged, or missing and not to be made."""
    path = lab / KEY_FILE
    with locked(lab / ".release-key.lock", what=f"the key of {lab}"):
        if not path.is_file():
            if not make:
                raise InputError(f"{path} does not exist", hint="restore the lab's key from a backup")
            with atomic_path(path) as partial:
                partial.touch(mode=0o600)
                partial.write_text(os.urandom(KEY_BYTES).hex() + "\n", encoding="ascii")
        with path.open("rb") as file:
            text = file.read(1 << 10).strip()
    if not re.fullmatch(rb"[0-9a-f]{%d}" % (2 * KEY_BYTES), text):
        raise InputError(f"{path} is no key", hint="restore it from a backup; with another key everybody gets a new id")
    return Identity(bytes.fromhex(text.decode()))


def age_band(age: int | None) -> str:
    """Ten years to a band, children and old people in one each."""
    if age is None:
        return "unknown"
    return next((band for last, band in AGE_BANDS if age <= last), OLDEST_BAND)
