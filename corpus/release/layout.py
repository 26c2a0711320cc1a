"""The layout of a release: names of folders, shards and members, and the rows of its tables."""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

FORMAT = 1
SPLITS = ("train", "validation", "test")
COMPONENTS = ("meshes", "audio", "landmarks", "depth", "rgb")
# the scope that a person must have consented to; pictures have a rule of their own, in `plan`
SCOPE_OF = {"meshes": "mesh", "audio": "audio", "landmarks": "mesh", "depth": "mesh", "rgb": "rgb"}
RECORD, SEQUENCES_TABLE, FILES_TABLE = "index/release.json", "index/sequences.parquet", "index/files.parquet"
SUBJECTS_TABLE, SPLITS_FILE, TOMBSTONES = "index/subjects.parquet", "index/splits.json", "index/tombstones.json"
SUMS, CROISSANT, MISSING, CHANGELOG, LICENSE = "SHA256SUMS", "croissant.json", "missing.csv", "CHANGELOG.md", "LICENSE"
README, DATASHEET = "README.md", "DATASHEET.md"
FACES, TEMPLATE, REGIONS = "topology/faces.npy", "topology/template.obj", "topology/regions.json"
SHARD = re.compile(
    r"^(?P<component>meshes|audio|landmarks|depth|rgb)/(?P=component)-(train|validation|test)-\d{6}\.tar$"
)
SUBJECT_ID = re.compile(r"^s[a-z2-7]{8}$")
ITEM_ID = re.compile(r"^s[a-z2-7]{8}-[A-Za-z0-9_-]{1,80}$")
MEMBERS = ("mesh.npz", "audio.wav", "landmarks.npz", "depth.mkv", "rgb.mkv", "preview.mkv", "cameras.json")
MAX_MEMBER_BYTES = 8 << 30
MAX_TABLE_BYTES = 512 << 20

Version = Annotated[str, StringConstraints(pattern=r"^(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
SubjectId = Annotated[str, StringConstraints(pattern=SUBJECT_ID.pattern)]
Component = Literal["meshes", "audio", "landmarks", "depth", "rgb"]


class Strict(BaseModel):
    """A record in which no unknown key may stand."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ReleaseRecord(Strict):
    """What stands in `index/release.json`."""

    format: int = FORMAT
    name: Name
    version: Version
    previous: Version | None = None
    components: tuple[Component, ...]
    vertices: Literal["float32", "int16"]
    model: str
    topology_sha256: str
    vertex_count: int
    key_fingerprint: str  # tells whether two releases were made by one lab
    shard_bytes: Annotated[int, Field(ge=1)]
    published: str | None = None


class Tombstone(Strict):
    """A subject who was in an earlier release and is in this one no more; the id is never given again."""

    subject: SubjectId
    since: Version
    sequences: Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class SequenceRow:
    """A row of `index/sequences.parquet`; shard, offset, bytes and sha256 are those of the mesh."""

    id: str
    subject: str
    sentence: str
    text: str
    language: str
    emotion: str
    frames: int
    fps: float
    duration_s: float
    split: str
    components: str  # with spaces between
    shard: str
    offset: int
    bytes: int
    sha256: str
    quality: float  # part of the frames that were fitted, and not carried over
    depth_residual_mm: float | None  # median over the frames
    max_error_mm: float  # of the stored vertices against the reconstructed ones
    frame_gap_ms: float  # furthest that a frame is from frame/fps
    sound_start: str | None  # how the sound's start is known
    token: str  # the same in every release of the lab


@dataclass(frozen=True)
class FileRow:
    """A row of `index/files.parquet`: a member of a shard, and where its bytes are."""

    id: str
    component: str
    name: str
    shard: str
    offset: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class SubjectRow:
    """A row of `index/subjects.parquet`."""

    pseudonym: str
    split: str
    age_band: str
    gender: str
    language: str
    scopes: str  # with spaces between
    sequences: int
    virtual: bool


@dataclass(frozen=True, order=True)
class MissingRow:
    """A row of `missing.csv`: what could have been there; people who may not be published are counted, never named."""

    id: str
    subject: str
    sentence: str
    component: str
    reason: str
    count: int = 1
