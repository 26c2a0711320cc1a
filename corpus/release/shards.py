"""Tar shards whose bytes depend on nothing but what is in them, and where in them each file is."""

import hashlib
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, BinaryIO

from corpus.release.layout import MAX_MEMBER_BYTES, FileRow
from mmface4d.errors import InputError

BLOCK = 512  # of a header, which goes before a member's bytes
COPY_BYTES = 1 << 20


@dataclass(frozen=True)
class Member:
    """A file that is to go into a shard."""

    item: str
    component: str
    suffix: str
    path: Path

    @property
    def name(self) -> str:
        """Its name in the shard."""
        return f"{self.item}.{self.suffix}"

    @property
    def size(self) -> int:
        """In bytes."""
        return self.path.stat().st_size


class _Hashed:
    """A source that is hashed while it is read."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source, self.digest = source, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self.digest.update(data)
        return data


class TarWriter:
    """Writes one shard; used as a context manager."""

    def __init__(self, folder: Path, shard: str) -> None:
        self.shard = shard
        path = folder / shard
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("xb")
        self._tar = tarfile.TarFile(fileobj=self._file, mode="w", format=tarfile.USTAR_FORMAT)

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._tar.offset

    def add(self, row: FileRow, source: BinaryIO) -> FileRow:
        """Appends `row.bytes` bytes of a source; the row says then where they are and what their hash is."""
        info = tarfile.TarInfo(row.name)
        info.size, info.mode = row.bytes, 0o644
        offset = self._tar.offset + BLOCK
        hashed = _Hashed(source)
        self._tar.addfile(info, hashed)  # type: ignore[arg-type]  (it only reads)
        return replace(row, shard=self.shard, offset=offset, sha256=hashed.digest.hexdigest())

    def __enter__(self) -> "TarWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self._tar.close()
        finally:
            self._file.close()


class ShardSet:
    """Shards of all components in step: shard 7 of a split has the same items in each of them."""

    def __init__(self, folder: Path, *, limit_bytes: int) -> None:
        self._folder, self._limit = folder, limit_bytes
        self._split, self._number = "", 0
        self._open: dict[str, TarWriter] = {}

    def add(self, split: str, members: Iterable[Member]) -> list[FileRow]:
        """Appends the files of one item; a new shard begins where one would grow beyond the limit."""
        members = list(members)
        if split != self._split:
            self.close()
            self._split, self._number = split, 0
        elif self._is_full(members):
            self.close()
            self._number += 1
        return [self._add(member) for member in members]

    def _is_full(self, members: list[Member]) -> bool:
        coming: dict[str, int] = {}
        for member in members:
            coming[member.component] = coming.get(member.component, 0) + member.size
        return any(
            writer.size + coming.get(component, 0) > self._limit and writer.size > 0
            for component, writer in self._open.items()
        )

    def _add(self, member: Member) -> FileRow:
        if member.size >= MAX_MEMBER_BYTES:
            raise InputError(f"{member.name} has 8 GiB or more", hint="cut the take into shorter ones")
        if member.component not in self._open:
            shard = f"{member.component}/{member.component}-{self._split}-{self._number:06d}.tar"
            self._open[member.component] = TarWriter(self._folder, shard)
        row = FileRow(member.item, member.component, member.name, "", 0, member.size, "")
        with member.path.open("rb") as source:
            return self._open[member.component].add(row, source)

    def close(self) -> None:
        """Ends the shards that are open."""
        while self._open:
            self._open.popitem()[1].__exit__()

    def __enter__(self) -> "ShardSet":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def copy_members(source: Path, target: Path, rows: Iterable[FileRow], *, shard: str) -> list[FileRow]:
    """Makes a shard in the folder `target` of members of shards in `source`; raises InputError where one is damaged."""
    with TarWriter(target, shard) as writer:
        return [_copied(source, row, writer) for row in rows]


def _copied(source: Path, row: FileRow, writer: TarWriter) -> FileRow:
    with (source / row.shard).open("rb") as file:
        file.seek(row.offset)
        copied = writer.add(row, file)
    if copied.sha256 != row.sha256:
        raise InputError(f"{row.shard}: {row.name} is damaged", hint="see what else is: mmface4d release verify")
    return copied


def blocks(file: IO[bytes], size: int) -> Iterator[bytes]:
    """The next `size` bytes of a file, or fewer where it ends, in pieces."""
    while size > 0 and (data := file.read(min(size, COPY_BYTES))):
        size -= len(data)
        yield data
