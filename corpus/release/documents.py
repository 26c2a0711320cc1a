"""The texts of a release, made from its numbers: card, datasheet, conventions, and what changed."""

from collections.abc import Mapping
from typing import Any

from corpus.release.content import Content
from corpus.release.layout import ReleaseRecord

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"))
WHAT = {
    "meshes": ("ID.mesh.npz", "vertices, head pose, expression, quality of every frame"),
    "audio": ("ID.audio.wav", "speech, 16 bit; the first sample belongs to the first frame"),
    "landmarks": ("ID.landmarks.npz, ID.cameras.json", "points in the pictures; lenses and poses"),
    "depth": ("ID.depth.mkv, ID.cameras.json", "a stream for each camera: FFV1, 16 bit, millimetres, 0 = invalid"),
    "rgb": ("ID.rgb.mkv or ID.preview.mkv, ID.cameras.json", "pictures, or mosaics of one picture a second"),
}
SCOPES = {
    "mesh": "meshes, landmarks, depth",
    "audio": "the voice",
    "rgb": "pictures as recorded",
    "publish-picture": "mosaics of pictures; pictures in papers",
}
WITHDRAWAL = """\
A person can take their consent back at any time. A new MAJOR version then comes without them, and
`index/tombstones.json` names the id that is gone. Whoever has an earlier version deletes it, and everything of that id.
"""


def card(summary: Mapping[str, Any], record: ReleaseRecord) -> str:
    """The release's README: what is here, which file one needs, and how to read it."""
    return "\n".join([*_front_matter(summary, record), *_intro(summary, record), *_files(summary), *_reading(record)])


def _front_matter(summary: Mapping[str, Any], record: ReleaseRecord) -> list[str]:
    languages = "".join(f"\n- {language.partition('-')[0]}" for language in summary["languages"])
    size = next((name for most, name in SIZES if summary["sequences"] < most), "100K<n<1M")
    return [
        "---", f"pretty_name: {_quoted(record.name)}", "license: other", "license_link: LICENSE",
        f"language:{languages}", "size_categories:", f"- {size}", "tags:", "- talking-face", "- 4d", "- speech",
        "configs:", "- config_name: sequences", "  data_files: index/sequences.parquet", "---", "",
    ]  # fmt: skip


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _intro(summary: Mapping[str, Any], record: ReleaseRecord) -> list[str]:
    return [
        f"# {record.name} {record.version}", "",
        f"{_many(summary['sequences'], 'sequence')} of {_many(summary['subjects'], 'subject')}, "
        f"{summary['hours']:.2f} hours at {_list(summary['fps'])} frames a second. Every frame is a mesh of the same "
        f"{record.vertex_count} vertices.", "",
        "| split | subjects | sequences |", "|---|---|---|",
        *(f"| {split} | {n['subjects']} | {n['sequences']} |" for split, n in summary["splits"].items()), "",
        "No subject is in two splits, and none moves to another one in a later version.", "",
    ]  # fmt: skip


def _files(summary: Mapping[str, Any]) -> list[str]:
    rows = [
        f"| `{name}/` | {WHAT[name][0]} | {WHAT[name][1]} | {n['sequences']} | {_bytes(n['bytes'])} |"
        for name, n in summary["components"].items()
    ]
    missing = sum(row["count"] for row in summary["missing"])
    return [
        "## Which file do I need?", "",
        f"- To try something: `mini/` ({_mini(summary)}).",
        "- To train: the components that you use. Shard 7 of a split holds the same sequences in each of them.",
        "- To evaluate: `eval/` and `topology/regions.json`.", "",
        "| folder | files in the shards | what | sequences | size |", "|---|---|---|---|---|", *rows, "",
        "`index/sequences.parquet` lists the sequences, `index/files.parquet` where each file begins in its shard,",
        "`index/subjects.parquet` the people, `index/splits.json` who is in which split.",
        f"`missing.csv` says of {_many(missing, 'thing')} that could be here why they are not.", "",
    ]  # fmt: skip


def _mini(summary: Mapping[str, Any]) -> str:
    return f"a few sequences of each split, {_list(list(summary['components']))}"


def _reading(record: ReleaseRecord) -> list[str]:
    if record.vertices == "int16":
        stored = "`offset_m + step_m * vertices_int16`, at most `max_error_mm` from the reconstructed ones"
    else:
        stored = "`vertices`, float32, as reconstructed"
    return [
        "## Reading", "",
        f"Vertices are {stored}. Metres; frame and units: `topology/conventions.md`.",
        "Every npz can be read with `numpy.load(file, allow_pickle=False)`. The shards are plain tar files that",
        "WebDataset streams. What is damaged: `sha256sum -c SHA256SUMS`.", "",
        "## Withdrawal", "", WITHDRAWAL,
    ]  # fmt: skip


def datasheet(summary: Mapping[str, Any], record: ReleaseRecord) -> str:
    """What was recorded of whom, how, with which consent, and what the data cannot do."""
    parts = [
        f"# Datasheet of {record.name} {record.version}", "", "## Composition", "", *_composition(summary),
        "## People and consent", "", *_people(summary),
        "## Collection and processing", "", *_processing(summary, record),
        "## What is missing", "", *_missing(summary), "## Known limits", "", *_limits(summary, record),
        "## Maintenance", "", WITHDRAWAL,
    ]  # fmt: skip
    return "\n".join(parts)


def _composition(summary: Mapping[str, Any]) -> list[str]:
    duration = summary["duration_s"] or {"least": 0, "median": 0, "most": 0}
    return [
        f"{_many(summary['sequences'], 'sequence')}, {_many(summary['frames'], 'frame')}, {summary['hours']:.4f} "
        f"hours. A sequence lasts {duration['least']} to {duration['most']} s, the median {duration['median']} s.", "",
        *_table("emotion", summary["emotions"]), *_table("language", summary["languages"]),
    ]  # fmt: skip


def _people(summary: Mapping[str, Any]) -> list[str]:
    virtual = summary["virtual_subjects"]
    return [
        f"{_many(summary['subjects'], 'subject')}"
        + (f", of which {virtual} virtual: rendered, nobody's face. " if virtual else ". ")
        + "Ages are given in bands; names, dates and the laboratory's own codes are not part of the release.", "",
        *_table("gender", summary["genders"]), *_table("age", summary["age_bands"]),
        "Everybody consented in writing, and can limit the consent to a part. What is not covered was left out.", "",
        "| scope | covers | subjects |", "|---|---|---|",
        *(f"| {scope} | {text} | {summary['consent'].get(scope, 0)} |" for scope, text in SCOPES.items()), "",
    ]  # fmt: skip


def _processing(summary: Mapping[str, Any], record: ReleaseRecord) -> list[str]:
    residual = summary["depth_residual_mm"]
    told = "" if residual is None else (
        f" The median distance of depth pixels to the mesh is {residual['median']} mm over the sequences "
        f"({residual['least']} to {residual['most']})."
    )  # fmt: skip
    return [
        "Recorded with synchronised colour and depth cameras and a microphone while a sentence was read with an "
        f"emotion; reconstructed with the model `{record.model}`. {100 * summary['fitted_frames']:.1f} % of the frames "
        f"were fitted, the others carried over from the frame before (`status`).{told}", "",
        *_sound(summary),
        f"Vertices are stored as {record.vertices}; the largest error by that is {summary['max_error_mm']} mm.", "",
    ]  # fmt: skip


def _sound(summary: Mapping[str, Any]) -> list[str]:
    """How well sound and picture belong together."""
    counts = ", ".join(f"{name}: {count}" for name, count in summary["sound_start"].items())
    return [f"How the sound's start is known, in sequences: {counts}.", ""] if counts else []


def _missing(summary: Mapping[str, Any]) -> list[str]:
    rows = [f"| {row['component']} | {row['reason']} | {row['count']} |" for row in summary["missing"]]
    return ["| component | reason | count |", "|---|---|---|", *rows, ""] if rows else ["Nothing.", ""]


def _limits(summary: Mapping[str, Any], record: ReleaseRecord) -> list[str]:
    limits = [
        "- A face is as good as a name: whoever knows a person may know them again by mesh, voice or picture.",
        f"- {_many(summary['alone'], 'subject')} of {summary['subjects']} may be told by gender, age band and first "
        "language alone, by those who know who took part.",
        "- Lenses are told with landmarks, depth and pictures; they tell which sequences share a camera.",
        "- Emotions are those that were asked for, read from a sheet, and not judged by others.",
        "- The inside of the mouth is not measured: teeth and tongue are those of the model, where it has any.",
        "- Frames are where the cameras took them: `time_usec` says when, `frame_gap_ms` how unevenly.",
    ]
    if len(summary["languages"]) == 1:
        limits.append(f"- One language only: {next(iter(summary['languages']))}.")
    empty = [split for split, n in summary["splits"].items() if not n["subjects"]]
    if empty:
        limits.append(f"- No subject is in {_list(empty)}: the people are few, and are put into splits one by one.")
    if "rgb" in record.components:
        limits.append("- Mosaics hide a face from people's eyes; they are no proof against programs.")
    return [*limits, ""]


def conventions(record: ReleaseRecord) -> str:
    """Units, frames and numbering."""
    return f"""\
# Conventions

- Vertices: metres, {record.vertex_count} of them, in the frame of the master colour camera: x right, y down, z forward.
- Head frame: x to the subject's left, y up, z out of the face. `rotation` (quaternion w, x, y, z) and `translation`
  turn it into the camera's: p_camera = R p_head + t. `template.obj` is in the head frame:
  the model's mean, nobody's face.
- Triangles: `faces.npy`, int32, counted from 0, counter-clockwise seen from outside. Regions: `regions.json`.
- Time: `time_usec` of each frame from the first one on, by the master camera's clock. Frames are `1/fps` apart.
- Sound: the first sample belongs to the first frame. `sound_start` in the index says how that is known.
- `world_from_camera` in `cameras.json`: 4x4, metres; a camera's frame is its colour imager's. Distortion: OpenCV's
  order (k1, k2, p1, p2, k3, k4, k5, k6).
- `status` of a frame: 0 fitted, 1 fitted with cameras missing, 2 to 4 carried over from the frame before.
"""


def changelog(content: Content) -> str:
    """What changed in this version, then what the one before said."""
    lines = [f"## {content.record.version}", ""]
    lines += [f"- {change}" for change in content.changes] if content.record.previous else ["- first release"]
    gone = [stone for stone in content.tombstones if stone.since == content.record.version]
    if gone:
        lines.append(
            f"- {_many(len(gone), 'subject')} taken out: see `index/tombstones.json`; delete what you have of them"
        )
    return "\n".join(["# Changes", "", *lines, "", content.history]).rstrip() + "\n"


def _table(what: str, counts: Mapping[str, int]) -> list[str]:
    return [f"| {what} | count |", "|---|---|", *(f"| {name} | {count} |" for name, count in counts.items()), ""]


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _list(values: list[Any]) -> str:
    return ", ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)


def _bytes(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.1f} kB"
