"""Whose manner of speaking a model is shown when it is judged. A number without its protocol says little."""

import hashlib
from typing import Literal

import numpy as np

from animation.data.prepared import Prepared, PreparedClip
from mmface4d.errors import InputError

Protocol = Literal["self", "same-subject-other-clip", "other-subject"]
PROTOCOLS: tuple[Protocol, ...] = ("self", "same-subject-other-clip", "other-subject")
PROTOCOL_WORDS: dict[Protocol, str] = {
    "self": "the driver is the very clip that is to be predicted: an oracle, and its statistics leak the answer",
    "same-subject-other-clip": "the driver is the same subject saying another sentence",
    "other-subject": "the driver is another subject: what a wrong style costs",
}


def choose_driver(prepared: Prepared, clip: PreparedClip, protocol: Protocol, *, seed: int) -> PreparedClip:
    """The clip that shows the style for `clip`, by protocol, among the clips of the same split.

    The choice depends on the seed and on the clips' names, not on their order. Raises InputError where there is none.
    """
    candidates = sorted(drivers(prepared, clip, protocol), key=lambda each: each.name)
    if not candidates:
        raise InputError(f"{clip.name} has no driver by the protocol {protocol}", hint="leave this clip out")
    digest = hashlib.sha256(f"{seed}/{protocol}/{clip.name}".encode()).digest()
    return candidates[int(np.random.default_rng(list(digest)).integers(len(candidates)))]


def drivers(prepared: Prepared, clip: PreparedClip, protocol: Protocol) -> list[PreparedClip]:
    """All clips that may show the style for `clip`.

    Another clip of the subject is one of another sentence: the same text would leak what is to be predicted.
    """
    if protocol == "self":
        return [clip]
    others = [each for each in prepared.of_split(clip.split) if each.name != clip.name]
    if protocol == "other-subject":
        return [each for each in others if each.subject != clip.subject]
    return [each for each in others if each.subject == clip.subject and each.sentence != clip.sentence]
