"""espeak-ng in a process of its own: one request (JSON) on stdin, one answer on stdout, the end.

Started by `espeak.py` as a plain file in Python's isolated mode, so it may import nothing but the standard library.
The answer is a line of JSON, `{"rate", "phonemes": [[ipa, sample], ...]}` or `{"error"}`, then 16-bit samples.
Constants and structures: espeak-ng's `speak_lib.h`.
"""

import ctypes
import json
import sys
from typing import Any

AUDIO_OUTPUT_SYNCHRONOUS = 2
PHONEME_EVENTS, PHONEME_IPA, DONT_EXIT = 1 << 0, 1 << 1, 1 << 15
RATE, PITCH, RANGE = 1, 3, 4
CHARS_UTF8 = 1
POSITION_CHARACTER = 1
LIST_TERMINATED, EVENT_PHONEME = 0, 7


class EventId(ctypes.Union):
    """What an event is about; a phoneme's name has up to 8 bytes and need not end with a zero."""

    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class Event(ctypes.Structure):
    """`espeak_EVENT`."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", EventId),
    ]


ON_SOUND = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))


def answer(request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Says the request's `text` in the first of its `voices` that espeak-ng knows."""
    library = ctypes.CDLL(request["library"])
    flags = PHONEME_EVENTS | PHONEME_IPA | DONT_EXIT
    rate = library.espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, 0, request["data"].encode(), flags)
    if rate <= 0:
        return {"error": "start"}, b""
    if all(library.espeak_SetVoiceByName(voice.encode()) != 0 for voice in request["voices"]):
        return {"error": "language"}, b""
    for parameter, name in ((RATE, "rate"), (PITCH, "pitch"), (RANGE, "pitch_range")):
        library.espeak_SetParameter(parameter, request[name], 0)
    phonemes, sound = _synthesise(library, request["text"].encode())
    return {"rate": rate, "phonemes": phonemes}, sound


def _synthesise(library: ctypes.CDLL, text: bytes) -> tuple[list[tuple[str, int]], bytes]:
    sound, phonemes = bytearray(), list[tuple[str, int]]()

    def on_sound(samples: Any, count: int, events: Any) -> int:
        at = 0
        while events[at].type != LIST_TERMINATED:
            if events[at].type == EVENT_PHONEME:
                # eight bytes may end within a character
                phonemes.append((events[at].id.string.decode("utf-8", errors="ignore"), events[at].sample))
            at += 1
        if samples and count > 0:
            sound.extend(ctypes.string_at(samples, 2 * count))
        return 0

    callback = ON_SOUND(on_sound)
    library.espeak_SetSynthCallback(callback)
    library.espeak_Synth(text, ctypes.c_size_t(len(text) + 1), 0, POSITION_CHARACTER, 0, CHARS_UTF8, None, None)
    library.espeak_Synchronize()
    return phonemes, bytes(sound)


def main() -> None:
    """Reads the request, writes the answer."""
    head, sound = answer(json.loads(sys.stdin.buffer.read()))
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + sound)


if __name__ == "__main__":
    main()
