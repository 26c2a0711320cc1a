"""What sentences sound like: known words, every unit of a language, and nothing that depends on what stood before."""

import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from corpus import espeak_phonemes
from corpus.phonemes import FINALS, INITIALS, diphones, inventory, is_mandarin, phonemise, tone, toneless
from corpus.sources import read_sources
from corpus.starter import starter_files
from mmface4d import espeak
from mmface4d.errors import InputError, MissingBackendError

pytest.importorskip("espeakng_loader", reason="espeak-ng is not installed: pip install 'mmface4d[corpus]'")
pytest.importorskip("pypinyin", reason="pypinyin is not installed: pip install 'mmface4d[corpus]'")

REPOSITORY = Path(__file__).resolve().parents[2]
CRASHING = """
import ctypes, json, sys
for text in json.load(sys.stdin)["texts"]:
    if "boom" in text:
        ctypes.string_at(0)
    print(json.dumps(["a", "b"]), flush=True)
"""


@pytest.fixture(scope="module")
def starter() -> dict[str, list[str]]:
    lines = read_sources(starter_files())
    return {language: [line.text for line in lines if line.language == language] for language in ("zh", "en")}


@pytest.mark.parametrize(
    ("text", "language", "said"),
    [
        ("你好", "zh", "n i2 h ao3"),  # the tone as spoken: a third one before another is a second one
        ("绿色的鱼", "zh", "l v4 s e4 d e5 v2"),
        ("翁先生，一二", "zh-CN", "ueng1 x ian1 sh eng1 i1 er4"),
        ("水、酒、春天", "cmn", "sh uei3 j iou3 ch uen1 t ian1"),
        ("yes — this, thing", "en", "j ɛ s ð ɪ s θ ɪ ŋ"),
        ("It's a bottle", "en-us", "ɪ t s ɐ b ɑː ɾ əl"),
        ("bath", "en-gb", "b a θ"),
        ("Ich", "de", "ɪ ç"),
        ("(well) */ :", "en", "w ɛ l"),
        ("... 😀", "en", ""),
        ("OK", "zh", ""),
    ],
)
def test_known_words(text: str, language: str, said: str) -> None:
    assert phonemise([text], language) == [tuple(said.split())]


def test_marks_of_vowels_are_heard() -> None:
    """Hindi writes most of its vowels as marks, which are no letters to Unicode."""
    with_vowel, without = phonemise(["कि", "क"], "hi")
    assert with_vowel != without


def test_mandarins_inventory_is_what_its_dictionary_holds() -> None:
    from pypinyin.pinyin_dict import pinyin_dict

    from corpus.mandarin import _units

    readings = {reading for readings in pinyin_dict.values() for reading in readings.split(",")}
    units = {toneless(unit) for reading in readings for unit in _units(reading)}
    assert units - {"ê"} == {*INITIALS, *FINALS}  # ê is said in one interjection only
    assert inventory("zh") == INITIALS + FINALS


@pytest.mark.parametrize("language", ["zh", "en"])
def test_all_that_is_said_is_in_the_inventory(starter: dict[str, list[str]], language: str) -> None:
    said = {toneless(unit) for phonemes in phonemise(starter[language], language) for unit in phonemes}
    assert said <= set(inventory(language))


@pytest.mark.parametrize("language", ["zh", "en"])
def test_what_stood_before_changes_nothing(starter: dict[str, list[str]], language: str) -> None:
    texts = [*starter[language][:60], "What...", "is. this?!", "A 카니발 here", "...", "C'est :) 3.5 & more…"] * 2
    shuffled = random.Random(0).sample(range(len(texts)), len(texts))
    together = phonemise(texts, language)
    again = phonemise([texts[number] for number in shuffled], language)
    assert [together[number] for number in shuffled] == again


def test_workers_change_nothing(starter: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corpus.espeak_phonemes.CHUNK", 50)
    assert phonemise(starter["en"], "en", workers=3) == phonemise(starter["en"], "en")


@pytest.mark.slow
def test_workers_change_nothing_in_mandarin(starter: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corpus.mandarin.CHUNK", 50)
    assert phonemise(starter["zh"], "zh", workers=2) == phonemise(starter["zh"], "zh")


@pytest.mark.slow
def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    code = "from corpus.phonemes import phonemise; phonemise(['我们去公园散步吧'] * 500_000, 'zh', workers=2)"
    script = tmp_path / "many.py"
    script.write_text(f"if __name__ == '__main__':\n    {code}\n")
    path = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    parent = subprocess.Popen([sys.executable, str(script)], env=path, start_new_session=True)
    wait_until(lambda: len(of_session(parent.pid)) >= 4)  # itself, two workers and multiprocessing's own helper
    parent.kill()
    parent.wait()
    wait_until(lambda: not of_session(parent.pid))


def of_session(leader: int) -> list[int]:
    """The living processes of a session, by the numbers that the system's own list of processes gives."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, session = status.read_text().rpartition(") ")[2].split()[:4]
            found += [int(status.parent.name)] if int(session) == leader and state != "Z" else []
    return found


def wait_until(true: Callable[[], bool], *, timeout_s: float = 30) -> None:
    end_s = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end_s
        time.sleep(0.1)


def test_a_text_that_crashes_the_library_costs_itself_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    crashing = tmp_path / "crash.py"
    crashing.write_text(CRASHING)
    monkeypatch.setattr(espeak, "PROCESS", crashing)
    assert phonemise(["yes", "boom", "no", "boom"], "en") == [("a", "b"), (), ("a", "b"), ()]
    with pytest.raises(MissingBackendError, match="does not work"):
        phonemise(["boom"] * 100, "en")


def test_a_text_at_which_the_library_hangs_costs_itself_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hanging = tmp_path / "hang.py"
    hanging.write_text(CRASHING.replace("ctypes.string_at(0)", "__import__('time').sleep(60)"))
    monkeypatch.setattr(espeak, "PROCESS", hanging)
    monkeypatch.setattr(espeak_phonemes, "TIMEOUT_S", 0.3)
    assert phonemise(["yes", "boom", "no"], "en") == [("a", "b"), (), ("a", "b")]


@pytest.mark.parametrize("language", ["xx", "../../etc", ""])
def test_an_unknown_language_is_refused(language: str) -> None:
    with pytest.raises(InputError, match="no language"):
        phonemise([], language)


@pytest.mark.parametrize(("package", "language"), [("espeakng_loader", "en"), ("pypinyin", "zh")])
def test_an_absent_package_is_named(monkeypatch: pytest.MonkeyPatch, package: str, language: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingBackendError, match="not installed") as caught:
        phonemise(["a"], language)
    assert "mmface4d[corpus]" in str(caught.value.hint)


def test_units_are_taken_apart() -> None:
    assert [toneless(unit) for unit in ("ang1", "zh", "ɪ")] == ["ang", "zh", "ɪ"]
    assert [tone(unit) for unit in ("ang1", "v5", "zh", "ɪ")] == ["1", "5", None, None]
    assert diphones(["a", "b", "c"]) == [("a", "b"), ("b", "c")]
    assert diphones([]) == []
    assert [is_mandarin(tag) for tag in ("zh", "zh-TW", "zh-HK", "yue", "zhx")] == [True, True, False, False, False]
