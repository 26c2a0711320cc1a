"""`mmface4d corpus build`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from corpus.build import Built
    from corpus.coverage import Coverage
    from corpus.sources import Defaults, SourceLine

PATH = click.Path(path_type=Path)
COUNT = click.IntRange(0, 1_000_000)
STARTER = "starter"
EPILOG = """\b
Examples:
  mmface4d corpus build starter -o corpus.jsonl
  mmface4d corpus build news.txt calls.csv -o corpus.jsonl --neutral 500 --others 200
"""


@click.command(epilog=EPILOG)
@click.argument("sources", nargs=-1, required=True, type=PATH)
@click.option("-o", "--output", required=True, type=PATH, help="The corpus, a .jsonl file.")
@click.option("--neutral", type=COUNT, default=2000, show_default=True, help="Neutral sentences in each language.")
@click.option("--others", type=COUNT, default=1500, show_default=True, help="Sentences of each other emotion.")
@click.option("--language", default="en", show_default=True, help="Of lines that do not say it.")
@click.option("--emotion", default="neutral", show_default=True, help="Of lines that do not say it.")
@click.option("--scenario", default="conversation", show_default=True, help="Of lines that do not say it.")
@click.option("--min-words", type=COUNT, default=3, show_default=True, help="In Chinese, characters.")
@click.option("--max-words", type=COUNT, default=30, show_default=True, help="In Chinese, characters.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Decides among equals.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes.")
@click.option("--replace", is_flag=True, help="Even where sentences of OUTPUT are lost or get other ids.")
@click.option("--skip-bad", is_flag=True, help="Leave lines with mistakes out instead of refusing the file.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
def build(sources: tuple[Path, ...], output: Path, replace: bool, as_json: bool, **options: Any) -> None:
    """Choose sentences that cover the sounds of their language evenly.

    SOURCES are .txt (a sentence a line), .csv, .tsv or .jsonl files with text and, where wanted, id, language,
    scenario and emotion; `starter` is the corpus that comes with the program, `starter-zh` its Chinese part.
    """
    from corpus.build import Plan, build_corpus
    from corpus.corpus_file import refuse_loss, write_corpus
    from corpus.normalise import LengthFilter
    from corpus.sources import Defaults
    from mmface4d.errors import UsageError
    from mmface4d.progress import progress

    if options["min_words"] > options["max_words"]:
        raise UsageError("--min-words is more than --max-words", hint="for example --min-words 3 --max-words 30")
    defaults = Defaults(options["language"], options["scenario"], options["emotion"])
    lines, skipped = _read(sources, defaults, skip_bad=options["skip_bad"])
    lengths = LengthFilter(options["min_words"], options["max_words"])
    plan = Plan(options["neutral"], options["others"], lengths, options["seed"], options["workers"])
    with progress("sounds and choice", len(lines)) as bar:
        built = build_corpus(lines, plan, bar=bar)
    refuse_loss(output, built.sentences, replace=replace)
    write_corpus(output, built.sentences)
    shown = built_json(built, output=output, skipped=skipped)
    click.echo(json.dumps(shown, ensure_ascii=False, indent=1) if as_json else built_text(shown))


def _read(sources: tuple[Path, ...], defaults: "Defaults", *, skip_bad: bool) -> "tuple[list[SourceLine], int]":
    from corpus.mistakes import Mistakes
    from corpus.sources import check_defaults, read_sources

    check_defaults(defaults)
    mistakes = Mistakes()
    paths = [path for source in sources for path in _files(source)]
    lines = read_sources(paths, defaults, mistakes=mistakes if skip_bad else None)
    if mistakes.count:
        click.echo(f"left out: {mistakes.told()}", err=True)
    return lines, mistakes.count


def _files(source: Path) -> list[Path]:
    from corpus.starter import starter_files

    shipped = {STARTER: starter_files()} | {f"{STARTER}-{path.stem}": [path] for path in starter_files()}
    return shipped.get(str(source), [source])


def built_json(built: "Built", *, output: Path, skipped: int) -> dict[str, Any]:
    """The outcome as plain values."""
    return {
        "corpus": str(output),
        "sentences": len(built.sentences),
        "read": built.read,
        "left_out": {**built.left_out, **({"mistakes": skipped} if skipped else {})},
        "groups": [vars(group) for group in built.groups],
        "coverage": {
            language: {"candidates": _figures(before), "corpus": _figures(built.corpus[language])}
            for language, before in built.candidates.items()
        },
    }


def _figures(coverage: "Coverage") -> dict[str, Any]:
    return {
        "phoneme_entropy_bits": round(coverage.phoneme_entropy_bits, 4),
        "max_phoneme_entropy_bits": round(coverage.max_phoneme_entropy_bits, 4),
        "diphone_entropy_bits": round(coverage.diphone_entropy_bits, 4),
        "diphones": len(coverage.diphones),
        "missing": list(coverage.missing),
    }


def built_text(shown: dict[str, Any]) -> str:
    """The outcome for a person."""
    lines = [f"{shown['corpus']}: {shown['sentences']} of {shown['read']} sentences"]
    for language, coverage in shown["coverage"].items():
        lines.append(_coverage_text(language, coverage))
        lines += [
            _group_text(group) for group in shown["groups"] if group["language"] == language and group["candidates"]
        ]
    left_out = ", ".join(f"{count} {why}" for why, count in shown["left_out"].items())
    return "\n".join([*lines, f"left out: {left_out}"] if left_out else lines)


def _group_text(group: dict[str, Any]) -> str:
    few = f", {group['asked']} were asked for" if group["taken"] < group["asked"] else ""
    return f"  {group['emotion']:9} {group['taken']:5} of {group['candidates']} candidates{few}"


def _coverage_text(language: str, coverage: dict[str, Any]) -> str:
    before, after = coverage["candidates"], coverage["corpus"]
    phonemes = f"phonemes {after['phoneme_entropy_bits']:.2f} of {after['max_phoneme_entropy_bits']:.2f} bits"
    missing = f"; never said: {' '.join(after['missing'])}" if after["missing"] else ""
    return (
        f"{language}: entropy of {phonemes} (candidates {before['phoneme_entropy_bits']:.2f}), "
        f"of diphones {after['diphone_entropy_bits']:.2f} ({before['diphone_entropy_bits']:.2f}){missing}"
    )
