"""`mmface4d stats LAB|RELEASE|SEQUENCE...`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mmface4d.errors import InputError, Mmface4dError, SomeItemsFailedError, UsageError

if TYPE_CHECKING:
    from corpus.dataset.gather import Gathered
    from corpus.dataset.regions import FaceRegions

PATH = click.Path(path_type=Path)
EPILOG = """\b
Examples:
  mmface4d stats lab --html statistics.html
  mmface4d stats sequence.npz --json
"""


@click.command(epilog=EPILOG)
@click.argument("paths", metavar="LAB|RELEASE|SEQUENCE...", nargs=-1, required=True, type=PATH)
@click.option("--html", type=PATH, help="Write a report with figures.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON.")
@click.option("--workers", type=click.IntRange(1, 256), help="Processes; as many as cores unless said.")
def stats(paths: tuple[Path, ...], html: Path | None, as_json: bool, workers: int | None) -> None:
    """Measure how the faces of a lab, a release or some sequences move."""
    import json

    from corpus.dataset.findings import findings, findings_json
    from corpus.dataset.findings_report import findings_text, write_findings_report
    from corpus.dataset.motion import yardstick
    from corpus.dataset.survey import survey, usable_cores

    _refuse_overwriting(paths, html)
    gathered = _gathered(paths)
    regions = _regions(gathered)
    surveyed = survey(gathered.recordings, regions, workers=workers or usable_cores())
    if not any(each.motion for each in surveyed):
        raise InputError(_nothing(gathered, [each.reason for each in surveyed]), hint="reconstruct takes first")
    found = findings(gathered, surveyed, {model: yardstick(each) for model, each in regions.items()})
    if html is not None:
        write_findings_report(html, found)
    click.echo(json.dumps(findings_json(found), ensure_ascii=False, indent=1) if as_json else findings_text(found))
    if html is not None:
        click.echo(f"report: {html}", err=as_json)
    if found.failures:
        raise SomeItemsFailedError(
            f"{len(found.failures)} sequences could not be measured: {found.failures[0]}",
            hint="the others are done; mend or reconstruct what is named",
        )


def _refuse_overwriting(paths: tuple[Path, ...], html: Path | None) -> None:
    if html is not None and html.resolve() in {path.resolve() for path in paths}:
        raise UsageError(f"--html {html} is what is to be measured", hint="choose another name, such as report.html")


def _gathered(paths: tuple[Path, ...]) -> "Gathered":
    from corpus.dataset.gather import of_files, of_lab, of_release
    from corpus.release.layout import RECORD
    from mmface4d.lab import LAB_FILE, open_lab

    folder = next((path for path in paths if path.is_dir()), None)
    if folder is None:
        return of_files(paths)
    if len(paths) > 1:
        raise UsageError(f"{folder} is a folder: give it alone", hint="or give sequence files only")
    if (folder / LAB_FILE).is_file():
        return of_lab(open_lab(folder))
    if (folder / RECORD).is_file():
        return of_release(folder)
    raise InputError(f"{folder} is neither a lab nor a release", hint="a lab has a lab.toml")


def _regions(gathered: "Gathered") -> "dict[str, FaceRegions]":
    """The regions of every model; recordings of one that is not known are taken out."""
    from corpus.dataset.regions import face_regions
    from mmface4d.model_topology import model_topology

    regions, unknown = dict(gathered.regions), {}
    for model in dict.fromkeys(each.model for each in gathered.recordings if each.model not in regions):
        try:
            regions[model] = face_regions(model_topology(model))
        except Mmface4dError as error:
            unknown[model] = error.message
    gathered.damaged += [f"{each.name}: {unknown[each.model]}" for each in gathered.recordings if each.model in unknown]
    gathered.recordings = [each for each in gathered.recordings if each.model not in unknown]
    return regions


def _nothing(gathered: "Gathered", reasons: list[str | None]) -> str:
    first = next(iter([*gathered.damaged, *filter(None, reasons)]), "")
    left_out = ", ".join(f"{count} {reason}" for reason, count in gathered.left_out.most_common())
    return f"{gathered.name} has no sequence to measure" + "".join(f"; {each}" for each in (first, left_out) if each)
