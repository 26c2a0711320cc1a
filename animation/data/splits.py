"""Who is in which split: by a hash of the subject, so that nobody moves when others come."""

import hashlib
from collections.abc import Iterable, Mapping

from animation.data.corpus import SPLITS, Split

DEFAULT_SHARES: Mapping[Split, float] = {"train": 0.8, "validation": 0.1, "test": 0.1}


def split_subjects(
    subjects: Iterable[str], *, shares: Mapping[Split, float] = DEFAULT_SHARES, seed: int = 0,
    given: Mapping[str, Split] | None = None,
) -> dict[str, Split]:  # fmt: skip
    """The split of each subject, which depends on nobody else; those of `given` are where it says.

    With few subjects a split may be empty: name its subjects in `given`.
    """
    given = given or {}
    return {subject: given.get(subject) or _hashed(subject, shares, seed) for subject in sorted(set(subjects))}


def _hashed(subject: str, shares: Mapping[Split, float], seed: int) -> Split:
    digest = hashlib.sha256(f"{seed}\0{subject}".encode()).digest()
    position, end = int.from_bytes(digest[:8], "big") / 2**64 * sum(shares.values()), 0.0
    for split in SPLITS:
        end += shares.get(split, 0.0)
        if position < end:
            return split
    return "train"  # the shares' sum was rounded
