"""Evaluations as a page: what to think of them, figures, and every number with all that it depends on."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from animation.data.corpus import Topology
from animation.metrics.across import Across, across, changes_of_first
from animation.metrics.protocols import PROTOCOL_WORDS
from animation.metrics.report import STILL, Number, Report
from animation.metrics.report_figures import error_bars, painted_error
from animation.metrics.report_text import COMPARED, FIRST, changed, digits, fair, named, protocol_title, title
from mmface4d.arrays import Vertices
from mmface4d.page import markup
from mmface4d.page.face_picture import figure
from mmface4d.page.heat import warm_scale
from mmface4d.page.page import write_page
from mmface4d.page.svg import nice

MOST_CLIPS = 60


def write_report_page(path: Path, reports: Sequence[Report], *, topology: Topology, template: Vertices) -> None:
    """Writes the page of one or several evaluations; the template is the face on which errors are painted."""
    means = across(reports)
    parts = [
        _verdict(reports[0]) if len(reports) == 1 else "",
        _bars(reports, means),
        *(_one(each, topology, template, headed=len(reports) > 1) for each in reports),
        _masks(reports[0]),
    ]
    names = " · ".join(dict.fromkeys(each.label for each in reports))
    write_page(path, title=f"Evaluation of {names}", subtitle=_subtitle(reports), parts=parts)


def _subtitle(reports: Sequence[Report]) -> str:
    if len(reports) == 1:
        return title(reports[0])
    first = reports[0]
    return f"{len(reports)} checkpoints on {first.data}, {first.split}, {first.fps:g} frames a second"


def _verdict(report: Report) -> str:
    """Against the face that never moves in the same sequences, which is the least that a model must beat."""
    protocol = fair(report)
    shown = {each.clip for each in report.clips if each.protocol == protocol}
    of_still = [each.value("lip_max") or 0.0 for each in report.clips if each.protocol == STILL and each.clip in shown]
    ours, still = report.number("lip_max", protocol).value, sum(of_still) / max(len(of_still), 1)
    if not ours or not still:
        return ""
    share = 1 - ours / still
    level = "good" if share > 0.3 else "look" if share > 0 else "poor"
    words = f"Maximal lip error {digits(ours)} mm, of a face that keeps still {digits(still)} mm ({protocol})."
    how = "better" if share > 0 else "worse"
    return markup.verdict(level, f"{abs(share):.0%} {how} than a face that keeps still", words)


def _bars(reports: Sequence[Report], means: Sequence[Across]) -> str:
    """Some errors by protocol, a bar for each model."""
    labels, plots = list(dict.fromkeys(each.label for each in reports)), []
    intervals = {
        (each.label, number.metric, number.protocol): number.interval for each in reports for number in each.numbers
    }
    for metric in COMPARED:
        if some := [each for each in means if each.metric == metric]:
            heading = markup.escape(named(reports[0].number(metric, some[0].protocol)))
            plots.append(f"<div><h3>{heading}</h3>{error_bars(some, labels, intervals=intervals)}</div>")
    if not plots:
        return ""
    known = {STILL: "the template in place of a prediction", **PROTOCOL_WORDS}
    words = (f"{protocol_title(each)}: {known[each]}." for each in reports[0].protocols if each in known)
    return markup.section(
        "Errors by protocol",
        "Smaller is better. Thin lines are 95 % over other sequences like these, or for a model that was trained more "
        "than once the standard deviation over its trainings.",
        f'<div class="plots">{"".join(plots)}</div>' + markup.bullets(words) + _changes(reports, labels),
    )


def _changes(reports: Sequence[Report], labels: Sequence[str]) -> str:
    """The first model against the others, as shares of their errors."""
    if len(labels) < 2:
        return ""
    protocol = fair(reports[0])
    rows = [
        (named(reports[0].number(metric, protocol)), *map(changed, changes))
        for metric in COMPARED
        if (changes := changes_of_first(reports, metric, protocol=protocol))
    ]
    heading = f"{labels[0]}, {protocol_title(protocol)}: how much it differs"
    return f"<h3>{markup.escape(heading)}</h3>" + markup.table(("", *(f"from {each}" for each in labels[1:])), rows)


def _one(report: Report, topology: Topology, template: Vertices, *, headed: bool) -> str:
    """Everything about one model."""
    parts = [_faces(report, topology, template), _first(report), _all(report), _clips(report), _about(report)]
    training = f", training seed {report.training_seed}" if report.training_seed is not None else ""
    heading = markup.part(report.label + training) if headed else ""
    return heading + "".join(parts)


def _faces(report: Report, topology: Topology, template: Vertices) -> str:
    top = nice(max(max(values) for values in report.vertex_mm.values()))
    drawn = "".join(
        f'<div style="text-align:center">{figure(painted_error(values, topology, template, top_mm=top))}'
        f'<h3 style="margin:2px 0 0">{markup.escape(protocol_title(protocol))}</h3></div>'
        for protocol, values in report.vertex_mm.items()
    )
    columns = f"repeat({len(report.vertex_mm)},minmax(0,230px))"
    grid = f'<div style="display:grid;grid-template-columns:{columns};gap:10px;justify-content:center">{drawn}</div>'
    lead = "Mean distance of each vertex from its true place, on a face of the data; grey where the mask ends."
    return markup.section("Where it errs", lead, grid + warm_scale(top, "mm"))


def _first(report: Report) -> str:
    rows = [
        (named(numbers[0]), *(_cell(each) for each in numbers))
        for metric in FIRST
        if (numbers := [report.number(metric, protocol) for protocol in report.protocols])
    ]
    table = markup.table(("", *map(protocol_title, report.protocols)), rows)
    lead = "In brackets, 95 % over other sequences like these; ± is over the drivers that were drawn."
    return markup.section("The numbers that one reads first", lead, table)


def _cell(number: Number) -> str:
    if number.value is None:
        return "-"
    low, high = number.interval or (None, None)
    interval = f" [{low:.3g} {high:.3g}]" if low is not None else ""
    return digits(number.value) + interval + (f" ±{number.sd_over_seeds:.1g}" if number.sd_over_seeds else "")


def _all(report: Report) -> str:
    head = (
        "metric", "protocol", "value", "95 % over sequences", "95 % over people", "mask", "pooling", "from",
        "sequences",
    )  # fmt: skip
    rows = [
        (
            named(each), protocol_title(each.protocol), digits(each.value) if each.value is not None else "-",
            _interval(each.interval), _interval(each.interval_over_subjects), f"{each.mask} {each.mask_sha256[:8]}",
            each.pooling, each.source, each.n_sequences,
        )
        for each in report.numbers
    ]  # fmt: skip
    lead = "Each definition is the one of the source named beside it. Compare numbers only where all columns agree."
    return markup.section("All numbers", lead, markup.folded(f"{len(rows)} numbers", markup.table(head, rows)))


def _interval(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"{interval[0]:.4g} to {interval[1]:.4g}"


def _clips(report: Report) -> str:
    """The sequences of the fair protocol, the worst first."""
    protocol = fair(report)
    scores = [each for each in report.clips if each.protocol == protocol]
    scores.sort(key=lambda each: -(each.value("lip_max") or 0.0))
    metrics = ("lip_max", "lip_mean", "upper_max", "face_max", "speed_lips_ratio")
    titles = (report.number(each, protocol).title for each in metrics)
    rows = [
        (each.clip, each.subject, each.n_frames, each.driver or "nobody", *_values(each.value(m) for m in metrics))
        for each in scores[:MOST_CLIPS]
    ]
    table = markup.table(("sequence", "subject", "frames", "shown", *titles), rows)
    lead = f"{protocol_title(protocol)}, the worst lips first; errors in mm."
    return markup.section("Sequences", lead, markup.folded(f"{len(rows)} of {len(scores)}", table))


def _values(values: Iterator[float | None]) -> Iterator[str]:
    return ("-" if value is None else digits(value) for value in values)


def _about(report: Report) -> str:
    rows = [
        ("model", report.label), ("weights, sha256", report.weights_sha256), ("trained on", report.trained_on),
        ("data", report.data), ("licence of the data", report.licence or "not stated"),
        ("mesh", f"{report.topology}, sha256 {report.topology_sha256}"), ("speech features", report.encoder),
        ("what it knows of a speaker", report.style),
    ]  # fmt: skip
    notes = markup.bullets(report.notes) if report.notes else ""
    return markup.section("What was measured", "", markup.table(("", ""), rows) + notes)


def _masks(report: Report) -> str:
    masks = {each.mask: (each.mask_vertices, each.mask_sha256) for each in report.numbers}
    rows = [(name, count, sha) for name, (count, sha) in masks.items()]
    lead = "Two sets of vertices may share a name: numbers compare only where the hashes are equal."
    return markup.section("Masks", lead, markup.table(("mask", "vertices", "sha256 of the indices"), rows))
