"""Text that people wrote comes whole, or is refused with the likely reason."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmface4d.errors import InputError
from mmface4d.text_file import decode, read_text

PATH = Path("some.txt")


def refusal(data: bytes) -> str:
    with pytest.raises(InputError) as raised:
        decode(data, path=PATH)
    return raised.value.message


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\ufeff")))
def test_utf8_is_read_with_and_without_a_mark(text: str) -> None:
    assert decode(text.encode(), path=PATH) == text
    assert decode(text.encode("utf-8-sig"), path=PATH) == text


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf16_is_named(encoding: str) -> None:
    assert refusal("id,text\n1,Good morning.\n".encode(encoding)) == "some.txt is no UTF-8 text: it looks like UTF-16"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("a\nb\n早上好。\n".encode("gbk"), "some.txt, line 3: no UTF-8 text: it looks like GBK"),
        ("a\nÜberall\n".encode("latin-1"), "some.txt, line 2: no UTF-8 text: byte 0xdc"),
        (b"a\n" + "早".encode()[:2], "some.txt, line 2: no UTF-8 text"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0", "some.txt is no UTF-8 text: it holds zero bytes"),
    ],
    ids=["gbk", "latin-1", "cut", "picture"],
)
def test_what_it_looks_like_is_said(data: bytes, said: str) -> None:
    assert refusal(data).startswith(said)


def test_line_ends_and_sizes(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"a\r\nb\n")
    assert read_text(file, max_bytes=5) == "a\nb\n"
    for path in (file, tmp_path, tmp_path / "none"):
        with pytest.raises(InputError):
            read_text(path, max_bytes=4)
