"""Croissant 1.1 metadata: what the release's files are, and how to read the tables, for machines."""

from dataclasses import fields
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

from corpus.release.content import Content
from corpus.release.layout import FILES_TABLE, SEQUENCES_TABLE, SUBJECTS_TABLE, FileRow, SequenceRow, SubjectRow
from mmface4d.files import file_sha256

CONTEXT: dict[str, Any] = {
    "@language": "en", "@vocab": "https://schema.org/", "arrayShape": "cr:arrayShape", "citeAs": "cr:citeAs",
    "column": "cr:column", "conformsTo": "dct:conformsTo", "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/", "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"}, "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/", "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty", "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract", "field": "cr:field", "fileProperty": "cr:fileProperty", "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet", "format": "cr:format", "includes": "cr:includes", "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset", "jsonPath": "cr:jsonPath", "key": "cr:key", "md5": "cr:md5",
    "name": {"@container": "@language"}, "parentField": "cr:parentField", "path": "cr:path",
    "recordSet": "cr:recordSet", "references": "cr:references", "regex": "cr:regex", "repeated": "cr:repeated",
    "replace": "cr:replace", "samplingRate": "cr:samplingRate", "sc": "https://schema.org/",
    "separator": "cr:separator", "source": "cr:source", "subField": "cr:subField", "transform": "cr:transform",
}  # fmt: skip
TYPES = {str: "sc:Text", int: "sc:Integer", float: "sc:Float", bool: "sc:Boolean"}
TABLES: dict[str, tuple[str, type, str, str]] = {
    "sequences": (SEQUENCES_TABLE, SequenceRow, "id", "A row for each sequence; offsets are those of the mesh."),
    "subjects": (SUBJECTS_TABLE, SubjectRow, "pseudonym", "A row for each person."),
    "files": (FILES_TABLE, FileRow, "name", "A row for each file in the shards, and where its bytes are."),
}
# field -> the field that it refers to; mlcroissant 1.1 cannot follow a second one
REFERENCES = {"sequences/subject": "subjects/pseudonym"}
COMPONENT_TEXT = {
    "meshes": "Meshes of one topology, one npz for each sequence.",
    "audio": "Speech as 16-bit WAV, from the first frame to the last.",
    "landmarks": "Facial landmarks in the cameras' pictures, npz, and the cameras.",
    "depth": "Depth pictures, FFV1 in Matroska, and the cameras.",
    "rgb": "Colour pictures, or mosaics of them, JPEG in Matroska, and the cameras.",
}


def croissant(folder: Path, content: Content) -> dict[str, Any]:
    """The JSON-LD of a release whose tables and shards are written."""
    record = content.record
    metadata: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": record.name,
        "description": "Three-dimensional talking faces: mesh sequences of one topology, with what belongs to them.",
        "license": "LICENSE",
        "url": "README.md",
        "version": record.version,
        "isLiveDataset": False,
        "keywords": ["talking face", "mesh sequence", "speech", "emotion"],
        "distribution": [*_tables(folder), *_shards(folder, content)],
        "recordSet": [_record_set(name) for name in TABLES],
    }
    if record.published:
        metadata["datePublished"] = record.published
    return metadata


def _tables(folder: Path) -> list[dict[str, Any]]:
    return [
        _file_object(folder, path, name=f"{name}.parquet", kind="application/x-parquet", text=text)
        for name, (path, _, _, text) in TABLES.items()
    ]


def _shards(folder: Path, content: Content) -> list[dict[str, Any]]:
    found = []
    for component in content.record.components:
        text = COMPONENT_TEXT[component]
        for shard in sorted({row.shard for row in content.files if row.component == component}):
            found.append(_file_object(folder, shard, name=Path(shard).name, kind="application/x-tar", text=text))
    return found


def _file_object(folder: Path, path: str, *, name: str, kind: str, text: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "description": text,
        "contentUrl": path,
        "contentSize": f"{(folder / path).stat().st_size} B",
        "encodingFormat": kind,
        "sha256": file_sha256(folder / path),
    }


def _record_set(name: str) -> dict[str, Any]:
    _, kind, key, text = TABLES[name]
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": text,
        "key": {"@id": f"{name}/{key}"},
        "field": [_field(name, kind, each.name) for each in fields(kind)],  # type: ignore[arg-type]
    }


def _field(table: str, kind: type, column: str) -> dict[str, Any]:
    hint = get_type_hints(kind)[column]
    (plain,) = [each for each in get_args(hint) or (hint,) if each is not NoneType]
    full = f"{table}/{column}"
    field: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": full,
        "name": column,
        "dataType": TYPES[plain],
        "source": {"fileObject": {"@id": f"{table}.parquet"}, "extract": {"column": column}},
    }
    if full in REFERENCES:
        field["references"] = {"field": {"@id": REFERENCES[full]}}
    return field
