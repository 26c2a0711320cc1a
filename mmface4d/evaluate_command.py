"""`mmface4d evaluate CHECKPOINT --data DATA`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mmface4d.errors import UsageError

if TYPE_CHECKING:
    from animation.data.corpus import SpeechCorpus, Split
    from animation.metrics.protocols import Protocol
    from animation.metrics.report import Report
    from animation.training.checkpoint import Trained

EVALUATION_FILE = "evaluation.json"  # beside the weights, what their card tells
PATH = click.Path(path_type=Path)
SPLITS = ("train", "validation", "test")
PROTOCOLS = ("self", "same-subject-other-clip", "other-subject")
EPILOG = """\b
Examples:
  mmface4d evaluate runs/first --data clips --html evaluation.html
  mmface4d evaluate runs/a0 runs/a1 runs/f0 runs/f1 --data clips --protocol same-subject-other-clip --json
"""


@click.command(epilog=EPILOG)
@click.argument("checkpoints", metavar="CHECKPOINT...", nargs=-1, required=True, type=PATH)
@click.option("--data", type=PATH, required=True, help="A release, a lab, a clips folder ...: what `clips show` reads.")
@click.option("--split", type=click.Choice(SPLITS), default="test", show_default=True, help="Whose clips are judged.")
@click.option(
    "--protocol", "protocols", type=click.Choice(PROTOCOLS), multiple=True, help="Whose style is shown; all by default."
)
@click.option("--draws", type=click.IntRange(1, 100), default=3, show_default=True, help="Drivers drawn for each clip.")
@click.option("--device", default="cpu", show_default=True, help="Where the model computes, such as cuda.")
@click.option("--html", type=PATH, help="Write a report with figures.")
@click.option("--json", "as_json", is_flag=True, help="Print all numbers as JSON.")
@click.option("--card", is_flag=True, help="Put the numbers into the checkpoint's model card.")
def evaluate(
    checkpoints: tuple[Path, ...], data: Path, *, split: str, protocols: tuple[str, ...], draws: int, device: str,
    html: Path | None, as_json: bool, card: bool,
) -> None:  # fmt: skip
    """Measure trained models on people whom they have never seen.

    Several checkpoints are compared; those that differ in nothing but the seed are taken for trainings of one model.
    """
    import json

    from animation.device import usable_device
    from animation.metrics.across import across_json, check_alike, told_apart
    from animation.metrics.evaluate import outline
    from animation.metrics.report_page import write_report_page
    from animation.metrics.report_text import report_text, reports_text
    from animation.training.checkpoint import load_checkpoint
    from mmface4d.animation_data import open_speech_corpus

    if card and split != "test":
        raise UsageError("a card tells of test subjects only", hint="leave out --split, or --card")
    corpus = open_speech_corpus(data)
    usable = usable_device(device)
    trained = [load_checkpoint(path, device=usable) for path in checkpoints]  # all, before what takes long
    chosen: Any = {"split": split, "protocols": protocols or PROTOCOLS}  # click has checked both
    check_alike(told_apart([outline(each, corpus, split=chosen["split"]) for each in trained]))
    reports = [
        _measured(each, corpus, name=path.name, draws=draws, **chosen)
        for path, each in zip(checkpoints, trained, strict=True)
    ]
    one, compared = (reports[0] if len(reports) == 1 else None), told_apart(reports)
    found = one.to_json() if one else across_json(compared)
    click.echo(json.dumps(found, indent=1) if as_json else report_text(one) if one else reports_text(compared))
    if card:  # files come after what is printed: where one cannot be written, the numbers are not lost
        _write_cards(checkpoints, reports)
    if html is not None:
        write_report_page(html, compared, topology=corpus.topology, template=next(iter(corpus.templates.values())))
        click.echo(f"report: {html}", err=as_json)


def _measured(
    trained: "Trained",
    corpus: "SpeechCorpus",
    *,
    name: str,
    split: "Split",
    protocols: "Sequence[Protocol]",
    draws: int,
) -> "Report":
    from animation.metrics.evaluate import evaluate as measure
    from mmface4d.progress import progress

    with progress(f"measuring {name}", len(corpus.of_split(split))) as bar:
        return measure(trained, corpus, split=split, protocols=protocols, seeds=range(draws), tick=bar.advance)


def _write_cards(checkpoints: Sequence[Path], reports: "Sequence[Report]") -> None:
    from animation.training.card import write_card
    from mmface4d.files import write_json

    for path, report in zip(checkpoints, reports, strict=True):
        write_json(path / EVALUATION_FILE, report.to_json())
        write_card(path, reports=[report])
