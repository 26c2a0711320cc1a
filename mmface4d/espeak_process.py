"""espeak-ng in a process of its own: one request (JSON) on stdin, one answer on stdout, the end.

Started as a plain file in Python's isolated mode, so it may import nothing but the standard library.
The answer to a `text` is a line of JSON, `{"rate", "phonemes": [[ipa, sample], ...]}` or `{"error"}`, then 16-bit
samples. The answer to `texts` is a line a text, a JSON list of its phonemes in IPA without stress, or, once,
`{"error"}`. Constants and structures: espeak-ng's `speak_lib.h`.
"""

import ctypes
import json
import sys
from collections.abc import Iterator
from typing import Any

AUDIO_OUTPUT_SYNCHRONOUS = 2
PHONEME_EVENTS, PHONEME_IPA, DONT_EXIT = 1 << 0, 1 << 1, 1 << 15
RATE, PITCH, RANGE = 1, 3, 4
CHARS_UTF8 = 1
POSITION_CHARACTER = 1
LIST_TERMINATED, EVENT_PHONEME = 0, 7
SEPARATOR = "_"
AS_IPA = 0x02 | ord(SEPARATOR) << 8
STRESS_MARKS = "ˈˌ"


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
    library, rate, wrong = _start(request)
    if wrong:
        return {"error": wrong}, b""
    for parameter, name in ((RATE, "rate"), (PITCH, "pitch"), (RANGE, "pitch_range")):
        library.espeak_SetParameter(parameter, request[name], 0)
    phonemes, sound = _synthesise(library, request["text"].encode())
    return {"rate": rate, "phonemes": phonemes}, sound


def transcribe(request: dict[str, Any]) -> Iterator[list[str] | dict[str, str]]:
    """The phonemes of each of the request's `texts`, as they come."""
    library, _, wrong = _start(request)
    if wrong:
        yield {"error": wrong}
        return
    for text in request["texts"]:
        # a word of another script may have left the voice of its language
        _set_voice(library, request["voices"])
        yield _phonemes(library, text)


def _start(request: dict[str, Any]) -> tuple[ctypes.CDLL, int, str | None]:
    """The library, its sampling rate, and what is wrong."""
    library = ctypes.CDLL(request["library"])
    flags = PHONEME_EVENTS | PHONEME_IPA | DONT_EXIT
    rate = library.espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, 0, request["data"].encode(), flags)
    if rate <= 0:
        return library, rate, "start"
    return library, rate, None if _set_voice(library, request["voices"]) else "language"


def _set_voice(library: ctypes.CDLL, voices: list[str]) -> bool:
    return any(library.espeak_SetVoiceByName(voice.encode()) == 0 for voice in voices)


def _phonemes(library: ctypes.CDLL, text: str) -> list[str]:
    """One call says one clause and moves the pointer on; what is in brackets tells that the language changes."""
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    rest = ctypes.c_char_p(text.encode())
    units: list[str] = []
    while rest.value:
        clause = library.espeak_TextToPhonemes(ctypes.byref(rest), CHARS_UTF8, AS_IPA) or b""
        units += clause.decode(errors="replace").replace(SEPARATOR, " ").split()
    bare = (unit.strip(STRESS_MARKS) for unit in units)
    return [unit for unit in bare if unit and not unit.startswith("(")]


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
    """Reads the request, writes the answer or the answers."""
    request, output = json.loads(sys.stdin.buffer.read()), sys.stdout.buffer
    if "texts" not in request:
        head, sound = answer(request)
        output.write(json.dumps(head).encode() + b"\n" + sound)
        return
    for line in transcribe(request):
        output.write(json.dumps(line).encode() + b"\n")
        output.flush()  # so that a crash tells at which text it was


if __name__ == "__main__":
    main()
