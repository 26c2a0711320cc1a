"""The last steps of every release, new or with somebody taken out: tables, texts, mini set, evaluation, and sums."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from corpus.dataset.regions import face_regions
from corpus.release.content import Content
from corpus.release.croissant import croissant
from corpus.release.documents import card, changelog, conventions, datasheet
from corpus.release.evaluation import write_evaluation
from corpus.release.layout import (
    CHANGELOG,
    CROISSANT,
    DATASHEET,
    FACES,
    FILES_TABLE,
    LICENSE,
    MISSING,
    README,
    RECORD,
    REGIONS,
    SEQUENCES_TABLE,
    SPLITS_FILE,
    SUBJECTS_TABLE,
    TEMPLATE,
    TOMBSTONES,
    FileRow,
    SequenceRow,
    SubjectRow,
)
from corpus.release.mini import write_mini
from corpus.release.missing import missing_csv
from corpus.release.reader import open_release
from corpus.release.sums import write_sums
from corpus.release.tables import write_table
from mmface4d.face_topology import FaceTopology
from mmface4d.mesh_text import obj_text

TEMPLATE_DECIMALS = 7  # of metres


def finish(
    folder: Path, content: Content, *, face: FaceTopology | None = None, topology_of: Path | None = None
) -> None:
    """Writes all but the shards; the topology is a model's, or that of another release."""
    _write_tables(folder, content)
    if face is not None:
        _write_topology(folder, face)
    elif topology_of is not None:
        shutil.copytree(topology_of / "topology", folder / "topology")
    release = open_release(folder)
    write_mini(release)
    write_evaluation(release)
    _write_texts(folder, content)
    write_sums(folder)


def _write_tables(folder: Path, content: Content) -> None:
    write_table(folder / SEQUENCES_TABLE, SequenceRow, content.sequences)
    write_table(folder / FILES_TABLE, FileRow, content.files)
    write_table(folder / SUBJECTS_TABLE, SubjectRow, content.subjects)
    _write_json(folder / SPLITS_FILE, content.splits)
    _write_json(folder / TOMBSTONES, [stone.model_dump(mode="json") for stone in content.tombstones])
    _write_json(folder / RECORD, content.record.model_dump(mode="json"))


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def _write_texts(folder: Path, content: Content) -> None:
    summary = content.summary
    texts = {
        README: card(summary, content.record),
        DATASHEET: datasheet(summary, content.record),
        CHANGELOG: changelog(content),
        LICENSE: content.licence,
        MISSING: missing_csv(content.missing),
        "topology/conventions.md": conventions(content.record),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    _write_json(folder / CROISSANT, croissant(folder, content))


def _write_topology(folder: Path, face: FaceTopology) -> None:
    (folder / "topology").mkdir()
    text = obj_text(face.template, face.faces, decimals=TEMPLATE_DECIMALS)
    (folder / TEMPLATE).write_text(text, encoding="ascii")
    with (folder / FACES).open("wb") as file:
        np.lib.format.write_array(file, face.faces.astype("<i4"), version=(1, 0), allow_pickle=False)
    regions = face_regions(face).to_json()
    text = json.dumps({"format": 1, "vertex_count": len(face.template), "regions": regions}, separators=(",", ":"))
    (folder / REGIONS).write_text(text + "\n", encoding="utf-8")
