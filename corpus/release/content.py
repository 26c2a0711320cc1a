"""Everything that a release says, before it is written: what a build gathers, and what a withdrawal keeps."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from corpus.release.layout import (
    MISSING,
    SPLITS,
    FileRow,
    MissingRow,
    ReleaseRecord,
    SequenceRow,
    SubjectRow,
    Tombstone,
)
from corpus.release.missing import read_missing
from corpus.release.reader import Release


@dataclass
class Content:
    """The tables and texts of a release; `history` is the CHANGELOG of those before, `changes` what is new."""

    record: ReleaseRecord
    sequences: list[SequenceRow]
    files: list[FileRow]
    subjects: list[SubjectRow]
    missing: list[MissingRow]
    licence: str
    tombstones: list[Tombstone] = field(default_factory=list)
    history: str = ""
    changes: list[str] = field(default_factory=list)

    @property
    def splits(self) -> dict[str, list[str]]:
        """The subjects of each split."""
        return {split: sorted(row.pseudonym for row in self.subjects if row.split == split) for split in SPLITS}

    @property
    def summary(self) -> dict[str, Any]:
        """Counts of everything, as plain values."""
        durations = [row.duration_s for row in self.sequences]
        return {
            "name": self.record.name,
            "version": self.record.version,
            "subjects": len(self.subjects),
            "sequences": len(self.sequences),
            "frames": sum(row.frames for row in self.sequences),
            "hours": round(sum(durations) / 3600, 4),
            "duration_s": _spread(durations),
            "fps": sorted({row.fps for row in self.sequences}),
            "splits": {split: self._split(split) for split in SPLITS},
            "languages": _counted(row.language for row in self.sequences),
            "emotions": _counted(row.emotion for row in self.sequences),
            "genders": _counted(row.gender for row in self.subjects),
            "age_bands": _counted(row.age_band for row in self.subjects),
            "consent": _counted(scope for row in self.subjects for scope in row.scopes.split()),
            "alone": self._alone(),
            "sound_start": _counted(row.sound_start for row in self.sequences if row.sound_start),
            "virtual_subjects": sum(row.virtual for row in self.subjects),
            "components": self._components(),
            "fitted_frames": self._fitted(),
            "depth_residual_mm": _spread(
                [r.depth_residual_mm for r in self.sequences if r.depth_residual_mm is not None]
            ),
            "max_error_mm": max((row.max_error_mm for row in self.sequences), default=0.0),
            "missing": self._missing(),
            "tombstones": len(self.tombstones),
        }

    def _split(self, split: str) -> dict[str, int]:
        return {
            "subjects": sum(row.split == split for row in self.subjects),
            "sequences": sum(row.split == split for row in self.sequences),
        }

    def _components(self) -> dict[str, dict[str, int]]:
        found = {}
        for component in self.record.components:
            rows = [row for row in self.files if row.component == component]
            found[component] = {
                "sequences": len({row.id for row in rows}),
                "shards": len({row.shard for row in rows}),
                "bytes": sum(row.bytes for row in rows),
            }
        return found

    def _alone(self) -> int:
        """How many people are the only ones with their gender, age band and language."""
        kinds = Counter((row.gender, row.age_band, row.language) for row in self.subjects)
        return sum(count == 1 for count in kinds.values())

    def _fitted(self) -> float:
        frames = sum(row.frames for row in self.sequences)
        return round(sum(row.quality * row.frames for row in self.sequences) / frames, 4) if frames else 0.0

    def _missing(self) -> list[dict[str, Any]]:
        counts: Counter[tuple[str, str]] = Counter()
        for row in self.missing:
            counts[row.component, row.reason] += row.count
        return [{"component": c, "reason": reason, "count": n} for (c, reason), n in sorted(counts.items())]


def _counted(values: Any) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {"least": round(min(values), 3), "median": round(float(np.median(values)), 3), "most": round(max(values), 3)}


@dataclass(frozen=True)
class Changes:
    """How many sequences, and how many files of sequences that stay, came, went, and have other bytes."""

    sequences: dict[str, int]
    files: dict[str, int]

    @property
    def removed(self) -> bool:
        """Whether something was taken away, be it a voice whose consent was narrowed."""
        return bool(self.sequences["removed"] or self.files["removed"])

    @property
    def added(self) -> bool:
        """Whether something came or is another."""
        return any(each[what] for each in (self.sequences, self.files) for what in ("added", "changed"))

    def lines(self) -> list[str]:
        """For the CHANGELOG."""
        sequences = [f"{count} sequences {what}" for what, count in self.sequences.items() if count]
        files = [
            f"{count} other files of sequences that stay {what}{': delete them' if what == 'removed' else ''}"
            for what, count in self.files.items()
            if count
        ]
        return [*sequences, *files] or ["texts only"]


def changes_between(previous: Release | None, sequences: Sequence[SequenceRow], files: Sequence[FileRow]) -> Changes:
    """What is another than in the release before, by the hashes of meshes and of all other files."""
    known, listed = (previous.sequences, previous.files) if previous else ([], [])
    stay = {row.id for row in known} & {row.id for row in sequences}
    return Changes(
        _compared({row.id: row.sha256 for row in known}, {row.id: row.sha256 for row in sequences}),
        _compared(_beside_meshes(listed, stay), _beside_meshes(files, stay)),
    )


def _beside_meshes(files: Sequence[FileRow], ids: set[str]) -> dict[tuple[str, str], str]:
    return {(row.component, row.name): row.sha256 for row in files if row.id in ids and row.component != "meshes"}


def _compared(before: Mapping[Any, str], after: Mapping[Any, str]) -> dict[str, int]:
    return {
        "added": len(after.keys() - before.keys()),
        "removed": len(before.keys() - after.keys()),
        "changed": sum(before[name] != after[name] for name in before.keys() & after.keys()),
    }


def content_of(release: Release) -> Content:
    """What a release says, from its tables."""
    return Content(
        record=release.record,
        sequences=release.sequences,
        files=release.files,
        subjects=list(release.subjects.values()),
        missing=read_missing(release.path / MISSING),
        licence="",
        tombstones=release.tombstones,
    )
