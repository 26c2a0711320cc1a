"""`mmface4d clips show|synth|export`."""

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mmface4d.errors import InputError, UsageError, VerificationError
from mmface4d.files import read_json

if TYPE_CHECKING:
    from animation.data.corpus import SpeechCorpus, Split

PATH = click.Path(path_type=Path)
OWN_LAYOUT = "clips"
# here, so that --help imports no exporter
LAYOUTS = (
    OWN_LAYOUT, "faceformer-vocaset", "faceformer-biwi", "facediffuser", "voca-raw", "mm2023", "meshtalk-npz",
    "unitalker", "a2f3d",
)  # fmt: skip
SHOW_EPILOG = """\b
Examples:
  mmface4d clips show release
  mmface4d clips show lab --check
"""
SYNTH_EPILOG = """\b
Examples:
  mmface4d clips synth toy
  mmface4d clips synth toy --subjects 12 --sentences 4 --seed 1
"""
EXPORT_EPILOG = """\b
Examples:
  mmface4d clips export release --to faceformer-vocaset -o for-faceformer
  mmface4d clips export lab --to clips --splits splits.json -o clips-split
"""


@click.group(epilog=SHOW_EPILOG)
def clips() -> None:
    """Show, make and export the clips that models are trained on."""


@clips.command(epilog=SHOW_EPILOG)
@click.argument("data", type=PATH)
@click.option("--check", is_flag=True, help="Read every frame and every sound, and say what speaks against them.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON.")
def show(data: Path, check: bool, as_json: bool) -> None:
    """Tell what DATA holds.

    DATA is a release, a lab, a folder of mesh sequences, a clips folder, or a VOCASET- or BIWI-style folder.
    """
    from mmface4d.animation_data import open_speech_corpus

    corpus = open_speech_corpus(data)
    said = [each for of_clip in _checked(corpus).values() for each in of_clip] if check else None
    told = _summary(corpus) | ({} if said is None else {"mistakes": said})
    click.echo(json.dumps(told, ensure_ascii=False, indent=1) if as_json else _text(told))
    if said:
        raise VerificationError(
            f"{_count(len(said), 'mistake')} in {corpus.origin}",
            hint="mend these clips, or leave them out with: mmface4d clips export --leave-out-bad",
        )


@clips.command(epilog=SYNTH_EPILOG)
@click.argument("folder", type=PATH)
@click.option("--subjects", type=click.IntRange(4, 1000), default=34, show_default=True)
@click.option("--sentences", type=click.IntRange(2, 1000), default=8, show_default=True, help="Of each subject.")
@click.option("--vertices", type=click.IntRange(100, 20_000), default=400, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
def synth(folder: Path, subjects: int, sentences: int, vertices: int, seed: int) -> None:
    """Make a clips folder of people who are numbers: local motions, a mouth that follows the sound, manners."""
    from animation.data.folder import write_folder
    from animation.data.synthetic import make_corpus

    corpus = make_corpus(subjects=subjects, sentences=sentences, seed=seed, n_verts=vertices)
    write_folder(corpus, folder)
    click.echo(f"{folder}: {_text(_summary(corpus))}")


@clips.command(epilog=EXPORT_EPILOG)
@click.argument("data", type=PATH)
@click.option("--to", "layout", required=True, metavar="LAYOUT", help=f"One of {', '.join(LAYOUTS)}.")
@click.option("-o", "--output", required=True, type=PATH, help="A folder; it must not exist.")
@click.option("--splits", type=PATH, help='JSON of subjects to put elsewhere: {"test": ["P03"]}.')
@click.option("--leave-out-bad", is_flag=True, help="Check all clips first, and leave out those that are no good.")
def export(data: Path, layout: str, output: Path, splits: Path | None, leave_out_bad: bool) -> None:
    """Write the clips of DATA in our own layout, or in that of another program."""
    from animation.data.check import without
    from animation.export.layouts import refuse_unknown
    from mmface4d.animation_data import open_speech_corpus
    from mmface4d.new_folder import refuse_existing

    if layout != OWN_LAYOUT:
        refuse_unknown(layout)
    refuse_existing(output)  # before much is read
    corpus = open_speech_corpus(data, splits=None if splits is None else read_splits(splits))
    if leave_out_bad:
        corpus = without(corpus, _checked(corpus))
    notes = _write(corpus, output, layout=layout)
    click.echo(f"{output}: {_text(_summary(corpus))}")
    for note, count in notes.items():
        click.echo(f"note: {_count(count, 'clip')}: {note}")


def _write(corpus: "SpeechCorpus", output: Path, *, layout: str) -> "Counter[str]":
    """Writes the clips; what is to be known of them, and of how many."""
    if layout == OWN_LAYOUT:
        from animation.data.folder import write_folder

        write_folder(corpus, output)
        return Counter()
    from animation.export.layouts import export_corpus

    return Counter(note for done in export_corpus(corpus, output, layout=layout) for note in done.notes)


def read_splits(path: Path) -> "dict[str, Split]":
    """The split of each subject that a JSON file names; raises InputError where it cannot be meant."""
    from animation.data.corpus import SPLITS

    value = read_json(path, max_bytes=16 << 20)
    lists = value if isinstance(value, dict) else {}
    right = all(isinstance(names, list) and all(isinstance(each, str) for each in names) for names in lists.values())
    if not lists or not right or not set(lists) <= set(SPLITS):
        raise InputError(f"{path} is no list of splits", hint='for example {"validation": ["P02"], "test": ["P03"]}')
    named = [name for names in lists.values() for name in names]
    if twice := [name for name, count in Counter(named).items() if count > 1]:
        raise UsageError(f"{path} names {twice[0]} twice", hint="a subject is in one split")
    return {name: split for split in SPLITS for name in lists.get(split, [])}


def _checked(corpus: "SpeechCorpus") -> dict[str, list[str]]:
    from animation.data.check import check_corpus
    from mmface4d.progress import progress

    with progress("clips checked", len(corpus.clips)) as bar:
        return check_corpus(corpus, done=bar.advance)


def _summary(corpus: "SpeechCorpus") -> dict[str, Any]:
    from animation.data.corpus import SPLITS

    return {
        "origin": corpus.origin,
        "topology": {
            "name": corpus.topology.name, "vertices": corpus.topology.n_verts, "triangles": len(corpus.topology.faces),
            "sha256": corpus.topology.sha256,
            "masks": {
                name: {"vertices": len(mask.vertices), "sha256": mask.sha256}
                for name, mask in corpus.topology.masks.items()
            },
        },
        "clips": len(corpus.clips),
        "hours": round(sum(clip.duration_s for clip in corpus.clips) / 3600, 4),
        "fps": sorted({clip.fps for clip in corpus.clips}),
        "splits": {
            split: {"subjects": len(corpus.subjects(split)), "clips": len(corpus.of_split(split))} for split in SPLITS
        },
        "licence": corpus.licence,
        "notes": list(corpus.notes),
    }  # fmt: skip


def _text(told: dict[str, Any]) -> str:
    mesh, splits = told["topology"], told["splits"]
    rates = " and ".join(f"{fps:g}" for fps in told["fps"])
    lines = [
        f"{told['origin']}: {_count(told['clips'], 'clip')}, {told['hours']:.2f} hours at {rates} frames a second",
        f"mesh {mesh['name']}: {mesh['vertices']} vertices, {mesh['triangles']} triangles; "
        + ", ".join(f"{name} {mesh['masks'][name]['vertices']}" for name in ("lips", "upper_face", "face")),
        *(f"{split}: {_count(each['subjects'], 'subject')}, {_count(each['clips'], 'clip')}"
          for split, each in splits.items()),
        *(f"note: {note}" for note in told["notes"]),
        *(f"mistake: {each}" for each in told.get("mistakes", [])),
    ]  # fmt: skip
    empty = [split for split, each in splits.items() if not each["clips"]]
    if empty:
        lines.append(f"note: nobody is in {' and '.join(empty)}; put people there with: mmface4d clips export --splits")
    return "\n".join(lines)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
