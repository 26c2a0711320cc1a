"""Reading `lab.toml`: what is wrong is said at once, with the lines where it stands."""

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmface4d.errors import InputError
from mmface4d.lab_file import MAX_BYTES, MOST_MISTAKES, read_settings
from mmface4d.toml_lines import key_lines

FIVE = """\
[cameras]
front = "000123"
left = 456

[rig]
fsp = 30
mains_hz = 55
exposure_usec = 33

[recording]
countdown_s = "1"
"""
SLIPS = [
    ("[rig]\nfps = '30'", 2, 'rig.fps is "30"; it can be 5, 15 or 30, without quotes'),
    ("[rig]\nfps = 30\nfps = 15", 3, "fps stands twice"),
    ("[rig]\nfps = 30\n[sound]\n[rig]\nmains_hz = 50", 4, "[rig] stands twice"),
    ("[cameras]\nfront = 000123", 2, "begins with 0 needs quotes"),
    ('[cameras]\nfront = "a/b"', 2, "letters, digits, _ . - only"),
    ('[cameras]\n000123 = "left"', 2, 'named by its place: left = "000123"'),
    ('[cameras]\nfront = "1"\nleft = "1"', 3, "cameras.left is the serial number of cameras.front"),
    ('[cameras]\nfront = "1"\n[rig]\nmaster = "2"', 4, 'rig.master is "2", which is none of [cameras]'),
    ('[rig]\nmicrophone = "x"', 2, "is sound.microphone meant, in [sound]?"),
    ("fps = 30", 1, "is rig.fps meant, in [rig]?"),
    ("[rigg]\nfps = 30", 1, "is [rig] meant?"),
    ("rig = 3", 1, "rig is a table: write [rig]"),
    ("[rig]\nexposure_usec = 33", 2, "from 8000 to 100000 µs (33 ms are 33000 µs)"),
    ("[sound]\nav_offset_ms = 12000", 2, "from -1000 to 1000 ms (12000 µs are 12 ms)"),
    ("[recording]\npre_roll_s = 500", 2, "from 0 to 10 s (500 ms are 0.5 s)"),
    ("[recording]\npre_roll_s = inf", 2, "finite"),
    ("[rig]\nwhite_balance_k = 4501", 2, "multiple of 10 K"),
    ("[rig]\nexposure_usec = 10000.0", 2, "whole number, without quotes, in µs"),
    ("[rig]\nexposure_usec = true", 2, "whole number"),
    ("[reconstruction]\nsolver = fast", 2, "text needs quotes: solver = fast"),
    ('[reconstruction]\ndevice = "gpu"', 2, "it can be cpu or cuda"),
    ("[sound]\nmicrophone = “Scarlett”", 2, "quotes must be straight"),
    ('[sound]\nmicrophone = "a\\u001bb"', 2, "must be one line"),
    ("[sound]\nScarlett", 2, "name = value"),
    ('[paths]\nsessions = "/data"', 2, "must be a folder in the lab"),
    ('[paths]\nsessions = "../data"', 2, "must be a folder in the lab"),
    ('[paths]\nsessions = "~/data"', 2, "must be a folder in the lab"),
    ('[paths]\nsessions = "C:/data"', 2, "must be a folder in the lab"),
    ('[paths]\nsessions = "./"', 2, "must be a folder in the lab"),
    ('[paths]\nsessions = "corpus/"\ncorpus = "corpus"', 3, "paths.corpus is the folder of paths.sessions"),
    ("format = 2", 1, "it can be 1 only"),
]


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as raised:
        read_settings(path)
    return raised.value.message


def test_five_mistakes_are_said_at_once_with_their_lines(tmp_path: Path) -> None:
    path = write(tmp_path / "lab.toml", FIVE)
    assert refusal(path).splitlines() == [
        f"{path} has 5 mistakes:",
        '  line 3: cameras.left is 456; it must be text in quotes, for example "456"',
        "  line 6: there is no setting rig.fsp; is rig.fps meant?",
        "  line 7: rig.mains_hz is 55; it can be 50 or 60",
        "  line 8: rig.exposure_usec is 33; it must be from 8000 to 100000 µs (33 ms are 33000 µs)",
        '  line 11: recording.countdown_s is "1"; it must be a number, without quotes, in s',
    ]


@pytest.mark.parametrize(("text", "line", "said"), SLIPS, ids=[said for _, _, said in SLIPS])
def test_a_mistake_alone(tmp_path: Path, text: str, line: int, said: str) -> None:
    message = refusal(write(tmp_path / "lab.toml", text))
    assert message.startswith(f"{tmp_path / 'lab.toml'}, line {line}: "), message
    assert said in message


@pytest.mark.parametrize("front", ["000123", "123", '"a/b"\nfrnt = "123"'])
def test_a_wrong_camera_is_no_wrong_master(tmp_path: Path, front: str) -> None:
    text = f'[cameras]\nleft = "7"\nfront = {front}\n[rig]\nmaster = "123"\n'
    assert "none of" not in refusal(write(tmp_path / "lab.toml", text))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_is_no_toml_hides_nothing_else(tmp_path: Path, end: str) -> None:
    text = "\n".join(["[rig]", "fps = thirty", "mains_hz = 55", "[sound", "[recording]", "pre_roll_s = 50", "[rig]"])
    message = refusal(write(tmp_path / "lab.toml", text.replace("\n", end)))
    assert [line.split(":")[0].split()[-1] for line in message.splitlines()[1:]] == ["2", "3", "4", "6", "7"]


def test_a_hundred_mistakes_are_counted(tmp_path: Path) -> None:
    message = refusal(write(tmp_path / "lab.toml", "[rig]\n" + "".join(f"x{i} = 1\n" for i in range(100))))
    assert "has 100 mistakes" in message
    assert message.count("\n") == MOST_MISTAKES + 1
    assert message.endswith("and 80 more")


def test_a_hundred_lines_that_are_no_toml_are_counted(tmp_path: Path) -> None:
    message = refusal(write(tmp_path / "lab.toml", "fps = x\n" * 100 + "[rig]\nfps = 1\n"))
    assert "has 101 mistakes" in message
    assert message.endswith("and 81 more")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"x" * (MAX_BYTES + 1), "larger than 64 KiB"),
        ("[rig]\nfps = 30".encode("utf-16"), "UTF-16"),
        ("[rig]\n# 录音棚\nfps = 30".encode("gbk"), "line 2: no UTF-8 text: it looks like GBK"),
        (b"[rig]\nfps = 30 # \xe9", "line 2: no UTF-8 text"),
        (b"x = " + b"[" * 3000, "longer than 1000 characters"),
        (b"x = " + b"[\n" * 9000, "line 1: what begins here is not closed"),
        (b"y = 1\nx = [\n1,", "line 2: what begins here is not closed: x = ["),
        (b'y = 1\nx = """\n1', "line 2: what begins here is not closed"),
        (b"x = " + b"9" * 900, "no setting"),
        (b".".join([b"a"] * 400) + b" = 1", "there is no"),
        (b'"""' * 300, "line 1"),
        (b"\x7f\x1b[31m = 1", "line 1"),
        (b'"\\u0000line 1" = 1', "there is no setting"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
def test_hostile_files(tmp_path: Path, data: bytes, said: str) -> None:
    message = refusal(write(tmp_path / "lab.toml", data))
    assert said in message
    assert all(character.isprintable() or character == "\n" for character in message)


def test_a_mark_before_the_text_is_no_mistake(tmp_path: Path) -> None:
    found, lines = read_settings(write(tmp_path / "lab.toml", b"\xef\xbb\xbf[rig]\r\nfps = 15\r\n"))
    assert found.rig.fps == 15
    assert lines == {("rig",): 1, ("rig", "fps"): 2}


TRICKY = '''\
# [no.table]
a = """
b = 1
[c]""""
"quoted # key" = "x = 1 # no comment" # d = 2
e = [ # [f]
  "]", {g = 1},
  \'\'\'
h = 1\'\'\'
]
i . "j.k" = 1
[l.m]
n = {o = "}", p = [1, 2]}
[[q]]
r = 1
[[q]]
r = 2
[q.s]
t = 1
'''


def test_lines_of_tricky_text() -> None:
    tomllib.loads(TRICKY)
    assert key_lines(TRICKY) == {
        ("a",): 2, ("quoted # key",): 5, ("e",): 6, ("i",): 11, ("i", "j.k"): 11, ("l",): 12, ("l", "m"): 12,
        ("l", "m", "n"): 13, ("q",): 14, ("q", "0"): 14, ("q", "0", "r"): 15, ("q", "1"): 16, ("q", "1", "r"): 17,
        ("q", "1", "s"): 18, ("q", "1", "s", "t"): 19,
    }  # fmt: skip


VALUES = st.sampled_from(
    [
        "1", "-2.5", "true", '"x"', '"# = [\\" \\\\"', "'[a]'", '"""\n[a]\nb = 1\n"""', "'''\n'x''\n'''",
        "[1,\n 2, # ]\n 3]", "{ z = 1 }", "1979-05-27", '[["a\\n"],\n\n[]]', '""', '""""x"""""',
    ]
)  # fmt: skip
SETTINGS = st.lists(st.tuples(VALUES, st.sampled_from(["", "# note = 1", "\n\n"]), st.booleans()), max_size=8)


@settings(deadline=None, max_examples=150)
@given(st.lists(SETTINGS, min_size=1, max_size=4))
def test_every_key_is_found_in_its_line(tables: list[list[tuple[str, str, bool]]]) -> None:
    text, expected = "", {}
    for t, table in enumerate(tables):
        if t:
            expected[(f"t{t}",)] = text.count("\n") + 1
            text += f"[t{t}]\n"
        for k, (value, after, indent) in enumerate(table):
            key = (f"k{k}",) if t == 0 else (f"t{t}", f"k{k}")
            expected[key] = text.count("\n") + 1
            text += f"{'  ' if indent else ''}k{k} = {value} {after}\n"
    tomllib.loads(text)
    assert key_lines(text) == expected


@settings(deadline=None, max_examples=100)
@given(st.text(alphabet="ab=[]{}.\"'#\n\\u0 ", max_size=60))
def test_no_text_holds_the_search_up(text: str) -> None:
    assert all(line <= text.count("\n") + 1 for line in key_lines(text).values())
