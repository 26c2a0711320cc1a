"""`mmface4d corpus build|stats|script`."""

import json
from itertools import islice
from pathlib import Path

import click

from corpus.build_command import build
from mmface4d.errors import UsageError

PATH = click.Path(path_type=Path)
CORPUS_EPILOG = """\b
Examples:
  mmface4d corpus build starter -o corpus.jsonl
  mmface4d corpus script corpus.jsonl --actors 50 -o scripts
"""
STATS_EPILOG = """\b
Examples:
  mmface4d corpus stats corpus.jsonl --html report.html
  mmface4d corpus stats corpus.jsonl --json
"""
SCRIPT_EPILOG = """\b
Examples:
  mmface4d corpus script corpus.jsonl --actors 50 -o scripts --language zh
  mmface4d corpus script corpus.jsonl --actor 51 -o scripts --used sessions
"""


@click.group(epilog=CORPUS_EPILOG)
def corpus() -> None:
    """Choose sentences, look at them, and make a script for each actor."""


corpus.add_command(build)


@corpus.command(epilog=STATS_EPILOG)
@click.argument("file", type=PATH)
@click.option("--html", type=PATH, help="Write a report with figures.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def stats(file: Path, html: Path | None, as_json: bool) -> None:
    """Count the sentences, lengths, sounds and hours of a corpus."""
    from corpus.corpus_file import read_corpus
    from corpus.phonemised import phonemised
    from corpus.statistics import corpus_json, corpus_statistics
    from corpus.statistics_report import statistics_text, write_statistics_report

    if html is not None and html.resolve() == file.resolve():
        raise UsageError(f"--html {html} is the corpus itself", hint="choose another name, such as report.html")
    languages = corpus_statistics(phonemised(read_corpus(file)))
    if html is not None:
        write_statistics_report(html, languages, name=file.name)
    shown = corpus_json(languages)
    click.echo(json.dumps(shown, ensure_ascii=False, indent=1) if as_json else statistics_text(shown))
    if html is not None:
        click.echo(f"report: {html}", err=as_json)


@corpus.command(epilog=SCRIPT_EPILOG)
@click.argument("file", type=PATH)
@click.option("--actors", type=click.IntRange(1, 10_000), help="The scripts of actors 1 to N.")
@click.option("--actor", type=click.IntRange(1, 10_000), help="The script of actor K alone.")
@click.option("-o", "--output", required=True, type=PATH, help="Folder for actor-001.jsonl and so on.")
@click.option("--size", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Sentences a script.")
@click.option("--practice", type=click.IntRange(0, 100), default=3, show_default=True, help="Sentences before them.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another one makes other scripts.")
@click.option("--language", help="Needed where the corpus has several.")
@click.option("--used", type=PATH, help="Folder of sessions or scripts whose sentences others have already.")
@click.option("--json", "as_json", is_flag=True, help="Print what the scripts have as JSON.")
def script(
    file: Path,
    actors: int | None,
    actor: int | None,
    output: Path,
    size: int,
    practice: int,
    seed: int,
    language: str | None,
    used: Path | None,
    as_json: bool,
) -> None:
    """Make scripts for actors, each with sentences of its own."""
    from corpus.actor_scripts import deal
    from corpus.corpus_file import read_corpus
    from corpus.phonemised import phonemised
    from corpus.script_folder import in_one_language, uses_elsewhere, write_scripts
    from corpus.script_summary import scripts_json, scripts_text

    if (actors is None) == (actor is None):
        raise UsageError("give either --actors or --actor", hint="--actors 50 makes the scripts of actors 1 to 50")
    sentences = phonemised(in_one_language(read_corpus(file), language))
    uses = {} if used is None else uses_elsewhere(sentences, used)
    begin, end = (0, actors) if actor is None else (actor - 1, actor)
    dealt = deal(sentences, size=size, practice=practice, seed=seed, used=uses)
    made = scripts_json(write_scripts(output, list(islice(dealt, begin, end))), sentences, folder=output)
    click.echo(json.dumps(made, ensure_ascii=False, indent=1) if as_json else scripts_text(made))
