"""Text that people wrote: UTF-8 of a limited size, and a clear word where it is something else."""

from pathlib import Path

from mmface4d.errors import InputError


def read_text(path: Path, *, max_bytes: int) -> str:
    """The text of a file, line ends as `\\n`; raises InputError where it is missing, too large or no UTF-8."""
    if not path.is_file():
        raise InputError(f"{path} does not exist", hint="check the path")
    with path.open("rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise InputError(f"{path} is larger than {max_bytes >> 10} KiB", hint="give the file that is meant")
    return decode(data, path=path).replace("\r\n", "\n")


def decode(data: bytes, *, path: Path) -> str:
    """Bytes as UTF-8, with or without a mark before it; raises InputError that names line and likely encoding."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data:
        kind = "it looks like UTF-16" if _is_utf16(data) else "it holds zero bytes"
        raise InputError(f"{path} is no UTF-8 text: {kind}", hint="save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        likely = "it looks like GBK" if _is_gbk(data) else f"byte {data[error.start]:#04x}"
        raise InputError(f"{path}, line {line}: no UTF-8 text: {likely}", hint="save it as UTF-8") from error


def _is_utf16(data: bytes) -> bool:
    """Whether it is marked so, or the zeros are the halves of plain letters: all in even places, or all in odd ones."""
    start = data[:1000]
    return start.startswith((b"\xff\xfe", b"\xfe\xff")) or (b"\0" in start[::2]) != (b"\0" in start[1::2])


def _is_gbk(data: bytes) -> bool:
    """Whether most of what is not ASCII would be everyday Chinese; Western letters by chance make rare characters."""
    try:
        foreign = [character for character in data.decode("gb18030") if not character.isascii()]
    except UnicodeDecodeError:
        return False
    return sum(bool(character.encode("gb2312", "ignore")) for character in foreign) > len(foreign) / 2
