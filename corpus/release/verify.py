"""Whether a release is what it says: every file's hash, and whether its tables agree with each other."""

import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from corpus.release.layout import SPLITS, FileRow
from corpus.release.reader import Release, open_release
from corpus.release.shards import BLOCK
from corpus.release.sums import Differences, differences
from mmface4d.errors import InputError


def verify(folder: Path) -> Differences:
    """What is missing, extra, changed or contradictory; raises InputError where there is no readable SHA256SUMS."""
    found = differences(folder)
    try:
        found.wrong = list(_contradictions(open_release(folder)))
    except InputError as error:
        found.wrong = [error.message]
    return found


def _contradictions(release: Release) -> Iterator[str]:
    split_of = [(subject, split) for split in SPLITS for subject in release.splits[split]]
    for subject, count in Counter(subject for subject, _ in split_of).items():
        if count > 1:
            yield f"{subject} is in {count} splits"
    listed = dict(split_of)
    if {name: row.split for name, row in release.subjects.items()} != listed:
        yield "index/splits.json and index/subjects.parquet name others"
    for row in release.sequences:
        if listed.get(row.subject) != row.split:
            yield f"{row.id} is in {row.split}, its subject is not"
    yield from _ghosts(release)
    yield from _misplaced(release)


def _ghosts(release: Release) -> Iterator[str]:
    """Whoever was taken out, and is there."""
    buried = {stone.subject for stone in release.tombstones}
    for subject in sorted(buried & {*release.subjects, *(row.subject for row in release.sequences)}):
        yield f"{subject} was taken out, and is there"
    for row in release.files:
        if row.id.partition("-")[0] in buried:
            yield f"{row.name} is of somebody who was taken out"


def _misplaced(release: Release) -> Iterator[str]:
    names = {row.id for row in release.sequences}
    meshes = {row.id: row for row in release.files if row.component == "meshes"}
    for row in release.sequences:
        mesh = meshes.get(row.id)
        if mesh is None or (mesh.shard, mesh.offset, mesh.sha256) != (row.shard, row.offset, row.sha256):
            yield f"{row.id}: the tables disagree about its mesh"
    for row in release.files:
        if row.id not in names:
            yield f"{row.name} is of no sequence"
        elif (release.path / row.shard).is_file() and not _stands_there(release.path, row):
            yield f"{row.name} is not at byte {row.offset} of {row.shard}"


def _stands_there(folder: Path, row: FileRow) -> bool:
    if not BLOCK <= row.offset < (folder / row.shard).stat().st_size:
        return False
    with (folder / row.shard).open("rb") as file:
        file.seek(row.offset - BLOCK)
        try:
            info = tarfile.TarInfo.frombuf(file.read(BLOCK), "utf-8", "strict")
        except (tarfile.HeaderError, UnicodeDecodeError):
            return False
    return info.isreg() and (info.name, info.size) == (row.name, row.bytes)
