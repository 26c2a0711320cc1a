"""Evaluations as text for a terminal: the metrics that one reads first, by protocol."""

from collections.abc import Iterable, Sequence

from animation.metrics.across import Across, Change, across, changes_of_first
from animation.metrics.report import STILL, Number, Report

FIRST = (
    "lip_max", "lip_mean", "upper_max", "upper_mean", "face_max", "face_mean", "lve_codetalker", "lve_unitalker",
    "fdd_code", "fdd_paper", "dtw_lips", "speed_lips_ratio", "speed_upper_face_ratio",
)  # fmt: skip
COMPARED = ("lip_max", "lip_mean", "upper_max", "face_max")
FAIR, STRANGER = "same-subject-other-clip", "other-subject"
ORACLE = {"self": "self (oracle)", STILL: "still face"}


def report_text(report: Report) -> str:
    """One model: a column for each protocol, with intervals."""
    head = ["", *(protocol_title(each) for each in report.protocols)]
    rows = [
        [named(numbers[0]), *(_with_interval(each) for each in numbers)]
        for metric in FIRST
        if (numbers := [report.number(metric, protocol) for protocol in report.protocols])
    ]
    return "\n".join([title(report), "", *aligned([head, *rows]), "", *_masks(report), *report.notes])


def reports_text(reports: Sequence[Report]) -> str:
    """Several models side by side, a table for each protocol."""
    found = {(each.model, each.metric, each.protocol): each for each in across(reports)}
    labels = list(dict.fromkeys(each.label for each in reports))
    lines = [_subject(reports[0])]
    for protocol in (each for each in reports[0].protocols if each != STILL):
        rows = [[protocol_title(protocol), protocol_title(STILL), *labels]]
        for metric in FIRST:
            still = reports[0].number(metric, STILL)
            cells = [_with_spread(found.get((label, metric, protocol))) for label in labels]
            rows.append([named(still), digits(still.value) if still.value is not None else "-", *cells])
        lines += ["", *aligned(rows)]
    trainings = ", ".join(f"{sum(each.label == label for each in reports)} of {label}" for label in labels)
    notes = dict.fromkeys(note for each in reports for note in each.notes)
    lines += _changes(reports, labels)
    return "\n".join([*lines, "", f"Trainings: {trainings}; mean ± sd over them.", *_masks(reports[0]), *notes])


def fair(report: Report) -> str:
    """The protocol that leaks nothing and asks for nothing wrong; else one that leaks nothing, else the last one."""
    return next((each for each in (FAIR, STRANGER) if each in report.protocols), report.protocols[-1])


def changed(found: Change | None) -> str:
    """A change as percents, with its interval."""
    if found is None:
        return "-"
    share, interval = found
    return f"{share:+.1%}" + (f" [{interval[0]:+.1%} {interval[1]:+.1%}]" if interval else "")


def _changes(reports: Sequence[Report], labels: Sequence[str]) -> Iterable[str]:
    """The first model against the others."""
    if len(labels) > 1:
        protocol = fair(reports[0])
        rows = [[f"{labels[0]}, {protocol_title(protocol)}", *(f"against {each}" for each in labels[1:])]]
        for metric in COMPARED:
            changes = changes_of_first(reports, metric, protocol=protocol)
            rows.append([named(reports[0].number(metric, protocol)), *map(changed, changes)])
        yield from ["", *aligned(rows)]


def title(report: Report) -> str:
    """Which model, on what."""
    trained = f", trained on {report.trained_on}" if report.trained_on else ""
    return f"{report.label}{trained}; {_subject(report)}"


def _subject(report: Report) -> str:
    most = max(report.numbers, key=lambda each: each.n_frames)
    return (
        f"{report.data}, {report.split}: {most.n_sequences} sequences, {most.n_frames:,} frames, {most.n_subjects} "
        f"subjects, {report.fps:g} frames a second"
    )


def protocol_title(protocol: str) -> str:
    """As a table's head."""
    return ORACLE.get(protocol, protocol.replace("-", " "))


def named(number: Number) -> str:
    """A metric with its unit."""
    return f"{number.title}, {number.unit}" if number.unit else number.title


def digits(value: float) -> str:
    """Four digits, as short as they go."""
    return f"{value:.4g}"


def _with_interval(number: Number) -> str:
    if number.value is None:
        return "-"
    low, high = number.interval or (None, None)
    return digits(number.value) + (f" [{low:.3g} {high:.3g}]" if low is not None else "")


def _with_spread(found: Across | None) -> str:
    if found is None:
        return "-"
    return digits(found.mean) + (f" ± {found.sd:.2g}" if found.sd is not None else "")


def _masks(report: Report) -> Iterable[str]:
    """The masks behind the numbers, without which they compare with nothing."""
    masks = {each.mask: (each.mask_sha256, each.mask_vertices) for each in report.numbers}
    yield "Masks: " + ", ".join(f"{name} {count} vertices {sha[:12]}" for name, (sha, count) in masks.items())


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their widest cell."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
