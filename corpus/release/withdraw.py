"""Taking people out of a release: a new MAJOR version without anything of theirs, and a tombstone with their id."""

import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from corpus.release.content import Content
from corpus.release.finishing import finish
from corpus.release.identity import Identity, lab_identity
from corpus.release.layout import LICENSE, MISSING, FileRow, MissingRow, Tombstone
from corpus.release.missing import read_missing
from corpus.release.reader import Release
from corpus.release.shards import copy_members
from corpus.release.space import check_space
from corpus.release.verify import verify
from corpus.release.versions import next_version
from corpus.release.writer import history_of
from mmface4d.errors import InputError
from mmface4d.lab import Lab
from mmface4d.new_folder import new_folder
from mmface4d.withdrawal import withdrawn_people

REASON = "consent withdrawn"


def withdraw_subjects(release: Release, subjects: Iterable[str], output: Path) -> Content:
    """Writes the release without some subjects, given by their released ids; shards they are not in stay as they are.

    Raises InputError where one of them is not in it, or nobody would be left, and what `new_folder` raises.
    """
    gone = set(subjects)
    _refuse_unknown(release, gone)
    _refuse_damaged(release)
    with new_folder(output, why="a release is never changed") as folder:
        content = _without(release, gone)
        check_space(folder, _sizes(release, gone), what=output)
        content.files = _copy_shards(release, folder, gone={row.id for row in release.sequences if row.subject in gone})
        meshes = {row.id: row for row in content.files if row.component == "meshes"}
        content.sequences = [
            replace(row, shard=meshes[row.id].shard, offset=meshes[row.id].offset) for row in content.sequences
        ]
        finish(folder, content, topology_of=release.path)
    return content


def released_ids(release: Release, names: Iterable[str], lab: Lab | None) -> list[str]:
    """The released ids of subjects that are named by them, or by the lab's own codes where the lab is known."""
    identity = None if lab is None else _identity(release, lab)
    ids = []
    for name in names:
        if name in release.subjects or identity is None:
            ids.append(name)
        else:
            ids.append(identity.subject(name))
    return ids


def withdrawn_ids(release: Release, lab: Lab) -> list[str]:
    """The released ids of everybody in a release who has withdrawn in its lab."""
    identity = _identity(release, lab)
    return sorted({identity.subject(name) for name in withdrawn_people(lab)} & release.subjects.keys())


def _identity(release: Release, lab: Lab) -> Identity:
    identity = lab_identity(lab.path, make=False)
    if identity.fingerprint != release.record.key_fingerprint:
        raise InputError(f"{release.path} is not a release of {lab.path}", hint="name the lab that made it")
    return identity


def _refuse_unknown(release: Release, gone: set[str]) -> None:
    unknown = sorted(gone - release.subjects.keys())
    buried = {stone.subject for stone in release.tombstones}
    if not gone:
        raise InputError(f"nobody who withdrew is in {release.path}", hint="the release can stay as it is")
    if unknown:
        before = all(name in buried for name in unknown)
        hint = "they were taken out before" if before else "ids look like sabcdefgh; for a code of the lab give --lab"
        raise InputError(f"not in {release.path}: {', '.join(unknown[:20])}", hint=hint)
    if gone == release.subjects.keys():
        raise InputError("nobody would be left in the release", hint="delete the release, wherever it is")


def _refuse_damaged(release: Release) -> None:
    """New sums would call whole what is damaged."""
    found = verify(release.path)
    if not found.good:
        raise InputError(
            f"{release.path} is damaged: {found.lines()[0]}",
            hint=f"see all of it: mmface4d release verify {release.path}",
        )


def _without(release: Release, gone: set[str]) -> Content:
    version = next_version(release.record.version, removed=True, added=False)
    stones = [
        Tombstone(subject=name, since=version, sequences=release.subjects[name].sequences) for name in sorted(gone)
    ]
    removed = sum(stone.sequences for stone in stones)
    record = release.record.model_copy(
        update={"version": version, "previous": release.record.version, "published": None}
    )
    return Content(
        record=record,
        sequences=[row for row in release.sequences if row.subject not in gone],
        files=[],
        subjects=[row for name, row in release.subjects.items() if name not in gone],
        missing=sorted(_missing_without(release, gone, removed)),
        licence=(release.path / LICENSE).read_text(encoding="utf-8"),
        tombstones=[*release.tombstones, *stones],
        history=history_of(release),
        changes=[f"{removed} sequences removed"],
    )


def _missing_without(release: Release, gone: set[str], removed: int) -> list[MissingRow]:
    """Nobody who withdrew is named; their items are counted."""
    rows = read_missing(release.path / MISSING)
    kept = [row for row in rows if row.subject not in gone]
    counted = removed + sum(row.count for row in rows if row.subject in gone and row.component == "all")
    same = [row for row in kept if (row.subject, row.reason) == ("", REASON)]
    count = counted + sum(row.count for row in same)
    return [*(row for row in kept if row not in same), MissingRow("", "", "", "all", REASON, count)]


def _sizes(release: Release, gone: set[str]) -> list[int]:
    """The bytes of each item that stays."""
    stays = {row.id for row in release.sequences if row.subject not in gone}
    sizes: Counter[str] = Counter()
    for row in release.files:
        if row.id in stays:
            sizes[row.id] += row.bytes
    return list(sizes.values())


def _copy_shards(release: Release, folder: Path, *, gone: set[str]) -> list[FileRow]:
    shards: dict[str, list[FileRow]] = {}
    for row in release.files:
        shards.setdefault(row.shard, []).append(row)
    found: dict[tuple[str, str], FileRow] = {}
    for shard, rows in shards.items():
        for row in _copy_shard(release.path, folder, shard, rows, gone):
            found[row.component, row.name] = row
    return [found[row.component, row.name] for row in release.files if (row.component, row.name) in found]


def _copy_shard(source: Path, folder: Path, shard: str, rows: list[FileRow], gone: set[str]) -> list[FileRow]:
    kept = [row for row in rows if row.id not in gone]
    if len(kept) < len(rows):
        return copy_members(source, folder, kept, shard=shard) if kept else []
    (folder / shard).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source / shard, folder / shard)
    return kept
