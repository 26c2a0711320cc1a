"""`mmface4d release build|verify|withdraw|card`."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from mmface4d.errors import UsageError, VerificationError

PATH = click.Path(path_type=Path)
MOST_TOLD = 20
GROUP_EPILOG = """\b
Examples:
  mmface4d release build lab -o lab/releases/release-1.0.0
  mmface4d release verify lab/releases/release-1.0.0
"""
BUILD_EPILOG = """\b
Examples:
  mmface4d release build lab -o lab/releases/release-1.0.0 --license LICENSE.txt
  mmface4d release build lab -o /data/release-1.1.0 --components meshes,audio,depth --quantise
"""
VERIFY_EPILOG = """\b
Examples:
  mmface4d release verify release-1.0.0
  mmface4d release verify release-1.0.0 --json
"""
WITHDRAW_EPILOG = """\b
Examples:
  mmface4d release withdraw release-1.0.0 --lab lab -o release-2.0.0
  mmface4d release withdraw release-1.0.0 sabcdefgh -o release-2.0.0
"""
CARD_EPILOG = """\b
Examples:
  mmface4d release card release-1.0.0
  mmface4d release card release-1.0.0 --json
"""
json_option = click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON.")


@click.group(epilog=GROUP_EPILOG)
def release() -> None:
    """Publish a lab's sequences, check a release, take people out of it."""


@release.command(epilog=BUILD_EPILOG)
@click.argument("lab", type=PATH)
@click.option("-o", "--output", required=True, type=PATH, help="Folder of the release; it must not exist.")
@click.option("--previous", type=PATH, help="The release before; else the newest in the lab's releases.")
@click.option("--version", help="Such as 1.1.0; else the least that says what changed.")
@click.option("--name", default="4-D talking faces", show_default=True, help="What the data set is called.")
@click.option("--components", default="meshes,audio,landmarks", show_default=True, help="Also depth, rgb.")
@click.option("--quantise", is_flag=True, help="Vertices in 16 bits, with the largest error stated.")
@click.option("--splits", type=PATH, help="JSON with shares, and lists of pseudonyms.")
@click.option("--license", "licence", type=PATH, help="Text file for LICENSE.")
@click.option("--published", type=click.DateTime(["%Y-%m-%d"]), help="Day of publication, for croissant.json.")
@click.option("--shard-mb", type=click.IntRange(1, 100_000), default=1000, show_default=True, help="Size of a shard.")
@json_option
def build(
    lab: Path, output: Path, previous: Path | None, version: str | None, name: str, components: str, quantise: bool,
    splits: Path | None, licence: Path | None, published: datetime | None, shard_mb: int, as_json: bool,
) -> None:  # fmt: skip
    """Write a release of everything that a lab may publish.

    What is not covered by a person's consent is left out; missing.csv says what, and why.
    """
    from corpus.release.reader import open_release
    from corpus.release.splits import read_rules
    from corpus.release.versions import parts
    from corpus.release.writer import DEFAULT_LICENCE, BuildOptions, build_release, newest_release
    from mmface4d.lab import open_lab
    from mmface4d.model_topology import model_topology
    from mmface4d.text_file import read_text

    _refuse_name(name)
    if version is not None:
        parts(version)
    options = BuildOptions(
        name=name, version=version, components=_components(components), encoding="int16" if quantise else "float32",
        rules=read_rules(splits), shard_bytes=shard_mb * 1_000_000,
        licence=read_text(licence, max_bytes=1 << 20) if licence else DEFAULT_LICENCE,
        published=published.date() if published else None,
    )  # fmt: skip
    opened = open_lab(lab)
    before = open_release(previous) if previous else newest_release(opened)
    content = build_release(opened, output, options, topology=model_topology, previous=before)
    _say(content.summary, output, as_json)


def _refuse_name(name: str) -> None:
    from pydantic import TypeAdapter, ValidationError

    from corpus.release.layout import Name

    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        raise UsageError(f"--name {name[:60]!r} cannot be used", hint="one line, 200 letters at most") from error


def _components(text: str) -> tuple[str, ...]:
    from corpus.release.layout import COMPONENTS

    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in COMPONENTS]
    if unknown or "meshes" not in names:
        what = f"there is no component {unknown[0]!r}" if unknown else "a release has meshes at least"
        raise UsageError(what, hint=f"choose of {','.join(COMPONENTS)}")
    return tuple(name for name in COMPONENTS if name in names)


def _say(summary: dict[str, Any], output: Path, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(summary, ensure_ascii=False, indent=1))
        return
    splits = ", ".join(f"{name} {n['subjects']}" for name, n in summary["splits"].items())
    click.echo(f"{output}: version {summary['version']}")
    click.echo(f"sequences {summary['sequences']}, hours {summary['hours']}, subjects {summary['subjects']} ({splits})")
    for row in summary["missing"]:
        click.echo(f"left out: {row['count']} x {row['component']}: {row['reason']}")


@release.command(epilog=VERIFY_EPILOG)
@click.argument("folder", metavar="RELEASE", type=PATH)
@json_option
def verify(folder: Path, as_json: bool) -> None:
    """Check every file of a release; exit code 5 where something is missing, extra or changed."""
    from corpus.release.verify import verify as check

    found = check(folder)
    if as_json:
        told = {name: getattr(found, name) for name in ("missing", "extra", "changed", "wrong")}
        click.echo(json.dumps({"good": found.good, "files": found.files, **told}, indent=1))
    elif found.good:
        click.echo(f"{folder}: all {found.files} files are as they should be")
    if not found.good:
        lines = found.lines()
        more = f"\n  and {len(lines) - MOST_TOLD} more" if len(lines) > MOST_TOLD else ""
        raise VerificationError(
            f"{folder} is not what it should be:\n  " + "\n  ".join(lines[:MOST_TOLD]) + more,
            hint="get the files named again from where the release came from",
        )


@release.command(epilog=WITHDRAW_EPILOG)
@click.argument("folder", metavar="RELEASE", type=PATH)
@click.argument("subjects", metavar="[SUBJECT]...", nargs=-1)
@click.option("-o", "--output", required=True, type=PATH, help="Folder of the new release; it must not exist.")
@click.option("--lab", type=PATH, help="The lab it is of: its codes can be named; without any, whoever withdrew there.")
@json_option
def withdraw(folder: Path, subjects: tuple[str, ...], output: Path, lab: Path | None, as_json: bool) -> None:
    """Write a new MAJOR version without some people, and with a tombstone of each."""
    from corpus.release.ledger import remember, splits_so_far
    from corpus.release.reader import open_release
    from corpus.release.withdraw import released_ids, withdraw_subjects, withdrawn_ids
    from mmface4d.lab import open_lab

    if not subjects and lab is None:
        raise UsageError(
            "nobody is named", hint="name subjects by their ids, or the lab whose withdrawals count: --lab"
        )
    opened, made_in = open_release(folder), None if lab is None else open_lab(lab)
    gone = released_ids(opened, subjects, made_in) if made_in is None or subjects else withdrawn_ids(opened, made_in)
    before = {} if made_in is None else splits_so_far(made_in.path, opened)
    content = withdraw_subjects(opened, gone, output)
    if made_in is not None:
        remember(made_in.path, open_release(output), before=before)
    _say(content.summary, output, as_json)
    click.echo(f"taken out: {', '.join(sorted(set(gone)))}; delete {folder} wherever it is", err=as_json)


@release.command(epilog=CARD_EPILOG)
@click.argument("folder", metavar="RELEASE", type=PATH)
@json_option
def card(folder: Path, as_json: bool) -> None:
    """Print the card of a release, made anew from its tables."""
    from corpus.release.content import content_of
    from corpus.release.documents import card as card_text
    from corpus.release.reader import open_release

    content = content_of(open_release(folder))
    if as_json:
        click.echo(json.dumps(content.summary, ensure_ascii=False, indent=1))
    else:
        click.echo(card_text(content.summary, content.record))
